"""Masks of tiles in the whole picture, and what two of them share; all on run lengths."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from maskwright.automask.found import FoundMasks
from maskwright.automask.places import Crop
from maskwright.pixels import rle
from maskwright.types import BoolArray, FloatArray, IntArray, Size


@dataclass(eq=False)
class Places:
    """Where masks are, as intervals down the columns; those of a mask are worked out once."""

    found: FoundMasks
    _spans: dict[int, IntArray] = field(default_factory=dict)

    def within(self, row: int, window: tuple[int, int, int, int]) -> Part:
        """The part of a mask within a window x0, y0, x1, y1."""
        if row not in self._spans:
            self._spans[row] = rle.spans(self.found.runs[row], self.found.size)
        x0, y0, x1, y1 = window
        column, top, bottom = self._spans[row]
        top, bottom = np.maximum(top, y0), np.minimum(bottom, y1)
        kept = (column >= x0) & (column < x1) & (top < bottom)
        first = (column[kept] - x0) * (y1 - y0) - y0
        return Part(first + top[kept], first + bottom[kept])

    def whole(self, row: int) -> Part:
        """All of a mask."""
        h, w = self.found.size
        return self.within(row, (0, 0, w, h))

    def forget_before(self, row: int) -> None:
        """Masks before this one are not asked for any more."""
        self._spans = {kept: spans for kept, spans in self._spans.items() if kept >= row}


class Part(NamedTuple):
    """Set pixels as intervals in ascending order."""

    begins: IntArray
    ends: IntArray

    @property
    def area(self) -> int:
        return int((self.ends - self.begins).sum())

    def shared(self, other: Part) -> int:
        """Pixels that both have."""
        if not len(self.begins) or not len(other.begins):
            return 0
        edges = np.stack((self.begins, self.ends), axis=1).ravel()
        inside = np.stack((np.zeros_like(self.begins), self.ends - self.begins), axis=1).ravel()
        covered = np.cumsum(inside)  # pixels set up to each edge; in between it is a straight line
        upto = np.interp(other.ends, edges, covered) - np.interp(other.begins, edges, covered)
        return round(float(upto.sum()))


def box_iou(box: FloatArray, boxes: FloatArray) -> FloatArray:
    """(N,) IoU of one box with each of others, none of them empty."""
    sides = np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2])
    shared = np.maximum(sides, 0).prod(axis=1)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    overlap: FloatArray = shared / (areas + (box[2:] - box[:2]).prod() - shared)
    return overlap


def mask_iou(found: FoundMasks, row: int, other: int) -> float:
    places = Places(found)
    both = places.whole(row).shared(places.whole(other))
    return both / float(found.areas[row] + found.areas[other] - both)


def meets(boxes: FloatArray, window: tuple[float, ...]) -> BoolArray:
    """(N,) which boxes share pixels with a window."""
    x0, y0, x1, y1 = window
    return np.asarray((boxes[:, 0] < x1) & (boxes[:, 2] > x0) & (boxes[:, 1] < y1) & (boxes[:, 3] > y0))


def near(box: FloatArray, other: FloatArray) -> bool:
    return bool((np.maximum(box[:2], other[:2]) < np.minimum(box[2:], other[2:])).all())


def placed(found: FoundMasks, tile: Crop, size_hw: Size) -> FoundMasks:
    """What was found in a tile, in pixels of the whole picture."""
    shift = np.array([tile.x0, tile.y0])
    columns = np.array([[tile.x0], [tile.y0], [tile.y0]])
    runs = (rle.run_lengths(rle.spans(one, found.size) + columns, size_hw) for one in found.runs)
    return replace(
        found,
        size=size_hw,
        runs=tuple(runs),
        boxes=found.boxes + np.tile(shift, 2).astype(np.float32),
        points=found.points + shift.astype(np.float32),
        crops=np.tile(tile.box, (len(found), 1)),
        image=None,
    )
