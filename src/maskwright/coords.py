"""The only file that changes coordinate frames.

Three frames, all ``(x, y)`` with the origin at the top left corner of the top left pixel:

- **picture**: pixels of the original picture, ``size_hw`` = (h, w). What users pass in and get back.
- **model**: pixels of the square network input, side ``image_size``. The picture is stretched onto it, not
  padded, so x and y scale differently: ``x_model = x / w * image_size``, in this order and in float32, as in
  the official ``SAM2Transforms.transform_coords``.
- **cells**: cells of the low-resolution mask grid, side ``mask_size``; cell ``i`` covers ``i`` to ``i + 1``.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from maskwright.errors import InputError
from maskwright.types import FloatArray, Size


def picture_to_model(xy: npt.ArrayLike, size_hw: Size, image_size: int) -> FloatArray:
    """Pixels of the picture (..., 2) -> pixels of the network input (..., 2) float32."""
    return _scaled(xy, _extent(size_hw), _extent((image_size, image_size)))


def model_to_picture(xy: npt.ArrayLike, size_hw: Size, image_size: int) -> FloatArray:
    """Pixels of the network input (..., 2) -> pixels of the picture (..., 2) float32."""
    return _scaled(xy, _extent((image_size, image_size)), _extent(size_hw))


def picture_to_cells(xy: npt.ArrayLike, size_hw: Size, mask_size: int) -> FloatArray:
    """Pixels of the picture (..., 2) -> position on the mask grid (..., 2) float32; its floor is the cell."""
    return _scaled(xy, _extent(size_hw), _extent((mask_size, mask_size)))


def cells_to_picture(xy: npt.ArrayLike, size_hw: Size, mask_size: int) -> FloatArray:
    """Position on the mask grid (..., 2) -> pixels of the picture (..., 2) float32."""
    return _scaled(xy, _extent((mask_size, mask_size)), _extent(size_hw))


def _extent(size_hw: Size) -> FloatArray:
    h, w = size_hw
    if h <= 0 or w <= 0:
        raise InputError(f"the size (h, w) = {size_hw} is empty; both sides must be at least 1")
    return np.array([w, h], dtype=np.float32)


def _scaled(xy: npt.ArrayLike, source_wh: FloatArray, target_wh: FloatArray) -> FloatArray:
    coords = np.asarray(xy, dtype=np.float32)
    if coords.ndim == 0 or coords.shape[-1] != 2:
        raise InputError(f"coordinates must end in an axis of 2, (x, y), not have shape {coords.shape}")
    scaled: FloatArray = coords / source_wh * target_wh
    return scaled
