"""Masks that are pieces of several things: of these, the thing that was clicked on."""

from __future__ import annotations

import numpy as np

from maskwright.automask.found import FoundMasks
from maskwright.pixels import components, rle
from maskwright.types import BoolArray


def clicked_pieces(found: FoundMasks, min_whole: float) -> FoundMasks:
    """The same masks, but of those in several pieces only the piece under the click.

    Args:
        found: The masks.
        min_whole: A mask stays as it is if its largest connected piece is at least this share of it.

    Returns:
        As many masks in the same order, with the boxes and areas of what is left of them.
    """
    runs = list(found.runs)
    for row in np.flatnonzero(found.areas):
        x0, y0, x1, y1 = found.boxes[row].astype(int).tolist()
        window = rle.window(found.runs[row], found.size, x0, y0, x1, y1)
        x, y = found.points[row].astype(int) - (x0, y0)
        piece = _piece(window, (int(x), int(y)), min_whole)
        if piece is not None:
            runs[row] = rle.placed(piece, (x0, y0), found.size)
    return found.redrawn(runs)


def _piece(window: BoolArray, click: tuple[int, int], min_whole: float) -> BoolArray | None:
    """The piece under the click, or the largest one if the click is beside the mask; None if all may stay."""
    labels, count = components.label(window)
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    sizes[0] = 0
    if sizes.max() >= min_whole * sizes.sum():
        return None
    (x, y), (h, w) = click, window.shape
    under = int(labels[y, x]) if 0 <= x < w and 0 <= y < h else 0
    piece: BoolArray = labels == (under or int(sizes.argmax()))
    return piece
