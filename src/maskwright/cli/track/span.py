"""Which frames are tracked, in which order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from maskwright.cli.track.prompts import Asked, first_of, numbered
from maskwright.errors import InputError

if TYPE_CHECKING:
    from maskwright.io.sources import Source

Direction = Literal["forward", "backward", "both"]


@dataclass(frozen=True)
class Span:
    """Frames ``start`` to ``end``, exclusive, in steps counted from ``first``."""

    direction: Direction
    first: int
    """The frame that tracking begins with."""
    start: int
    end: int | None
    step: int

    @property
    def way(self) -> Direction:
        """The direction; of ``both`` only forward where nothing lies behind the first frame."""
        return (
            "forward" if self.direction == "both" and self.first - self.step < self.start else self.direction
        )

    @property
    def stop(self) -> int | None:
        """Where the tracker stops: before this frame, or going backward after it."""
        return self.start if self.direction == "backward" else self.end

    def total(self, source: Source) -> int | None:
        """Number of frames, as far as the source knows its length; None for one without an end."""
        behind = (self.first - self.start) // self.step
        if self.direction == "backward":
            return behind + 1
        ends = [end for end in (self.end, source.num_frames) if end is not None]
        if source.live or not ends:
            return None
        ahead = max(0, -(-(min(ends) - self.first) // self.step))
        return ahead + (behind if self.direction == "both" else 0)

    def is_last(self, number: int, *, backward: bool) -> bool:
        """Whether nothing is left after this frame, as far as the numbers tell."""
        return backward and number - self.step < self.start

    def is_complete(self, last: int, source: Source) -> bool:
        """Whether the source has no further frame after the ``last`` one that was tracked."""
        ahead, behind = last + self.step, last - self.step
        if self.direction == "backward" or last < self.first:
            return self._nothing_behind(behind, source)
        if first_of(source.frames(ahead, self.end, self.step)) is not None:
            return False
        return self.way != "both" or self._nothing_behind(self.first - self.step, source)

    def _nothing_behind(self, number: int, source: Source) -> bool:
        return number < self.start or first_of(source.backward(number, self.start, self.step)) is None


def place(
    asked: Sequence[Asked],
    source: Source,
    direction: Direction,
    *,
    start: int | None,
    end: int | None,
    step: int,
    discovers: bool = False,
) -> tuple[Span, list[tuple[Asked, int]]]:
    """The frames to track, and the frame of every prompt.

    Without ``@`` a prompt is in the first frame tracked: ``start``, or 0; going backward the one before
    ``end``, or the last of all. Where objects are discovered, tracking forward begins with ``start`` or 0,
    not with the earliest prompt.

    Raises:
        InputError: numbers that make no sense, a direction that the source cannot go, a time that no frame
            has, or a prompt in a frame that is not tracked.
    """
    _check(source, direction, start, end, step)
    lowest = start or 0
    first = lowest
    if direction == "backward":
        length = source.count()
        first = min(end for end in (end, length) if end is not None) - 1
        if first < lowest:
            raise InputError(f"{source.name} has frames 0 to {first}; none is from {lowest} on")
    frames = numbered(asked, source, first=first)
    prompted = [frame for _, frame in frames]
    if direction == "backward":
        first = first if end is not None or discovers else max(prompted)
    elif direction == "both" or (start is None and not discovers):
        first = min(prompted)
    span = Span(direction, first, lowest, end, step)
    for one, frame in frames:
        _check_prompted(one, frame, span, source)
    return span, frames


def _check(source: Source, direction: Direction, start: int | None, end: int | None, step: int) -> None:
    for name, value, least in (("--start", start, 0), ("--end", end, 1), ("--stride", step, 1)):
        if value is not None and value < least:
            raise InputError(f"{name} is {value}; give a whole number from {least} on")
    if end is not None and end <= (start or 0):
        raise InputError(
            f"--end {end} leaves nothing after --start {start or 0}; frames start to end - 1 are tracked"
        )
    if source.live and direction != "forward":
        raise InputError(f"{source.name} is live and cannot be followed {direction}; leave --{direction} out")


def _check_prompted(one: Asked, frame: int, span: Span, source: Source) -> None:
    if frame < span.start or (span.end is not None and frame >= span.end):
        until = "on" if span.end is None else f"to {span.end - 1}"
        raise InputError(
            f"--object {one.text} is in frame {frame}, but only frames from {span.start} {until} are tracked"
        )
    if not source.live and (frame - span.first) % span.step:
        raise InputError(
            f"--object {one.text} is in frame {frame}, which --stride {span.step} from frame {span.first} "
            f"passes over; prompt frame {span.first + round((frame - span.first) / span.step) * span.step}"
        )
