"""Arrays of every usual kind -> one picture format: (h, w, 3) RGB, uint8, or float32 in 0..1."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from maskwright.errors import ImageError
from maskwright.types import ByteArray, FloatArray, ImageArray

_SLACK = 1e-3
"""How far floats may leave 0..1, for rounding in earlier steps; they are clipped."""


def to_rgb(array: npt.NDArray[Any]) -> ImageArray:
    """Check a picture and bring it to (h, w, 3).

    Args:
        array: (h, w) or (h, w, 1) grey, (h, w, 3) RGB or (h, w, 4) RGBA, whose alpha is dropped, not
            composited, as in PIL's ``convert("RGB")``. uint8, uint16 (divided by 65535) or float in 0..1.

    Returns:
        uint8 for uint8, else float32 in 0..1. What already fits is returned as it is, not copied.

    Raises:
        ImageError: empty, of another shape or dtype, NaN or infinite, or floats outside 0..1.
    """
    _check_shape(array.shape)
    if array.ndim == 2:
        array = array[..., None]
    scaled = _scaled(array[..., :3])
    if scaled.shape[2] == 3:
        return scaled
    rgb: npt.NDArray[Any] = np.repeat(scaled, 3, axis=2)
    return rgb


def to_uint8(image: ImageArray) -> ByteArray:
    """A picture in 8 bits, for showing: floats in 0..1 are rounded to 0..255. uint8 is returned as it is."""
    if image.dtype == np.uint8:
        return image.astype(np.uint8, copy=False)
    scaled: ByteArray = np.rint(image * np.float32(255)).astype(np.uint8)
    return scaled


def _check_shape(shape: tuple[int, ...]) -> None:
    expected = "expected (h, w), (h, w, 3) or (h, w, 4)"
    if 0 in shape:
        raise ImageError(f"the picture is empty: its array has shape {shape}; {expected}")
    if len(shape) == 3 and shape[0] in (1, 3, 4) and shape[2] not in (1, 3, 4):
        raise ImageError(f"the array has shape {shape}, channels first; pass array.transpose(1, 2, 0)")
    if len(shape) == 4:
        raise ImageError(f"the array has shape {shape}, a batch; pass one picture at a time: {expected}")
    if len(shape) not in (2, 3) or (len(shape) == 3 and shape[2] not in (1, 3, 4)):
        raise ImageError(f"the array has shape {shape}, which is no picture; {expected}")


def _scaled(array: npt.NDArray[Any]) -> ImageArray:
    dtype = array.dtype
    if dtype == np.uint8:
        eight: ByteArray = array
        return eight
    if dtype.kind == "u" and dtype.itemsize == 2:
        wide: FloatArray = array.astype(np.float32)
        wide /= np.float32(65535)
        return wide
    if dtype.kind == "f":
        return _unit(array)
    advice = "multiply it by 255 and use .astype(np.uint8)" if dtype == np.bool_ else "use .astype(np.uint8)"
    raise ImageError(f"the picture's array is {dtype}; {advice}, or pass uint16, or floats in 0..1")


def _unit(array: npt.NDArray[Any]) -> FloatArray:
    low, high = float(array.min()), float(array.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        raise ImageError("the picture contains NaN or infinity; clean it first, e.g. with np.nan_to_num")
    if low < -_SLACK or high > 1 + _SLACK:
        advice = (
            "divide by 255, or use .astype(np.uint8)" if 1 < high <= 255 and low >= 0 else "rescale it first"
        )
        raise ImageError(
            f"a picture of floats must lie in 0..1, this one spans {low:.4g}..{high:.4g}; {advice}"
        )
    unit: FloatArray = array.astype(np.float32, copy=False)
    return unit if low >= 0 and high <= 1 else unit.clip(0, 1)
