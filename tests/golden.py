"""Weights, models and pictures of the golden recipe (``../shared/golden/README.md``); comparing numbers."""

from __future__ import annotations

import math
import zlib

import numpy as np
import torch

from maskwright.sam2.base import SAM2Base
from maskwright.sam2.build_sam import build_sam2

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


def golden_picture(h: int, w: int) -> np.ndarray:
    y, x = np.mgrid[0:h, 0:w].astype(np.float64)
    red = 127 + 100 * np.sin(x / 37 + y / 91)
    green = 127 + 100 * np.cos(x / 23 - y / 53) * np.sin(y / 17)
    blue = ((x // 64 + y // 48) % 2) * 180 + 40 * np.sin((x * y) / 9000)
    return np.clip(np.stack([red, green, blue], -1), 0, 255).astype(np.uint8)


def golden_model(size: str) -> SAM2Base:
    model = build_sam2(f"configs/sam2.1/sam2.1_hiera_{size}.yaml", device="cpu")
    shapes = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    model.load_state_dict(golden_weights(shapes))
    return model
