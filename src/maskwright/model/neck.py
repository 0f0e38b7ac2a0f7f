"""The neck (feature pyramid): four trunk levels in, maps at strides 16, 8 and 4 out, all of one width.

Axes: B pictures, C channels, H W height and width.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from maskwright.model.layers import ConvNeXtBlock


class Neck(nn.Module):
    """Lin et al. 2017, as SAM 2 uses it: only the stride-16 level takes in the one below it.

    ``layers`` ConvNeXt blocks follow on the stride-16 level (nano; the official models have none).
    """

    def __init__(self, channels: Sequence[int], width: int, layers: int = 0) -> None:
        super().__init__()
        self.laterals = nn.ModuleList(nn.Conv2d(c, width, 1) for c in channels)
        self.blocks = nn.Sequential(*(ConvNeXtBlock(width, expansion=2, scale=0.1) for _ in range(layers)))

    def forward(self, levels: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Levels at strides 4, 8, 16, 32 -> (low, mid, high): strides 16, 8, 4."""
        high, mid, low, coarse = (lateral(x) for lateral, x in zip(self.laterals, levels, strict=True))
        low_BCHW: Tensor = self.blocks(low + F.interpolate(coarse, scale_factor=2.0, mode="nearest"))
        return low_BCHW, mid, high
