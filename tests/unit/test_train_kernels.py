"""The quicker depthwise convolution against PyTorch's own."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from maskwright.train.kernels import LARGE, Depthwise, quicken


def gradients(layer: nn.Module, given: torch.Tensor) -> list[torch.Tensor]:
    given = given.clone().requires_grad_()
    found = layer(given)
    (found * torch.linspace(-1, 1, found.numel()).reshape(found.shape)).sum().backward()
    return [found.detach(), given.grad, *(parameter.grad for parameter in layer.parameters())]


@pytest.mark.parametrize("side", [17, 60], ids=["small", "large"])
@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (5, 2), (7, 1)])
@pytest.mark.parametrize("bias", [True, False])
def test_the_same_numbers(side: int, kernel: int, stride: int, bias: bool) -> None:
    torch.manual_seed(0)
    own = nn.Conv2d(6, 6, kernel, stride, padding=kernel // 2, groups=6, bias=bias).double()
    quick = copy.deepcopy(own)
    quicken(quick)
    assert type(quick) is Depthwise
    given = torch.randn(2, 6, side, side, dtype=torch.float64)
    assert (2 * side**2 > LARGE) == (side == 60)
    for one, other in zip(gradients(own, given), gradients(quick, given), strict=True):
        torch.testing.assert_close(other, one, rtol=1e-5, atol=1e-4)


def test_in_half_precision() -> None:
    torch.manual_seed(0)
    own = nn.Conv2d(6, 6, 3, padding=1, groups=6)
    quick = copy.deepcopy(own)
    quicken(quick)
    given = torch.randn(2, 6, 17, 17)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = gradients(quick, given)
    assert found[0].dtype == torch.bfloat16
    assert all(one.dtype == torch.float32 for one in found[1:])
    for one, other in zip(gradients(own, given), found, strict=True):
        torch.testing.assert_close(other.float(), one, rtol=0.05, atol=0.05 * float(one.abs().max()))


def test_only_depthwise_ones_change_and_names_stay() -> None:
    model = nn.Sequential(
        nn.Conv2d(4, 4, 3, groups=4), nn.Conv2d(4, 8, 1), nn.Conv2d(8, 8, 3, groups=8, dilation=2)
    )
    before = dict(model.named_parameters())
    quicken(model)
    assert [type(layer) is Depthwise for layer in model] == [True, False, False]
    assert all(value is before[name] for name, value in model.named_parameters())


def test_frozen_ones_and_plain_use_go_the_usual_way(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = nn.Conv2d(4, 4, 3, groups=4)
    quicken(layer)
    monkeypatch.setattr("maskwright.train.kernels._Convolution", None)
    with torch.no_grad():
        layer(torch.randn(1, 4, 9, 9))
    layer.requires_grad_(False)(torch.randn(1, 4, 9, 9))
