"""The quicker parts for processors do what the plain ones do: with weights packed, in blocks, in pieces."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from layers import check_layers, error, random
from maskwright.config import NANO
from maskwright.model.mask_decoder import ImageFeatures
from maskwright.model.memory_bank import EMPTY, MemoryBank, empty_bank
from maskwright.model.prompt_encoder import NO_POINT, PromptTensors
from maskwright.runtime.cpu import attend as blocks
from maskwright.runtime.cpu import memory, trunk
from maskwright.runtime.cpu.attend import attend
from maskwright.runtime.cpu.pack import pack
from maskwright.runtime.cpu.packed import PackedLinear, packs
from maskwright.runtime.eager import Eager, place
from maskwright.runtime.protocol import Moment
from maskwright.runtime.select import choose
from small import SMALL, lively

NEAR = {torch.float32: 1e-5, torch.bfloat16: 2e-2}
DTYPES = list(NEAR)
PACKED = [
    pytest.param(
        dtype,
        id=str(dtype).removeprefix("torch."),
        marks=pytest.mark.skipif(not packs(dtype), reason=f"no packed layers in {dtype} on this processor"),
    )
    for dtype in DTYPES
]
# pooled and padded windows, and a global block that begins a stage
CONFIG = replace(SMALL.at(128), memory_layers=2)
NUM_OBJECTS = 2

pytestmark = pytest.mark.skipif(not packs(torch.float32), reason="PyTorch without oneDNN")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("queries", "keys", "width"), [(9, 9, 16), (100, 700, 16), (100, 700, 8), (70, 16, 8)]
)
@pytest.mark.parametrize("masked", [False, True])
def test_attention(
    monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype, queries: int, keys: int, width: int, masked: bool
) -> None:
    monkeypatch.setattr(blocks, "BLOCK", 32)  # the last block is smaller
    monkeypatch.setattr(blocks, "SCORE_BYTES", 1 << 14)
    monkeypatch.setattr(blocks, "TILE", 64)
    shapes = (queries, 16), (keys, 16), (keys, width)
    # strided, as heads of a wider map are
    q, k, v = (random(2, t, 3, d, seed=t + d).to(dtype).transpose(1, 2) for t, d in shapes)
    mask = torch.arange(keys) % 3 > torch.tensor([0, 1])[:, None] if masked else None
    at = None if mask is None else mask[:, None, None]
    wanted = F.scaled_dot_product_attention(q.double(), k.double(), v.double(), attn_mask=at, scale=1.0)
    assert error(attend(q, k, v, at), wanted) < NEAR[dtype]
    if masked:
        assert error(attend(q, k, v), wanted) > 2 * NEAR[dtype]


@pytest.mark.parametrize("dtype", DTYPES)
def test_attention_to_nothing_is_nothing(dtype: torch.dtype) -> None:
    q, k, v = (random(2, 1, 9, 8, seed=seed).to(dtype) for seed in range(3))
    mask = torch.tensor([[False] * 9, [True] * 9])[:, None, None]
    found = attend(q, k, v, mask)
    assert not found[0].any()
    assert torch.equal(found[1:], attend(q[1:], k[1:], v[1:]))


@pytest.mark.parametrize("dtype", PACKED)
def test_packed_layers(dtype: torch.dtype) -> None:
    check_layers(PackedLinear, dtype, 24, 40, (3, 5), NEAR[dtype])


def full_bank(empty: int = 0) -> MemoryBank:
    """Two objects, the second with so many slots less."""
    bank = empty_bank(CONFIG, NUM_OBJECTS, 3, 4, "cpu", torch.float32)
    bank.memories_OSID.copy_(random(*bank.memories_OSID.shape, seed=1))
    bank.pointers_OPC.copy_(random(*bank.pointers_OPC.shape, seed=2))
    bank.frames_OS.copy_(torch.arange(3).expand(NUM_OBJECTS, -1))
    bank.pointer_frames_OP.copy_(torch.arange(4).expand(NUM_OBJECTS, -1) - 1)
    bank.prompted_OS[:, 0] = True
    if empty:
        bank.frames_OS[1, -empty:] = EMPTY
    return bank


@torch.inference_mode()
def answers(runtime: Eager, bank: MemoryBank, *, masked: bool) -> list[Tensor]:
    features = runtime.encode_image(random(1, 3, 128, 128))
    now = Moment(torch.full((NUM_OBJECTS,), 3), 1, 15)
    return [*features.levels, runtime.recall(features, bank, now, masked=masked).low_BCHW]


def plain_and_packed(dtype: str | torch.dtype) -> tuple[Eager, Eager]:
    choice = choose("cpu", dtype)
    return Eager(lively(CONFIG), choice), Eager(pack(lively(CONFIG), choice.dtype), choice)


@pytest.mark.parametrize("raw", [False, True])
@pytest.mark.parametrize("empty", [0, 1])
def test_a_packed_network_gives_the_same_in_float32(
    monkeypatch: pytest.MonkeyPatch, empty: int, raw: bool
) -> None:
    monkeypatch.setattr(memory, "mixes_raw", lambda dtype: raw)
    plain, packed = plain_and_packed("float32")
    bank = full_bank(empty)
    pairs = zip(
        answers(packed, bank, masked=bool(empty)), answers(plain, bank, masked=bool(empty)), strict=True
    )
    assert max(error(found, wanted) for found, wanted in pairs) < 1e-5


@pytest.mark.parametrize("empty", [0, 1])
def test_in_bfloat16_it_is_as_near_as_autocast(empty: int) -> None:
    exact = answers(plain_and_packed("float32")[0], full_bank(empty), masked=bool(empty))
    plain, packed = (
        [error(a, b) for a, b in zip(answers(one, full_bank(empty), masked=bool(empty)), exact, strict=True)]
        for one in plain_and_packed("bfloat16")
    )
    assert all(0 < a < 1.3 * b for a, b in zip(packed, plain, strict=True))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_pieces_make_no_difference(monkeypatch: pytest.MonkeyPatch, dtype: str) -> None:
    packed = plain_and_packed(dtype)[1]
    wanted = packed.encode_image(random(2, 3, 128, 128))
    monkeypatch.setattr(trunk, "PIECE_BYTES", 1 << 14)
    found = packed.encode_image(random(2, 3, 128, 128))
    near = NEAR[choose("cpu", dtype).dtype]  # how oneDNN sums up may depend on the number of rows
    assert max(error(a, b) for a, b in zip(found.levels, wanted.levels, strict=True)) < near


@pytest.mark.parametrize("dtype", PACKED)
def test_names_and_fingerprint_stay(dtype: torch.dtype) -> None:
    plain, packed = plain_and_packed(dtype)
    assert packed.fingerprint() == plain.fingerprint()
    assert type(packed._network.trunk) is trunk.PackedHiera
    assert packed._network.state_dict().keys() == plain._network.state_dict().keys()


def test_a_callers_autocast_decides() -> None:
    plain, packed = plain_and_packed("float32")
    with torch.autocast("cpu", torch.bfloat16):
        found, wanted = (answers(one, full_bank(), masked=False) for one in (packed, plain))
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)


@pytest.mark.parametrize("why", ["dtype", "oneDNN", "wrong numbers"])
def test_what_cannot_be_packed_stays(monkeypatch: pytest.MonkeyPatch, why: str) -> None:
    network = lively(SMALL)
    before = type(network.trunk), type(network.memory_attention)
    packs.cache_clear()
    if why == "oneDNN":
        monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    if why == "wrong numbers":
        monkeypatch.setattr(PackedLinear, "into", lambda self, reduce, x_C, *_: x_C)
    pack(network, torch.float16 if why == "dtype" else torch.float32)
    packs.cache_clear()
    assert (type(network.trunk), type(network.memory_attention)) == before


def test_nano_has_nothing_to_pack() -> None:
    network = lively(NANO.at(64))
    kinds = [type(module) for module in network.modules()]
    assert [type(module) for module in pack(network, torch.float32).modules()] == kinds


def test_of_nano_only_the_encoder_runs_in_half_precision() -> None:
    prompts = PromptTensors(torch.tensor([[[[20.0, 30.0], [0.0, 0.0]]]]), torch.tensor([[[1, NO_POINT]]]))
    exact, half = (Eager(lively(NANO.at(64)), choose("cpu", dtype)) for dtype in ("float32", "bfloat16"))
    found, wanted = (one.encode_image(random(1, 3, 64, 64)) for one in (half, exact))
    assert found.low_BCHW.dtype is torch.float32
    assert 1e-4 < error(found.low_BCHW, wanted.low_BCHW) < 0.05
    for a, b in zip(half.decode(wanted, prompts), exact.decode(wanted, prompts), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)


@pytest.mark.parametrize("dtype", PACKED)
def test_a_network_for_the_processor_is_packed_when_it_is_placed(dtype: torch.dtype) -> None:
    choice = choose("cpu", dtype)
    assert type(place(lively(SMALL), choice).trunk) is trunk.PackedHiera
    features = Eager(place(lively(SMALL), choice), choice).encode_image(random(1, 3, 64, 64))
    assert isinstance(features, ImageFeatures)
    assert features.low_BCHW.dtype is dtype
