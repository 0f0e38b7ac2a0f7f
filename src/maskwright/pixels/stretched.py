"""A low-resolution mask at the picture's size, computed only where its outline runs.

Stretching logits bilinearly to (h, w), every pixel is a mean of the four cells around it. Where all four lie
on one side of the threshold so do all pixels between them, and nothing needs to be computed. That leaves the
blocks of pixels that the outline crosses: a few per cent of a picture, whatever its size. The numbers are
those of stretching everything (:func:`maskwright.pixels.postprocess.upscale`, the plain twin) up to rounding.

Axes: N masks, H W the low-resolution grid (side m), K blocks of pixels, R C rows and columns of a block.
A block (p, q) is the pixels between the centres of cells p and p + 1, and q and q + 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from maskwright.types import IntArray, Size

PIXELS_PER_STEP = 1 << 20
"""Pixels whose logits are computed at once (about 24 bytes each); at least one block."""
CELLS_PER_STEP = 1 << 20
"""Cells of low-resolution masks that are looked at together (about 64 bytes each); at least one mask."""
WINDOW_PIXELS = 1 << 24
"""Pixels of a bitmap that is drawn at once (2 bytes each); at least one column of blocks."""


class Measured(NamedTuple):
    """What masks are at full size."""

    areas: IntArray
    """(N,) pixels above the threshold."""
    small_areas: IntArray
    """(N,) pixels above threshold + offset."""
    large_areas: IntArray
    """(N,) pixels above threshold - offset."""
    boxes: IntArray
    """(N, 4) int64 ``xyxy``, half-open as everywhere; zeros where the mask is empty."""


class _Axis(NamedTuple):
    """How one axis is stretched, as ``F.interpolate(..., align_corners=False)`` does it."""

    before: Tensor
    """(size,) int64: the cell before each pixel."""
    weight: Tensor
    """(size,) float32: share of the cell after it."""
    start: Tensor
    """(m + 1,) int64: first pixel of each block."""
    most: int
    """Pixels of the largest block."""

    @property
    def pixels(self) -> Tensor:
        """(m,) int64: pixels of each block."""
        return self.start.diff()


class _Blocks(NamedTuple):
    """Low-resolution logits with the extremes of each block."""

    logits_NHW: Tensor
    lowest_NHW: Tensor
    highest_NHW: Tensor


def measure(logits_NHW: Tensor, size_hw: Size, threshold: float, offset: float) -> Measured:
    """Areas at three thresholds, and boxes, of masks stretched to ``size_hw``.

    Args:
        logits_NHW: (N, m, m) float32, on any device.
        size_hw: Height and width of the picture.
        threshold: Logit above which a pixel belongs to the mask.
        offset: How far the other two thresholds lie above and below it; not negative.
    """
    num, side = len(logits_NHW), logits_NHW.shape[-1]
    rows, columns = (_axis(length, side, logits_NHW.device) for length in size_hw)
    step = max(1, CELLS_PER_STEP // side**2)
    parts = [
        _measure(_blocks(logits_NHW[start : start + step]), rows, columns, threshold, offset)
        for start in range(0, num, step)
    ]
    areas_3N = np.concatenate([np.zeros((3, 0), np.int64), *(areas for areas, _ in parts)], axis=1)
    boxes_N4 = np.concatenate([np.zeros((0, 4), np.int64), *(boxes for _, boxes in parts)])
    boxes_N4[areas_3N[0] == 0] = 0
    return Measured(areas_3N[0], areas_3N[1], areas_3N[2], boxes_N4)


def spans(logits_NHW: Tensor, size_hw: Size, threshold: float, boxes: IntArray) -> Iterator[IntArray]:
    """Where each of N stretched masks is set, as spans down its columns.

    Args:
        logits_NHW: (N, m, m) float32, on any device.
        size_hw: Height and width of the picture.
        threshold: Logit above which a pixel belongs to the mask.
        boxes: (N, 4) ``xyxy``, half-open, from :func:`measure`.

    Yields:
        int64 (3, S) for each mask: column, first row, and the row after the last, of each of its S spans,
        from the top down and column by column.
    """
    rows, columns = (_axis(length, logits_NHW.shape[-1], logits_NHW.device) for length in size_hw)
    for logits_HW, box in zip(logits_NHW, boxes, strict=True):
        found = [np.zeros((3, 0), np.int64)]
        for x0, y0, bitmap_WH in _windows(logits_HW, rows, columns, threshold, box):
            framed_WH = np.pad(bitmap_WH, ((0, 0), (1, 1)))
            edges_WH = framed_WH[:, 1:] != framed_WH[:, :-1]  # where spans begin and end in turn
            column, row = np.divmod(np.flatnonzero(edges_WH), edges_WH.shape[1])
            found.append(np.stack((column[::2] + x0, row[::2] + y0, row[1::2] + y0)))
        yield np.concatenate(found, axis=1)


def _axis(size: int, side: int, device: torch.device) -> _Axis:
    """Float32 throughout, as in the kernel that this follows."""
    scale = torch.tensor(side, dtype=torch.float32) / size
    place = ((torch.arange(size, dtype=torch.float32) + 0.5) * scale - 0.5).clamp(min=0)
    before = place.long().clamp(max=side - 1)
    start = torch.searchsorted(before, torch.arange(side + 1))
    weight = (place - before).clamp(0, 1)
    return _Axis(before.to(device), weight.to(device), start.to(device), int(start.diff().max()))


def _blocks(logits_NHW: Tensor) -> _Blocks:
    right_NHW = torch.cat((logits_NHW[..., 1:], logits_NHW[..., -1:]), dim=-1)
    low, high = torch.minimum(logits_NHW, right_NHW), torch.maximum(logits_NHW, right_NHW)
    low = torch.minimum(low, torch.cat((low[..., 1:, :], low[..., -1:, :]), dim=-2))
    high = torch.maximum(high, torch.cat((high[..., 1:, :], high[..., -1:, :]), dim=-2))
    return _Blocks(logits_NHW, low, high)


def _measure(
    blocks: _Blocks, rows: _Axis, columns: _Axis, threshold: float, offset: float
) -> tuple[np.ndarray, np.ndarray]:
    """Areas (3, N) and boxes (N, 4) int64, of boxes that are empty anything."""
    levels = (threshold, threshold + offset, threshold - offset)
    pixels_HW = (rows.pixels[:, None] * columns.pixels).int()
    areas = [((blocks.lowest_NHW > level) * pixels_HW).sum((1, 2)) for level in levels]
    whole_NHW = (blocks.lowest_NHW > threshold) & (pixels_HW > 0)
    limits = [*_extent(whole_NHW.any(2), rows), *_extent(whole_NHW.any(1), columns)]
    mixed_NHW = (blocks.highest_NHW > levels[2]) & (blocks.lowest_NHW <= levels[1]) & (pixels_HW > 0)
    for at, y_KR, x_KC, values_KRC in _values(blocks.logits_NHW, mixed_NHW, rows, columns):
        mask_K, block = at[0], at[1:]
        # What lies wholly above a level is in its area already.
        lowest_K = blocks.lowest_NHW[(mask_K, *block)]
        for area_N, level in zip(areas, levels, strict=True):
            above_K = (values_KRC > level).sum((1, 2)) * (lowest_K <= level)
            area_N.index_add_(0, mask_K, above_K)
        seen = ((values_KRC.amax(2) > threshold, y_KR), (values_KRC.amax(1) > threshold, x_KC))
        for number, (hit, place) in enumerate(seen):
            first_K = torch.where(hit, place, limits[2 * number].new_tensor(_FAR)).amin(1)
            last_K = torch.where(hit, place + 1, limits[2 * number].new_tensor(0)).amax(1)
            limits[2 * number].scatter_reduce_(0, mask_K, first_K, "amin")
            limits[2 * number + 1].scatter_reduce_(0, mask_K, last_K, "amax")
    y0, y1, x0, x1 = limits
    return torch.stack(areas).cpu().numpy(), torch.stack((x0, y0, x1, y1), dim=1).cpu().numpy()


_FAR = 1 << 40
"""Beyond every picture: where nothing was found yet."""


def _extent(used_NH: Tensor, axis: _Axis) -> tuple[Tensor, Tensor]:
    """First pixel, and one past the last, of the blocks that are used along one axis."""
    first_N = torch.where(used_NH, axis.start[:-1], axis.start.new_tensor(_FAR)).amin(1)
    last_N = torch.where(used_NH, axis.start[1:], axis.start.new_tensor(0)).amax(1)
    return first_N, last_N


def _values(
    logits_NHW: Tensor, wanted_NHW: Tensor, rows: _Axis, columns: _Axis
) -> Iterator[tuple[tuple[Tensor, Tensor, Tensor], Tensor, Tensor, Tensor]]:
    """Logits of the pixels of the wanted blocks, a bounded number at a time.

    Yields the place of each block (mask, p, q), the rows and columns of its pixels (K, R) and (K, C), and
    their logits (K, R, C); blocks with fewer pixels than the largest are padded with minus infinity.
    """
    step = max(1, PIXELS_PER_STEP // (rows.most * columns.most))
    last = logits_NHW.shape[-1] - 1
    for mask_K, p_K, q_K in zip(*(part.split(step) for part in torch.nonzero(wanted_NHW, as_tuple=True))):  # noqa: B905
        y_KR, down_KR, missing_KR = _pixels(rows, p_K)
        x_KC, across_KC, missing_KC = _pixels(columns, q_K)
        after_p, after_q = (p_K + 1).clamp(max=last), (q_K + 1).clamp(max=last)
        top_KC = _mix(logits_NHW[mask_K, p_K, q_K], logits_NHW[mask_K, p_K, after_q], across_KC)
        bottom_KC = _mix(logits_NHW[mask_K, after_p, q_K], logits_NHW[mask_K, after_p, after_q], across_KC)
        down_KR1 = down_KR[:, :, None]
        values_KRC = (1 - down_KR1) * top_KC[:, None] + down_KR1 * bottom_KC[:, None]
        values_KRC.masked_fill_(missing_KR[:, :, None] | missing_KC[:, None], -torch.inf)
        yield (mask_K, p_K, q_K), y_KR, x_KC, values_KRC


def _pixels(axis: _Axis, block_K: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Pixels of blocks along one axis: their numbers, the weights of the cell after them, what is padding."""
    place_KR = axis.start[block_K][:, None] + torch.arange(axis.most, device=block_K.device)
    missing_KR = place_KR >= axis.start[block_K + 1][:, None]
    return place_KR, axis.weight[place_KR.clamp(max=len(axis.weight) - 1)], missing_KR


def _mix(before_K: Tensor, after_K: Tensor, weight_KC: Tensor) -> Tensor:
    return (1 - weight_KC) * before_K[:, None] + weight_KC * after_K[:, None]


def _windows(
    logits_HW: Tensor, rows: _Axis, columns: _Axis, threshold: float, box: IntArray
) -> Iterator[tuple[int, int, np.ndarray]]:
    """The part of a mask within whole blocks around its box, as strips from left to right.

    Yields column and row of the strip's first pixel, and the strip itself, columns first: bool (W, H).
    """
    x0, y0, x1, y1 = (int(edge) for edge in box)
    if x1 <= x0 or y1 <= y0:
        return
    blocks = _blocks(logits_HW[None])
    top, bottom = int(rows.before[y0]), int(rows.before[y1 - 1]) + 1
    first, last = int(columns.before[x0]), int(columns.before[x1 - 1]) + 1
    high = int(rows.start[bottom] - rows.start[top])
    step = max(1, WINDOW_PIXELS // (high * columns.most))
    for left in range(first, last, step):
        part = (slice(top, bottom), slice(left, min(left + step, last)))
        corner = int(columns.start[part[1].start]), int(rows.start[top])
        yield *corner, _drawn(blocks, part, rows, columns, threshold, corner).cpu().numpy()


def _drawn(
    blocks: _Blocks,
    part: tuple[slice, slice],
    rows: _Axis,
    columns: _Axis,
    threshold: float,
    corner: tuple[int, int],
) -> Tensor:
    """Bitmap of the blocks in ``part``, columns first: (W, H)."""
    whole_HW = blocks.lowest_NHW[0][part] > threshold
    bitmap_WH = whole_HW.T.repeat_interleave(rows.pixels[part[0]], dim=1)
    bitmap_WH = bitmap_WH.repeat_interleave(columns.pixels[part[1]], dim=0)  # whole columns, which is quick
    mixed_NHW = torch.zeros_like(blocks.logits_NHW, dtype=torch.bool)
    mixed_NHW[0][part] = (blocks.highest_NHW[0][part] > threshold) & ~whole_HW
    for _, y_KR, x_KC, values_KRC in _values(blocks.logits_NHW, mixed_NHW, rows, columns):
        k, row, column = torch.nonzero(values_KRC > threshold, as_tuple=True)
        bitmap_WH[x_KC[k, column] - corner[0], y_KR[k, row] - corner[1]] = True
    return bitmap_WH
