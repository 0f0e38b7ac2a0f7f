"""Frame times in seconds -> ticks of a video that begins at 0 and never goes back."""

from __future__ import annotations

import logging
import math
from fractions import Fraction

from maskwright.errors import InputError

_RATE_IF_UNKNOWN = 30
_FINE = 90_000
"""Ticks per second that hold 24, 25, 30, 50 and 60 frames per second and milliseconds exactly."""
_FINE_NTSC = 120_000
"""The same for 24000/1001, 30000/1001, 60000/1001 ..."""
_JUMP = 1.0
"""Seconds by which a clock must fall back to count as set anew; less is an unclean time stamp."""
_log = logging.getLogger(__name__)


class Timeline:
    """Places frames in time: by their own times, which may be uneven, or else by number and rate.

    Args:
        fps: Frames per second, for frames without a time and for how long the last one is shown; 30 if None.

    Raises:
        InputError: a rate that is not above 0 and at most 1000.
    """

    def __init__(self, fps: float | None) -> None:
        if fps is not None and not (math.isfinite(fps) and 0 < fps <= 1000):
            raise InputError(f"fps is {fps}; give frames per second above 0 and at most 1000, or None")
        self.rate = _exact(_RATE_IF_UNKNOWN if fps is None else fps)
        self.time_base = Fraction(1, _FINE_NTSC if self.rate.denominator == 1001 else _FINE)
        """Seconds per tick."""
        self.start: float | None = None
        """Time of the first frame in the source, in seconds: what tick 0 stands for."""
        self._shift = 0.0
        self._index = -1
        self._tick = -1

    @property
    def frame_ticks(self) -> int:
        """How long one frame lasts at the average rate, in ticks."""
        return max(1, round(1 / (self.rate * self.time_base)))

    @property
    def stop(self) -> float:
        """Seconds in the source at which the last frame ends."""
        ticks = self._tick + self.frame_ticks if self.start is not None else 0
        return (self.start or 0.0) + float(ticks * self.time_base)

    def place(self, index: int, time: float | None) -> int:
        """The tick at which a frame is shown, greater than that of the frame before.

        Raises:
            InputError: the frame's number is not greater than that of the frame before.
        """
        if self.start is not None and index <= self._index:
            raise InputError(
                f"frame {index} came after frame {self._index}, but a video file is written forward; "
                "when tracking backward, write a log and make the video from it afterwards"
            )
        seconds = float(index / self.rate) if time is None else time
        if self.start is None:
            self.start = seconds
        tick = round((seconds - self.start + self._shift) / self.time_base)
        if tick <= self._tick:
            tick = self._mend(tick, index)
        self._index, self._tick = index, tick
        return tick

    def _mend(self, tick: int, index: int) -> int:
        """A tick for a time that did not advance: just after the last one, or the clock begins anew there."""
        if (self._tick - tick) * self.time_base < _JUMP:
            return self._tick + 1
        _log.warning("the time stamps jump back at frame %d; the video goes on as if they did not", index)
        following = self._tick + self.frame_ticks
        self._shift += float((following - tick) * self.time_base)
        return following


def _exact(fps: float) -> Fraction:
    """The rate that was meant: 29.97 and 29.97003 are 30000/1001."""
    ntsc = Fraction(round(fps * 1.001) * 1000, 1001)
    if abs(ntsc - Fraction(fps)) < Fraction(3, 1000) and not float(fps).is_integer():
        return ntsc
    return Fraction(fps).limit_denominator(1000) or Fraction(1, 1000)
