"""EfficientNet-Lite0, the trunk of nano: a convolutional network that is quick on plain CPUs.

Tan & Le 2019, "EfficientNet", in the Lite variant: ReLU6 and no squeeze-and-excite. Convolutions pad as
TensorFlow's "same" does, because the ImageNet weights were trained so.
Axes: N batch, C channels, H W height and width.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maskwright.config import EfficientNetConfig

BATCH_NORM_EPS = 1e-3
STEM_CHANNELS = 32
MIN_BANDS = 3
"""Maps that fill no more bands than these are made at once."""


class Stage(NamedTuple):
    """A run of inverted residual blocks; only the first one changes stride and channels."""

    repeats: int
    kernel: int
    stride: int
    expansion: int
    channels: int


STAGES = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
    Stage(4, 5, 2, 6, 192),
    Stage(1, 3, 1, 6, 320),
)
TAPPED_STAGES = (1, 2, 4, 6)
"""Stages whose results are the levels at strides 4, 8, 16, 32."""


class ConvNorm(nn.Module):
    """Convolution with TensorFlow "same" padding, batch normalisation and, unless told, ReLU6."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        *,
        stride: int = 1,
        groups: int = 1,
        activate: bool = True,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, groups=groups, bias=False)
        self.norm: nn.Module = nn.BatchNorm2d(outputs, eps=BATCH_NORM_EPS)
        self.activate = activate

    def forward(self, x_NCHW: Tensor, above_below: tuple[int, int] | None = None) -> Tensor:
        """``above_below``: rows of zeros to add there, where ``x_NCHW`` is only a band of a map."""
        (kernel, _), (stride, _) = self.conv.kernel_size, self.conv.stride
        height, width = x_NCHW.shape[-2:]
        above, below = above_below or _halves(_missing(height, kernel, stride))
        left, right = _halves(_missing(width, kernel, stride))
        if above != below or left != right:
            x_NCHW = F.pad(x_NCHW, (left, right, above, below))
            above = left = 0
        # what lies evenly on both sides the convolution adds itself, without a copy of its input
        padding = (above, left)
        y_NCHW = F.conv2d(x_NCHW, self.conv.weight, self.conv.bias, stride, padding, groups=self.conv.groups)
        y_NCHW = self.norm(y_NCHW)
        return F.relu6(y_NCHW, inplace=True) if self.activate else y_NCHW


def _halves(count: int) -> tuple[int, int]:
    return count // 2, count - count // 2


def _missing(side: int, kernel: int, stride: int) -> int:
    """Zeros that a side needs for a result of ceil(side / stride) cells; the odd one goes to the end."""
    return max((-(-side // stride) - 1) * stride + kernel - side, 0)


class InvertedResidual(nn.Module):
    """Widen, filter every channel by itself, narrow; add the input where shapes allow."""

    band_bytes: int = 0
    """The widened map is made in bands of rows of about so many bytes, which fit into caches; 0: all at once.
    The results are the same; only a runtime on a CPU gains by it."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        self.expand = ConvNorm(inputs, hidden, 1) if expansion > 1 else nn.Identity()
        self.depthwise = ConvNorm(hidden, hidden, kernel, stride=stride, groups=hidden)
        self.project = ConvNorm(hidden, outputs, 1, activate=False)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x_NCHW: Tensor) -> Tensor:
        if self.band_bytes and self._wide_row_bytes(x_NCHW) * x_NCHW.shape[2] > MIN_BANDS * self.band_bytes:
            return self._in_bands(x_NCHW)
        y_NCHW: Tensor = self.project(self.depthwise(self.expand(x_NCHW)))
        return x_NCHW + y_NCHW if self.residual else y_NCHW

    def _wide_row_bytes(self, x_NCHW: Tensor) -> int:
        return len(x_NCHW) * self.depthwise.conv.in_channels * x_NCHW.shape[3] * x_NCHW.element_size()

    def _in_bands(self, x_NCHW: Tensor) -> Tensor:
        (kernel, _), (stride, _) = self.depthwise.conv.kernel_size, self.depthwise.conv.stride
        height = x_NCHW.shape[2]
        above, _ = _halves(_missing(height, kernel, stride))
        results = -(-height // stride)
        step = max(1, self.band_bytes // (self._wide_row_bytes(x_NCHW) * stride))
        bands = []
        for start in range(0, results, step):
            stop = min(start + step, results)
            top, bottom = start * stride - above, (stop - 1) * stride - above + kernel
            wide_NCHW = self.expand(x_NCHW[:, :, max(top, 0) : bottom])
            y_NCHW = self.project(self.depthwise(wide_NCHW, (max(-top, 0), max(bottom - height, 0))))
            bands.append(x_NCHW[:, :, start:stop] + y_NCHW if self.residual else y_NCHW)
        return torch.cat(bands, dim=2)


class EfficientNet(nn.Module):
    """The trunk: pictures (B, 3, H, W) to four maps at strides 4, 8, 16 and 32."""

    def __init__(self, config: EfficientNetConfig) -> None:
        super().__init__()
        self.config = config
        self.stem = ConvNorm(3, STEM_CHANNELS, 3, stride=2)
        self.stages = nn.ModuleList()
        inputs = STEM_CHANNELS
        for stage in STAGES:
            blocks = []
            for repeat in range(stage.repeats):
                stride = stage.stride if repeat == 0 else 1
                blocks.append(InvertedResidual(inputs, stage.channels, stage.kernel, stride, stage.expansion))
                inputs = stage.channels
            self.stages.append(nn.Sequential(*blocks))

    def forward(self, pixels_BCHW: Tensor) -> list[Tensor]:
        x_BCHW = self.stem(pixels_BCHW)
        levels = []
        for index, stage in enumerate(self.stages):
            x_BCHW = stage(x_BCHW)
            if index in TAPPED_STAGES:
                levels.append(x_BCHW)
        return levels
