"""Connected regions of bitmaps; pixels that touch at a side or a corner belong together (8-connectivity)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from maskwright.types import BoolArray, IntArray


def label(bitmaps: BoolArray) -> tuple[npt.NDArray[np.int32], int]:
    """Number the connected regions.

    Args:
        bitmaps: (..., h, w); regions never reach from one bitmap into another.

    Returns:
        (..., h, w) int32: 0 where not set, else the number of the region, from 1 on through all bitmaps; and
        how many there are.
    """
    from scipy import ndimage

    stack = bitmaps.reshape(-1, *bitmaps.shape[-2:])
    neighbours = np.zeros((3, 3, 3), dtype=bool)
    neighbours[1] = True  # within a bitmap, not between neighbours in the stack
    labels, count = ndimage.label(stack, structure=neighbours)
    return labels.reshape(bitmaps.shape), int(count)


def areas(bitmaps: BoolArray) -> IntArray:
    """(..., h, w) int64: at each set pixel the area of its region in pixels, elsewhere 0."""
    labels, count = label(bitmaps)
    sizes: IntArray = np.bincount(labels.ravel(), minlength=count + 1)
    sizes[0] = 0
    return sizes[labels]


def small(bitmaps: BoolArray, max_area: float) -> BoolArray:
    """(..., h, w) bool: the set pixels in regions of at most ``max_area`` pixels."""
    return bitmaps & (areas(bitmaps) <= max_area)
