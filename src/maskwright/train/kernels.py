"""Layers that learn faster on processors: the same functions, other kernels.

PyTorch's own backward pass of depthwise convolutions takes much of a step of nano's there. The gradient of
the input is a depthwise convolution again; that of the weights a sum over pixels for each of their places.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

LARGE = 3072
"""Pixels of a batch from which PyTorch's own gradient of the weights is quicker, in float32."""
_convolution_backward = torch.ops.aten.convolution_backward


def quicken(model: nn.Module) -> None:
    """Give the depthwise convolutions of a model, which keep their parameters, the quicker backward pass."""
    for module in model.modules():
        if type(module) is nn.Conv2d and _is_plain_depthwise(module):
            module.__class__ = Depthwise


def few_tokens(device: torch.device) -> AbstractContextManager[None]:
    """While this lasts, attention is written out on processors, which is quicker where one side is small."""
    return sdpa_kernel(SDPBackend.MATH) if device.type == "cpu" else nullcontext()


def _is_plain_depthwise(layer: nn.Conv2d) -> bool:
    depthwise = 1 < layer.groups == layer.in_channels == layer.out_channels
    return depthwise and layer.padding_mode == "zeros" and layer.dilation == (1, 1)


class Depthwise(nn.Conv2d):
    """A depthwise convolution with the quicker backward pass on processors."""

    def forward(self, input: Tensor) -> Tensor:
        learns = torch.is_grad_enabled() and self.weight.requires_grad
        if not learns or input.device.type != "cpu" or isinstance(self.padding, str):
            return super().forward(input)
        weight = self.weight
        if torch.is_autocast_enabled("cpu"):
            dtype = torch.get_autocast_dtype("cpu")
            input, weight = input.to(dtype), weight.to(dtype)
        with torch.autocast("cpu", enabled=False):
            found: Tensor = _Convolution.apply(input, weight, self.stride, self.padding)  # type: ignore[no-untyped-call]
        return found if self.bias is None else found + self.bias[:, None, None].to(found.dtype)


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(
        context: Any, input: Tensor, weight: Tensor, stride: tuple[int, int], padding: tuple[int, int]
    ) -> Tensor:
        input = input.contiguous(memory_format=torch.channels_last)
        context.save_for_backward(input, weight)
        context.stride, context.padding = stride, padding
        return F.conv2d(input, weight, None, stride, padding, 1, len(weight))

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor, None, None]:
        input, weight = context.saved_tensors
        gradient = gradient.to(input.dtype).contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", enabled=False):
            of_input = _of_input(context, gradient, input, weight) if context.needs_input_grad[0] else None
            of_weight = _of_weight(context, gradient, input, weight)
        return of_input, of_weight.to(weight.dtype), None, None


def _of_input(context: Any, gradient: Tensor, input: Tensor, weight: Tensor) -> Tensor:
    if context.stride != (1, 1):
        return _own(context, gradient, input, weight, (True, False, False))[0].to(input.dtype)
    height, width = weight.shape[2:]
    padding = (height - 1 - context.padding[0], width - 1 - context.padding[1])
    return F.conv2d(gradient, weight.flip(2, 3).contiguous(), None, 1, padding, 1, len(weight))


def _of_weight(context: Any, gradient: Tensor, input: Tensor, weight: Tensor) -> Tensor:
    """(C, 1, h, w) float32."""
    num, channels, height, width = gradient.shape
    if num * height * width > LARGE:
        return _own(context, gradient, input, weight, (False, True, False))[1]
    down, across = context.padding
    padded = F.pad(input, (across, across, down, down)).permute(0, 2, 3, 1)
    gradient = gradient.permute(0, 2, 3, 1)
    (step_down, step_across), (rows, columns) = context.stride, weight.shape[2:]
    found = torch.empty(rows, columns, channels)
    for row in range(rows):
        for column in range(columns):
            part = padded[
                :,
                row : row + step_down * height : step_down,
                column : column + step_across * width : step_across,
            ]
            found[row, column] = (part * gradient).sum((0, 1, 2), dtype=torch.float32)
    return found.permute(2, 0, 1)[:, None]


def _own(
    context: Any, gradient: Tensor, input: Tensor, weight: Tensor, wanted: tuple[bool, bool, bool]
) -> tuple[Tensor, Tensor, Tensor]:
    """PyTorch's gradients, in float32."""
    found: tuple[Tensor, Tensor, Tensor] = _convolution_backward(
        gradient.float(),
        input.float(),
        weight.float(),
        [0],
        context.stride,
        context.padding,
        (1, 1),
        False,
        [0, 0],
        len(weight),
        wanted,
    )
    return found
