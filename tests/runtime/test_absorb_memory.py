"""Memory cross-attention over the memories themselves gives the same numbers, in double precision."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from maskwright.config import NANO
from maskwright.model.attention import Attention
from maskwright.model.memory_bank import MemoryBank, empty_bank
from maskwright.model.position import rotary_table
from maskwright.model.sam2 import SAM2
from maskwright.runtime.absorb_memory import RawValues, absorb_memory, plain_attend
from maskwright.runtime.eager import Eager
from maskwright.runtime.select import choose
from small import SMALL, lively

WIDTH, MEMORY, GRID, FRAMES = 32, 8, 4, 3


def random(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def cross_attention() -> Attention:
    layer = Attention(WIDTH, 1, memory_width=MEMORY).double()
    for number, parameter in enumerate(layer.parameters()):
        parameter.data.copy_(random(*parameter.shape, seed=number) / 3)
    return layer.requires_grad_(False)


@pytest.mark.parametrize("turned", [True, False], ids=["rotary", "not turned"])
@pytest.mark.parametrize("placeless", [0, 5])
@pytest.mark.parametrize("masked", [True, False], ids=["masked", "all visible"])
@pytest.mark.parametrize(("askers", "objects"), [(1, 1), (1, 3), (3, 3), (3, 1)])
def test_one_layer(askers: int, objects: int, masked: bool, placeless: int, turned: bool) -> None:
    plain = cross_attention()
    keys = FRAMES * GRID**2 + placeless
    query, memory = random(askers, GRID**2, WIDTH, seed=9), random(objects, keys, MEMORY, seed=10)
    placed = memory + random(objects, keys, MEMORY, seed=11)
    mask = None
    if masked:
        mask = torch.rand(objects, 1, 1, keys, generator=torch.Generator().manual_seed(4)) > 0.5
    table = rotary_table(GRID, GRID, WIDTH, torch.device("cpu"))
    options = {
        "mask": mask,
        "rotary": tuple(part.double() for part in table) if turned else None,
        "num_placeless": placeless,
    }
    wanted = plain(query, placed, memory, **options)
    found = RawValues(plain)(query, placed, memory, **options)
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)
    if masked:
        assert not torch.allclose(found, plain(query, placed, memory, **{**options, "mask": None}))


def remembered(network: SAM2, objects: int = 2) -> MemoryBank:
    """A bank whose second object holds one memory less."""
    config = network.config
    bank = empty_bank(config, objects, 3, 4, "cpu", torch.float64)
    bank.memories_OSID.copy_(random(*bank.memories_OSID.shape, seed=1))
    bank.frames_OS.copy_(torch.arange(3).expand(objects, -1))
    bank.frames_OS[1, 2] = -(1 << 40)
    bank.prompted_OS[:, 0] = True
    bank.pointer_frames_OP.copy_(torch.arange(4).expand(objects, -1) - 1)
    return bank._replace(pointers_OPC=random(*bank.pointers_OPC.shape, seed=2))


@pytest.mark.parametrize("masked", [True, False])
@torch.inference_mode()
def test_recall(masked: bool) -> None:
    network = lively(SMALL).double()
    names = list(network.state_dict())
    now = (torch.tensor([3, 3]), torch.tensor(1), torch.tensor(15.0).double())
    features = network.encode_image(random(1, 3, 64, 64, seed=0))
    wanted = network.recall(features, remembered(network), *now, masked=masked).low_BCHW
    calls = []

    def counted(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        assert value.shape[-1] == SMALL.memory_width
        assert query.dtype == key.dtype == value.dtype
        calls.append(mask)
        return plain_attend(query, key, value, mask)

    absorb_memory(network, counted)
    assert list(network.state_dict()) == names
    found = network.recall(features, remembered(network), *now, masked=masked).low_BCHW
    torch.testing.assert_close(found, wanted, rtol=1e-11, atol=1e-11)
    assert len(calls) == SMALL.memory_layers
    assert (calls[0] is not None) == masked
    absorb_memory(network)
    torch.testing.assert_close(
        network.recall(features, remembered(network), *now, masked=masked).low_BCHW, found
    )
    assert len(calls) == SMALL.memory_layers


@torch.inference_mode()
def test_queries_keys_and_values_have_the_dtype_of_autocast() -> None:
    layer, seen = cross_attention().float(), []

    def noted(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        seen.extend((query.dtype, key.dtype, value.dtype))
        return plain_attend(query, key, value, mask)

    table = rotary_table(GRID, GRID, WIDTH, torch.device("cpu"))
    query, memory = random(1, 16, WIDTH, seed=9).float(), random(1, 16, MEMORY, seed=10).float()
    with torch.autocast("cpu", torch.bfloat16):
        RawValues(layer, noted)(query, memory, memory, rotary=table)
    assert set(seen) == {torch.bfloat16}


def test_fingerprints_stay_and_nano_has_nothing_to_absorb() -> None:
    choice = choose("cpu", None)
    network = lively(SMALL)
    before = Eager(network, choice).fingerprint()
    assert Eager(absorb_memory(network), choice).fingerprint() == before
    nano = lively(NANO.at(64))
    modules = [id(module) for module in nano.modules()]
    absorb_memory(nano)
    assert [id(module) for module in nano.modules()] == modules
