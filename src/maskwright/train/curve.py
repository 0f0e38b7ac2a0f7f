"""The learning curve as an SVG picture, drawn from the CSV logs of a run."""

from __future__ import annotations

import csv
from pathlib import Path

from maskwright.io.files import write_text

WIDTH, HEIGHT, MARGIN = 720, 400, 48
CURVES = (
    ("log.csv", "picked_iou", "#b8b8b8", "training, mixed prompts"),
    ("scores.csv", "box", "#1f5fbf", "validation, box"),
    ("scores.csv", "click", "#c2410c", "validation, one click"),
)
"""File, column, colour and caption of each line. All are IoU of the picked mask."""


def draw_curve(folder: Path) -> Path:
    """Write ``curve.svg`` beside the logs in ``folder``; logs that do not exist yet are left out."""
    lines = [
        (colour, caption, _read(folder / name, column))
        for name, column, colour, caption in CURVES
        if (folder / name).is_file()
    ]
    latest = max((points[-1][0] for _, _, points in lines if points), default=0.0) or 1.0
    parts = [_frame(latest)]
    for row, (colour, caption, points) in enumerate(lines):
        parts.append(_line(points, latest, colour))
        parts.append(f'<text x="{WIDTH - 210}" y="{MARGIN + 18 * row}" fill="{colour}">{caption}</text>')
    body = "\n".join(parts)
    return write_text(
        folder / "curve.svg",
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'font-family="sans-serif" font-size="13">\n'
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>\n{body}\n</svg>\n',
    )


def _read(path: Path, column: str) -> list[tuple[float, float]]:
    """(minutes, value) pairs of one column."""
    with path.open(newline="", encoding="utf-8") as rows:
        return [(float(row["minutes"]), float(row[column])) for row in csv.DictReader(rows)]


def _place(minutes: float, value: float, latest: float) -> tuple[float, float]:
    """Position in the drawing: time to the right, IoU from 0 to 1 upwards."""
    x = MARGIN + (WIDTH - 2 * MARGIN) * minutes / latest
    y = HEIGHT - MARGIN - (HEIGHT - 2 * MARGIN) * value
    return round(x, 1), round(y, 1)


def _frame(latest: float) -> str:
    """Grid lines at every fifth of IoU, with captions of both axes."""
    parts = []
    for fifth in range(6):
        (left, y), (right, _) = _place(0, fifth / 5, latest), _place(latest, fifth / 5, latest)
        parts.append(f'<path d="M{left} {y}H{right}" stroke="#e5e5e5"/>')
        parts.append(f'<text x="{left - 30}" y="{y + 4}" fill="#555">{fifth / 5:.1f}</text>')
    bottom = HEIGHT - MARGIN / 3
    parts.append(f'<text x="{MARGIN}" y="{bottom}" fill="#555">0</text>')
    parts.append(f'<text x="{WIDTH - MARGIN - 60}" y="{bottom}" fill="#555">{latest:.0f} minutes</text>')
    parts.append(f'<text x="{MARGIN}" y="{MARGIN / 2}" fill="#555">IoU of the picked mask</text>')
    return "\n".join(parts)


def _line(points: list[tuple[float, float]], latest: float, colour: str) -> str:
    places = " ".join(f"{x},{y}" for x, y in (_place(*point, latest) for point in points))
    return f'<polyline points="{places}" fill="none" stroke="{colour}" stroke-width="2"/>'
