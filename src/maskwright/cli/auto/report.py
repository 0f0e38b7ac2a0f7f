"""What was found, in plain values, in files and in tables."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maskwright.cli.export.write import show_exports

if TYPE_CHECKING:
    from maskwright.automask.found import FoundMasks, Sieve
    from maskwright.automask.options import AutomaskOptions

SHOWN = 12
"""Objects in a table, the largest ones; the others are counted."""
_SPEED_ONLY = ("points_per_batch", "memory_mib")
_ADVICE = {
    "low_score": "lower --min-score (it is {min_score:g})",
    "unstable": "lower --min-stability (it is {min_stability:g})",
    "cut_off": "use fewer --crop-layers (they are {crop_layers})",
}
"""What helps against the filters that a command line can change."""


def settings_of(options: AutomaskOptions) -> dict[str, Any]:
    """Everything that decides which masks are found, as JSON holds it."""
    return {name: value for name, value in asdict(options).items() if name not in _SPEED_ONLY}


def results(
    file: str,
    model: str,
    options: AutomaskOptions,
    found: FoundMasks,
    sieve: Sieve,
    names: Sequence[str] = (),
) -> dict[str, Any]:
    """The content of a picture's JSON file: plain numbers, boxes as COCO writes them (x, y, width, height).

    Args:
        file: The picture, as it was named.
        model: The model, as it was named.
        options: What was searched with.
        found: The masks, largest first; they are numbered from 1 on.
        sieve: What was left out.
        names: The file of each mask, if it has one.
    """
    from maskwright.pixels.boxes import corner_and_size

    height, width = found.size
    objects = []
    for row, (rle, box) in enumerate(zip(found.rle(), corner_and_size(found.boxes), strict=True)):
        stability = float(found.stabilities[row])
        objects.append(
            {
                "id": row + 1,
                "score": round(float(found.scores[row]), 4),
                "stability": None if math.isnan(stability) else round(stability, 4),
                "area": int(found.areas[row]),
                "bbox": box,
                "point": [round(value, 1) for value in found.points[row].tolist()],
                "segmentation": rle,
                **({"file": names[row]} if names else {}),
            }
        )
    return {
        "image": {"file": file, "height": height, "width": width},
        "model": model,
        "settings": settings_of(options),
        "filters": asdict(sieve),
        "objects": objects,
    }


def numbers_png(found: FoundMasks) -> bytes:
    """A grey PNG of 16 bits: at each pixel the number of the smallest object that covers it, 0 for none.

    Raises:
        InputError: more objects than 16 bits count.
    """
    import numpy as np
    from PIL import Image

    from maskwright.errors import InputError

    if len(found) > 65_535:
        raise InputError(f"{len(found)} objects do not fit into a PNG of 16 bits; raise --min-score")
    encoded = io.BytesIO()
    Image.fromarray(found.numbers().astype(np.uint16)).save(encoded, format="PNG", compress_level=4)
    return encoded.getvalue()


def nothing_found(sieve: Sieve, options: AutomaskOptions) -> str:
    """Which filter took how many masks, and what to change, where none is left."""
    most = max(_ADVICE, key=lambda name: int(getattr(sieve, name)))
    advice = _ADVICE[most].format(**settings_of(options)) if getattr(sieve, most) else sieve.advice
    return f"{sieve}; {advice}"


def show_largest(report: dict[str, Any], folder: Path, numbers: str = "numbers.png") -> None:
    """Print the largest objects of one picture, how many more there are, and where everything is.

    Args:
        report: The content of ``results.json``.
        folder: Where the files are.
        numbers: The file with the numbers of all objects.
    """
    from rich.table import Table

    from maskwright.cli.terminal import print_line, print_table

    objects = report["objects"]
    if objects:
        table = Table(box=None, pad_edge=False, header_style="bold")
        for name in ("object", "score", "stability", "area", "box"):
            table.add_column(name, justify="right", no_wrap=True)
        if "file" in objects[0]:
            table.add_column("file", no_wrap=True, overflow="fold")
        for row in objects[:SHOWN]:
            table.add_row(*_cells(row), *([str(folder / row["file"])] if "file" in row else []))
        print_table(table)
    rest = objects[SHOWN:]
    if rest:
        print_line(f"and {len(rest)} more, from {rest[0]['area']} px down to {rest[-1]['area']} px")
    for what, name in (("overlay", "overlay.png"), ("numbers", numbers), ("results", "results.json")):
        print_line(f"{what}: {folder / name}")
    show_exports(report)


def _cells(row: dict[str, Any]) -> tuple[str, str, str, str, str]:
    x, y, w, h = row["bbox"]
    stability = "-" if row["stability"] is None else f"{row['stability']:.3f}"
    return str(row["id"]), f"{row['score']:.3f}", stability, f"{row['area']} px", f"{x},{y},{x + w},{y + h}"
