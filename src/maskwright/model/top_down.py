"""nano's finer features: what is seen at stride 16 reaches strides 8 and 4, once per picture.

EfficientNet's maps at strides 4 and 8 come from its first few layers and know edges, not things; Hiera's know
more, and the official models have none of this. A feature pyramid's top-down path (Lin et al. 2017).

Axes: N batch, B pictures, C channels, H W height and width.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from maskwright.model.layers import ConvNeXtBlock, silence


class TopDown(nn.Module):
    """Adds each coarser map to the next finer one, and mixes."""

    def __init__(self, width: int) -> None:
        super().__init__()
        mid, high = width // 4, width // 8
        self.low_to_mid = nn.Conv2d(width, mid, 1)
        self.mid_block = ConvNeXtBlock(mid, expansion=2, scale=0.1)
        self.mid_to_high = nn.Conv2d(mid, high, 1)
        self.high_block = ConvNeXtBlock(high, expansion=2, scale=0.1)
        for layer in (self.low_to_mid, self.mid_to_high):
            silence(layer)

    def forward(self, low_BCHW: Tensor, mid_BCHW: Tensor, high_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        """Maps at strides 8 and 4."""
        mid_BCHW = self.mid_block(mid_BCHW + _twice(self.low_to_mid(low_BCHW)))
        return mid_BCHW, self.high_block(high_BCHW + _twice(self.mid_to_high(mid_BCHW)))


class Residual(nn.Module):
    """Two 3x3 convolutions on a residual path that says nothing to begin with."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        silence(self.second)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        y_NCHW: Tensor = self.second(F.relu(self.first(x_NCHW)))
        return x_NCHW + y_NCHW


def _twice(x_BCHW: Tensor) -> Tensor:
    return F.interpolate(x_BCHW, scale_factor=2.0, mode="nearest")
