"""Bitmaps <-> COCO run-length encoding.

Encoding is pycocotools' own, so that every COCO tool reads it. Decoding is not: under numpy 2 pycocotools
warns on every call, and it hardly checks what it is given.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias, TypedDict

import numpy as np
import numpy.typing as npt

from maskwright.errors import InputError
from maskwright.types import BoolArray, IntArray, Size

RunLengths: TypeAlias = npt.NDArray[np.int32] | IntArray
"""One bitmap as (R,) lengths of runs down the columns: pixels not set, pixels set, and so on in turn. int32,
unless the bitmap has 2^31 pixels and more."""


MOST_PIXELS = 1 << 32
"""COCO's run lengths are 32 bits wide: a bitmap has fewer pixels than this."""


class Rle(TypedDict):
    """One bitmap: what COCO calls a compressed RLE, with text that JSON can hold."""

    size: list[int]
    """Height and width."""
    counts: str
    """Run lengths down the columns, in COCO's text code."""


def encode(bitmaps: BoolArray) -> list[Rle]:
    """One RLE for each of the bitmaps (..., h, w), in C order of the leading axes."""
    from pycocotools import mask as coco

    stack = bitmaps.reshape(-1, *bitmaps.shape[-2:])
    codes = (coco.encode(np.asfortranarray(bitmap, dtype=np.uint8)) for bitmap in stack)
    return [Rle(size=[int(s) for s in code["size"]], counts=code["counts"].decode("ascii")) for code in codes]


def decode(codes: Sequence[Mapping[str, Any]]) -> BoolArray:
    """Bitmaps (N, h, w) of N RLEs of one size, compressed (text or bytes) or as a list of run lengths.

    Raises:
        InputError: none given, of different sizes, or not an RLE of the size it says.
    """
    if not codes:
        raise InputError("no RLE given; pass at least one")
    sizes = {tuple(code.get("size", ())) for code in codes}
    if len(sizes) != 1:
        raise InputError(f"the RLEs are of different sizes, {sorted(sizes)}; decode them one at a time")
    return np.ascontiguousarray(np.stack([_decode(code) for code in codes]))


def run_lengths(spans: IntArray, size_hw: Size) -> RunLengths:
    """Run lengths of a bitmap that is known by its spans.

    Args:
        spans: (3, S): column, first row and the row after the last of each span, from the top down and column
            by column.
        size_hw: Height and width of the bitmap.
    """
    h = size_hw[0]
    return _joined(spans[0] * h + spans[1], spans[0] * h + spans[2], size_hw)


def spans(runs: RunLengths, size_hw: Size) -> IntArray:
    """(3, S) int64 spans of a bitmap that is known by its run lengths: the reverse of :func:`run_lengths`."""
    h = size_hw[0]
    begins, ends = _intervals(runs)
    first, last = begins // h, (ends - 1) // h
    num = last - first + 1  # columns that each run of set pixels reaches into
    begun = np.arange(num.sum()) - np.repeat(np.cumsum(num) - num, num)  # and which of them this is
    columns = np.repeat(first, num) + begun
    tops = np.where(begun == 0, np.repeat(begins, num) - columns * h, 0)
    bottoms = np.minimum(np.repeat(ends, num) - columns * h, h)
    return np.stack((columns, tops, bottoms))


def union(several: Sequence[RunLengths], size_hw: Size) -> RunLengths:
    """Run lengths of what any of the bitmaps of one size covers."""
    begins, ends = (np.concatenate(edges) for edges in zip(*map(_intervals, several), strict=True))
    order = np.argsort(begins, kind="stable")
    begins, ends = begins[order], np.maximum.accumulate(ends[order])
    return _joined(begins, ends, size_hw)


def measured(several: Sequence[RunLengths], size_hw: Size) -> tuple[IntArray, IntArray]:
    """Boxes (N, 4) int64 ``xyxy``, half-open, zeros where a bitmap is empty, and areas (N,) int64."""
    boxes, areas = np.zeros((len(several), 4), np.int64), np.zeros(len(several), np.int64)
    for row, runs in enumerate(several):
        column, top, bottom = spans(runs, size_hw)
        if len(column):
            boxes[row] = column.min(), top.min(), column.max() + 1, bottom.max()
            areas[row] = (bottom - top).sum()
    return boxes, areas


def reduced(
    runs: RunLengths, size_hw: Size, window: tuple[int, int, int, int], smaller_hw: Size
) -> RunLengths:
    """Run lengths of a part of a bitmap reduced in size: each of its pixels is what was in the middle of it.

    Args:
        runs: Of the whole bitmap.
        size_hw: Its height and width.
        window: The part, as x0, y0, x1, y1.
        smaller_hw: What the part is reduced to; not larger.
    """
    x0, y0, x1, y1 = window
    rows, columns = (
        (start + (np.arange(small) + 0.5) * (length / small)).astype(np.int64)
        for start, length, small in zip((y0, x0), (y1 - y0, x1 - x0), smaller_hw, strict=True)
    )
    column, top, bottom = spans(runs, size_hw)
    place = np.searchsorted(columns, column)
    seen = columns[np.minimum(place, len(columns) - 1)] == column
    small = np.stack((place, np.searchsorted(rows, top), np.searchsorted(rows, bottom)))
    return run_lengths(small[:, seen & (small[1] < small[2])], smaller_hw)


def placed(bitmap: BoolArray, corner_xy: tuple[int, int], size_hw: Size) -> RunLengths:
    """Run lengths of a part of a bitmap that is not set elsewhere.

    Args:
        bitmap: (rows, columns) bool: the part.
        corner_xy: Column and row of its first pixel in the whole.
        size_hw: Height and width of the whole.
    """
    edges = np.diff(np.pad(bitmap.T.astype(np.int8), ((0, 0), (1, 1))), axis=1)
    (columns, begins), (_, ends) = np.nonzero(edges == 1), np.nonzero(edges == -1)
    return run_lengths(
        np.stack((columns + corner_xy[0], begins + corner_xy[1], ends + corner_xy[1])), size_hw
    )


def compress(runs: RunLengths, size_hw: Size) -> Rle:
    """Run lengths in COCO's text code.

    Raises:
        InputError: more pixels than COCO's tools can count.
    """
    if size_hw[0] * size_hw[1] >= MOST_PIXELS:
        raise InputError(
            f"{size_hw[1]} x {size_hw[0]} pixels are more than COCO run lengths can count, which is "
            f"{MOST_PIXELS - 1}; cut the picture into parts"
        )
    from pycocotools import mask as coco

    size = [int(side) for side in size_hw]
    code = coco.frPyObjects({"size": size, "counts": runs.tolist()}, *size)
    return Rle(size=size, counts=code["counts"].decode("ascii"))


def expand(code: Mapping[str, Any]) -> IntArray:
    """Run lengths of an RLE, compressed (text or bytes) or as a list: the reverse of :func:`compress`.

    Raises:
        InputError: not an RLE of the size it says.
    """
    try:
        h, w = (int(side) for side in code["size"])
        counts = code["counts"]
        runs = _runs(counts) if isinstance(counts, (str, bytes)) else [int(run) for run in counts]
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise InputError(f"not a COCO RLE of size {code.get('size')}: {error!r}") from error
    if min(h, w, 0, *runs) < 0 or sum(runs) != h * w:
        raise InputError(f"not a COCO RLE of size {[h, w]}: its runs do not add up to {h * w} pixels")
    return np.asarray(runs, np.int64)


def bitmap(runs: RunLengths, size_hw: Size) -> BoolArray:
    """(h, w) bool, columns contiguous in memory."""
    h, w = size_hw
    return np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(w, h).T


def window(runs: RunLengths, size_hw: Size, x0: int, y0: int, x1: int, y1: int) -> BoolArray:
    """A part of the bitmap, columns x0 to x1 and rows y0 to y1, exclusive: (y1 - y0, x1 - x0) bool.

    Costs nothing for what lies outside.
    """
    column, top, bottom = spans(runs, size_hw)
    top, bottom = np.maximum(top, y0), np.minimum(bottom, y1)
    inside = (column >= x0) & (column < x1) & (top < bottom)
    edges_WH = np.zeros((x1 - x0, y1 - y0 + 1), np.int8)
    edges_WH[column[inside] - x0, top[inside] - y0] = 1
    edges_WH[column[inside] - x0, bottom[inside] - y0] -= 1  # a span may begin where none ends, never twice
    covered: BoolArray = np.cumsum(edges_WH, axis=1, dtype=np.int8)[:, :-1].astype(np.bool_).T
    return covered


def _intervals(runs: RunLengths) -> tuple[IntArray, IntArray]:
    """Where the runs of set pixels begin and end, counted down the columns."""
    edges = np.cumsum(runs, dtype=np.int64)
    return edges[: len(edges) // 2 * 2 : 2], edges[1::2]


def _joined(begins: IntArray, ends: IntArray, size_hw: Size) -> RunLengths:
    """Run lengths of intervals in ascending order; what follows on, or overlaps, is one run."""
    h, w = size_hw
    if len(begins):
        apart = begins[1:] > ends[:-1]  # a span that ends a column may go on in the next one
        begins, ends = begins[np.append(True, apart)], ends[np.append(apart, True)]
    edges = np.stack((begins, ends), axis=1).ravel()
    if not len(edges) or edges[-1] < h * w:
        edges = np.append(edges, h * w)
    runs: IntArray = np.diff(edges, prepend=0)
    return runs.astype(np.int32) if h * w < 1 << 31 else runs


def _decode(code: Mapping[str, Any]) -> BoolArray:
    runs = expand(code)
    h, w = code["size"]
    return bitmap(runs, (int(h), int(w)))


def _runs(counts: str | bytes) -> list[int]:
    """Run lengths of COCO's text code.

    Each number is written in groups of five bits, the lowest first, one character from "0" on per group; bit
    5 says that more follow, bit 4 of the last group is the sign. From the fourth run on it is the difference
    to the run two places before.
    """
    text = counts.encode("ascii") if isinstance(counts, str) else counts
    runs: list[int] = []
    number, shift = 0, 0
    for character in text:
        group = character - 48
        if not 0 <= group < 64:
            raise ValueError(f"character {chr(character)!r} does not belong in the counts")
        number |= (group & 31) << shift
        shift += 5
        if group & 32:
            continue
        if group & 16:
            number -= 1 << shift
        runs.append(number + runs[-2] if len(runs) > 2 else number)
        number, shift = 0, 0
    if shift:
        raise ValueError("the counts end in the middle of a number")
    return runs
