from __future__ import annotations

import pytest
import torch

from maskwright.errors import InputError
from maskwright.runtime import select
from maskwright.runtime.select import available_devices, choose


class Cuda:
    """A machine with GPUs, as far as ``select`` asks."""

    def __init__(self, capability: tuple[int, int], count: int = 1) -> None:
        self.capability, self.count = capability, count

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: self.count)
        monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _device: self.capability)
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda _device: "Test GPU")


@pytest.fixture
def no_accelerator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


def test_the_cpu_computes_in_float32(no_accelerator: None) -> None:
    choice = choose()
    assert (choice.device, choice.dtype, choice.dtype_name) == (torch.device("cpu"), torch.float32, "float32")
    assert choice.reason.startswith("cpu (the best device here)")


@pytest.mark.parametrize(
    ("capability", "dtype"),
    [
        ((6, 1), torch.float32),
        ((7, 0), torch.float16),
        ((7, 5), torch.float16),
        ((8, 0), torch.bfloat16),
        ((8, 9), torch.bfloat16),
        ((9, 0), torch.bfloat16),
        ((12, 0), torch.bfloat16),
    ],
)
def test_each_generation_of_gpus_has_its_fast_dtype(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], dtype: torch.dtype
) -> None:
    Cuda(capability).install(monkeypatch)
    choice = choose(dtype="fast")
    assert (choice.device, choice.dtype) == (torch.device("cuda:0"), dtype)
    assert str(dtype).removeprefix("torch.") in choice.reason
    assert choose().dtype is torch.float32


def test_a_dtype_that_was_asked_for_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    Cuda((8, 0), count=2).install(monkeypatch)
    choice = choose("cuda:1", "float32")
    assert (choice.device, choice.dtype) == (torch.device("cuda:1"), torch.float32)
    assert choose("cuda").device == torch.device("cuda:0")


def test_a_t4_never_gets_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    Cuda((7, 5)).install(monkeypatch)
    with pytest.raises(InputError, match="Test GPU has no bfloat16; use dtype='float16'"):
        choose("cuda", "bfloat16")


def test_apple_gpus_stay_exact(no_accelerator: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    choice = choose(dtype="fast")
    assert (choice.device.type, choice.dtype) == ("mps", torch.float32)
    assert choose("mps:0").device == torch.device("mps")


@pytest.mark.parametrize(
    ("has", "dtype", "why"),
    [
        ({"avx2", "avx512f", "avx512_bf16"}, torch.bfloat16, "AVX512-BF16"),
        ({"avx512f", "avx512_bf16", "amx_tile", "amx_bf16"}, torch.bfloat16, "AMX"),
        ({"avx2", "avx512f", "avx512_vnni"}, torch.float32, "no instructions for half precision"),
        ({"asimd", "bf16"}, torch.float32, "Arm"),
        (set(), torch.float32, "no instructions"),
    ],
)
def test_processors_by_their_instructions(
    no_accelerator: None, monkeypatch: pytest.MonkeyPatch, has: set[str], dtype: torch.dtype, why: str
) -> None:
    monkeypatch.setattr(select, "instruction_sets", lambda: frozenset(has))
    assert choose().dtype is torch.float32
    assert choose(dtype="fast").dtype is dtype
    assert why in choose(dtype="fast").reason
    assert select.row_of(torch.device("cpu")).fast is dtype


def test_every_kind_of_device_ends_in_a_row_without_conditions() -> None:
    last = {row.device: row for row in select.TABLE}
    assert set(last) == {"cuda", "mps", "cpu"}
    assert all(row.capability == (0, 0) and row.fast is torch.float32 for row in last.values())
    assert all(row.needs == "" for row in last.values())


@pytest.mark.parametrize("dtype", ["bf16", "bfloat16", "torch.bfloat16", torch.bfloat16, "BFLOAT16"])
def test_dtypes_have_several_spellings(dtype: str | torch.dtype) -> None:
    assert choose("cpu", dtype).dtype is torch.bfloat16


@pytest.mark.parametrize("dtype", ["float64", "int4", "", torch.int64])
def test_unknown_dtype(dtype: str | torch.dtype) -> None:
    with pytest.raises(InputError, match="use float32, bfloat16, float16, int8 or fast"):
        choose("cpu", dtype)


@pytest.mark.parametrize("device", ["gpu", "", "cuda:x"])
def test_unknown_device(device: str) -> None:
    with pytest.raises(InputError, match="unknown device"):
        choose(device)


@pytest.mark.parametrize("device", ["cuda", "cuda:0", "mps", "xpu", "meta"])
def test_absent_device(no_accelerator: None, device: str) -> None:
    with pytest.raises(InputError, match="not available on this machine; use one of cpu"):
        choose(device)


def test_devices_are_listed_best_first(monkeypatch: pytest.MonkeyPatch) -> None:
    Cuda((8, 0), count=2).install(monkeypatch)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert [str(device) for device in available_devices()] == ["cuda:0", "cuda:1", "cpu"]
