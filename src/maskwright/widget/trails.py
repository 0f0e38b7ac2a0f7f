"""Masks of followed objects in all frames of a film, as run lengths: a few kilobytes each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from maskwright.errors import InputError
from maskwright.frames import TrackedFrame, TrackedObject
from maskwright.pixels import rle
from maskwright.pixels.boxes import boxes_of
from maskwright.types import BoolArray, Prompt, Size
from maskwright.widget.sheet import ByFrame, Sheet


class Found(NamedTuple):
    """One object in one frame."""

    mask: rle.Rle
    score: float
    object_score: float
    area: int

    @property
    def bitmap(self) -> BoolArray:
        """(h, w) bool."""
        bitmap: BoolArray = rle.decode([self.mask])[0]
        return bitmap


@dataclass
class Trail:
    """One object through the film."""

    prompts: ByFrame = field(default_factory=dict)
    """What it was found with."""
    found: dict[int, Found] = field(default_factory=dict)
    """By frame."""
    complete: bool = False
    """Whether the whole film was searched with these prompts."""

    def restart(self, prompts: ByFrame, *, one_way: bool) -> None:
        """Forget what other prompts may change: everything from the first frame on where they differ.

        ``one_way``: time only ran forward, so that what lies before that frame stays.
        """
        if prompts == self.prompts and self.complete:
            return
        changed = first_difference(self.prompts, prompts)
        if changed is not None:
            self.found = {f: one for f, one in self.found.items() if one_way and f < changed}
        self.prompts, self.complete = prompts, False


class Trails:
    """The trails of all objects, also of deleted ones, which undo may bring back."""

    def __init__(self) -> None:
        self._trails: dict[int, Trail] = {}

    def __getitem__(self, number: int) -> Trail:
        """The trail of an object, empty at first."""
        return self._trails.setdefault(number, Trail())

    def keep(self, tracked: TrackedFrame) -> None:
        """Take in what was found in one frame."""
        for one in tracked:
            self[one.id].found[tracked.index] = _found(one)

    def behind(self, sheet: Sheet) -> list[int]:
        """Objects whose trails do not come from their prompts, or not to the end."""
        return [
            one.id
            for one in sheet.prompted
            if not self[one.id].complete or self[one.id].prompts != one.prompts
        ]

    def frames(self, sheet: Sheet) -> list[int]:
        """Frames in which any of the sheet's objects was looked for."""
        return sorted({frame for one in sheet.prompted for frame in list(self[one.id].found)})


class TrackedMasks(Mapping[int, TrackedFrame]):
    """The result by number of the frame: ``masks[12].bitmaps``; held as run lengths, drawn when asked for."""

    def __init__(self, trails: Trails, sheet: Sheet, size: Size) -> None:
        self._found = {one.id: dict(trails[one.id].found) for one in sheet.prompted}
        self._frames, self._size = trails.frames(sheet), size
        self._prompts = {one.id: frozenset(one.prompts) for one in sheet.prompted}

    def __len__(self) -> int:
        return len(self._frames)

    def __iter__(self) -> Iterator[int]:
        return iter(self._frames)

    def __getitem__(self, frame: int) -> TrackedFrame:
        """The objects of one frame.

        Raises:
            KeyError: nothing was looked for there.
        """
        here = {number: found[frame] for number, found in self._found.items() if frame in found}
        if not here:
            raise KeyError(frame)
        bitmaps = np.stack([one.bitmap for one in here.values()])
        return TrackedFrame(
            index=frame,
            ids=tuple(here),
            bitmaps=bitmaps,
            scores=np.array([one.score for one in here.values()], np.float32),
            object_scores=np.array([one.object_score for one in here.values()], np.float32),
            boxes=boxes_of(bitmaps),
            areas=np.array([one.area for one in here.values()], np.int64),
            logits=np.zeros((0, 0, 0), np.float32),
            prompted=frozenset(number for number in here if frame in self._prompts[number]),
        )

    def __repr__(self) -> str:
        span = f", frames {self._frames[0]} to {self._frames[-1]}" if self._frames else ""
        nouns = f"{len(self._found)} object{'s' * (len(self._found) != 1)}"
        return f"TrackedMasks({nouns}, {self._size[0]} x {self._size[1]}{span})"

    def rle(self, frame: int) -> dict[int, rle.Rle]:
        """COCO compressed RLE by number of the object, ready for JSON.

        Raises:
            InputError: nothing was looked for in this frame.
        """
        here = {number: found[frame].mask for number, found in self._found.items() if frame in found}
        if not here:
            raise InputError(f"nothing was followed to frame {frame}")
        return here


def first_difference(one: Mapping[int, Prompt], other: Mapping[int, Prompt]) -> int | None:
    """The first frame with different prompts, or None."""
    frames = sorted({*one, *other})
    return next((frame for frame in frames if one.get(frame) != other.get(frame)), None)


def up_to(prompts: ByFrame, frame: int) -> dict[int, Prompt]:
    """The prompts of frames up to this one."""
    return {number: one for number, one in prompts.items() if number <= frame}


def _found(one: TrackedObject) -> Found:
    return Found(rle.encode(one.bitmap)[0], one.score, one.object_score, one.area)
