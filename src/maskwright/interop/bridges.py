"""Several closed lines as one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Ring: TypeAlias = npt.NDArray[np.float64]
"""(n, 2) corners ``(x, y)`` of a closed line; the first is not repeated at the end."""


def linked(lines: Sequence[Ring]) -> Ring:
    """One closed line through the corners of all, which goes from each to the next and back the same way.

    The line that is nearest to what is linked already comes next, by the shortest way from corner to corner.

    Args:
        lines: One and more; the first is where it begins.
    """
    if len(lines) == 1:
        return lines[0]
    points = np.concatenate(lines)
    begins = np.cumsum([0, *map(len, lines)])
    after = np.arange(1, len(points) + 1)
    after[begins[1:] - 1] = begins[:-1]
    route, places = after.tolist(), list(range(len(points)))
    for here, there in _bridges(points, begins):
        line = int(np.searchsorted(begins, there, side="right")) - 1
        before = there - 1 if there > begins[line] else int(begins[line + 1]) - 1
        back, again = len(places), len(places) + 1  # the far end of the bridge once more, then the near one
        places += [places[there], places[here]]
        route += [again, route[here]]
        route[before], route[here] = back, there
    return np.asarray(points[_walked(route, places)])


def _bridges(points: Ring, begins: npt.NDArray[np.int64]) -> list[tuple[int, int]]:
    """For each line but the first, as they are linked, the corner to come from and that to arrive at."""
    from scipy.spatial import cKDTree

    nearest = np.zeros(len(points), np.int64)
    distance = np.full(len(points), np.inf)
    left = np.arange(begins[1], len(points))
    newest, found = 0, []
    while len(left):
        first, last = begins[newest], begins[newest + 1]
        apart, corner = cKDTree(points[first:last]).query(points[left])
        closer = apart < distance[left]
        distance[left[closer]] = apart[closer]
        nearest[left[closer]] = corner[closer] + first
        there = int(left[distance[left].argmin()])
        found.append((int(nearest[there]), there))
        newest = int(np.searchsorted(begins, there, side="right")) - 1
        left = left[(left < begins[newest]) | (left >= begins[newest + 1])]
    return found


def _walked(route: Sequence[int], places: Sequence[int]) -> list[int]:
    """Corners in the order of the route, from the first one around to it."""
    order, step = [places[0]], route[0]
    while step != 0:
        order.append(places[step])
        step = route[step]
    return order
