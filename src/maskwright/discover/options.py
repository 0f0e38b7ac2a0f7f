"""How objects of a video are discovered: everything that can be chosen, in one frozen value."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from maskwright.automask.options import PRESETS, AutomaskOptions, check_range, check_whole
from maskwright.automask.search import SearchStep
from maskwright.errors import InputError

_SURER: dict[str, dict[str, Any]] = {"nano": {"min_score": 0.6}}
"""Changes to the presets: a wrong mask is one mask in a picture, but in a video it is followed."""


@dataclass(frozen=True, kw_only=True)
class Discover:
    """Search the area that no object covers every so many frames, and follow what is found there.

    Raises:
        InputError: a value outside its range, or settings that contradict each other.
    """

    every: int = 15
    """Frames from one search to the next, counted as they are tracked; the first frame is searched."""
    max_objects: int = 8
    """Objects followed at once, those that are asked for included, also the ones that are asked for later.
    Memory and time per frame are bounded by it; where there is no room, there is no search."""
    preset: str = "fast"
    """How to search: a preset of :class:`AutomaskOptions`. With nano, masks that it is less sure of than 0.6
    are left out."""
    options: AutomaskOptions | None = None
    """Instead of a preset: everything about the search itself, such as ``min_score``."""
    min_area: float = 0.003
    """Leave out masks smaller than this share of the frame, 0..1."""
    max_area: float = 0.5
    """Leave out masks larger than this share of the frame, 0..1: mostly background."""
    min_whole: float = 0.8
    """Of a mask whose largest connected piece is less than this share of it, 0..1, only the piece under the
    click counts: the others belong to something else more often than not; 0 keeps all."""
    max_covered: float = 0.5
    """Leave out a mask of which followed objects, or better ones of the same search, cover more than this
    share, 0..1; 1 keeps all."""
    same_iou: float = 0.4
    """A mask whose IoU with that of a followed object is this or more is that object, 0..1."""
    forget_after: int | None = 30
    """Where a new object finds no room, a discovered one that has not been seen for this many frames makes
    room for it, the one longest unseen first. None: never. Objects that were asked for always stay."""
    max_id: int | None = None
    """Highest number that may be given; None: any. Numbers are never given twice."""
    progress: Callable[[SearchStep], object] | None = field(default=None, compare=False)
    """Is called after each batch of clicks; an exception that it raises ends the tracking."""

    def __post_init__(self) -> None:
        for name in ("every", "max_objects", "forget_after", "max_id"):
            if getattr(self, name) is not None or name not in ("forget_after", "max_id"):
                check_whole(name, getattr(self, name), 1)
        for name in ("min_area", "max_area", "min_whole", "max_covered", "same_iou"):
            check_range(name, getattr(self, name), 0, 1)
        if self.min_area >= self.max_area:
            raise InputError(
                f"min_area={self.min_area} is not below max_area={self.max_area}, which leaves no mask"
            )
        if self.same_iou == 0:
            raise InputError("same_iou is 0, so that every mask is an object that is followed; raise it")
        if self.preset not in PRESETS:
            raise InputError(f"there is no preset {self.preset!r}; choose one of {', '.join(PRESETS)}")
        if self.options is not None and not isinstance(self.options, AutomaskOptions):
            raise InputError(f"options is {self.options!r}; pass AutomaskOptions, or the name of a preset")
        if self.options is not None and self.preset != "fast":
            raise InputError("give either options or a preset, not both")

    @classmethod
    def of(cls, value: Discover | bool | int | None) -> Discover | None:
        """What ``discover=`` stands for: True is the defaults, a number is :attr:`every`, None nothing.

        Raises:
            InputError: something else.
        """
        if isinstance(value, Discover):
            return value
        if value is None or value is False:
            return None
        if value is True:
            return cls()
        if not isinstance(value, (int, np.integer)):
            raise InputError(
                f"discover is {value!r}; pass True, frames between two searches, or Discover(...)"
            )
        return cls(every=int(value))

    def search(self, model: str) -> AutomaskOptions:
        """What a model of this name is to search with."""
        if self.options is not None:
            return self.options
        return AutomaskOptions.preset(self.preset, model=model, **_SURER.get(model, {}))

    def check_prompted(self, numbers: Collection[int]) -> None:
        """Make sure that objects of these numbers, which are asked for, leave room and numbers for others.

        Raises:
            InputError: they do not.
        """
        if len(numbers) >= self.max_objects:
            raise InputError(
                f"max_objects is {self.max_objects}, and {len(numbers)} objects are prompted: that leaves no "
                f"room to discover any; make it larger than {len(numbers)}"
            )
        highest = max(numbers, default=0)
        if self.max_id is not None and highest >= self.max_id:
            raise InputError(
                f"object {highest} is prompted, and discovered objects get numbers above it, up to "
                f"{self.max_id}; prompt objects by smaller numbers"
            )
