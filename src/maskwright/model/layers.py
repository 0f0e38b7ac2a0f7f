"""Small layers that several networks share.

Axes: N batch, C channels, H W height and width, T tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Activation = Callable[[Tensor], Tensor]


class MLP(nn.Module):
    """Linear layers with an activation between them, none after the last."""

    def __init__(self, *widths: int, activation: Activation = F.relu) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))
        self.activation = activation

    def forward(self, x_C: Tensor) -> Tensor:
        *hidden, last = self.layers
        for layer in hidden:
            x_C = self.activation(layer(x_C))
        out: Tensor = last(x_C)
        return out


class LayerNorm2d(nn.Module):
    """Layer normalisation over the channels of a map (N, C, H, W), each position by itself."""

    def __init__(self, channels: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.eps = eps

    def forward(self, x_NCHW: Tensor) -> Tensor:
        x_NHWC = F.layer_norm(x_NCHW.permute(0, 2, 3, 1), self.weight.shape, self.weight, self.bias, self.eps)
        return x_NHWC.permute(0, 3, 1, 2)


class ConvNeXtBlock(nn.Module):
    """Depthwise 7x7 convolution and a pointwise MLP on a residual path (Liu et al. 2022).

    ``scale`` is the initial value of the learned per-channel gain of the residual path.
    """

    def __init__(self, channels: int, *, expansion: int = 4, scale: float = 1e-6) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.norm = nn.LayerNorm(channels, eps=1e-6)
        self.expand = nn.Linear(channels, channels * expansion)
        self.reduce = nn.Linear(channels * expansion, channels)
        self.gain = nn.Parameter(torch.full((channels,), scale))

    def forward(self, x_NCHW: Tensor) -> Tensor:
        y_NHWC = self.norm(self.depthwise(x_NCHW).permute(0, 2, 3, 1))
        y_NHWC = self.gain * self.reduce(F.gelu(self.expand(y_NHWC)))
        return x_NCHW + y_NHWC.permute(0, 3, 1, 2)


def silence(layer: nn.Module) -> None:
    """Let a layer say nothing to begin with."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
