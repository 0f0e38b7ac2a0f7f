"""From low-resolution logits to bitmaps of the picture's size, eight pixels to a byte, on the device.

A mask then crosses the bus as bits, and full-size logits are never written. Bits stand in the order of
``numpy.packbits(..., axis=-1)``: the leftmost pixel is the highest bit, and rows are padded with zeros.

Axes: N masks, H W the picture, B bytes of a row.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from maskwright.pixels.postprocess import upscale
from maskwright.types import BoolArray, Size

BYTES_PER_TILE = 64
"""Bytes of a row that one program draws: 512 pixels."""


def draw_packed_plain(logits_NHW: Tensor, size_hw: Size, threshold: float = 0.0) -> Tensor:
    """The plain twin of :func:`draw_packed`: stretched, compared and packed one after the other."""
    return pack(upscale(logits_NHW, size_hw) > threshold)


def draw_packed(logits_NHW: Tensor, size_hw: Size, threshold: float = 0.0) -> Tensor:
    """Stretch masks onto the picture and pack them, in one Triton kernel.

    The same bits as those of the plain twin, but for pixels whose logit is the threshold up to rounding. Not
    yet measured on a GPU.

    Args:
        logits_NHW: (N, m, m) of any floating dtype.
        size_hw: Height and width of the picture.
        threshold: Logit above which a pixel belongs to the mask.

    Returns:
        (N, h, ceil(w / 8)) uint8, on the same device.
    """
    from maskwright.runtime.kernels.masks_triton import draw_packed as kernel

    (num, rows_in, columns_in), (height, width) = logits_NHW.shape, size_hw
    num_bytes = -(-width // 8)
    bits_NHB = logits_NHW.new_empty((num, height, num_bytes), dtype=torch.uint8)
    scales = (float(np.float32(rows_in) / height), float(np.float32(columns_in) / width))
    kernel[(height, -(-num_bytes // BYTES_PER_TILE), num)](
        logits_NHW,
        bits_NHB,
        height,
        width,
        num_bytes,
        rows_in,
        columns_in,
        *scales,
        float(threshold),
        *logits_NHW.stride(),
        BYTES_PER_TILE=BYTES_PER_TILE,
    )
    return bits_NHB


def pack(bitmaps_NHW: Tensor) -> Tensor:
    """Bool (..., h, w) -> uint8 (..., h, ceil(w / 8)) on the same device."""
    width = bitmaps_NHW.shape[-1]
    padded = F.pad(bitmaps_NHW.to(torch.uint8), (0, -width % 8))
    place_8 = torch.tensor([128, 64, 32, 16, 8, 4, 2, 1], dtype=torch.uint8, device=bitmaps_NHW.device)
    bits: Tensor = (padded.unflatten(-1, (-1, 8)) * place_8).sum(-1, dtype=torch.uint8)
    return bits


def fetched(bitmaps_NHW: Tensor) -> BoolArray:
    """Bool (..., h, w) on the host; from other devices it comes as bits."""
    if bitmaps_NHW.device.type == "cpu":
        return bitmaps_NHW.numpy()
    return unpack(pack(bitmaps_NHW), bitmaps_NHW.shape[-1])


def unpack(bits_NHB: Tensor, width: int) -> BoolArray:
    """Fetch packed masks: uint8 (..., h, ceil(w / 8)) on any device -> bool (..., h, w)."""
    packed = bits_NHB.cpu().numpy()
    bitmaps: BoolArray = np.unpackbits(packed, axis=-1, count=width).view(np.bool_)
    return bitmaps
