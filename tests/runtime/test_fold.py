"""Folded weights give the same numbers."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from maskwright.config import NANO, ModelConfig
from maskwright.model.efficientnet import ConvNorm
from maskwright.model.sam2 import SAM2
from maskwright.runtime.eager import Eager
from maskwright.runtime.fold import fold_normalisation, merge_neck
from maskwright.runtime.select import choose
from small import SMALL, lively


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


@pytest.mark.parametrize("config", [SMALL, NANO.at(64)], ids=["official", "nano"])
@torch.inference_mode()
def test_one_convolution_does_for_the_neck_and_the_projection(config: ModelConfig) -> None:
    network = lively(config).double()
    names = list(network.state_dict())
    pixels = torch.randn(2, 3, 64, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    wanted = network.encode_image(pixels).levels
    narrow = [config.width // 8, config.width // 4]
    for _ in range(2):  # a second time changes nothing
        merge_neck(network)
        low, mid, high = network.neck(network.trunk(pixels))
        assert [high.shape[1], mid.shape[1], low.shape[1]] == [*narrow, config.width]
        for ours, theirs in zip(network.encode_image(pixels).levels, wanted, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    assert list(network.state_dict()) == names


def test_merging_leaves_the_fingerprint() -> None:
    network, choice = lively(SMALL), choose("cpu", None)
    before = Eager(network, choice).fingerprint()
    assert Eager(merge_neck(network), choice).fingerprint() == before
