"""The weights of the golden recipe (``../shared/golden/README.md``), and how its numbers are compared."""

from __future__ import annotations

import math
import zlib

import numpy as np
import torch

SEED = 7


def golden_weights(shapes: dict[str, tuple[int, ...]]) -> dict[str, torch.Tensor]:
    """The deterministic weights of the golden recipe, by official parameter names."""
    state = {}
    for name, shape in shapes.items():
        x = np.random.RandomState(zlib.crc32(f"{SEED}:{name}".encode())).standard_normal(shape)
        if name.endswith(".weight") and len(shape) >= 2:
            x /= math.sqrt(math.prod(shape[1:]))
        elif name.endswith(".weight"):
            x = 1 + 0.1 * x
        elif name.endswith(".gamma"):
            x = 0.5 + 0.1 * x
        else:
            x *= 0.1 if name.endswith(".bias") else 0.5
        if "memory_attention" in name and name.endswith((".q_proj.weight", ".k_proj.weight")):
            x *= 2
        if name == "sam_mask_decoder.pred_obj_score_head.layers.2.bias":
            x += 1.0
        state[name] = torch.from_numpy(x.astype(np.float32))
    return state


def assert_near(got: np.ndarray, wanted: np.ndarray, tolerance: float, what: str) -> None:
    """Largest error at most ``tolerance`` of the largest value."""
    assert got.shape == wanted.shape, what
    error = np.abs(got.astype(np.float64) - wanted).max() / np.abs(wanted).max()
    assert error <= tolerance, f"{what}: {error:.1e}"
