"""Videos in memory or under way: arrays, and generators or other iterables of pictures."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any

from maskwright.errors import ImageError, InputError, StateError
from maskwright.frames import Frame
from maskwright.io.sources.protocol import Closing, Corrupt, check_open, check_range
from maskwright.io.sources.stills import StillsSource, read_frame
from maskwright.types import Size


class IteratorSource(Closing):
    """Pictures as they come out of an iterator: forwards only, and only once.

    The iterable may give arrays, whatever else :func:`read_image` takes, or Frames, whose numbers must ascend
    and are kept. An iterable that starts anew each time, such as an object of a class with ``__iter__``, can
    be read again. Memory: one frame.
    """

    live = False
    exact_length = False
    size: Size | None = None
    fps: float | None = None
    num_frames: int | None = None
    num_skipped = 0

    def __init__(self, iterable: Iterable[Any], name: str = "") -> None:
        self.name = name or getattr(iterable, "__name__", "") or type(iterable).__name__
        self._iterable = iterable
        self._once = iter(iterable) is iterable
        self._started = self._closed = False

    def frames(self, start: int = 0, stop: int | None = None, step: int = 1) -> Iterator[Frame]:
        """See :class:`Source`. Frames before ``start`` are taken from the iterator and dropped.

        Raises:
            StateError: it was read before, and cannot start again.
        """
        check_range(start, stop, step)
        check_open(self.name, self._closed)
        if self._once and self._started:
            raise StateError(f"{self.name} can be read only once; make a new one, or pass a list")
        self._started = True
        return self._walk(start, stop, step)

    def backward(self, start: int, stop: int = 0, step: int = 1) -> Iterator[Frame]:
        """Always an InputError."""
        raise InputError(f"{self.name} cannot be read backwards; pass a list, an array or a file")

    def count(self) -> None:
        """Nobody knows."""

    def close(self) -> None:
        """Close the generator, if it is one and not running in another thread just now."""
        self._closed = True
        close = getattr(self._iterable, "close", None) if self._once else None
        if close is not None:
            with contextlib.suppress(ValueError):
                close()

    def _walk(self, start: int, stop: int | None, step: int) -> Iterator[Frame]:
        number = -1
        for item in self._iterable:
            check_open(self.name, self._closed)
            number = self._number(item, number)
            if stop is not None and number >= stop:
                return
            if number >= start and (number - start) % step == 0:
                yield self._frame(item, number)
                if stop is not None and number + step >= stop:  # or one more would be made for nothing
                    return

    def _number(self, item: Any, last: int) -> int:
        if not isinstance(item, Frame):
            return last + 1
        if item.index <= last:
            raise InputError(f"{self.name} gave frame {item.index} after {last}; frames must ascend")
        return item.index

    def _frame(self, item: Any, number: int) -> Frame:
        if isinstance(item, Frame):
            return item
        try:
            return Frame(number, read_frame(item))
        except ImageError as error:
            raise ImageError(f"{self.name}: frame {number}: {error}") from error


def array_source(array: Any, *, corrupt: Corrupt = "skip") -> StillsSource:
    """A whole video in one array, of which one frame at a time is read.

    Args:
        array: (t, h, w, 3), (t, h, w, 4), (t, h, w, 1) or (t, h, w) grey, or one picture (h, w, 3); numpy,
            a torch tensor on the CPU, or anything with a shape whose items are arrays, such as a memory map.
        corrupt: Has no effect on arrays.

    Raises:
        InputError: another number of axes.
        ImageError: its items are no pictures.
    """
    shape = tuple(array.shape)
    if len(shape) == 3 and shape[2] in (1, 3, 4):
        return StillsSource("array", [array], corrupt=corrupt)
    if len(shape) not in (3, 4):
        raise InputError(f"the array has shape {shape}, which is no video; expected (t, h, w, 3)")
    return StillsSource("array", array, corrupt=corrupt)
