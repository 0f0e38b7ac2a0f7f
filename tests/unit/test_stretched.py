"""Masks at full size, measured and drawn block by block, against stretching them whole."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from maskwright.pixels import rle, stretched
from maskwright.pixels.boxes import boxes_of
from maskwright.pixels.postprocess import upscale

SIZES = [(96, 128), (37, 51), (1, 9), (64, 64), (16, 300), (301, 777)]


def blobs(num: int, side: int, seed: int = 0) -> Tensor:
    """Logits of discs with rough outlines, of all sizes."""
    generator = torch.Generator().manual_seed(seed)
    places = torch.arange(side) + 0.5
    centre = torch.rand(num, 2, 1, 1, generator=generator) * side
    radius = torch.rand(num, 1, 1, generator=generator) * side / 3
    distance = torch.hypot(places[None, None] - centre[:, 0], places[None, :, None] - centre[:, 1])
    return (2 * (radius - distance)).clamp(-9, 9) + 0.5 * torch.randn(num, side, side, generator=generator)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", ["blobs", "noise"])
@pytest.mark.parametrize("step", [1 << 20, 50])
def test_it_is_what_stretching_whole_masks_gives(
    size: tuple[int, int], kind: str, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for limit in ("PIXELS_PER_STEP", "CELLS_PER_STEP", "WINDOW_PIXELS"):
        monkeypatch.setattr(stretched, limit, step)
    logits = blobs(5, 32) if kind == "blobs" else torch.randn(5, 16, 16, generator=torch.manual_seed(1))
    threshold, offset = 0.2, 0.7
    full = upscale(logits, size)
    measured = stretched.measure(logits, size, threshold, offset)
    for got, level in zip(measured[:3], (threshold, threshold + offset, threshold - offset), strict=True):
        np.testing.assert_array_equal(got, (full > level).sum((1, 2)).numpy())
    bitmaps = (full > threshold).numpy()
    np.testing.assert_array_equal(measured.boxes, boxes_of(bitmaps))
    spans = list(stretched.spans(logits, size, threshold, measured.boxes))
    drawn = [rle.bitmap(rle.run_lengths(one, size), size) for one in spans]
    np.testing.assert_array_equal(np.stack(drawn), bitmaps)


def test_empty_and_full_masks() -> None:
    logits = torch.stack((torch.full((8, 8), -3.0), torch.full((8, 8), 3.0)))
    measured = stretched.measure(logits, (20, 30), 0.0, 1.0)
    assert measured.areas.tolist() == [0, 600]
    assert measured.boxes.tolist() == [[0, 0, 0, 0], [0, 0, 30, 20]]
    runs = [rle.run_lengths(one, (20, 30)) for one in stretched.spans(logits, (20, 30), 0.0, measured.boxes)]
    assert [one.tolist() for one in runs] == [[600], [0, 600]]


def test_no_masks() -> None:
    measured = stretched.measure(torch.zeros(0, 8, 8), (20, 30), 0.0, 1.0)
    assert (measured.areas.shape, measured.boxes.shape) == ((0,), (0, 4))


def test_only_the_outline_is_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A large picture costs what its outlines cost."""
    logits, size = blobs(3, 64, seed=2), (3000, 4000)
    computed = 0
    plain = stretched._values

    def counted(*arguments):  # type: ignore[no-untyped-def]
        nonlocal computed
        for part in plain(*arguments):
            computed += part[3].numel()
            yield part

    monkeypatch.setattr(stretched, "_values", counted)
    stretched.measure(logits, size, 0.0, 1.0)
    assert 0 < computed < 0.15 * len(logits) * size[0] * size[1]
