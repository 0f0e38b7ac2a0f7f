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
