"""Bounding boxes of bitmaps."""

from __future__ import annotations

import numpy as np

from maskwright.types import BoolArray, FloatArray, IntArray


def boxes_of(bitmaps: BoolArray) -> FloatArray:
    """Smallest boxes around the set pixels.

    Args:
        bitmaps: (..., h, w).

    Returns:
        (..., 4) float32 ``xyxy`` in pixels, half-open: x1 and y1 are one past the last set pixel, so that
        x1 - x0 is the width. Zeros for an empty bitmap.
    """
    x0, x1 = _extent(np.asarray(bitmaps.any(axis=-2)))
    y0, y1 = _extent(np.asarray(bitmaps.any(axis=-1)))
    return np.stack([x0, y0, x1, y1], axis=-1).astype(np.float32)


def corner_and_size(boxes: FloatArray | IntArray) -> list[list[int]]:
    """Boxes as COCO writes them, from (N, 4) ``xyxy``: N lists of x, y, width and height, whole pixels."""
    return [[x0, y0, x1 - x0, y1 - y0] for x0, y0, x1, y1 in boxes.astype(int).tolist()]


def _extent(used: BoolArray) -> tuple[np.ndarray, np.ndarray]:
    """First set position along the last axis, and one past the last; both 0 where none is set."""
    found = used.any(axis=-1)
    end = used.shape[-1] - used[..., ::-1].argmax(axis=-1)
    return used.argmax(axis=-1), np.where(found, end, 0)
