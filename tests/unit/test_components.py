"""Connected regions against a plain flood fill."""

from __future__ import annotations

import numpy as np
import pytest

from maskwright.pixels import components


def flooded_areas(bitmap: np.ndarray) -> np.ndarray:
    """Area of the 8-connected region at every set pixel, one pixel at a time."""
    h, w = bitmap.shape
    areas = np.zeros((h, w), np.int64)
    for start in zip(*np.nonzero(bitmap), strict=True):
        if areas[start]:
            continue
        region, queue = {start}, [start]
        while queue:
            y, x = queue.pop()
            around = {(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)}
            new = {(i, j) for i, j in around if 0 <= i < h and 0 <= j < w and bitmap[i, j]} - region
            region |= new
            queue.extend(new)
        for pixel in region:
            areas[pixel] = len(region)
    return areas


@pytest.mark.parametrize("density", [0.1, 0.35, 0.6, 0.9])
def test_areas_are_those_of_a_flood_fill(density):
    bitmaps = np.random.default_rng(0).random((4, 17, 23)) < density
    expected = np.stack([flooded_areas(bitmap) for bitmap in bitmaps])
    assert np.array_equal(components.areas(bitmaps), expected)
    assert np.array_equal(components.small(bitmaps, 5), (expected > 0) & (expected <= 5))


def test_labels_number_the_regions_of_all_bitmaps():
    bitmaps = np.zeros((2, 2, 4, 4), bool)
    bitmaps[:, :, 0, 0] = True
    bitmaps[1, 1, 2:, 2:] = True
    labels, count = components.label(bitmaps)
    assert count == 5
    assert labels.shape == bitmaps.shape
    assert set(labels.ravel().tolist()) == {0, 1, 2, 3, 4, 5}
    assert np.array_equal(labels > 0, bitmaps)


def test_a_region_never_reaches_into_the_next_bitmap():
    assert components.areas(np.ones((3, 2, 2), bool)).max() == 4


@pytest.mark.parametrize("shape", [(0, 4, 4), (1, 3, 3)])
def test_nothing_set(shape):
    areas = components.areas(np.zeros(shape, bool))
    assert areas.shape == shape
    assert not areas.any()
