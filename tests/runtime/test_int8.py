"""Layers in int8: as exact as eight bits are, whatever the numbers, and refused where they cannot be had."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import maskwright as mw
from layers import check_layers, error, random
from maskwright.cli.convert import convert_file
from maskwright.config import NANO
from maskwright.errors import InputError
from maskwright.measure import others
from maskwright.runtime import select
from maskwright.runtime.cpu.packed import packs
from maskwright.runtime.cpu.quantised import SAMPLED, QuantisedLinear, quantised
from maskwright.runtime.cpu.trunk import PackedHiera
from maskwright.runtime.eager import Eager, place
from maskwright.runtime.processor import instruction_sets
from maskwright.runtime.select import INT8_PRODUCTS, choose
from small import SMALL, lively

CONFIG = replace(SMALL.at(128), memory_layers=2)
MAPS = [torch.float32, torch.bfloat16]

able = pytest.mark.skipif(
    not (INT8_PRODUCTS & instruction_sets() and packs(torch.float32, QuantisedLinear)),
    reason="this processor or PyTorch has no products in int8",
)


@pytest.mark.parametrize("dtype", MAPS)
@pytest.mark.parametrize("shift", [0.0, 3.0, -3.0])
def test_levels_are_half_a_step_away_at_most(dtype: torch.dtype, shift: float) -> None:
    x = (random(7, 300) + shift).to(dtype)
    levels, scale, zero = quantised(x)
    assert levels.dtype is torch.uint8
    assert 0 <= zero <= 255
    found = (levels.float() - zero) * scale
    assert float((found - x.float()).abs().max()) < 0.501 * scale
    assert scale < 1.01 * (max(0.0, float(x.max())) - min(0.0, float(x.min()))) / 254


@pytest.mark.parametrize("value", [0.0, 1e-30, 5.0, -5.0])
def test_levels_of_one_number(value: float) -> None:
    levels, scale, zero = quantised(torch.full((3, 4), value))
    torch.testing.assert_close((levels.float() - zero) * scale, torch.full((3, 4), value))


@able
@pytest.mark.parametrize("dtype", MAPS)
def test_layers(dtype: torch.dtype) -> None:
    check_layers(QuantisedLinear, dtype, 64, 160, (2, 50), 0.02)


@able
@pytest.mark.parametrize("activation", ["relu", "gelu"])
@torch.inference_mode()
def test_large_numbers_outside_the_sample_are_not_cut_off(activation: str) -> None:
    torch.manual_seed(0)
    first, second = nn.Linear(64, 160), nn.Linear(160, 64)
    x = 0.1 * random(3 * SAMPLED, 64)
    x[SAMPLED + 1] *= 30
    found = QuantisedLinear(first, torch.float32).into(QuantisedLinear(second, torch.float32), x, activation)
    hidden = F.relu(first(x)) if activation == "relu" else F.gelu(first(x))
    assert error(found[SAMPLED + 1], second(hidden)[SAMPLED + 1]) < 0.03


@able
@pytest.mark.parametrize("maps", ["float32", "bfloat16"])
def test_an_official_model_in_int8(monkeypatch: pytest.MonkeyPatch, maps: str) -> None:
    """Beside the int8 layers everything is in the fast dtype of the processor; features are near."""
    if not packs(getattr(torch, maps)):
        pytest.skip(f"this processor or PyTorch has no packed layers in {maps}")
    row = select.Hardware("cpu", (0, 0), getattr(torch, maps), "a trial")
    monkeypatch.setattr(select, "TABLE", (row,))
    exact, choice = choose("cpu"), choose("cpu", "int8")
    assert (choice.dtype, choice.dtype_name, choice.maps) == (torch.int8, "int8", row.fast)
    plain, packed = Eager(lively(CONFIG), exact), Eager(place(lively(CONFIG), choice), choice)
    assert type(packed._network.trunk) is PackedHiera
    assert packed.fingerprint() == plain.fingerprint()
    assert packed.dtype is torch.int8
    found, wanted = (one.encode_image(random(1, 3, 128, 128)).levels for one in (packed, plain))
    assert found[0].dtype is row.fast
    assert all(1e-4 < error(a, b) < 0.05 for a, b in zip(found, wanted, strict=True))


@able
def test_what_is_not_packed_is_refused() -> None:
    with pytest.raises(InputError, match="int8 is for the official models"):
        place(lively(NANO.at(64)), choose("cpu", "int8"))
    with pytest.raises(InputError, match="dtype='fast'"):
        mw.load("nano", dtype="int8")


def test_processors_without_the_instructions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(select, "instruction_sets", lambda: frozenset({"avx2"}))
    with pytest.raises(InputError, match="no instructions for int8"):
        choose("cpu", "int8")


@able
def test_weights_are_not_stored_in_int8(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="float16"):
        convert_file(tmp_path / "a.safetensors", tmp_path / "b.safetensors", "int8")


@able
def test_a_frame_rate_is_not_reached_for_in_int8() -> None:
    with pytest.raises(InputError, match="int8"):
        mw.load(target_fps=5, dtype="int8")


@able
def test_others_are_measured_in_what_is_not_int8() -> None:
    like = SimpleNamespace(device=torch.device("cpu"), dtype=torch.int8)
    assert others._their_dtype(like) == str(choose("cpu", "fast").dtype).removeprefix("torch.")
    like.dtype = torch.float16
    assert others._their_dtype(like) == "float16"
