"""Standard output: tables that keep one line per row, plain lines, and JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table

PIPED_WIDTH = 1000
"""Columns to lay a table out in when nobody looks: only a terminal's width folds its rows, never a pipe's."""


def print_table(table: Table) -> None:
    """Print a table: coloured and folded for a terminal, one plain line per row otherwise."""
    from rich.console import Console

    console = Console(highlight=False)
    if console.is_terminal:
        console.print(table)
        return
    console = Console(highlight=False, width=PIPED_WIDTH)
    with console.capture() as captured:
        console.print(table)
    print_line("\n".join(line.rstrip() for line in captured.get().splitlines()))


def print_json(value: Any) -> None:
    """Print ``value`` as JSON, exactly, whatever the terminal is."""
    print_line(json.dumps(value, indent=1))


def print_line(line: str) -> None:
    """Print a line as it is."""
    import typer

    typer.echo(line)
