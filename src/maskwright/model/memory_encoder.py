"""The memory encoder: a frame's features and an object's mask become that frame's memory of the object.

Axes: N objects, C channels, H W height and width.
"""

from __future__ import annotations

from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from maskwright.config import ModelConfig
from maskwright.model.layers import ConvNeXtBlock, LayerNorm2d

MASK_SCALE, MASK_BIAS = 20.0, -10.0
"""Mask probabilities in 0..1 enter as -10..10 (``sigmoid_scale_for_mem_enc`` and ``..._bias_...``)."""
NUM_FUSERS = 2
NUM_HALVINGS = 4


class MaskDownsampler(nn.Module):
    """Four stride-2 convolutions, each with four times the channels, and a projection to ``width``."""

    def __init__(self, width: int) -> None:
        super().__init__()
        channels = [4**i for i in range(NUM_HALVINGS + 1)]
        pairs = list(pairwise(channels))
        self.convs = nn.ModuleList(nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in pairs)
        self.norms = nn.ModuleList(LayerNorm2d(b) for _, b in pairs)
        self.out = nn.Conv2d(channels[-1], width, 1)

    def forward(self, mask_N1HW: Tensor) -> Tensor:
        x_NCHW = mask_N1HW
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x_NCHW = F.gelu(norm(conv(x_NCHW)))
        out_NCHW: Tensor = self.out(x_NCHW)
        return out_NCHW


class MemoryEncoder(nn.Module):
    """Follows ``MemoryEncoder`` of the official code."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.mask_downsampler = MaskDownsampler(config.width)
        self.feature_projection = nn.Conv2d(config.width, config.width, 1)
        self.fusers = nn.ModuleList(ConvNeXtBlock(config.width) for _ in range(NUM_FUSERS))
        self.out = nn.Conv2d(config.width, config.memory_width, 1)

    def forward(self, features_NCHW: Tensor, probability_N1HW: Tensor) -> Tensor:
        """Stride-16 features without memories and mask chances at input size to (N, memory width, h, w)."""
        mask_NCHW = self.mask_downsampler(probability_N1HW * MASK_SCALE + MASK_BIAS)
        x_NCHW = self.feature_projection(features_NCHW) + mask_NCHW
        for fuser in self.fusers:
            x_NCHW = fuser(x_NCHW)
        out_NCHW: Tensor = self.out(x_NCHW)
        return out_NCHW
