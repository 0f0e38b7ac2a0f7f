"""One mask for every object, from what was found tile by tile.

Where two tiles overlap they show the same pixels, so parts of one object look alike there. Masks whose IoU
within the overlap is high enough are one object: each goes with at most one of the other tile, the most alike
first, and two masks of the same tile that overlap (an object and its parts) never become one.

Axes: N masks of all tiles together, in pixels of the whole picture.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from maskwright.automask.found import FoundMasks, Sieve
from maskwright.automask.places import Crop, touches_crop
from maskwright.pixels import rle
from maskwright.tiles.options import TileOptions
from maskwright.tiles.parts import Part, Places, box_iou, mask_iou, meets, near
from maskwright.tiles.plan import Overlap, edge_of, overlaps
from maskwright.types import BoolArray, FloatArray, IntArray

WHOLE_SHARE = 0.8
"""A mask that no edge cuts stands for a group with cut ones, if it has this share of all that is covered."""
SAME_TILE = 0.1
"""Two masks of one tile overlap if they share more than this of the smaller one."""
CUT, COARSE, WHOLE, JOINED = 0, 1, 2, 3
"""What a mask is: ended by its tile's edge; from the reduced picture; whole, as its tile shows it; put
together from several tiles."""


class _Match(NamedTuple):
    iou: float
    first: int
    second: int


class Stitched(NamedTuple):
    """The outcome."""

    found: FoundMasks
    sieve: Sieve
    """What became of the others."""


def stitch(
    parts: Sequence[FoundMasks],
    places: Sequence[Crop],
    options: TileOptions,
    *,
    mask_size: int,
    max_overlap: float,
    whole: FoundMasks | None = None,
) -> Stitched:
    """Put the masks of tiles together.

    Args:
        parts: What was found in each tile, in pixels of the whole picture; one at least.
        places: The tiles.
        options: When two masks are one object.
        mask_size: Cells along each side of the grid on which the network draws.
        max_overlap: IoU of boxes above which two masks of what is left are one, if they share as much: one
            that was cut goes before a whole one, and then the one with the lower score.
        whole: What was found in the whole picture, reduced; of that, objects too large for tiles count.
    """
    found = FoundMasks.joined(parts)
    starts = np.cumsum([0, *map(len, parts)])
    tile_N = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    cut_N = np.concatenate(
        [
            touches_crop(part.boxes.astype(np.int64), place, found.size, edge_of(place, options, mask_size))
            for part, place in zip(parts, places, strict=True)
        ]
    )
    matches, inside_N = _compared(found, starts, cut_N, overlaps(places), options)
    group_N = _grouped(found, tile_N, matches)
    size_N = np.bincount(group_N, minlength=len(found))[group_N]
    dropped_N = inside_N & (size_N == 1)
    merged, state = _merged(found, group_N, cut_N, ~dropped_N)
    groups = int((size_N == 1).sum()) + int((state == JOINED).sum())
    if whole is not None:
        sides = (whole.boxes[:, 2:] - whole.boxes[:, :2]).max(axis=1, initial=0)
        large = whole[sides > options.size - options.shared]
        merged = FoundMasks.joined([merged, large])
        state = np.append(state, np.full(len(large), COARSE))
        groups += len(large)
    left = _without_stumps(merged, state, options.contained)
    merged, state = merged[left], state[left]
    kept = _without_duplicates(merged, state, places, max_overlap, options.stitch_iou)
    sieve = Sieve(
        stitched=len(found) + (0 if whole is None else len(whole)) - groups,
        cut_off=groups - len(merged),
        crop_duplicates=len(merged) - len(kept),
    )
    return Stitched(merged[kept], sieve)


def _compared(
    found: FoundMasks, starts: IntArray, cut_N: BoolArray, shared: Iterable[Overlap], options: TileOptions
) -> tuple[list[_Match], BoolArray]:
    """Which masks are alike where their tiles overlap; and which cut ones lie in a mask of another tile.

    Args:
        found: The masks of all tiles, tile by tile.
        starts: First row of each tile, and one past the last.
        cut_N: Which masks reach the edge of their tile.
        shared: What tiles share, in the order of the first of them.
        options: When two masks are one object.
    """
    matches: list[_Match] = []
    inside_N = np.zeros(len(found), np.bool_)
    places = Places(found)
    for pair in shared:
        places.forget_before(int(starts[pair.first]))
        first, second = (_seen(places, starts[tile : tile + 2], pair[2:]) for tile in pair[:2])
        alike = []
        for row, part in first.items():
            for other, its in second.items():
                both = part.shared(its) if near(found.boxes[row], found.boxes[other]) else 0
                if both and both >= options.stitch_iou * (part.area + its.area - both):
                    alike.append(_Match(both / (part.area + its.area - both), row, other))
                _, less = sorted((row, other), key=lambda one: (-found.areas[one], one))
                inside_N[less] |= cut_N[less] and both >= options.contained * found.areas[less]
        matches += _each_once(alike)
    return matches, inside_N


def _seen(places: Places, rows: IntArray, window: tuple[int, int, int, int]) -> dict[int, Part]:
    """The part within a window of each mask, of the rows from the first up to the second, that is in it."""
    boxes = places.found.boxes[rows[0] : rows[1]]
    parts = {
        int(row): places.within(int(row), window) for row in rows[0] + np.flatnonzero(meets(boxes, window))
    }
    return {row: part for row, part in parts.items() if part.area}


def _each_once(alike: list[_Match]) -> Iterator[_Match]:
    """Of the pairs from two tiles those in which each mask comes once, the most alike first."""
    taken: set[int] = set()
    for match in sorted(alike, key=lambda match: -match.iou):
        if taken.isdisjoint(match[1:]):
            taken.update(match[1:])
            yield match


def _grouped(found: FoundMasks, tile_N: IntArray, matches: list[_Match]) -> IntArray:
    """(N,) the group of each mask: its lowest row. The surest matches come first."""
    group_N = np.arange(len(found))
    members: dict[int, list[int]] = {}
    for _, first, second in sorted(matches, key=lambda match: -match.iou):
        one, other = sorted((int(group_N[first]), int(group_N[second])))
        ours, theirs = members.get(one, [one]), members.get(other, [other])
        if one == other or _clash(found, tile_N, ours, theirs):
            continue
        members[one] = ours + theirs
        members.pop(other, None)
        group_N[theirs] = one
    return group_N


def _clash(found: FoundMasks, tile_N: IntArray, ours: list[int], theirs: list[int]) -> bool:
    """Whether two masks of the same tile, which overlap, would become one."""
    places = Places(found)
    for row in ours:
        for other in theirs:
            if tile_N[row] != tile_N[other] or not near(found.boxes[row], found.boxes[other]):
                continue
            both = places.whole(row).shared(places.whole(other))
            if both > SAME_TILE * min(found.areas[row], found.areas[other]):
                return True
    return False


def _merged(
    found: FoundMasks, group_N: IntArray, cut_N: BoolArray, kept_N: BoolArray
) -> tuple[FoundMasks, IntArray]:
    """One mask for each group that is kept; and what each is: CUT, WHOLE or JOINED."""
    alone_N = (np.bincount(group_N, minlength=len(found))[group_N] == 1) & kept_N
    pieces, states = [found[alone_N]], [np.where(cut_N[alone_N], CUT, WHOLE)]
    order = np.argsort(group_N, kind="stable")
    order = order[~alone_N[order] & kept_N[order]]
    for rows in np.split(order, np.flatnonzero(np.diff(group_N[order])) + 1):
        if len(rows):
            pieces.append(_one(found[rows], cut_N[rows]))
            states.append(np.array([JOINED]))
    return FoundMasks.joined(pieces), np.concatenate(states)


def _without_stumps(found: FoundMasks, state: IntArray, contained: float) -> IntArray:
    """Rows to keep: no cut part of what is larger than a tile, which has it whole."""
    places, joined = Places(found), np.flatnonzero((state == JOINED) | (state == COARSE))
    stay = np.ones(len(found), np.bool_)
    for row in np.flatnonzero(state == CUT).tolist():
        around = joined[meets(found.boxes[joined], tuple(found.boxes[row].tolist()))]
        part = places.whole(row)
        stay[row] = all(part.shared(places.whole(int(one))) < contained * part.area for one in around)
    return np.flatnonzero(stay)


def _one(parts: FoundMasks, cut: BoolArray) -> FoundMasks:
    """Parts of one object as one mask: the best that is whole, else all that any part covers."""
    runs = rle.union(parts.runs, parts.size)
    area = int(np.asarray(runs[1::2], np.int64).sum())
    whole = np.flatnonzero(~cut & (parts.areas >= WHOLE_SHARE * area * cut.any()))
    if len(whole):
        return parts[int(whole[parts.scores[whole].argmax()])]
    weights = parts.areas / parts.areas.sum()
    largest = parts[int(parts.areas.argmax())]
    return replace(
        largest,
        runs=(runs,),
        scores=_mean(parts.scores, weights),
        stabilities=_mean(parts.stabilities, weights),
        boxes=_around(parts.boxes),
        areas=np.array([area], np.int64),
        crops=_around(parts.crops),
    )


def _mean(values: FloatArray, weights: FloatArray) -> FloatArray:
    return np.array([(values * weights).sum()], np.float32)


def _around(boxes: np.ndarray) -> np.ndarray:
    return np.concatenate((boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)))[None]


def _without_duplicates(
    found: FoundMasks, state: IntArray, places: Sequence[Crop], max_overlap: float, stitch_iou: float
) -> IntArray:
    """Rows to keep, in ascending order, of masks that share both box and pixels with a better one.

    Boxes alone, as in the search of one picture, would not do: those of long objects, stitched together from
    many tiles, cover much that is not theirs. Only what reaches into several tiles can be there twice.
    """
    tiles_N = np.zeros(len(found), np.int64)
    for place in places:
        tiles_N += meets(found.boxes, place[:4])
    several = np.flatnonzero(tiles_N > 1)
    rank = found.scores[several] + 2 * np.minimum(state[several], WHOLE)
    stay: list[int] = []
    for row in several[np.argsort(-rank, kind="stable")].tolist():
        alike = np.flatnonzero(box_iou(found.boxes[row], found.boxes[stay]) > max_overlap)
        if all(mask_iou(found, row, stay[one]) < stitch_iou for one in alike):
            stay.append(row)
    kept: IntArray = np.sort(np.concatenate((np.flatnonzero(tiles_N <= 1), np.array(stay, np.int64))))
    return kept
