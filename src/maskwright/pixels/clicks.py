"""Where a careful person would click: inside an object, and where a mask is most wrong.

Training samples its prompts with these functions and evaluation asks its questions with them, so both
mean the same thing by "centre". Points are ``(x, y)`` pixel numbers of the mask they were computed from.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import ndimage

from maskwright.pixels.boxes import boxes_of
from maskwright.types import BoolArray


class Click(NamedTuple):
    """One click: pixel column, pixel row, and 1 for "object" or 0 for "not object"."""

    x: int
    y: int
    label: int


def centre(mask: BoolArray) -> tuple[int, int]:
    """Pixel ``(x, y)`` of ``mask`` (h, w) that lies farthest from everything outside it.

    The picture's border counts as outside. The first such pixel in reading order is returned, so the answer
    is the same on every machine. The mask must not be empty.
    """
    x0, y0, x1, y1 = (int(edge) for edge in boxes_of(mask))
    inside = np.pad(mask[y0:y1, x0:x1], 1)
    distance = ndimage.distance_transform_edt(inside)
    row, column = np.unravel_index(int(np.argmax(distance)), distance.shape)
    return x0 + int(column) - 1, y0 + int(row) - 1


def correction(wanted: BoolArray, given: BoolArray) -> Click | None:
    """The click that a user would make next to turn ``given`` into ``wanted`` (both (h, w) bool).

    It is the centre of the largest 4-connected region that is missing or too much; None when there is none.
    """
    best, best_area, label = None, 0, 0
    for region, kind in ((wanted & ~given, 1), (given & ~wanted, 0)):
        pieces, count = ndimage.label(region)
        if not count:
            continue
        areas = np.bincount(pieces.ravel())[1:]
        largest = int(np.argmax(areas))
        if areas[largest] > best_area:
            best, best_area, label = pieces == largest + 1, int(areas[largest]), kind
    if best is None:
        return None
    return Click(*centre(best), label)
