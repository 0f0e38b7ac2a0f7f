"""A picture -> the network's input, exactly as the official image path (``SAM2Transforms``) does it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from maskwright.pixels.rgb import to_rgb
from maskwright.types import ImageArray

BAND_PIXELS = 1 << 22
"""Pixels of one channel that are floats at the same time (16 MiB)."""


def preprocess(image: ImageArray, size: int, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Scale to 0..1, stretch to a square with an antialiased bilinear filter, normalise.

    The picture is stretched, not padded. The resize runs in float32 on the CPU whatever the model runs on, so
    the same picture gives the same numbers everywhere; one channel at a time, which is faster, and a band of
    rows at a time, so that no float copy of a large picture is made.

    Args:
        image: (h, w, 3) RGB, uint8 or float32 in 0..1, and whatever else :func:`.rgb.to_rgb` takes.
        size: Side of the network's input in pixels.
        mean: Per channel, subtracted from RGB in 0..1.
        std: Per channel, divided by.

    Returns:
        (3, size, size) float32.
    """
    rgb = to_rgb(image)
    pixels = torch.stack([_resized(rgb, channel, size) for channel in range(3)])
    return pixels.sub_(_column(mean)).div_(_column(std))


def preprocess_there(pixels_HW3: Tensor, size: int, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """:func:`preprocess` of a picture that is on a device, done on that device in the same way.

    On a processor the numbers are the same bit for bit; a GPU rounds in its own way.

    Args:
        pixels_HW3: (h, w, 3) uint8 RGB.
        size: Side of the network's input in pixels.
        mean: Per channel, subtracted from RGB in 0..1.
        std: Per channel, divided by.

    Returns:
        (3, size, size) float32 on the same device.
    """
    planes = (pixels_HW3[..., channel].float().div_(255) for channel in range(3))
    stretched = (_stretched(plane, (size, size)) for plane in planes)
    # numbers of Python, because tensors of them would have to be uploaded, which waits for the device
    normalised = (plane.sub_(m).div_(s) for plane, m, s in zip(stretched, mean, std, strict=True))
    return torch.stack(list(normalised))


def _unit(rgb: ImageArray, channel: int) -> Tensor:
    """One channel (h, w) as float32 in 0..1, in memory of its own."""
    plane = torch.from_numpy(np.array(rgb[..., channel], dtype=np.float32))
    return plane.div_(255) if rgb.dtype == np.uint8 else plane


def _resized(rgb: ImageArray, channel: int, size: int) -> Tensor:
    """One channel (size, size): first along the rows, band by band, then down the columns.

    The filter is separable and goes this way in one call too, so the numbers are the same bit for bit.
    """
    h, w = rgb.shape[:2]
    step = max(1, BAND_PIXELS // w)
    bands = (_unit(rgb[start : start + step], channel) for start in range(0, h, step))
    return _stretched(torch.cat([_stretched(band, (len(band), size)) for band in bands]), (size, size))


def _stretched(plane: Tensor, size_hw: tuple[int, int]) -> Tensor:
    if plane.shape == size_hw:
        return plane
    stretched: Tensor = F.interpolate(
        plane[None, None], size_hw, mode="bilinear", align_corners=False, antialias=True
    )
    return stretched[0, 0]


def _column(values: Sequence[float]) -> Tensor:
    return torch.tensor(list(values), dtype=torch.float32).view(3, 1, 1)
