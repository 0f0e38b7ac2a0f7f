"""How a run over a folder went, from its log: what was found in how many pictures, what failed and why."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maskwright.cli.auto.listing import Picture
from maskwright.cli.auto.log import RunLog
from maskwright.cli.export.write import show_exports

if TYPE_CHECKING:
    from maskwright.automask.options import AutomaskOptions

_SHOWN = 8
"""Names in a line; the others are counted."""


def summary(
    source: Path,
    folder: Path,
    log: RunLog,
    pictures: Sequence[Picture],
    options: AutomaskOptions,
    *,
    rate: float | None,
    finished: bool,
) -> dict[str, Any]:
    """The outcome in plain values; pictures in their order, also those of earlier runs."""
    rows = [log.rows[picture.key] for picture in pictures if picture.key in log.rows]
    done = [row for row in rows if "error" not in row]
    return {
        "source": str(source),
        "out": str(folder),
        "log": str(log.path),
        "finished": finished,
        "pictures_per_second": None if rate is None else round(rate, 3),
        "objects": sum(row["objects"] for row in done),
        "pictures": [{name: row[name] for name in ("file", "name", "objects")} for row in done],
        "failed": [{name: row[name] for name in ("file", "error")} for row in rows if "error" in row],
        "nothing_found": _nothing_found(done, options),
    }


def show(report: dict[str, Any], *, as_json: bool) -> None:
    """Print a summary: the pictures that failed in a table, then totals."""
    from rich.table import Table

    from maskwright.cli.terminal import print_json, print_line, print_table

    if as_json:
        print_json(report)
        return
    if report["failed"]:
        table = Table(box=None, pad_edge=False, header_style="bold")
        table.add_column("failed", no_wrap=True, overflow="fold")
        table.add_column("reason", overflow="fold")
        for row in report["failed"]:
            table.add_row(row["file"], row["error"])
        print_table(table)
    empty = [row["file"] for row in report["pictures"] if not row["objects"]]
    if empty:
        print_line(f"no object in {_some(empty)}: {report['nothing_found']}")
    print_line(_totals(report))
    print_line(f"results: {report['out']}")
    print_line(f"log: {report['log']}")
    show_exports(report)


def _nothing_found(done: Sequence[dict[str, Any]], options: AutomaskOptions) -> str | None:
    """What took all masks out of the pictures that have none left, and what to change."""
    from maskwright.automask.found import Sieve
    from maskwright.cli.auto.report import nothing_found

    sieves = [Sieve(**row["filters"]) for row in done if not row["objects"]]
    return nothing_found(sum(sieves, Sieve()), options) if sieves else None


def _totals(report: dict[str, Any]) -> str:
    num = len(report["pictures"])
    text = f"{report['objects']} objects in {num} {'picture' if num == 1 else 'pictures'}"
    if report["pictures_per_second"] is not None:
        text += f", {report['pictures_per_second']:.2f} pictures/s"
    if report["failed"]:
        text += f"; {len(report['failed'])} failed"
    return text if report["finished"] else f"{text}; not finished"


def _some(names: Sequence[str]) -> str:
    rest = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + rest
