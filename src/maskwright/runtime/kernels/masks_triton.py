"""The source of the packed upscaling; see ``kernels.masks``, which launches it.

Axes: N masks, H W the picture, B bytes of a row, 8 pixels of a byte.
"""

import triton  # noqa: TID253 (this module is itself imported in the function that launches it)
import triton.language as tl  # noqa: TID253


@triton.jit
def draw_packed(
    logits_NHW,
    bits_NHB,
    height,
    width,
    num_bytes,
    rows_in,
    columns_in,
    row_scale,
    column_scale,
    threshold,
    logits_n,
    logits_h,
    logits_w,
    BYTES_PER_TILE: tl.constexpr,
):
    """Some bytes of one row of one mask; ``row_scale`` is ``rows_in`` / ``height`` in float32."""
    n = tl.program_id(2).to(tl.int64)
    y = tl.program_id(0)
    b_B = tl.program_id(1) * BYTES_PER_TILE + tl.arange(0, BYTES_PER_TILE)
    bit_8 = tl.arange(0, 8)
    x_B8 = b_B[:, None] * 8 + bit_8[None, :]

    # as F.interpolate does it with align_corners=False: centres of pixels, cut off at the first cell's centre
    down = tl.maximum((y.to(tl.float32) + 0.5) * row_scale - 0.5, 0.0)
    top = tl.minimum(down.to(tl.int32), rows_in - 1)
    below = tl.minimum(top + 1, rows_in - 1)
    down = tl.minimum(tl.maximum(down - top.to(tl.float32), 0.0), 1.0)
    across_B8 = tl.maximum((x_B8.to(tl.float32) + 0.5) * column_scale - 0.5, 0.0)
    left_B8 = tl.minimum(across_B8.to(tl.int32), columns_in - 1)
    right_B8 = tl.minimum(left_B8 + 1, columns_in - 1)
    across_B8 = tl.minimum(tl.maximum(across_B8 - left_B8.to(tl.float32), 0.0), 1.0)

    of_mask = logits_NHW + n * logits_n
    upper, lower = of_mask + top * logits_h, of_mask + below * logits_h
    upper_B8 = _mixed(upper, left_B8, right_B8, across_B8, logits_w)
    lower_B8 = _mixed(lower, left_B8, right_B8, across_B8, logits_w)
    logit_B8 = (1.0 - down) * upper_B8 + down * lower_B8
    inside_B8 = (logit_B8 > threshold) & (x_B8 < width)
    byte_B = tl.sum(inside_B8.to(tl.int32) << (7 - bit_8)[None, :], 1)
    tl.store(bits_NHB + (n * height + y) * num_bytes + b_B, byte_B.to(tl.uint8), mask=b_B < num_bytes)


@triton.jit
def _mixed(row, left_B8, right_B8, across_B8, step):
    """A row's logits between two columns each, in float32."""
    before_B8 = tl.load(row + left_B8 * step).to(tl.float32)
    after_B8 = tl.load(row + right_B8 * step).to(tl.float32)
    return (1.0 - across_B8) * before_B8 + across_B8 * after_B8
