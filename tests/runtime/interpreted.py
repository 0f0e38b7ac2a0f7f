"""Kernels beside their plain twins under Triton's interpreter; test_kernels.py runs this in its own process.

The interpreter has to be asked for before Triton is imported, which PyTorch may do at any time. It has no
matrix products of bfloat16; that the kernel for them compiles is tested there.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from maskwright.runtime.absorb_memory import absorb_memory
from maskwright.runtime.kernels.attention import attend_plain, attend_split
from maskwright.runtime.kernels.masks import draw_packed, draw_packed_plain, unpack
from small import SMALL, lively

TOLERANCE = {torch.float32: 2e-6, torch.float16: 4e-3}


def random(*shape: int, seed: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def inputs(num: int, queries: int, keys: int, dtype: torch.dtype = torch.float32) -> tuple[Tensor, ...]:
    """With strides of several kinds."""
    query = random(num, queries, 1, 32, seed=1, dtype=dtype).transpose(1, 2)
    key = random(num, 1, 32, keys, seed=2, dtype=dtype).transpose(2, 3)
    value = random(num, 1, keys, 24, seed=3, dtype=dtype)[..., 4:20]
    return query, key, value


@pytest.fixture(autouse=True, scope="session")
def interpreter() -> None:
    """Skips everything where NumPy has become stricter than this Triton knows."""
    try:
        attend_split(*inputs(1, 16, 16), None, splits=1)
    except Exception as error:
        if "0-dimensional arrays" not in str(error):
            raise
        pytest.skip("the interpreter of this Triton does not go with this NumPy")


def test_the_interpreter_runs() -> None:
    from maskwright.runtime.kernels.attention_triton import attend_to_part

    assert type(attend_to_part).__name__ == "InterpretedFunction"


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("splits", [1, 2, 5])
def test_attention(splits: int, dtype: torch.dtype) -> None:
    query, key, value = inputs(2, 35, 150, dtype)
    found = attend_split(query, key, value, None, splits=splits)
    wanted = attend_plain(query.float(), key.float(), value.float(), None)
    assert found.dtype is dtype
    torch.testing.assert_close(found.float(), wanted, rtol=0, atol=TOLERANCE[dtype])


def test_attention_with_masks_and_lengths() -> None:
    query, key, value = inputs(3, 17, 90)
    mask = torch.rand(3, 1, 1, 90, generator=torch.Generator().manual_seed(5)) > 0.4
    mask[1, ..., 32:64] = False  # a whole tile of keys
    mask[2] = False
    lengths = torch.tensor([0, 64, 90]), torch.tensor([33, 1, 40], dtype=torch.int32), None
    for length in lengths:
        for some in (mask, None, mask[:1]):
            found = attend_split(query, key, value, some, lengths_N=length, splits=3)
            wanted = attend_plain(query, key, value, some, lengths_N=length)
            torch.testing.assert_close(found, wanted, rtol=0, atol=2e-6)


def test_attention_with_large_scores() -> None:
    query, key, value = inputs(1, 16, 64)
    found = attend_split(100 * query, 100 * key, value, None, splits=2)
    torch.testing.assert_close(found, attend_plain(100 * query, 100 * key, value, None), rtol=0, atol=1e-4)


def test_shared_queries_and_values() -> None:
    """One frame's queries for all objects: expanded views, which are never copied."""
    query, _, value = inputs(1, 16, 40)
    many = query.expand(3, -1, -1, -1), random(3, 1, 40, 32, seed=8), value.expand(3, -1, -1, -1)
    found = attend_split(*many, None, splits=2)
    torch.testing.assert_close(found, attend_plain(*many, None), rtol=0, atol=2e-6)


@torch.inference_mode()
def test_recall_through_the_kernel() -> None:
    from maskwright.model.memory_bank import empty_bank

    network = lively(SMALL)
    bank = empty_bank(SMALL, 2, 3, 2, "cpu", torch.float32)
    bank.memories_OSID.copy_(random(*bank.memories_OSID.shape, seed=1))
    bank.pointers_OPC.copy_(random(*bank.pointers_OPC.shape, seed=2))
    bank.frames_OS.copy_(torch.arange(3).expand(2, -1))
    bank.frames_OS[1, 2] = -(1 << 40)
    bank.pointer_frames_OP.copy_(torch.arange(2).expand(2, -1))
    now = (torch.tensor([3, 3]), torch.tensor(1), torch.tensor(15.0))
    features = network.encode_image(random(1, 3, 64, 64, seed=0))
    wanted = network.recall(features, bank, *now).low_BCHW
    calls = []

    def split(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        calls.append(key.shape)
        return attend_split(query, key, value, mask, splits=2)

    found = absorb_memory(network, split).recall(features, bank, *now).low_BCHW
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)
    assert calls == [(2, 1, 3 * 16 + 2 * 4, 64)]


@pytest.mark.parametrize(
    ("size", "dtype"),
    [
        ((19, 53), torch.float32),
        ((8, 8), torch.bfloat16),
        ((3, 520), torch.float16),
        ((16, 16), torch.float32),
        ((1, 1), torch.float32),
    ],
    ids=str,
)
def test_packed_masks(size: tuple[int, int], dtype: torch.dtype) -> None:
    logits = random(2, 16, 16, seed=4, dtype=dtype)
    for view in (logits, logits.transpose(1, 2)):
        found, wanted = draw_packed(view, size, 0.3), draw_packed_plain(view, size, 0.3)
        assert found.dtype is torch.uint8
        assert found.shape == wanted.shape == (2, size[0], -(-size[1] // 8))
        assert (unpack(found, size[1]) == unpack(wanted, size[1])).all()
        assert torch.equal(found, wanted)  # what pads a row as well
