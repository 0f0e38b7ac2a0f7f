"""How well two masks agree."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from maskwright.errors import InputError
from maskwright.types import BoolArray


def iou(a: BoolArray, b: BoolArray) -> npt.NDArray[np.float64]:
    """Intersection over union of bitmaps, pair by pair.

    Args:
        a: (..., h, w) bool.
        b: The same size (h, w); leading axes broadcast.

    Returns:
        (...) float64 in 0..1. Two empty bitmaps agree: 1, as in the DAVIS benchmark.

    Raises:
        InputError: not bool, or of different sizes.
    """
    if a.dtype != np.bool_ or b.dtype != np.bool_:
        raise InputError(f"iou compares bool bitmaps, not {a.dtype} and {b.dtype}; binarise them first")
    if a.ndim < 2 or a.shape[-2:] != b.shape[-2:]:
        raise InputError(f"iou compares bitmaps of one size (..., h, w), not {a.shape} and {b.shape}")
    intersection = np.count_nonzero(a & b, axis=(-2, -1))
    union = np.count_nonzero(a | b, axis=(-2, -1))
    return np.where(union == 0, 1.0, intersection / np.maximum(union, 1))


def boundary_f(a: BoolArray, b: BoolArray, tolerance: float = 0.008) -> float:
    """How well the outlines of two bitmaps (h, w) agree: the boundary measure F of the DAVIS benchmark, 0..1.

    Precision is the share of ``a``'s outline within the tolerance of ``b``'s, recall the reverse; F is their
    harmonic mean (Perazzi et al. 2016). Two empty bitmaps agree: 1.

    Args:
        a: The mask that was found, bool.
        b: The true one, of the same size.
        tolerance: Distance that counts as a match: a share of the picture's diagonal, rounded up to pixels.

    Raises:
        InputError: not bool, or of different sizes.
    """
    if a.dtype != np.bool_ or b.dtype != np.bool_ or a.shape != b.shape or a.ndim != 2:
        raise InputError(
            f"boundary_f compares two bool bitmaps of one size (h, w), not {a.shape} and {b.shape}"
        )
    radius = int(np.ceil(tolerance * np.hypot(*a.shape)))
    found, true = _outline(a), _outline(b)
    if not found.any() or not true.any():
        return float(found.any() == true.any())
    precision, recall = _share_near(found, true, radius), _share_near(true, found, radius)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _outline(bitmap: BoolArray) -> BoolArray:
    """Pixels that differ from their neighbour to the right, below, or diagonally below."""
    padded = np.pad(bitmap, ((0, 1), (0, 1)), mode="edge")
    right, below, diagonal = padded[:-1, 1:], padded[1:, :-1], padded[1:, 1:]
    outline: BoolArray = (bitmap != right) | (bitmap != below) | (bitmap != diagonal)
    outline[-1, -1] = False
    return outline


def _share_near(outline: BoolArray, other: BoolArray, radius: int) -> float:
    """Share of ``outline`` within ``radius`` pixels of ``other``; both have pixels."""
    from scipy.ndimage import distance_transform_edt

    rows, columns = np.nonzero(outline | other)
    window = (slice(rows.min(), rows.max() + 1), slice(columns.min(), columns.max() + 1))
    near = distance_transform_edt(~other[window]) <= radius
    return float(np.count_nonzero(outline[window] & near) / np.count_nonzero(outline))
