"""Bands of rows: nothing but the order of the work may change."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from maskwright.config import NANO
from maskwright.model.efficientnet import EfficientNet, InvertedResidual
from maskwright.model.sam2 import SAM2
from maskwright.runtime.bands import work_in_bands


@pytest.fixture
def widened(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Heights of what blocks widened."""
    heights: list[int] = []
    once = InvertedResidual._in_bands

    def counted(block: InvertedResidual, x_NCHW: Tensor) -> Tensor:
        heights.append(x_NCHW.shape[2])
        return once(block, x_NCHW)

    monkeypatch.setattr(InvertedResidual, "_in_bands", counted)
    return heights


@pytest.mark.parametrize("size", [(64, 96), (90, 70)], ids=["even", "odd"])
@pytest.mark.parametrize("band_bytes", [1, 30_000, 300_000])
def test_bands_change_no_number(size: tuple[int, int], band_bytes: int, widened: list[int]) -> None:
    torch.manual_seed(0)
    trunk = EfficientNet(NANO.trunk).eval().double()  # type: ignore[arg-type]
    pixels = torch.randn(2, 3, *size, dtype=torch.float64)
    whole = trunk(pixels)
    network = torch.nn.Module()
    network.trunk = trunk
    work_in_bands(network, band_bytes)  # type: ignore[arg-type]
    assert not widened
    for expected, found in zip(whole, trunk(pixels), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    assert widened


def test_small_maps_are_made_at_once(widened: list[int]) -> None:
    network = work_in_bands(SAM2(NANO.at(32)).eval(), 10_000_000)
    network.trunk(torch.zeros(1, 3, 32, 32))
    assert not widened
