"""Where tiles lie: evenly over the picture, row by row, each sharing a halo with its neighbours."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from maskwright.automask.options import AutomaskOptions
from maskwright.automask.places import EDGE, Crop, check_size
from maskwright.tiles.options import TileOptions
from maskwright.types import Size


class Overlap(NamedTuple):
    """What two tiles share."""

    first: int
    second: int
    """Their numbers."""
    x0: int
    y0: int
    x1: int
    y1: int


def tiles(size_hw: Size, options: TileOptions) -> list[Crop]:
    """Tiles that cover a picture, from left to right and top to bottom, all of one size.

    They share at least ``options.shared`` pixels with their neighbours, and more where they would not fit
    otherwise. Along a side that is shorter than a tile there is one, as short.
    """
    (tops, high), (lefts, wide) = (_along(length, options) for length in size_hw)
    return [Crop(x, y, x + wide, y + high, 0) for y in tops for x in lefts]


def overlaps(places: Sequence[Crop]) -> Iterator[Overlap]:
    """Every pair of tiles that share pixels, each once."""
    boxes = np.array([place[:4] for place in places], np.int64).reshape(-1, 4)
    for number, box in enumerate(boxes):
        later = boxes[number + 1 :]
        low, high = np.maximum(later[:, :2], box[:2]), np.minimum(later[:, 2:], box[2:])
        for other in np.flatnonzero((low < high).all(axis=1)):
            yield Overlap(number, number + 1 + int(other), *low[other].tolist(), *high[other].tolist())


def check_grid(size_hw: Size, search: AutomaskOptions, options: TileOptions) -> None:
    """Make sure that every tile, and every crop of it, has a pixel for each click.

    Raises:
        InputError: tiles are smaller than the grid of clicks.
    """
    places = tiles(size_hw, options)
    check_size(places[0].size, search, "the tiles are" if len(places) > 1 else "the picture is")


def edge_of(tile: Crop, options: TileOptions, mask_size: int) -> float:
    """Pixels from the edge of a tile within which a mask counts as cut.

    As for crops, but no more than half of what tiles share; and two cells at least, because outlines are no
    surer than that.

    Args:
        tile: Which one.
        options: How the picture was cut.
        mask_size: Cells along each side of the grid on which the network draws.
    """
    return max(min(EDGE, options.shared / 2), 2 * max(tile.size) / mask_size)


def _along(length: int, options: TileOptions) -> tuple[list[int], int]:
    """First pixels of the tiles along one side, and how long they are."""
    if length <= options.size:
        return [0], length
    num = math.ceil((length - options.shared) / (options.size - options.shared))
    last = length - options.size
    return [number * last // (num - 1) for number in range(num)], options.size
