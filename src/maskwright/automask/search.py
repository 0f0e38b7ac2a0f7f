"""Searching a picture, batch of clicks by batch: progress, time left, cancelling, and what was found."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from maskwright.automask import places
from maskwright.automask.clicks import Clicks, batch_size
from maskwright.automask.closer import draw_closer
from maskwright.automask.found import FoundMasks, Sieve
from maskwright.automask.options import AutomaskOptions
from maskwright.automask.places import Crop
from maskwright.io.sources.protocol import Closing
from maskwright.pixels.nms import nms
from maskwright.pixels.rgb import to_uint8
from maskwright.runtime.protocol import Runtime
from maskwright.segmenter import embed
from maskwright.types import BoolArray, FloatArray, ImageArray, Size

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SearchStep:
    """One batch of clicks was answered."""

    done: int
    """Clicks answered so far."""
    total: int
    """Clicks in all."""
    seconds: float
    """Since the first batch was begun."""
    new: FoundMasks = field(repr=False)
    """Masks of this batch that passed the filters. Some may still go, as duplicates of others."""

    @property
    def seconds_left(self) -> float:
        """Estimate from the speed so far."""
        return self.seconds / self.done * (self.total - self.done)


class Searching(Protocol):
    """A search for masks, of one picture or of many tiles."""

    def __iter__(self) -> Iterator[SearchStep]: ...

    def result(self) -> FoundMasks: ...

    @property
    def sieve(self) -> Sieve: ...


def whole_result(search: Searching, progress: Callable[[SearchStep], object] | None) -> FoundMasks:
    """Search to the end; if nothing is found, a logged warning says which filter took how many masks."""
    for step in search:
        if progress is not None:
            progress(step)
    found = search.result()
    if not len(found):
        _log.warning("no masks were found: %s; %s", search.sieve, search.sieve.advice)
    return found


class Search(Closing, Iterator[SearchStep]):
    """The search for masks in one picture; iterating does the work, and leaving off cancels it.

    :meth:`result` has what was found, at any time.
    """

    def __init__(
        self,
        runtime: Runtime,
        picture: ImageArray,
        options: AutomaskOptions,
        *,
        dynamic: bool = True,
        within: BoolArray | None = None,
        size: Size | None = None,
    ) -> None:
        """Plans the search; nothing is computed yet.

        Args:
            runtime: The model.
            picture: (h, w, 3) RGB, uint8 or float32 in 0..1; is not copied.
            options: What to search with.
            dynamic: Where one mask is asked for, take the best of three if the single one is unstable.
            within: (h, w) bool: leave out the clicks elsewhere, and crops without any click.
            size: Height and width in which masks are drawn, where the picture was reduced from that; it is
                then searched without crops, which would be taken from the reduced one.
        """
        self.options = options
        self.size: Size = size or (picture.shape[0], picture.shape[1])
        self._runtime, self._picture, self._dynamic = runtime, picture, dynamic
        step = batch_size(options, runtime.config, runtime.device)
        self._work = list(_planned(self.size, options, step, within))
        self._total = sum(len(points) for _, points in self._work)
        self._next = self._done = 0
        self._closed = False
        self._seconds = 0.0
        self._clicks: Clicks | None = None
        self._settled: list[FoundMasks] = []
        self._pending: list[FoundMasks] = []
        self._sieve = Sieve()

    def __iter__(self) -> Search:
        return self

    def __next__(self) -> SearchStep:
        if self._closed or self._next == len(self._work):
            raise StopIteration
        began = time.monotonic()
        crop, points = self._work[self._next]
        if self._clicks is None or self._clicks.crop is not crop:
            self._turn_to(crop)
        assert self._clicks is not None
        new, sieve = self._clicks.ask(points)
        self._pending.append(new)
        self._sieve += sieve
        self._next += 1
        self._done += len(points)
        self._seconds += time.monotonic() - began
        return SearchStep(self._done, self._total, self._seconds, new)

    @property
    def total(self) -> int:
        """Clicks in all."""
        return self._total

    @property
    def sieve(self) -> Sieve:
        """How many masks each filter took out so far."""
        return self._reckoned()[1]

    @property
    def finished(self) -> bool:
        """Whether every click was answered."""
        return self._next == len(self._work)

    def result(
        self, *, largest_first: bool = True, progress: Callable[[int], object] | None = None
    ) -> FoundMasks:
        """What was found so far, without duplicates; with ``refine`` drawn again, anew with every call.

        Args:
            largest_first: Sort by area. Otherwise by score within the picture, or, where crops were searched,
                those of the smallest crops first, which is the order of the official generator.
            progress: With ``refine`` it is called for every mask that was drawn again, with their number.
        """
        found = self._reckoned()[0]
        if self.options.refine:
            found = draw_closer(self._runtime, self._picture, found, self.options, progress)
        if largest_first:
            found = found[np.argsort(-found.areas, kind="stable")]
        return replace(found, image=to_uint8(self._picture))

    def close(self) -> None:
        """Stop after the batch that is being answered, if any; may be called from another thread."""
        self._closed = True

    def _turn_to(self, crop: Crop) -> None:
        """Settle what the crop before has found, and encode this one."""
        self._settled.append(self._without_duplicates(self._pending))
        self._sieve += Sieve(duplicates=sum(map(len, self._pending)) - len(self._settled[-1]))
        self._pending = []
        self._clicks = None  # its features go before new ones come
        part = self._picture[crop.y0 : crop.y1, crop.x0 : crop.x1]
        embedding = replace(embed(self._runtime, [part])[0], size=crop.size, picture=None)
        self._clicks = Clicks(embedding, crop, self.size, self.options, self._dynamic)

    def _reckoned(self) -> tuple[FoundMasks, Sieve]:
        """All that was found so far, and the sieve, with the crop at hand taken as it stands."""
        here = self._without_duplicates(self._pending)
        found = FoundMasks.joined([FoundMasks.none(self.size), *self._settled, here])
        duplicates = sum(map(len, self._pending)) - len(here)
        num = len(found)
        if self.options.crop_layers:
            wide, high = (found.crops[:, 2:] - found.crops[:, :2]).T
            found = found[
                nms(_last_included(found), 1 / np.maximum(wide * high, 1), self.options.max_crop_overlap)
            ]
        return found, self._sieve + Sieve(duplicates=duplicates, crop_duplicates=num - len(found))

    def _without_duplicates(self, parts: list[FoundMasks]) -> FoundMasks:
        found = FoundMasks.joined([FoundMasks.none(self.size), *parts])
        return found[nms(_last_included(found), found.scores, self.options.max_overlap)]


def _planned(
    size: Size, options: AutomaskOptions, step: int, within: BoolArray | None
) -> Iterator[tuple[Crop, FloatArray]]:
    """Every batch of clicks, crop by crop."""
    for crop in places.crops(size, options):
        points = places.points(options, crop)
        if within is not None:
            part = within[crop.y0 : crop.y1, crop.x0 : crop.x1]
            x, y = np.minimum(points.astype(np.int64), np.array(part.shape[::-1]) - 1).T
            points = points[part[y, x]]
        for start in range(0, len(points), step):
            yield crop, points[start : start + step]


def _last_included(found: FoundMasks) -> FloatArray:
    """Boxes that end with the last pixel, as the official generator measures their overlap."""
    return found.boxes - np.array([0, 0, 1, 1], np.float32)
