"""Half precision in nano's weights: what float16 cannot hold is far away, and masks stay what they are."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from maskwright.config import NANO
from maskwright.mask_model import MaskModel
from maskwright.pixels.metrics import iou
from maskwright.runtime.eager import Eager, place
from maskwright.runtime.select import choose
from maskwright.types import Box
from maskwright.weights.fetch import locate
from maskwright.weights.load import build, load_checkpoint
from small import small_clip

LARGEST = torch.finfo(torch.float16).max


@pytest.fixture(scope="module")
def clip() -> np.ndarray:
    return small_clip(3, (96, 128))


def followed(dtype: str, clip: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Masks (t, h, w), their logits, and the largest number that any layer gave."""
    choice = choose("cpu", dtype)
    network = place(build(NANO.at(128), load_checkpoint(locate("nano")).state), choice)
    largest = [0.0]

    def look(_: nn.Module, __: object, out: object) -> None:
        for part in out if isinstance(out, tuple) else (out,):
            if isinstance(part, Tensor) and part.is_floating_point():
                largest[0] = max(largest[0], float(part.abs().max()))

    for layer in network.modules():
        layer.register_forward_hook(look)
    masks, logits = [], []
    with MaskModel(Eager(network, choice)).session() as session:
        for number, frame in enumerate(clip):
            prompts = {1: Box(8, 20, 50, 62)} if number == 0 else {}
            tracked = session.push_prompted(frame, prompts)
            masks.append(tracked.bitmaps[0])
            logits.append(tracked.logits[0])
    return np.stack(masks), np.stack(logits), largest[0]


def test_float16_is_wide_enough(clip: np.ndarray) -> None:
    masks, logits, largest = followed("float32", clip)
    assert largest < LARGEST / 64
    half, half_logits, _ = followed("float16", clip)
    assert np.isfinite(half_logits).all()
    assert masks.any((1, 2)).all()
    assert iou(half, masks).min() > 0.95
    assert np.abs(half_logits - logits).max() < 0.1 * np.abs(logits).max()
