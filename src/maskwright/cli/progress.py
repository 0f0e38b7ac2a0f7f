"""How far a long command is, on standard error: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

LINE_SECONDS = 5.0
"""Between two lines where nobody watches a bar."""


class Watch:
    """Shows progress and warnings, and notices Ctrl-C."""

    def __init__(self) -> None:
        from rich.console import Console

        self.console: Console = Console(stderr=True, highlight=False)
        self.stopping = False
        """Whether Ctrl-C was pressed; a second one interrupts wherever it comes."""

    def say(self, line: str) -> None:
        """Print a line above the bar."""
        self.console.print(line, markup=False, emoji=False, soft_wrap=True)

    @contextmanager
    def warnings(self) -> Iterator[None]:
        """While this lasts, warnings of the library are lines on standard error."""
        handler = _Lines(self)
        logger = logging.getLogger("maskwright")
        logger.addHandler(handler)
        try:
            yield
        finally:
            logger.removeHandler(handler)

    @contextmanager
    def interrupts(self) -> Iterator[None]:
        """While this lasts, the first Ctrl-C sets :attr:`stopping` and lets the frame at hand be finished."""
        if threading.current_thread() is not threading.main_thread():  # only that one may set handlers
            yield
            return
        before = signal.signal(signal.SIGINT, self._interrupted)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    @contextmanager
    def stage(self, what: str, total: int | None, done: int = 0, *, unit: str = "frame") -> Iterator[Stage]:
        """A bar for one piece of work.

        Args:
            what: In a word or two.
            total: Frames in all, as far as that is known.
            done: Frames that were done before.
            unit: What is counted, if not frames.
        """
        if not self.console.is_terminal:
            yield _Plain(self, what, total, done, unit)
            return
        with _bar(self.console) as progress:
            task = progress.add_task(what, total=total, completed=done, rate="", note="")
            yield _Bar(progress, task, what, total, done, unit)

    def _interrupted(self, number: int, frame: FrameType | None) -> None:
        if self.stopping:
            raise KeyboardInterrupt
        self.stopping = True


class Stage:
    """Counts the frames, or whatever the unit is, of one piece of work."""

    def __init__(self, what: str, total: int | None, done: int, unit: str) -> None:
        self.what = what
        self.total = total
        self.done = done
        self.part = 0.0
        """Share of the frame at hand that is done, 0..1, where one takes long enough to tell."""
        self.unit = unit
        self._begun_with = done
        self._started = time.monotonic()

    def advance(self, note: str = "") -> None:
        """One frame more; ``note`` is shown behind the figures."""
        self.done += 1
        self.part = 0.0
        self.show(note)

    def show(self, note: str) -> None:
        """Bring the display up to date."""

    @property
    def rate(self) -> float:
        """Frames per second since the start of this stage."""
        return self._done_here / max(time.monotonic() - self._started, 1e-9)

    @property
    def speed(self) -> str:
        """The rate in words, per minute where it is slow."""
        slow = self.rate < 0.1
        return f"{60 * self.rate if slow else self.rate:.1f} {self.unit}s/{'min' if slow else 's'}"

    @property
    def left(self) -> float | None:
        """Seconds left, if the end is known."""
        if self.total is None or not self._done_here:
            return None
        return max(self.total - self.done - self.part, 0) / self.rate

    @property
    def _done_here(self) -> float:
        return self.done + self.part - self._begun_with


class _Bar(Stage):
    def __init__(
        self, progress: Progress, task: TaskID, what: str, total: int | None, done: int, unit: str
    ) -> None:
        super().__init__(what, total, done, unit)
        self._progress, self._task = progress, task

    def show(self, note: str) -> None:
        self._progress.update(self._task, completed=self.done + self.part, rate=self.speed, note=note)


class _Plain(Stage):
    def __init__(self, watch: Watch, what: str, total: int | None, done: int, unit: str) -> None:
        super().__init__(what, total, done, unit)
        self._watch = watch
        self._shown = time.monotonic()

    def show(self, note: str) -> None:
        now = time.monotonic()
        if now - self._shown < LINE_SECONDS:
            return
        self._shown = now
        of = "" if self.total is None else f" of {self.total}"
        left = "" if self.left is None else f", {_clock(self.left)} left"
        self._watch.say(f"{self.what}: {self.unit} {self.done}{of}, {self.speed}{left}{note and f', {note}'}")


class _Lines(logging.Handler):
    """Warnings of the library as lines of their own."""

    def __init__(self, watch: Watch) -> None:
        super().__init__(logging.WARNING)
        self._watch = watch

    def emit(self, record: logging.LogRecord) -> None:
        self._watch.say(f"warning: {record.getMessage()}")


def _bar(console: Console) -> Progress:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=console,
        expand=True,
        speed_estimate_period=3600,  # seconds; one step may take minutes, and of quick ones 1000 are kept
    )


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
