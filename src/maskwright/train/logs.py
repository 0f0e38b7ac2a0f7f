"""What a run shows while it learns: two CSV files, a curve, TensorBoard events, and a progress bar."""

from __future__ import annotations

import csv
import logging
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from maskwright.errors import MissingExtraError
from maskwright.io.files import output_error, write_text
from maskwright.train.curve import draw_curve

log = logging.getLogger(__name__)

LOG, SCORES, CURVE = "log.csv", "scores.csv", "curve.svg"
EVENTS = "tensorboard"
"""Folder of TensorBoard's event files."""


class Window:
    """Sums of figures since the last row of the log; part of a checkpoint, so that rows do not change."""

    def __init__(self) -> None:
        self.sums: dict[str, float] = {}
        self.count = 0

    def add(self, figures: Mapping[str, float]) -> None:
        """Take in one step."""
        self.sums = {name: self.sums.get(name, 0.0) + value for name, value in figures.items()}
        self.count += 1

    def means(self) -> dict[str, float]:
        """Mean figures, and an empty window again."""
        found = {name: value / self.count for name, value in self.sums.items()}
        self.sums, self.count = {}, 0
        return found


class Logs:
    """The logs in a run's folder.

    Rows after ``step``, which a resumed run writes again, are dropped; at step 0 all of them.
    """

    def __init__(self, out: Path, step: int, progress: float) -> None:
        self._out = out
        for name in (LOG, SCORES):
            drop_rows_after(out / name, step if step else -1)
        self._events = _event_writer(out / EVENTS, step)
        self._bar = _bar(progress)

    def row(self, step: int, elapsed: float, figures: Mapping[str, float]) -> None:
        """Add a row to ``log.csv``."""
        self._write(LOG, "train", step, elapsed, figures)

    def scores(self, step: int, elapsed: float, figures: Mapping[str, float]) -> None:
        """Add a row to ``scores.csv`` and draw the curve anew."""
        self._write(SCORES, "validation", step, elapsed, figures)
        draw_curve([self._out], self._out / CURVE)

    def show(self, step: int, progress: float, loss: float) -> None:
        """Bring the progress bar up to date."""
        self._bar.set_description_str(f"step {step}, loss {loss:.4g}", refresh=False)
        self._bar.update(progress - self._bar.n)

    def close(self) -> None:
        """End the bar and write out all events."""
        self._bar.close()
        self._events.close()

    def _write(self, file: str, kind: str, step: int, elapsed: float, figures: Mapping[str, float]) -> None:
        row = {"step": step, "minutes": round(elapsed / 60, 2)}
        row |= {name: float(f"{value:.6g}") for name, value in figures.items()}
        append_row(self._out / file, row)
        for name, value in figures.items():
            self._events.add_scalar(f"{kind}/{name}", value, step)
        self._events.flush()
        log.info("%s: %s", kind, ", ".join(f"{name} {value:.4g}" for name, value in row.items()))


def append_row(path: Path, row: Mapping[str, Any]) -> None:
    """Add a row to a CSV file, with a heading if the file is new; OutputError if it cannot be written."""
    try:
        new = not path.is_file()
        with path.open("a", newline="", encoding="utf-8") as lines:
            writer = csv.DictWriter(lines, list(row))
            if new:
                writer.writeheader()
            writer.writerow(row)
    except OSError as error:
        raise output_error(path, error) from error


def drop_rows_after(path: Path, step: int) -> None:
    """Keep the rows of a CSV log up to a step; also drops a last line that a crash left incomplete."""
    if not path.is_file():
        return
    heading, *rows = path.read_text(encoding="utf-8").splitlines(keepends=True) or [""]
    kept = [row for row in rows if row.endswith("\n") and int(row.partition(",")[0]) <= step]
    if kept:
        write_text(path, "".join((heading, *kept)))
    else:
        path.unlink()


def _event_writer(folder: Path, step: int) -> Any:
    """TensorBoard's writer; what it shows of an earlier run ends at ``step``."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise MissingExtraError('logs need tensorboard: pip install "maskwright[train]"') from error
    return SummaryWriter(str(folder), purge_step=step + 1)


def _bar(progress: float) -> Any:
    """A bar on standard error that shows the share of the budget, and nothing where nobody watches."""
    from tqdm import tqdm

    form = "{desc} |{bar}| {percentage:3.0f}%, {elapsed} gone, {remaining} left"
    return tqdm(total=1.0, initial=progress, file=sys.stderr, disable=None, bar_format=form)
