"""Which of the masks that a search found are objects that nobody follows yet.

Axes: N found masks, M followed objects, P cells of a grid laid over the frame.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from maskwright.automask.found import FoundMasks
from maskwright.discover.options import Discover
from maskwright.frames import TrackedFrame
from maskwright.pixels import rle
from maskwright.types import BoolArray, FloatArray, IntArray, Size

GRID = 256
"""Cells along the longer side of the grid on which overlaps are counted."""
SURER = 0.03
"""Of nested masks the larger one is taken, unless the predicted IoU of the smaller is higher by more."""


@dataclass(frozen=True, eq=False)
class Verdict:
    """What became of the masks of one search."""

    new: tuple[int, ...] = ()
    """Rows of those that are new objects, the one with the highest score first."""
    small: int = 0
    """Left out for ``min_area``."""
    large: int = 0
    """Left out for ``max_area``."""
    followed: int = 0
    """Left out because they are a followed object, or mostly covered by some."""
    nested: int = 0
    """Left out for a better mask of the same search."""

    def __str__(self) -> str:
        """Which filter took how many: ``3 below min_area, 1 above max_area``."""
        reasons = {"below min_area": self.small, "above max_area": self.large}
        return ", ".join(f"{number} {why}" for why, number in reasons.items() if number)

    @property
    def advice(self) -> str:
        """What to change so that more masks are kept: the setting of the filter that took most."""
        return "raise max_area" if self.large > self.small else "lower min_area"


def choose(found: FoundMasks, tracked: TrackedFrame, settings: Discover) -> Verdict:
    """The masks that are new objects of a frame.

    Overlaps are counted on a grid of at most :data:`GRID` cells along a side.
    """
    pixels = found.size[0] * found.size[1]
    small_N = found.areas < settings.min_area * pixels
    large_N = found.areas > settings.max_area * pixels
    rows = np.flatnonzero(~small_N & ~large_N)
    found_NP = _on_grid((rle.bitmap(found.runs[row], found.size) for row in rows), found.size)
    fresh_N = ~_is_followed(found_NP, _on_grid(tracked.bitmaps, found.size), settings)
    left = rows[fresh_N]
    picked = left[_best(found_NP[fresh_N], found.areas[left], found.scores[left], settings.max_covered)]
    return Verdict(
        tuple(picked[np.argsort(-found.scores[picked], kind="stable")].tolist()),
        small=int(small_N.sum()),
        large=int(large_N.sum()),
        followed=len(rows) - len(left),
        nested=len(left) - len(picked),
    )


def _is_followed(found_NP: BoolArray, followed_MP: BoolArray, settings: Discover) -> BoolArray:
    """(N,): which masks are those of followed objects, or lie on them for the most part."""
    shared_NM = _shared(found_NP, followed_MP)
    sizes_N, sizes_M = found_NP.sum(1), followed_MP.sum(1)
    union_NM = sizes_N[:, None] + sizes_M - shared_NM
    same_N = (shared_NM >= settings.same_iou * np.maximum(union_NM, 1)).any(1)
    covered_N = (found_NP & followed_MP.any(0)).sum(1)
    followed_N: BoolArray = same_N | (covered_N > settings.max_covered * sizes_N)
    return followed_N


def _best(found_NP: BoolArray, areas_N: IntArray, scores_N: FloatArray, max_covered: float) -> IntArray:
    """Places of the masks that stay where some lie upon each other.

    A mask goes if a smaller one that lies in it for the most part is surer by more than :data:`SURER`. Of the
    rest, larger ones come first, and those that the ones before cover for the most part go.
    """
    sizes_N = found_NP.sum(1)
    inside_NN = _shared(found_NP, found_NP) > max_covered * sizes_N  # of the second in the first
    smaller_NN = areas_N < areas_N[:, None]
    surer_NN = scores_N > scores_N[:, None] + SURER
    stay_N = ~(inside_NN & smaller_NN & surer_NN).any(1)
    taken_P = np.zeros(found_NP.shape[1], np.bool_)
    kept = []
    for row in np.argsort(-areas_N, kind="stable"):
        if stay_N[row] and (found_NP[row] & taken_P).sum() <= max_covered * sizes_N[row]:
            kept.append(row)
            taken_P |= found_NP[row]
    return np.array(kept, np.int64)


def _shared(a_NP: BoolArray, b_MP: BoolArray) -> FloatArray:
    """(N, M): cells that both cover; whole numbers below 2^24, so that float32 counts them exactly."""
    shared: FloatArray = a_NP.astype(np.float32) @ b_MP.astype(np.float32).T
    return shared


def _on_grid(bitmaps: Iterable[BoolArray], size: Size) -> BoolArray:
    """(N, P): of bitmaps (h, w), taken one by one, the pixels in the middle of each cell of the grid."""
    step = max(1, -(-max(size) // GRID))
    down, across = (slice(step // 2, side, step) for side in size)
    num_cells = len(range(size[0])[down]) * len(range(size[1])[across])
    cells = [bitmap[down, across].flatten() for bitmap in bitmaps]
    return np.array(cells, np.bool_).reshape(len(cells), num_cells)
