"""Attention for processors: matrix products in blocks of queries, with no more scores than fit the caches.

PyTorch's own attention computes in float32 on processors without AMX, whatever the dtype of its arguments;
here the products run in that dtype, which with AVX512-BF16 is twice as quick. Values may be narrower than
keys, which PyTorch's own does not take. Scores are rounded to the dtype before the softmax, whose inside is
float32.

Axes: N batch, H heads, Q queries, T keys, D channels of a query or key, V channels of a value.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

SCORE_BYTES = 32 << 20
"""Scores that are held at a time, at most; twice, before and after the softmax."""
BLOCK = 512
"""Queries of a block, at most: fewer leave the product of queries and keys waiting for memory."""
FEW_KEYS = 512
"""Up to as many keys, products run for many heads at once; beyond, head by head."""
TILE = 1024
"""Queries and keys of a tile in float32, where products with whole rows of scores are slow."""


def attend(query_NHQD: Tensor, key_NHTD: Tensor, value_NHTV: Tensor, mask: Tensor | None = None) -> Tensor:
    """softmax(Q K^T) V, (N, H, Q, V), of queries that are scaled, all of one dtype and with the same N and H.

    Tensors may be views with strides of any kind. ``mask``: boolean, (N, 1, 1, T) or with 1 in place of N,
    True where a key may be seen; where none may, the result is 0.
    """
    if mask is not None:
        return _attend_visible(query_NHQD, key_NHTD, value_NHTV, mask)
    same_width = query_NHQD.shape[-1] == value_NHTV.shape[-1]
    if query_NHQD.dtype is torch.float32 and same_width:
        return F.scaled_dot_product_attention(query_NHQD, key_NHTD, value_NHTV, scale=1.0)
    # oneDNN copies what is not contiguous, in every product anew
    query_MQD, key_MTD, value_MTV = (x.flatten(0, 1).contiguous() for x in (query_NHQD, key_NHTD, value_NHTV))
    many = _by_tiles if query_NHQD.dtype is torch.float32 else _one_by_one
    mix = _at_once if key_MTD.shape[1] <= FEW_KEYS else many
    return mix(query_MQD, key_MTD, value_MTV).unflatten(0, query_NHQD.shape[:2])


def _attend_visible(query_NHQD: Tensor, key_NHTD: Tensor, value_NHTV: Tensor, mask_N11T: Tensor) -> Tensor:
    """The same with the keys that may be seen only, each of the batch by itself."""
    num = len(query_NHQD)
    visible_NT = mask_N11T[:, 0, 0].expand(num, -1)
    parts = []
    for one in range(num):
        seen = visible_NT[one].nonzero()[:, 0]
        query = query_NHQD[one : one + 1]
        key, value = (x[one : one + 1].index_select(2, seen) for x in (key_NHTD, value_NHTV))
        nothing = query.new_zeros(*query.shape[:3], value.shape[3])
        parts.append(attend(query, key, value) if len(seen) else nothing)
    return torch.cat(parts)


def _at_once(query_MQD: Tensor, key_MTD: Tensor, value_MTV: Tensor) -> Tensor:
    """Few keys and queries, many heads and windows."""
    per_head = query_MQD.shape[1] * key_MTD.shape[1] * query_MQD.element_size()
    step = max(1, SCORE_BYTES // 4 // per_head)
    parts = [
        torch.bmm(torch.bmm(query, key.transpose(1, 2)).softmax(-1), value)
        for query, key, value in zip(*(x.split(step) for x in (query_MQD, key_MTD, value_MTV)), strict=True)
    ]
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def _one_by_one(query_MQD: Tensor, key_MTD: Tensor, value_MTV: Tensor) -> Tensor:
    """Many keys: blocks of queries see all of them; two buffers serve all blocks."""
    (num, queries, _), keys = query_MQD.shape, key_MTD.shape[1]
    out_MQV = value_MTV.new_empty(num, queries, value_MTV.shape[2])
    rows = max(16, SCORE_BYTES // (keys * query_MQD.element_size()) // 16 * 16)
    rows = min(rows, BLOCK, queries)
    scores_QT = query_MQD.new_empty(rows, keys)
    shares_QT = torch.empty_like(scores_QT)
    for query_QD, key_TD, value_TV, out_QV in zip(query_MQD, key_MTD, value_MTV, out_MQV, strict=True):
        key_DT = key_TD.t()
        for start in range(0, queries, rows):
            block_QD = query_QD[start : start + rows]
            scores, shares = scores_QT[: len(block_QD)], shares_QT[: len(block_QD)]
            torch.mm(block_QD, key_DT, out=scores)
            torch.softmax(scores, -1, out=shares)
            torch.mm(shares, value_TV, out=out_QV[start : start + rows])
    return out_MQV


def _by_tiles(query_MQD: Tensor, key_MTD: Tensor, value_MTV: Tensor) -> Tensor:
    """Many keys: a block of queries goes from tile to tile, with the largest score and the sums so far."""
    (num, queries, _), keys = query_MQD.shape, key_MTD.shape[1]
    scores_QT = query_MQD.new_empty(min(TILE, queries), min(TILE, keys))
    # a column of ones among the values makes the product sum up the shares as well
    value_MTV = F.pad(value_MTV, (0, 1), value=1.0)
    out_MQV = value_MTV.new_empty(num, queries, value_MTV.shape[2])
    for query_QD, key_TD, value_TV, out_QV in zip(query_MQD, key_MTD, value_MTV, out_MQV, strict=True):
        for block_QD, sum_QV in zip(query_QD.split(TILE), out_QV.split(TILE), strict=True):
            _sum_up(block_QD, key_TD, value_TV, scores_QT, sum_QV.zero_())
    return out_MQV[..., :-1] / out_MQV[..., -1:]


def _sum_up(query_QD: Tensor, key_TD: Tensor, value_TV: Tensor, buffer_QT: Tensor, sum_QV: Tensor) -> None:
    """Add exp(score - largest score) times value, of all keys, to zeros."""
    largest_Q1 = query_QD.new_full((len(query_QD), 1), -torch.inf)
    for tile_TD, tile_TV in zip(key_TD.split(TILE), value_TV.split(TILE), strict=True):
        scores_QT = buffer_QT[: len(query_QD), : len(tile_TD)]
        torch.mm(query_QD, tile_TD.t(), out=scores_QT)
        before_Q1, largest_Q1 = largest_Q1, torch.maximum(largest_Q1, scores_QT.amax(1, keepdim=True))
        scores_QT.sub_(largest_Q1).exp_()
        sum_QV.mul_(torch.exp(before_Q1 - largest_Q1)).addmm_(scores_QT, tile_TV)
