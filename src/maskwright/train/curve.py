"""The learning curve of one or several training runs as an SVG picture, drawn from their CSV logs."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple
from xml.sax.saxutils import escape

from maskwright.io.files import write_text

_WIDTH, _PLOT, _LEFT, _RIGHT, _TOP, _BOTTOM = 860, 180, 56, 210, 34, 40
"""Pixels: of the picture, and of each panel's plot and margins; the legend is in the right one."""
_COLOURS = ("#1f5fbf", "#c2410c", "#15803d", "#7e22ce", "#b91c1c", "#0e7490", "#a16207", "#be185d")
_LOSS = ("log.csv", "loss")
_CLOCK = ("step", "minutes")
_MOST_POINTS = 400
"""Of one line: more values are averaged in groups."""
_LINE, _LETTER = 18, 6.6
"""Pixels: distance of two lines of the legend, and about the width of a letter."""


class _Point(NamedTuple):
    minutes: float
    value: float


_Line = list[list[_Point]]
"""One figure: its points in each run that has it."""


class _Panel(NamedTuple):
    """Lines that share an axis."""

    title: str
    lines: Mapping[str, _Line]
    low: float
    high: float

    @property
    def height(self) -> int:
        """Pixels of the plot, which its legend has to fit beside."""
        return max(_PLOT, _LINE * len(self.lines))


def draw_curve(folders: Sequence[Path], target: Path) -> Path:
    """Draw all figures of ``scores.csv``, and the training loss of ``log.csv``, over minutes of training.

    Shares (figures that stay within 0 and 1) have one panel together; every other figure has its own, and one
    that never changes has none. Logs that do not exist yet, and rows that were cut off, are left out.

    Args:
        folders: Of the runs, in the order in which they followed each other: they share one axis.
        target: The SVG file, which is replaced.

    Raises:
        OutputError: it cannot be written.
    """
    figures: dict[str, _Line] = {}
    seams = [0.0]
    for folder in folders:
        scores, log = _read(folder / "scores.csv"), _read(folder / _LOSS[0])
        loss = {"training loss": _thinned(log[_LOSS[1]])} if log.get(_LOSS[1]) else {}
        found = {**scores, **loss}
        for name, points in found.items():
            moved = [_Point(seams[-1] + minutes, value) for minutes, value in points]
            figures.setdefault(name, []).append(moved)
        seams.append(seams[-1] + max((points[-1].minutes for points in found.values()), default=0.0))
    return write_text(target, _picture(_panels(figures), seams))


def _read(path: Path) -> dict[str, list[_Point]]:
    """Every column of a log that has numbers, but for the clock."""
    columns: dict[str, list[_Point]] = {}
    if not path.is_file():
        return columns
    with path.open(newline="", encoding="utf-8") as rows:
        for row in csv.DictReader(rows):
            minutes = _number(row.get("minutes"))
            for name, text in row.items():
                value = _number(text)
                if isinstance(name, str) and name not in _CLOCK and None not in (minutes, value):
                    columns.setdefault(name, []).append(_Point(float(minutes or 0), float(value or 0)))
    return columns


def _number(text: object) -> float | None:
    """A finite number, or None."""
    try:
        value = float(str(text))
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _thinned(points: list[_Point]) -> list[_Point]:
    """At most ``_MOST_POINTS``: neighbours are averaged, which takes the noise of single batches away."""
    size = math.ceil(len(points) / _MOST_POINTS)
    groups = [points[start : start + size] for start in range(0, len(points), size)]
    return [_Point(group[-1].minutes, sum(one.value for one in group) / len(group)) for group in groups]


def _panels(figures: Mapping[str, _Line]) -> list[_Panel]:
    shares: dict[str, _Line] = {}
    others: list[_Panel] = []
    for name, line in figures.items():
        values = [point.value for run in line for point in run]
        if min(values) >= 0 and max(values) <= 1:
            shares[name] = line
        elif len(set(values)) > 1:
            others.append(_Panel(name, {name: line}, min(0.0, min(values)), max(values)))
    if not shares:
        return others
    values = [point.value for line in shares.values() for run in line for point in run]
    low, high = math.floor(10 * min(values)) / 10, math.ceil(10 * max(values)) / 10
    return [_Panel("validation", shares, low, high), *others]


def _picture(panels: Sequence[_Panel], seams: Sequence[float]) -> str:
    tops = [0]
    for panel in panels:
        tops.append(tops[-1] + _TOP + panel.height + _BOTTOM)
    body = "\n".join(_draw(panel, seams, top) for panel, top in zip(panels, tops, strict=False))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {max(tops[-1], 1)}" '
        f'font-family="sans-serif" font-size="12">\n'
        f'<rect width="{_WIDTH}" height="{max(tops[-1], 1)}" fill="white"/>\n{body}\n</svg>\n'
    )


def _draw(panel: _Panel, seams: Sequence[float], top: int) -> str:
    """One panel: title, grid, seams between runs, lines, and the legend beside it."""
    left, right, upper, lower = _LEFT, _WIDTH - _RIGHT, top + _TOP, top + _TOP + panel.height
    end, span = seams[-1] or 1.0, (panel.high - panel.low) or 1.0

    def x(minutes: float) -> float:
        return round(left + (right - left) * minutes / end, 1)

    def y(value: float) -> float:
        return round(lower - (lower - upper) * (value - panel.low) / span, 1)

    parts = [_text(left, top + 20, panel.title, weight="bold")]
    for fifth in range(6):
        value = panel.low + span * fifth / 5
        parts.append(f'<path d="M{left} {y(value)}H{right}" stroke="#e5e5e5"/>')
        parts.append(_text(left - 8, y(value) + 4, f"{value:.3g}", anchor="end"))
    for seam in seams[1:-1]:
        parts.append(f'<path d="M{x(seam)} {upper}V{lower}" stroke="#999" stroke-dasharray="3 4"/>')
    parts.append(_text(left, lower + 18, "0"))
    parts.append(_text(right, lower + 18, f"{end:.3g} minutes", anchor="end"))
    for number, (name, line) in enumerate(panel.lines.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        dashes = ' stroke-dasharray="6 3"' if number // len(_COLOURS) % 2 else ""
        stroke = f'fill="none" stroke="{colour}" stroke-width="2"{dashes}'
        for run in line:
            places = " ".join(f"{x(point.minutes)},{y(point.value)}" for point in run)
            parts.append(f'<polyline points="{places}" {stroke}/>')
            if len(run) == 1:
                (only,) = run
                parts.append(f'<circle cx="{x(only.minutes)}" cy="{y(only.value)}" r="3" fill="{colour}"/>')
        row = upper + 10 + _LINE * number
        parts.append(f'<path d="M{right + 14} {row - 4}h18" {stroke}/>')
        parts.append(_text(right + 38, row, _legend(name, line)))
    return "\n".join(parts)


def _legend(name: str, line: _Line) -> str:
    """The name, shortened to fit, and the last value."""
    last = f" {line[-1][-1].value:.3f}"
    room = int((_RIGHT - 44) / _LETTER) - len(last)
    return (name if len(name) <= room else f"{name[: room - 1]}…") + last


def _text(x: float, y: float, words: str, *, anchor: str = "start", weight: str = "normal") -> str:
    style = f'fill="#444" text-anchor="{anchor}" font-weight="{weight}"'
    return f'<text x="{x}" y="{y}" {style}>{escape(words)}</text>'
