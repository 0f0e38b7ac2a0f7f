"""Which objects of a labelled picture are asked for, and how: the same ones on every machine."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from maskwright.io.labelled import spread
from maskwright.pixels.boxes import boxes_of
from maskwright.pixels.clicks import centre, correction
from maskwright.types import BoolArray, Box, Points

MAX_OBJECTS = 8
"""Objects per picture: dense pictures must not drown the others."""
MIN_PIXELS = 100
"""Smaller objects are not asked for; their outlines are mostly labelling noise."""


@dataclass(frozen=True, eq=False)
class Question:
    """One object of one picture."""

    mask: BoolArray
    """(h, w), at the label map's own size."""
    box: Box
    """Tight around the mask."""
    click: Points
    """The pixel farthest from everything that is not the object."""


def questions(
    labels: np.ndarray, *, limit: int = MAX_OBJECTS, min_pixels: int = MIN_PIXELS
) -> list[Question]:
    """Up to ``limit`` objects of a label map (h, w), 0 = unlabelled, evenly spread over its label numbers."""
    areas = np.bincount(labels.ravel())
    numbers = [int(number) for number in np.flatnonzero(areas >= min_pixels) if number]
    found = []
    for which in spread(len(numbers), limit):
        mask = np.asarray(labels == numbers[which])
        x0, y0, x1, y1 = (float(edge) for edge in boxes_of(mask))
        found.append(Question(mask, Box(x0, y0, x1, y1), Points([centre(mask)])))
    return found


def corrected(question: Question, clicks: Points, given: BoolArray) -> Points:
    """``clicks`` and the one that a user would add on seeing ``given``; the same if nothing is wrong."""
    click = correction(question.mask, given)
    if click is None:
        return clicks
    coords = np.concatenate((clicks.coords, [(click.x, click.y)]))
    return Points(coords, labels=np.append(clicks.labels, click.label))
