"""What every source of frames offers, and the checks that they share."""

from __future__ import annotations

from collections.abc import Iterator
from operator import index as as_integer
from types import TracebackType
from typing import Any, Literal, Protocol, TypeAlias, TypeVar, runtime_checkable

from maskwright.errors import InputError, StateError
from maskwright.frames import Frame
from maskwright.types import Size

Corrupt: TypeAlias = Literal["skip", "stop"]
"""What to do about a damaged frame: leave it out, warn once and count it, or raise an error naming it."""

DecoderName: TypeAlias = Literal["pyav", "torchcodec"]
"""What decodes video files."""


@runtime_checkable
class Source(Protocol):
    """A video, whatever it is stored as. Use it as a context manager, or close it.

    Numbers of frames are positions in the source, from 0, the same whichever way and from wherever it is
    read. A damaged frame that is left out keeps its number to itself: the next one has the next number.
    """

    @property
    def name(self) -> str:
        """Short, for messages and progress: a file name, ``camera 0``, ``array``."""

    @property
    def size(self) -> Size | None:
        """(h, w) upright of the first frame, if it is known before reading one."""

    @property
    def fps(self) -> float | None:
        """Average frames per second, if it has any."""

    @property
    def num_frames(self) -> int | None:
        """Length: exact if ``exact_length``, else what the container claims; None where nobody knows."""

    @property
    def exact_length(self) -> bool:
        """Whether ``num_frames`` is certain; :meth:`count` makes it so."""

    @property
    def live(self) -> bool:
        """True for cameras and streams: no seeking, no length, and frames not fetched in time are lost."""

    @property
    def num_skipped(self) -> int:
        """Damaged frames left out so far."""

    def frames(self, start: int = 0, stop: int | None = None, step: int = 1) -> Iterator[Frame]:
        """Frames ``start, start + step, ...`` below ``stop`` in ascending order; none past the end.

        Raises:
            InputError: negative numbers, or a step below 1.
            SourceError: while iterating: it cannot be read on, or a frame is damaged and is not skipped.
        """

    def backward(self, start: int, stop: int = 0, step: int = 1) -> Iterator[Frame]:
        """Frames ``start, start - step, ...`` down to ``stop``, inclusive.

        Raises:
            InputError: it cannot go backwards (live sources, generators), or there is no frame ``start``.
        """

    def count(self) -> int | None:
        """The exact number of frames, reading through the source if need be; None for what has no end."""

    def close(self) -> None:
        """Release files and threads; may be called more than once."""

    def __enter__(self) -> Source: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class _Closes(Protocol):
    def close(self) -> None: ...


_Self = TypeVar("_Self", bound=_Closes)


class Closing:
    """``with`` for whatever has a ``close``."""

    def __enter__(self: _Self) -> _Self:
        return self

    def __exit__(self: _Self, *error: object) -> None:
        self.close()


def check_corrupt(corrupt: str) -> None:
    """InputError unless it is one of the two words."""
    if corrupt not in ("skip", "stop"):
        raise InputError(f"corrupt={corrupt!r} is not known; pass 'skip' or 'stop'")


def check_range(start: Any, stop: Any, step: Any) -> None:
    """InputError unless the three describe frames in ascending order."""
    for name, value, least in (("start", start, 0), ("stop", stop, 0), ("step", step, 1)):
        if value is None and name == "stop":
            continue
        _check_integer(name, value, least)


def check_backward(start: Any, stop: Any, step: Any) -> None:
    """InputError unless the three describe frames in descending order."""
    for name, value, least in (("start", start, 0), ("stop", stop, 0), ("step", step, 1)):
        _check_integer(name, value, least)
    if stop > start:
        raise InputError(f"going backwards from frame {start}, stop={stop} lies ahead; swap the two")


def check_open(name: str, closed: bool) -> None:
    """StateError once the source was closed."""
    if closed:
        raise StateError(f"{name} was closed; open it again to read on")


def no_such_frame(name: str, number: int, length: int) -> InputError:
    """The error for a frame past the end."""
    last = f"the last one is {length - 1}" if length else "there are none"
    return InputError(f"{name} has no frame {number}; {last}")


def _check_integer(name: str, value: Any, least: int) -> None:
    try:
        number = as_integer(value)
    except TypeError as error:
        raise InputError(f"{name}={value!r} is not a number of a frame; pass an integer") from error
    if number < least:
        raise InputError(f"{name}={number} must be {least} or more")
