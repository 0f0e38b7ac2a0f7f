"""Boxes around bitmaps."""

from __future__ import annotations

import numpy as np

from maskwright.pixels.boxes import boxes_of


def test_half_open():
    bitmap = np.zeros((5, 8), bool)
    bitmap[1:4, 2:7] = True
    box = boxes_of(bitmap)
    assert box.tolist() == [2, 1, 7, 4]
    assert box.dtype == np.float32


def test_any_leading_axes_and_empty_ones():
    bitmaps = np.zeros((2, 3, 4, 6), bool)
    bitmaps[0, 1, 3, 5] = bitmaps[1, 2] = True
    boxes = boxes_of(bitmaps)
    assert boxes.shape == (2, 3, 4)
    assert boxes[0, 1].tolist() == [5, 3, 6, 4]
    assert boxes[1, 2].tolist() == [0, 0, 6, 4]
    assert not boxes[[0, 0, 1, 1], [0, 2, 0, 1]].any()
    assert boxes_of(np.zeros((0, 4, 6), bool)).shape == (0, 4)


def test_against_the_set_pixels():
    rng = np.random.default_rng(0)
    for _ in range(100):
        bitmap = rng.random((9, 7)) < 0.08
        y, x = np.nonzero(bitmap)
        expected = [x.min(), y.min(), x.max() + 1, y.max() + 1] if len(x) else [0, 0, 0, 0]
        assert boxes_of(bitmap).tolist() == expected
