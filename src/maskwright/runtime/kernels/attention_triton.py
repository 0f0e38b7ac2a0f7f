"""The source of the split attention; see ``kernels.attention``, which launches it.

Axes: N objects, I queries, T keys, S splits of the keys, D channels of a query or key, V of a value.
"""

import triton  # noqa: TID253 (this module is itself imported in the function that launches it)
import triton.language as tl  # noqa: TID253

NOTHING = tl.constexpr(-1.0e30)
"""Running maximum where no key was seen: finite, so that differences of two are numbers."""


@triton.jit
def attend_to_part(
    query_NID,
    key_NTD,
    value_NTV,
    visible_NT,
    length_N,
    sums_NSIV,
    most_NSI,
    total_NSI,
    num_queries,
    num_keys,
    scale,
    query_n,
    query_i,
    query_d,
    key_n,
    key_t,
    key_d,
    value_n,
    value_t,
    value_v,
    visible_n,
    visible_t,
    length_n,
    SPLITS: tl.constexpr,
    CHANNELS: tl.constexpr,
    VALUES: tl.constexpr,
    QUERIES_PER_TILE: tl.constexpr,
    KEYS_PER_TILE: tl.constexpr,
    HAS_VISIBLE: tl.constexpr,
    HAS_LENGTH: tl.constexpr,
    EXACT: tl.constexpr,
):
    """One tile of queries against one part of the keys: sums of values, weights not yet divided.

    ``scale`` includes log2(e), as exponentials are to the base 2. Lower-case names such as ``query_i`` are
    strides in elements.
    """
    n = tl.program_id(2).to(tl.int64)
    split = tl.program_id(1)
    i_I = tl.program_id(0) * QUERIES_PER_TILE + tl.arange(0, QUERIES_PER_TILE)
    t_T = tl.arange(0, KEYS_PER_TILE)
    d_D = tl.arange(0, CHANNELS)
    v_V = tl.arange(0, VALUES)

    length = num_keys
    if HAS_LENGTH:
        length = tl.minimum(tl.load(length_N + n * length_n).to(tl.int32), num_keys)
    tiles = tl.cdiv(length, KEYS_PER_TILE)
    tiles_per_split = tl.cdiv(tiles, SPLITS)
    first = split * tiles_per_split * KEYS_PER_TILE
    last = tl.minimum(first + tiles_per_split * KEYS_PER_TILE, length)

    query_at = query_NID + n * query_n + i_I[:, None] * query_i + d_D[None, :] * query_d
    query_ID = tl.load(query_at, mask=i_I[:, None] < num_queries, other=0.0)
    most_I = tl.full((QUERIES_PER_TILE,), NOTHING, tl.float32)
    total_I = tl.zeros((QUERIES_PER_TILE,), tl.float32)
    sums_IV = tl.zeros((QUERIES_PER_TILE, VALUES), tl.float32)
    for start in range(first, last, KEYS_PER_TILE):
        at_T = start + t_T
        there_T = at_T < length
        key_at = key_NTD + n * key_n + at_T[:, None] * key_t + d_D[None, :] * key_d
        key_TD = tl.load(key_at, mask=there_T[:, None], other=0.0)
        value_at = value_NTV + n * value_n + at_T[:, None] * value_t + v_V[None, :] * value_v
        value_TV = tl.load(value_at, mask=there_T[:, None], other=0.0)
        if HAS_VISIBLE:
            seen_T = tl.load(visible_NT + n * visible_n + at_T * visible_t, mask=there_T, other=0)
            there_T = there_T & (seen_T != 0)
        if EXACT:
            scores_IT = tl.dot(query_ID, tl.trans(key_TD), input_precision="ieee") * scale
        else:
            scores_IT = tl.dot(query_ID, tl.trans(key_TD)) * scale
        scores_IT = tl.where(there_T[None, :], scores_IT, float("-inf"))
        higher_I = tl.maximum(most_I, tl.max(scores_IT, 1))
        shrink_I = tl.exp2(most_I - higher_I)
        weight_IT = tl.exp2(scores_IT - higher_I[:, None])
        total_I = total_I * shrink_I + tl.sum(weight_IT, 1)
        if EXACT:
            mixed_IV = tl.dot(weight_IT.to(value_TV.dtype), value_TV, input_precision="ieee")
        else:
            mixed_IV = tl.dot(weight_IT.to(value_TV.dtype), value_TV)
        sums_IV = sums_IV * shrink_I[:, None] + mixed_IV
        most_I = higher_I

    row_I = (n * SPLITS + split) * num_queries + i_I
    tl.store(most_NSI + row_I, most_I, mask=i_I < num_queries)
    tl.store(total_NSI + row_I, total_I, mask=i_I < num_queries)
    sums_at = sums_NSIV + row_I[:, None] * VALUES + v_V[None, :]
    tl.store(sums_at, sums_IV, mask=i_I[:, None] < num_queries)


@triton.jit
def merge_parts(
    sums_NSIV,
    most_NSI,
    total_NSI,
    out_NIV,
    num_queries,
    SPLITS: tl.constexpr,
    VALUES: tl.constexpr,
    QUERIES_PER_TILE: tl.constexpr,
):
    """Put the parts together: out (N, I, V), contiguous, of any floating dtype; 0 where no key was seen."""
    n = tl.program_id(1).to(tl.int64)
    i_I = tl.program_id(0) * QUERIES_PER_TILE + tl.arange(0, QUERIES_PER_TILE)
    v_V = tl.arange(0, VALUES)
    there_I = i_I < num_queries
    most_I = tl.full((QUERIES_PER_TILE,), NOTHING, tl.float32)
    total_I = tl.zeros((QUERIES_PER_TILE,), tl.float32)
    sums_IV = tl.zeros((QUERIES_PER_TILE, VALUES), tl.float32)
    for split in range(SPLITS):
        row_I = (n * SPLITS + split) * num_queries + i_I
        part_I = tl.load(most_NSI + row_I, mask=there_I, other=NOTHING)
        higher_I = tl.maximum(most_I, part_I)
        shrink_I, weight_I = tl.exp2(most_I - higher_I), tl.exp2(part_I - higher_I)
        total_I = total_I * shrink_I + weight_I * tl.load(total_NSI + row_I, mask=there_I, other=0.0)
        part_at = sums_NSIV + row_I[:, None] * VALUES + v_V[None, :]
        part_IV = tl.load(part_at, mask=there_I[:, None], other=0.0)
        sums_IV = sums_IV * shrink_I[:, None] + part_IV * weight_I[:, None]
        most_I = higher_I
    out_IV = sums_IV / tl.where(total_I > 0, total_I, 1.0)[:, None]
    out_at = out_NIV + (n * num_queries + i_I)[:, None] * VALUES + v_V[None, :]
    tl.store(out_at, out_IV.to(out_NIV.dtype.element_ty), mask=there_I[:, None])
