"""How often something is measured: interleaved rounds within a number of seconds."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")
FULL = 17
"""Frames after which memories and pointers are full; the times before are shorter."""


class Allowance:
    """Seconds that are shared by several pieces of work, what one leaves going to those after it."""

    def __init__(self, seconds: float | None, pieces: int) -> None:
        self._end = None if seconds is None else time.monotonic() + seconds
        self._pieces = pieces

    def share(self) -> float | None:
        """Seconds for the next piece, 0 if earlier ones took them all; None where time does not count."""
        if self._end is None:
            return None
        left = max(0.0, self._end - time.monotonic())
        pieces, self._pieces = max(1, self._pieces), self._pieces - 1
        return left / pieces


@dataclass(frozen=True)
class Limits:
    """How many rounds count."""

    least: int
    """However long they take."""
    most: int
    """If there are as many seconds."""
    plain: int
    """Where seconds do not count."""


def rounds(seconds: float | None, stopping: Callable[[], bool], limits: Limits) -> Iterator[bool]:
    """For each round, whether it counts: the first one warms up, then come as many as fit.

    Args:
        seconds: For all of them; None for ``limits.plain`` rounds.
        stopping: Whether to leave off; asked before each round.
        limits: How many.
    """
    return _rounds(seconds, stopping, limits, lambda number, spent: number >= 1)


def frames(
    seconds: float | None, stopping: Callable[[], bool], limits: Limits, longest: int, full: int = FULL
) -> Iterator[bool]:
    """For each frame after the first, whether it counts: from ``full`` on, or when half the time is over.

    Args:
        seconds: This and the next are those of :func:`rounds`.
        stopping: See there.
        limits: How many.
        longest: Frames that there are, the first included.
        full: Number of the frame that finds full memories.
    """

    def counts(number: int, spent: float) -> bool:
        return number >= full - 1 or (seconds is not None and spent > seconds / 2)

    for number, one in enumerate(_rounds(seconds, stopping, limits, counts)):
        if number >= longest - 1:
            return
        yield one


def _rounds(
    seconds: float | None,
    stopping: Callable[[], bool],
    limits: Limits,
    counts: Callable[[int, float], bool],
) -> Iterator[bool]:
    began, counted = time.monotonic(), 0
    for number in itertools.count():
        spent = time.monotonic() - began
        enough = counted >= (limits.plain if seconds is None else limits.most)
        over = seconds is not None and spent >= seconds and counted >= limits.least
        if enough or over or stopping():
            return
        now = counted > 0 or counts(number, spent)
        counted += now
        yield now


def in_turn(contestants: Mapping[str, T], number: int) -> Sequence[tuple[str, T]]:
    """Everybody once, another one first in each round."""
    names = list(contestants)
    shift = number % len(names)
    return [(name, contestants[name]) for name in names[shift:] + names[:shift]]
