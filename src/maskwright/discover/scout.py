"""Looking for new objects while others are followed."""

from __future__ import annotations

import logging
from collections.abc import Iterable

import numpy as np

from maskwright.automask import places
from maskwright.automask.found import FoundMasks, Sieve
from maskwright.automask.options import AutomaskOptions
from maskwright.automask.search import Search
from maskwright.discover.choosing import Verdict, choose
from maskwright.discover.options import Discover
from maskwright.discover.pieces import clicked_pieces
from maskwright.frames import TrackedFrame
from maskwright.pixels import rle
from maskwright.runtime.protocol import Runtime
from maskwright.track.session import Session
from maskwright.types import BoolArray

_log = logging.getLogger(__name__)


class Scout:
    """Is shown each frame after it was tracked; every so many frames it searches what no object covers.

    Everything that the next frames depend on is kept by the session, and so by its snapshots.
    """

    def __init__(
        self, runtime: Runtime, settings: Discover, options: AutomaskOptions, asked_for: Iterable[int] = ()
    ) -> None:
        """Nothing is computed yet.

        Args:
            runtime: Searches; for pictures.
            settings: When to search, and what counts as new.
            options: How to search.
            asked_for: Numbers of the objects that the caller prompts at some time; others do not get them.

        Raises:
            InputError: these leave no room or no number for another object.
        """
        self._runtime, self._settings, self._options = runtime, settings, options
        self._asked_for = frozenset(asked_for)
        self._reserved = max(self._asked_for, default=0)
        self._told: set[str] = set()
        settings.check_prompted(self._asked_for)

    def __call__(self, session: Session, tracked: TrackedFrame) -> TrackedFrame:
        """Add the new objects of a frame to a session.

        Args:
            session: Stands at this frame.
            tracked: What was found in it, with its picture.

        Returns:
            The frame with the new objects as well.

        Raises:
            InputError: the frame is smaller than the grid of clicks.
        """
        settings = self._settings
        if session.tick % settings.every:
            return tracked
        absent = self._absent(session)
        room = self._room(session)
        most = min(room + len(absent), self._numbers_left(session))
        free_HW: BoolArray = np.logical_not(tracked.bitmaps.any(axis=0))
        if most <= 0 or not free_HW.any():
            return tracked
        found, sieve = self._search(tracked, free_HW)
        found = clicked_pieces(found, settings.min_whole)
        verdict = choose(found, tracked, settings)
        new = verdict.new[:most]
        if len(verdict.new) > most:
            self._tell_no_room(tracked.index, len(verdict.new) - most)
        if not new:
            if sieve.decoded and not session.discoveries and not verdict.followed:
                self._tell_nothing(tracked.index, sieve, verdict)
            return tracked
        for number in absent[: max(0, len(new) - room)]:
            session.remove(number)
        bitmaps = (rle.bitmap(found.runs[row], found.size) for row in new)
        return session.add_discovered(bitmaps, above=self._reserved)

    def _search(self, tracked: TrackedFrame, free_HW: BoolArray) -> tuple[FoundMasks, Sieve]:
        assert tracked.image is not None
        places.check_size(tracked.size, self._options)
        with Search(self._runtime, tracked.image, self._options, within=free_HW) as search:
            for step in search:
                if self._settings.progress is not None:
                    self._settings.progress(step)
            return search.result(), search.sieve

    def _room(self, session: Session) -> int:
        """How many objects more may be followed, if none makes room."""
        discovered = session.discoveries
        asked_for = self._asked_for.union(session.ids).difference(discovered)
        return max(0, self._settings.max_objects - len(asked_for) - len(discovered))

    def _absent(self, session: Session) -> list[int]:
        """Discovered objects that may make room, the one longest unseen first."""
        after = self._settings.forget_after
        if after is None:
            return []
        gone = {number: one.unseen for number, one in session.discoveries.items() if one.unseen >= after}
        return sorted(gone, key=lambda number: (-gone[number], number))

    def _numbers_left(self, session: Session) -> int:
        limit = self._settings.max_id
        if limit is None:
            return self._settings.max_objects
        left = limit - max(session.highest_id, self._reserved)
        if left <= 0:
            self._tell("numbers", f"no more objects are discovered: there is no number left up to {limit}")
        return left

    def _tell_no_room(self, frame: int, num: int) -> None:
        most = self._settings.max_objects
        self._tell(
            "room",
            f"{num} more found in frame {frame} than there is room for (max_objects={most}); they are not "
            "followed, and the area is not searched until there is room",
        )

    def _tell_nothing(self, frame: int, sieve: Sieve, verdict: Verdict) -> None:
        """Why there is nothing to follow, once: what took the masks in the first search that was in vain."""
        why = f"{sieve}; of these {verdict}; {verdict.advice}" if str(verdict) else f"{sieve}; {sieve.advice}"
        self._tell("nothing", f"nothing was discovered in frame {frame}: {why}")

    def _tell(self, what: str, message: str) -> None:
        """Warn about something once, not every so many frames."""
        if what not in self._told:
            self._told.add(what)
            _log.warning("%s", message)
