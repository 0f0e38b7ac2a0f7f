"""Reading ahead on a background thread.

:func:`prefetch` keeps a few items ready, :class:`Latest` only the newest. Memory: ``size`` items waiting (one
for Latest), and one in the hands of either thread.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

from maskwright.errors import InputError
from maskwright.io.sources.protocol import Closing

T = TypeVar("T")
_SLICE = 0.2
"""Seconds of one wait; a wait without end cannot be interrupted from the keyboard on Windows."""
_JOIN = 5.0
"""Seconds that closing waits for a thread that is in the middle of a frame."""


class _Channel(Generic[T]):
    """Items on their way from the reading thread to the consumer; it knows neither of them."""

    def __init__(self, size: int, newest_wins: bool) -> None:
        self.dropped = 0
        self._size, self._newest_wins = size, newest_wins
        self._items: deque[T] = deque()
        self._changed = threading.Condition()
        self._cancelled = self._finished = False
        self._error: BaseException | None = None

    def put(self, item: T) -> bool:
        """Hand over an item, waiting for room; False if nobody wants any more."""
        with self._changed:
            if self._newest_wins and len(self._items) == self._size:
                self._items.popleft()
                self.dropped += 1
            while len(self._items) == self._size and not self._cancelled:
                self._changed.wait()
            if not self._cancelled:
                self._items.append(item)
            self._changed.notify_all()
            return not self._cancelled

    def get(self, timeout: float | None) -> T:
        """The next item; StopIteration at the end, TimeoutError after ``timeout`` seconds without one."""
        end = None if timeout is None else time.monotonic() + timeout
        with self._changed:
            while not self._items and not self._finished and not self._cancelled:
                left = _SLICE if end is None else min(_SLICE, end - time.monotonic())
                if left <= 0:
                    raise TimeoutError
                self._changed.wait(left)
            if self._items:
                item = self._items.popleft()
                self._changed.notify_all()
                return item
            error, self._error = self._error, None
        if error is not None:
            raise error
        raise StopIteration

    def finish(self, error: BaseException | None) -> None:
        """No more items will come; ``error`` is raised where the next one would have been."""
        with self._changed:
            self._finished, self._error = True, error
            self._changed.notify_all()

    def cancel(self) -> None:
        """No more items are wanted."""
        with self._changed:
            self._cancelled, self._error = True, None
            self._items.clear()
            self._changed.notify_all()


def _pump(iterable: Iterable[T], channel: _Channel[T]) -> None:
    """What the thread does: read, hand over, and close what it read from, in this thread."""
    error: BaseException | None = None
    iterator: Iterator[T] | None = None
    try:
        iterator = iter(iterable)
        del iterable
        while channel.put(next(iterator)):  # no name for the item, which would keep it alive
            pass
    except StopIteration:
        pass
    except BaseException as failure:
        error = failure
    try:
        close = getattr(iterator, "close", None)
        if close is not None:
            close()
    except BaseException as failure:
        error = error or failure
    channel.finish(error)


def _abandon(channel: _Channel[T], thread: threading.Thread) -> None:
    """End the thread; also run when the consumer was forgotten, and when the interpreter exits."""
    channel.cancel()
    if thread is not threading.current_thread():
        thread.join(_JOIN)


class Prefetch(Closing, Generic[T]):
    """An iterator whose items are made on a background thread, a few ahead of the consumer.

    Same items in the same order; an exception arrives at its place among them. Closing or forgetting it ends
    the thread and closes the iterator underneath.
    """

    def __init__(self, iterable: Iterable[T], size: int = 4, *, newest_wins: bool = False) -> None:
        """Start reading. ``newest_wins`` drops the oldest waiting item instead of waiting for room."""
        if size < 1:
            raise InputError(f"size={size} must be 1 or more")
        self._channel: _Channel[T] = _Channel(size, newest_wins)
        self._thread = threading.Thread(
            target=_pump, args=(iterable, self._channel), name="maskwright-prefetch", daemon=True
        )
        self._thread.start()
        self._finalizer = weakref.finalize(self, _abandon, self._channel, self._thread)

    @property
    def dropped(self) -> int:
        """Items that were dropped because newer ones came before they were fetched."""
        return self._channel.dropped

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        return self.get()

    def get(self, timeout: float | None = None) -> T:
        """The next item, as ``next``; TimeoutError if none came within ``timeout`` seconds."""
        return self._channel.get(timeout)

    def close(self, wait: float = _JOIN) -> None:
        """End the thread, as soon as the step that it is in ends; wait at most that many seconds for it."""
        self._channel.cancel()
        self._thread.join(wait)
        self._finalizer.detach()


def prefetch(iterable: Iterable[T], size: int = 4) -> Prefetch[T]:
    """Make the items of ``iterable`` on a background thread, at most ``size`` ahead.

    >>> list(prefetch(range(3)))
    [0, 1, 2]
    """
    return Prefetch(iterable, size)


class Latest(Closing, Generic[T]):
    """An iterator that always gives the newest item: latency mode for cameras and streams.

    A background thread reads all the time. What the consumer was too slow for is dropped and counted in
    ``dropped``; the rest comes in order. It ends when the source ends, after the last item.
    """

    def __init__(self, iterable: Iterable[T]) -> None:
        self._ahead = Prefetch(iterable, 1, newest_wins=True)

    @property
    def dropped(self) -> int:
        """Items that were dropped because newer ones came before they were fetched."""
        return self._ahead.dropped

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        return next(self._ahead)

    def close(self) -> None:
        """End the thread and close the iterator underneath."""
        self._ahead.close()
