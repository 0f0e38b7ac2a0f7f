"""``maskwright eval clicks``: how well labelled objects are cut out by box and by clicks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from maskwright.cli.evaluate.run import Common
from maskwright.cli.progress import Watch

if TYPE_CHECKING:
    from maskwright.evaluate.report import ClickReport


@dataclass(frozen=True)
class ClicksRequest:
    """What was asked for on the command line, as it was typed."""

    common: Common
    clicks: int
    max_objects: int


def evaluate_clicks(request: ClicksRequest) -> None:
    """Measure, print a table, write the files.

    Raises:
        MaskwrightError: wrong input, an unusable model, or results that cannot be written; no file is left.
    """
    from maskwright.cli.terminal import print_line
    from maskwright.evaluate.first_frames import as_pictures
    from maskwright.evaluate.images import evaluate_images

    common = request.common
    pictures = as_pictures(common.open())
    numbers = common.chosen(len(pictures))
    common.check_files()
    model = common.load()
    with Watch().stage("asking", len(numbers), unit="picture") as stage:
        report = evaluate_images(
            model,
            pictures,
            numbers=numbers,
            clicks=request.clicks,
            max_objects=request.max_objects,
            step=stage.advance,
        )
    about = {**common.about(model), "clicks": request.clicks, "max_objects": request.max_objects}
    print_line(
        f"{common.model} at {model.config.image_size} px on {common.data}: "
        f"{report.pictures} pictures, {report.seconds:.0f} s"
    )
    _print(report, request.clicks)
    common.write(report.to_csv(), report.to_json(about))


def _print(report: ClickReport, clicks: int) -> None:
    """A line per source for box, the first click and the last one; for all sources together every click."""
    from rich.table import Table

    from maskwright.cli.terminal import print_table
    from maskwright.evaluate.images import named

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("source", "prompt"):
        table.add_column(name, no_wrap=True)
    for name in ("objects", "picked", "best of 3"):
        table.add_column(name, justify="right", no_wrap=True)
    main = ("box", named(1), named(clicks))
    for row in report.means:
        if row.source == "all" or row.prompt in main:
            figures = (f"{row.picked:.3f}", f"{row.best:.3f}")
            table.add_row(row.source, row.prompt, str(row.objects), *figures)
    print_table(table)
