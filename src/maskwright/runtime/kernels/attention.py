"""Attention of many queries to very many keys with narrow values: memory cross-attention on GPUs.

One head and 4096 queries make 32 tiles of work, which leaves most of a large GPU idle. Here the keys are
split as well: each part keeps its running maximum and sum, and a second small kernel puts the parts together
("Flash-Decoding", Dao et al. 2023). How many keys count is read on the device, and nothing waits for the
host.

Axes: N objects, H heads (1), I queries, T keys, S splits, D channels of a query or key, V of a value.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

MAX_SPLITS = 8
"""More parts than this cost more in putting them together than they win."""
MIN_KEYS_PER_SPLIT = 512
"""Shorter parts are not worth a program of their own."""

ROOMY = ((8, 0), (8, 7), (9, 0), (10, 0), (10, 3))
"""Capabilities with 160 KiB or more of shared memory for a block; other cards from sm_80 on have 99 KiB."""


def attend_plain(
    query_NHID: Tensor,
    key_NHTD: Tensor,
    value_NHTV: Tensor,
    mask: Tensor | None,
    *,
    lengths_N: Tensor | None = None,
) -> Tensor:
    """The plain twin of :func:`attend_split`: the same function by PyTorch's own kernels."""
    if lengths_N is not None:
        keys_T = torch.arange(key_NHTD.shape[2], device=key_NHTD.device)
        within_N11T = keys_T < lengths_N[:, None, None, None]
        mask = within_N11T if mask is None else mask & within_N11T
    out_NHIV = F.scaled_dot_product_attention(query_NHID, key_NHTD, value_NHTV, attn_mask=mask)
    return out_NHIV if mask is None else out_NHIV.where(mask.any(-1, keepdim=True), 0)


def attend_split(
    query_NHID: Tensor,
    key_NHTD: Tensor,
    value_NHTV: Tensor,
    mask: Tensor | None,
    *,
    lengths_N: Tensor | None = None,
    splits: int | None = None,
) -> Tensor:
    """softmax(Q K^T / sqrt(D)) V, (N, 1, I, V), by Triton; fulfils ``absorb_memory.Attend``.

    Sums are float32, and float32 inputs are multiplied as such, without TF32, which is slow. For cards from
    sm_80 on: before, Triton multiplies without tensor cores. Not yet measured on a GPU.

    Args:
        query_NHID: float32, bfloat16 or float16, with one head; strides may be of any kind. D and V are
            powers of two of at least 16.
        key_NHTD: Of the same dtype.
        value_NHTV: Of the same dtype.
        mask: Boolean (N or 1, 1, 1, T), True where a key counts; None where all do. A query that no key
            counts for gets 0.
        lengths_N: Number of leading keys that count, int32 or int64, on the device; None where all do.
        splits: Parts that the keys are divided into; None for what suits the device.
    """
    from maskwright.runtime.kernels.attention_triton import attend_to_part, merge_parts

    _check(query_NHID, key_NHTD, value_NHTV, mask)
    query, key, value = query_NHID[:, 0], key_NHTD[:, 0], value_NHTV[:, 0]
    (num, queries, channels), keys, width = query.shape, key.shape[1], value.shape[2]
    rows, columns, warps = tile(query.dtype, query.device)
    rows, columns = min(rows, _power_of_two(queries)), min(columns, _power_of_two(keys))
    tiles = -(-queries // rows)
    splits = splits or _suitable_splits(query.device, num * tiles, keys)
    visible = None if mask is None else mask[:, 0, 0].expand(num, -1).view(torch.uint8)
    sums = query.new_empty((num, splits, queries, width), dtype=torch.float32)
    most, total = (query.new_empty((num, splits, queries), dtype=torch.float32) for _ in range(2))
    out = query.new_empty((num, queries, width))
    attend_to_part[(tiles, splits, num)](
        query,
        key,
        value,
        query if visible is None else visible,
        query if lengths_N is None else lengths_N,
        sums,
        most,
        total,
        queries,
        keys,
        math.log2(math.e) / math.sqrt(channels),
        *query.stride(),
        *key.stride(),
        *value.stride(),
        *((0, 0) if visible is None else visible.stride()),
        0 if lengths_N is None else lengths_N.stride(0),
        SPLITS=splits,
        CHANNELS=channels,
        VALUES=width,
        QUERIES_PER_TILE=rows,
        KEYS_PER_TILE=columns,
        HAS_VISIBLE=visible is not None,
        HAS_LENGTH=lengths_N is not None,
        EXACT=query.dtype is torch.float32,
        num_warps=warps,
        num_stages=2,
    )
    merge_parts[(tiles, num)](
        sums, most, total, out, queries, SPLITS=splits, VALUES=width, QUERIES_PER_TILE=rows, num_warps=4
    )
    return out[:, None]


def _check(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> None:
    """Only what the kernel cannot say itself: it would read beyond its tensors."""
    assert query.shape[1] == key.shape[1] == value.shape[1] == 1
    assert len(query) == len(key) == len(value)
    assert key.shape[2] == value.shape[2]
    assert query.dtype == key.dtype == value.dtype
    for width in (query.shape[3], value.shape[3]):
        assert width >= 16
        assert width & (width - 1) == 0
    assert query.shape[3] == key.shape[3]
    assert mask is None or mask.shape[1:] == (1, 1, key.shape[2])


def tile(dtype: torch.dtype, device: torch.device) -> tuple[int, int, int]:
    """Queries and keys of a tile, and its warps: what shared memory has room for at D = 256, V = 64."""
    if dtype is torch.float32:
        return 32, 32, 4
    roomy = device.type == "cuda" and torch.cuda.get_device_capability(device) in ROOMY
    return (128, 64, 8) if roomy else (64, 64, 4)


def _power_of_two(number: int) -> int:
    """The next one, at least 16: the smallest side of a matrix product."""
    return max(16, 1 << (number - 1).bit_length())


def _suitable_splits(device: torch.device, programs: int, keys: int) -> int:
    """A power of two, so that there is about one program for each multiprocessor."""
    if device.type != "cuda":
        return 1
    wanted = torch.cuda.get_device_properties(device).multi_processor_count / programs
    most = min(MAX_SPLITS, max(1, keys // MIN_KEYS_PER_SPLIT))
    return min(most, 1 << max(0, math.ceil(math.log2(wanted)))) if wanted > 1 else 1
