"""``maskwright train``: from labelled data to a model file, by a recipe, on CPU or GPUs.

Every device runs this from the start in a process of its own; the first one talks and writes.
"""

from __future__ import annotations

import logging
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from maskwright.errors import InputError

if TYPE_CHECKING:
    from maskwright.train.build import Options, Recipe
    from maskwright.train.loop import Report


@dataclass(frozen=True)
class Request:
    """What was asked for on the command line, as it was typed."""

    recipe: str | None
    data: Path
    out: Path
    images: Path | None
    val: Path | None
    init: str | None
    freeze: str | None
    lora: int | None
    start: Path | None
    resume: bool
    sets: list[str]
    devices: int | None
    precision: str | None
    cache: Path | None
    plain: Path | None
    export_only: bool

    def check(self) -> None:
        """What can be said without looking at any file.

        Raises:
            InputError: options that exclude each other.
        """
        if self.resume and self.start is not None:
            raise InputError("--resume goes on with a run and --start begins another one; give one of them")

    def options(self) -> Options:
        """Files and choices, as ``build_task`` takes them."""
        from maskwright.train.build import Options

        return Options(
            data=self.data,
            out=self.out,
            images=self.images,
            val=self.val,
            init=self.init or "",
            freeze=self.freeze or "",
            lora=self.lora,
            cache=self.cache,
            plain=self.plain,
        )

    def settings(self) -> list[str]:
        """Everything that overrides the recipe."""
        devices = [] if self.devices is None else [f"loop.devices={self.devices}"]
        precision = [] if self.precision is None else [f"loop.precision={self.precision}"]
        return [*self.sets, *devices, *precision]


def train_model(request: Request) -> bool:
    """Train by a recipe and write ``model.safetensors``.

    Returns:
        False if Ctrl-C or SIGTERM ended it early, with a checkpoint.

    Raises:
        MaskwrightError: wrong input, or results that cannot be written; the last checkpoint is kept.
    """
    from maskwright.train.build import open_recipe

    request.check()
    options = request.options()
    with _messages():
        recipe = open_recipe(request.recipe or _usual(request.data), request.settings(), options)
        if request.export_only:
            _export(recipe, options)
            return True
        return _train(request, recipe, options)


def _train(request: Request, recipe: Recipe, options: Options) -> bool:
    from maskwright.cli.terminal import print_line
    from maskwright.train.build import build_task
    from maskwright.train.devices import open_fabric
    from maskwright.train.loop import train

    fabric = open_fabric(recipe.loop)
    with fabric.rank_zero_first():  # what is computed once, the others find
        task = build_task(recipe, options, _say_progress)
    with _stop_on_signal() as stop:
        report = train(
            task,
            recipe.loop,
            request.out,
            recipe=recipe.tables(),
            resume=request.resume,
            start=request.start,
            stop=stop,
            fabric=fabric,
        )
    if not fabric.is_global_zero:
        return report.finished
    if not report.finished:
        print_line(f"stopped; the same command with --resume goes on from {request.out}")
        return False
    _show(report)
    _export(recipe, options)
    return True


def _export(recipe: Recipe, options: Options) -> None:
    """Write the model file of the best weights, or of the latest where nothing was validated."""
    from maskwright.cli.terminal import print_line
    from maskwright.train.build import export
    from maskwright.train.checkpoint import BEST, LATEST, read_checkpoint

    best = options.out / BEST
    source = best if best.is_file() else options.out / LATEST
    state = read_checkpoint(source)
    path = export(recipe, state, options)
    print_line(f"{path}: {path.stat().st_size / 1e6:.1f} MB, from step {state['step']} ({source.name})")


def _usual(data: Path) -> str:
    """The recipe for these data, where none is named."""
    from maskwright.train.build import holds_videos

    return "finetune-video" if holds_videos(data) else "finetune"


def _show(report: Report) -> None:
    """A table of the figures before and after."""
    from rich.table import Table

    from maskwright.cli.terminal import print_table

    if not report.after:
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("figure", no_wrap=True)
    for name in ("before", "after"):
        table.add_column(name, justify="right", no_wrap=True)
    for name, after in report.after.items():
        before = report.before.get(name)
        table.add_row(name, "" if before is None else f"{before:.4f}", f"{after:.4f}")
    print_table(table)


@contextmanager
def _stop_on_signal() -> Iterator[threading.Event]:
    """Set by the first Ctrl-C or SIGTERM, so that a checkpoint is saved; a second one interrupts."""
    stop = threading.Event()

    def stop_or_interrupt(number: int, frame: FrameType | None) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    if threading.current_thread() is not threading.main_thread():  # only that one may set handlers
        yield stop
        return
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, stop_or_interrupt) for number in numbers]
    try:
        yield stop
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


@contextmanager
def _messages() -> Iterator[None]:
    """While this lasts, what the library reports of training are lines on standard error."""
    logger, handler = logging.getLogger("maskwright"), _Lines(logging.INFO)
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


class _Lines(logging.Handler):
    """Log records as lines above the progress bar."""

    def emit(self, record: logging.LogRecord) -> None:
        from tqdm import tqdm

        tqdm.write(record.getMessage(), file=sys.stderr)


def _say_progress(done: int, total: int) -> None:
    """Progress of what is computed beforehand: one line, written over, or none where nobody watches."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\rpreparing {done} of {total}" + ("\n" if done == total else ""))
        sys.stderr.flush()
