"""Work that goes on while a notebook runs other cells, step by step, until it ends or is cancelled."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class Background(Generic[T]):
    """Takes the items of an iterator on a thread of its own, and keeps the latest."""

    def __init__(self, steps: Iterator[T], ended: Callable[[], object] = lambda: None) -> None:
        """Begin at once; ``ended`` is called on that thread at the end, whatever brought it about."""
        self.latest: T | None = None
        """The last item, once there is one."""
        self.error: Exception | None = None
        """What ended it, if it was an error."""
        self._cancelled = threading.Event()
        self._thread = threading.Thread(
            target=self._run, args=(steps, ended), name="maskwright-widget", daemon=True
        )
        self._thread.start()

    @property
    def running(self) -> bool:
        """Whether it still goes on."""
        return self._thread.is_alive()

    @property
    def cancelled(self) -> bool:
        """Whether it was told to end."""
        return self._cancelled.is_set()

    def cancel(self, wait: float = 30.0) -> None:
        """End it after the step it is in; wait at most this many seconds for that."""
        self._cancelled.set()
        self.wait(wait)

    def wait(self, seconds: float | None = None) -> None:
        """Until it has ended, or so many seconds."""
        self._thread.join(seconds)

    def _run(self, steps: Iterator[T], ended: Callable[[], object]) -> None:
        try:
            for step in steps:
                self.latest = step
                if self._cancelled.is_set():
                    break
        except Exception as error:  # whatever it is, the page has to say so
            self.error = error
        finally:
            close = getattr(steps, "close", None)
            if close is not None:
                close()
            ended()
