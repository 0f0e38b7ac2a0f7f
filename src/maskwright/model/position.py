"""Position encodings: sines for maps and for time, random Fourier features for points, rotary tables.

Axes: T tokens, C channels, D channels of one attention head, H W height and width.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

TEMPERATURE = 10000.0


def _wavelengths(channels: int, device: torch.device) -> Tensor:
    """Divisors of the sine encoding, each value twice in a row: (channels,)."""
    index = torch.arange(channels, device=device, dtype=torch.float32)
    return TEMPERATURE ** (2 * torch.div(index, 2, rounding_mode="floor") / channels)


def sine_map(height: int, width: int, channels: int, device: torch.device) -> Tensor:
    """Sine encoding of a map, (channels, height, width): first half rows, second half columns.

    Coordinates count from 1 and are scaled to 2 pi (``PositionEmbeddingSine`` of the official code).
    """
    wavelengths_C = _wavelengths(channels // 2, device)

    def axis(length: int) -> Tensor:
        steps_T = torch.arange(1, length + 1, device=device, dtype=torch.float32)
        angles_TC = (steps_T / (length + 1e-6) * (2 * math.pi))[:, None] / wavelengths_C
        return torch.stack((angles_TC[:, 0::2].sin(), angles_TC[:, 1::2].cos()), dim=2).flatten(1)

    rows_CHW = axis(height).T[:, :, None].expand(-1, height, width)
    columns_CHW = axis(width).T[:, None, :].expand(-1, height, width)
    return torch.cat((rows_CHW, columns_CHW))


def sine_time(time_T: Tensor, channels: int) -> Tensor:
    """Sine encoding of times, (T, channels): all sines, then all cosines (``get_1d_sine_pe``)."""
    angles_TC = time_T[..., None] / _wavelengths(channels // 2, time_T.device)
    return torch.cat((angles_TC.sin(), angles_TC.cos()), dim=-1)


class FourierPosition(nn.Module):
    """Random Fourier features of points in the unit square (Tancik et al. 2020), fixed in the weights."""

    frequencies_2C: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("frequencies_2C", torch.randn(2, channels // 2))

    def forward(self, points_T2: Tensor) -> Tensor:
        """Encode (..., 2) points (x, y) in 0..1 as (..., channels)."""
        angles_TC = 2 * math.pi * ((2 * points_T2 - 1) @ self.frequencies_2C)
        return torch.cat((angles_TC.sin(), angles_TC.cos()), dim=-1)

    def grid(self, height: int, width: int) -> Tensor:
        """Encode the cell centres of a map: (channels, height, width)."""
        like = self.frequencies_2C
        rows_H = (torch.arange(height, device=like.device, dtype=like.dtype) + 0.5) / height
        columns_W = (torch.arange(width, device=like.device, dtype=like.dtype) + 0.5) / width
        y_HW, x_HW = torch.meshgrid(rows_H, columns_W, indexing="ij")
        encoded: Tensor = self(torch.stack((x_HW, y_HW), dim=-1))
        return encoded.permute(2, 0, 1)


def rotary_table(height: int, width: int, channels: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Cosines and sines of the axial rotary encoding, each (height * width, channels / 2).

    The first half of the channel pairs turns with the column, the second with the row
    (``compute_axial_cis`` of the official code, in real numbers).
    """
    index = torch.arange(0, channels, 4, device=device, dtype=torch.float32)
    frequencies_D = 1.0 / TEMPERATURE ** (index / channels)
    tokens_T = torch.arange(height * width, device=device)
    columns_TD = (tokens_T % width)[:, None] * frequencies_D
    rows_TD = torch.div(tokens_T, width, rounding_mode="floor")[:, None] * frequencies_D
    angles_TD = torch.cat((columns_TD, rows_TD), dim=1)
    return angles_TD.cos(), angles_TD.sin()


def rotate(x_TD: Tensor, cos_TD: Tensor, sin_TD: Tensor) -> Tensor:
    """Turn neighbouring channel pairs of (..., T, D) by the angles of a rotary table (T, D / 2)."""
    even_TD, odd_TD = x_TD[..., 0::2], x_TD[..., 1::2]
    turned = (even_TD * cos_TD - odd_TD * sin_TD, even_TD * sin_TD + odd_TD * cos_TD)
    return torch.stack(turned, dim=-1).flatten(-2)
