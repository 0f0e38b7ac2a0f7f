"""A picture -> the network's input, exactly as the official image path (``SAM2Transforms``) does it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from maskwright.pixels.rgb import to_rgb
from maskwright.types import ImageArray


def preprocess(image: ImageArray, size: int, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Scale to 0..1, stretch to a square with an antialiased bilinear filter, normalise.

    The picture is stretched, not padded. The resize runs in float32 on the CPU whatever the model runs on, so
    the same picture gives the same numbers everywhere; one channel at a time, which is faster and needs a
    third of the memory.

    Args:
        image: (h, w, 3) RGB, uint8 or float32 in 0..1, and whatever else :func:`.rgb.to_rgb` takes.
        size: Side of the network's input in pixels.
        mean: Per channel, subtracted from RGB in 0..1.
        std: Per channel, divided by.

    Returns:
        (3, size, size) float32.
    """
    rgb = to_rgb(image)
    pixels = torch.stack([_resized(_unit(rgb, channel), size) for channel in range(3)])
    return pixels.sub_(_column(mean)).div_(_column(std))


def _unit(rgb: ImageArray, channel: int) -> Tensor:
    """One channel (h, w) as float32 in 0..1, in memory of its own."""
    plane = torch.from_numpy(np.array(rgb[..., channel], dtype=np.float32))
    return plane.div_(255) if rgb.dtype == np.uint8 else plane


def _resized(plane: Tensor, size: int) -> Tensor:
    if plane.shape == (size, size):
        return plane
    square = (size, size)
    return F.interpolate(plane[None, None], square, mode="bilinear", align_corners=False, antialias=True)[
        0, 0
    ]


def _column(values: Sequence[float]) -> Tensor:
    return torch.tensor(list(values), dtype=torch.float32).view(3, 1, 1)
