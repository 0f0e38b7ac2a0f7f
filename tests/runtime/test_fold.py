"""Folded weights give the same numbers."""

from __future__ import annotations

import torch
from torch import nn

from maskwright.config import NANO
from maskwright.model.efficientnet import ConvNorm
from maskwright.model.sam2 import SAM2
from maskwright.runtime.fold import fold_normalisation
from small import lively


def unusual() -> SAM2:
    """A random nano whose normalisations have statistics and factors of their own."""
    network = lively(NANO.at(64)).double()
    generator = torch.Generator().manual_seed(3)
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            shape = layer.running_mean.shape
            layer.running_mean.copy_(torch.randn(shape, generator=generator))
            layer.running_var.copy_(torch.rand(shape, generator=generator) + 0.3)
            layer.weight.data.copy_(torch.rand(shape, generator=generator) + 0.5)
    return network


@torch.inference_mode()
def test_folding_changes_nothing_and_leaves_no_normalisation():
    network = unusual()
    pixels = torch.randn(1, 3, 64, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    wanted = network.trunk(pixels)
    found = fold_normalisation(network).trunk(pixels)
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in network.modules())
    for ours, theirs in zip(found, wanted, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)
    again = fold_normalisation(network).trunk(pixels)
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(again, found, strict=True))


@torch.inference_mode()
def test_padding_is_that_of_tensorflow():
    for kernel, stride, side in ((3, 1, 8), (3, 2, 8), (5, 2, 8), (5, 1, 7), (3, 2, 7), (1, 1, 5)):
        layer = ConvNorm(2, 3, kernel, stride=stride, activate=False).eval()
        x = torch.randn(1, 2, side, side, generator=torch.Generator().manual_seed(kernel))
        need = max((-(-side // stride) - 1) * stride + kernel - side, 0)
        padded = nn.functional.pad(x, (need // 2, need - need // 2, need // 2, need - need // 2))
        torch.testing.assert_close(layer(x), layer.norm(layer.conv(padded)))
        assert layer(x).shape[-1] == -(-side // stride)
