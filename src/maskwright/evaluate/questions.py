"""Which objects of a labelled picture are asked for, and how: the same ones on every machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from maskwright.io.datasets.choosing import spread
from maskwright.io.datasets.protocol import Scene
from maskwright.pixels.boxes import boxes_of
from maskwright.pixels.clicks import centre, correction
from maskwright.types import BoolArray, Box, Points

MAX_OBJECTS = 8
"""Objects per picture: dense pictures must not drown the others."""
MIN_PIXELS = 100
"""Smaller objects are not asked for; their outlines are mostly labelling noise."""
SHOWN_BY = ("mask", "box", "click")
"""How an object can be shown to who is to follow it."""


@dataclass(frozen=True, eq=False)
class Question:
    """One object of one picture."""

    object_id: int
    """The data set's number of it."""
    mask: BoolArray
    """(h, w), at the picture's own size."""
    box: Box
    """Tight around the mask."""
    click: Points
    """The pixel farthest from everything that is not the object."""

    @classmethod
    def about(cls, object_id: int, mask: BoolArray) -> Question:
        """The object with this mask, which is not empty."""
        return cls(object_id, mask, tight_box(mask), Points([centre(mask)]))


def questions(scene: Scene, *, limit: int = MAX_OBJECTS, min_pixels: int = MIN_PIXELS) -> list[Question]:
    """Up to ``limit`` objects of a scene, evenly spread over those that are large enough."""
    places = np.flatnonzero(scene.areas >= min_pixels).tolist()
    chosen: Sequence[int] = [places[which] for which in spread(len(places), limit)]
    return [Question.about(scene.ids[place], scene.mask(place)) for place in chosen]


def corrected(question: Question, clicks: Points, given: BoolArray) -> Points:
    """``clicks`` and the one that a user would add on seeing ``given``; the same if nothing is wrong."""
    click = correction(question.mask, given)
    if click is None:
        return clicks
    coords = np.concatenate((clicks.coords, [(click.x, click.y)]))
    return Points(coords, labels=np.append(clicks.labels, click.label))


def first_prompt(mask: BoolArray, shown_by: str) -> BoolArray | Box | Points:
    """An object with this mask as it is shown to who is to follow it: one of ``SHOWN_BY``."""
    if shown_by == "mask":
        return mask
    return tight_box(mask) if shown_by == "box" else Points([centre(mask)])


def tight_box(mask: BoolArray) -> Box:
    """The smallest box around a mask that is not empty."""
    x0, y0, x1, y1 = (float(edge) for edge in boxes_of(mask))
    return Box(x0, y0, x1, y1)
