"""``maskwright eval davis``: J and F of objects that are followed through labelled videos."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from maskwright.cli.evaluate.run import Common, check_choice
from maskwright.cli.progress import Watch
from maskwright.errors import InputError

if TYPE_CHECKING:
    from maskwright.evaluate.report import VideoReport


@dataclass(frozen=True)
class DavisRequest:
    """What was asked for on the command line, as it was typed."""

    common: Common
    follow: str
    first_prompt: str
    full: bool


def evaluate_davis(request: DavisRequest) -> None:
    """Measure, print a table, write the files.

    Raises:
        MaskwrightError: wrong input, an unusable model, or results that cannot be written; no file is left.
    """
    from maskwright.cli.terminal import print_line
    from maskwright.evaluate.followers import FOLLOWERS
    from maskwright.evaluate.questions import SHOWN_BY
    from maskwright.evaluate.video import evaluate_videos
    from maskwright.io.datasets.protocol import Videos

    common = request.common
    check_choice("--follow", request.follow, list(FOLLOWERS))
    check_choice("--first-prompt", request.first_prompt, SHOWN_BY)
    videos = common.open()
    if not isinstance(videos, Videos):
        raise InputError(f"{common.root} holds pictures, not videos; use maskwright eval clicks")
    numbers = common.chosen(len(videos))
    common.check_files()
    model = common.load()
    total = sum(videos.num_frames(number) for number in numbers)
    with Watch().stage("following", total) as stage:
        report = evaluate_videos(
            partial(FOLLOWERS[request.follow], model),
            videos,
            numbers=numbers,
            shown_by=request.first_prompt,
            full=request.full,
            step=stage.advance,
        )
    about = {
        **common.about(model),
        "follow": request.follow,
        "first_prompt": request.first_prompt,
        "last_frame_counts": request.full,
    }
    print_line(
        f"{common.model} at {model.config.for_video.image_size} px by {request.follow} "
        f"on {common.data}, each object shown by {request.first_prompt}"
    )
    _print(report)
    common.write(report.to_csv(), report.to_json(about))


def _print(report: VideoReport) -> None:
    from rich.table import Table

    from maskwright.cli.terminal import print_line, print_table

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("sequence", no_wrap=True)
    for name in ("objects", "frames", "J", "F", "J&F"):
        table.add_column(name, justify="right", no_wrap=True)
    for name, part in (*report.by_video().items(), ("all", report)):
        figures = (part.region.mean, part.boundary.mean, part.both)
        counts = (str(len(part.rows)), str(part.frames))
        table.add_row(name, *counts, *(f"{value:.3f}" for value in figures))
    print_table(table)
    parts = [
        f"{name} recall {one.recall:.3f}, decay {one.decay:.3f}"
        for name, one in (("J", report.region), ("F", report.boundary))
    ]
    print_line(f"{'; '.join(parts)}; {report.seconds:.0f} s")
