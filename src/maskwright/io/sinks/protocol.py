"""What a sink is, and what all of them ask of a frame."""

from __future__ import annotations

import logging
from collections.abc import Callable
from types import TracebackType
from typing import Protocol, TypeVar

from maskwright.errors import InputError, StateError
from maskwright.frames import TrackedFrame
from maskwright.types import ByteArray

_Self = TypeVar("_Self", bound="Sink")
_log = logging.getLogger(__name__)


class Sink(Protocol):
    """Where tracked frames go, one after the other.

    A context manager: leaving it normally finishes the output (:meth:`close`); leaving it by an exception
    stops at once and keeps what was written readable (:meth:`abandon`).
    """

    def write(self, frame: TrackedFrame) -> None:
        """Add one frame.

        Raises:
            InputError: the frame does not fit: no picture, another size, an order that cannot be written.
            OutputError: it could not be written; what was written before stays readable.
            StateError: the sink is closed.
        """

    def close(self) -> None:
        """Finish the output. A second call does nothing."""

    def abandon(self) -> None:
        """Stop without the final step; what was written so far stays readable. Never raises an OSError."""

    def __enter__(self: _Self) -> _Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abandon()


def picture_of(frame: TrackedFrame) -> ByteArray:
    """The picture (h, w, 3) that the frame carries; InputError if it carries none or one of another size."""
    if frame.image is None:
        raise InputError(f"frame {frame.index} carries no picture to draw on; track with pictures kept")
    if frame.image.shape != (*frame.size, 3):
        shapes = f"{frame.image.shape} does not fit its masks {frame.bitmaps.shape}"
        raise InputError(f"frame {frame.index}: the picture {shapes}")
    return frame.image


def check_open(closed: bool, name: object) -> None:
    """A StateError for a frame that comes after the end."""
    if closed:
        raise StateError(f"{name} is closed already; open a new sink to write more frames")


def call_all(steps: list[Callable[[], None]]) -> None:
    """Take every step, even if one fails; the first error is raised, others are logged."""
    first: BaseException | None = None
    for step in steps:
        try:
            step()
        except BaseException as error:  # an interrupt, too, must not leave the others open
            if first is None:
                first = error
            else:
                _log.warning("and then: %s", error)
    if first is not None:
        raise first
