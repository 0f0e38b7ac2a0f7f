"""Where a careful person would click: inside an object, and where a mask is most wrong.

Training samples its prompts with these functions and evaluation asks its questions with them, so both
mean the same thing by "centre". Points are ``(x, y)`` pixel numbers of the mask they were computed from.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from maskwright.errors import MissingExtraError


class Click(NamedTuple):
    """One click: pixel column, pixel row, and 1 for "object" or 0 for "not object"."""

    x: int
    y: int
    label: int


def tight_box(mask: np.ndarray) -> tuple[int, int, int, int]:
    """Smallest box ``(x0, y0, x1, y1)`` around the set pixels of ``mask`` (h, w); x1 and y1 are exclusive.

    An empty mask gives zeros.
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return 0, 0, 0, 0
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def centre(mask: np.ndarray) -> tuple[int, int]:
    """Pixel ``(x, y)`` of ``mask`` (h, w) that lies farthest from everything outside it.

    The picture's border counts as outside. The first such pixel in reading order is returned, so the answer
    is the same on every machine. The mask must not be empty.
    """
    x0, y0, x1, y1 = tight_box(mask)
    inside = np.pad(mask[y0:y1, x0:x1], 1)
    distance = _ndimage().distance_transform_edt(inside)
    row, column = np.unravel_index(int(np.argmax(distance)), distance.shape)
    return x0 + int(column) - 1, y0 + int(row) - 1


def correction(wanted: np.ndarray, given: np.ndarray) -> Click | None:
    """The click that a user would make next to turn ``given`` into ``wanted`` (both (h, w) bool).

    It is the centre of the largest 4-connected region that is missing or too much; None when there is none.
    """
    best, best_area, label = None, 0, 0
    for region, kind in ((wanted & ~given, 1), (given & ~wanted, 0)):
        pieces, count = _ndimage().label(region)
        if not count:
            continue
        areas = np.bincount(pieces.ravel())[1:]
        largest = int(np.argmax(areas))
        if areas[largest] > best_area:
            best, best_area, label = pieces == largest + 1, int(areas[largest]), kind
    if best is None:
        return None
    return Click(*centre(best), label)


def _ndimage() -> Any:
    """Scipy's image functions: needed for training and evaluation only, so imported on first use."""
    try:
        from scipy import ndimage
    except ImportError as error:
        raise MissingExtraError('this needs scipy: pip install "maskwright[train]"') from error
    return ndimage
