from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from maskwright.runtime import processor
from maskwright.runtime.processor import answered, described, instruction_sets, listed, processor_name

X86 = "processor\t: 0\nmodel name\t: A\nflags\t\t: fpu sse2 avx2 avx512f avx512_bf16 amx_bf16 amx_tile\n"
ARM = "processor\t: 0\nFeatures\t: fp asimd bf16 i8mm\n"


def test_linux_lists_them() -> None:
    assert listed(X86) == {"avx2", "avx512f", "avx512_bf16", "amx_bf16", "amx_tile"}
    assert listed(ARM) == {"asimd", "bf16", "i8mm"}
    assert listed("") == set()


def test_every_torch_is_asked_what_it_knows() -> None:
    old = SimpleNamespace(_is_avx2_supported=lambda: True)
    new = SimpleNamespace(_is_avx512_bf16_supported=lambda: True, _is_amx_tile_supported=lambda: False)
    assert answered(old) == {"avx2"}
    assert answered(new) == {"avx512_bf16"}
    assert answered(SimpleNamespace()) == set()


def test_where_there_is_no_list_torch_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processor, "text_of", lambda _path: "")
    monkeypatch.setattr(torch, "cpu", SimpleNamespace(_is_amx_tile_supported=lambda: True))
    assert instruction_sets.__wrapped__() == {"amx_tile", "amx_bf16"}


def test_this_processor_has_a_name() -> None:
    assert processor_name()
    assert instruction_sets() <= set(processor.KNOWN)


def test_it_is_described_with_its_instruction_sets() -> None:
    name, _, sets = described().removesuffix(")").rpartition(" (")
    assert name == processor_name()
    assert instruction_sets() <= set(sets.split(", "))
