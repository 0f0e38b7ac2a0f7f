"""``maskwright export``: finished results in other formats, without segmenting or tracking again."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maskwright.cli.export.request import Exports
from maskwright.cli.export.write import Tally, show_exports, write_finished
from maskwright.cli.progress import Watch
from maskwright.errors import InputError

if TYPE_CHECKING:
    from maskwright.interop.finished import Finished


@dataclass(frozen=True)
class Request:
    """What was asked for on the command line, as it was typed."""

    results: Path
    source: str | None
    exports: Exports
    as_json: bool


def export_results(request: Request) -> None:
    """Write results of an earlier run in other formats, and print how much went into them.

    Raises:
        MaskwrightError: no such results, a damaged part of them, or exports that cannot be written;
            nothing is left half-written.
    """
    from maskwright.interop.finished import read_finished

    if not request.exports:
        raise InputError("no format: name at least one, such as --coco FILE.json or --yolo DIR")
    finished = read_finished(request.results, request.source)
    if finished.total > 1:
        request.exports.check_many()
    own = [finished.path] if finished.kind == "track" else [finished.path, finished.path.parent]
    read = None if request.source is None else Path(request.source)
    request.exports.check(own=own, read=read)
    _check_pixels(request, finished)
    watch = Watch()
    with watch.warnings():
        _say_what_is_missing(finished, watch)
        tally = write_finished(request.exports, finished, watch)
    _show(_report(request, finished, tally), as_json=request.as_json)


def _check_pixels(request: Request, finished: Finished) -> None:
    """Say at once that pictures are needed and not at hand; one that is missing later is found out then."""
    flag = request.exports.wanting_pixels
    first = None if flag is None else next(iter(finished), None)
    if first is not None and first.read is None:
        raise InputError(
            f"{flag} needs the pictures themselves; name the video, picture or folder with --source"
        )


def _say_what_is_missing(finished: Finished, watch: Watch) -> None:
    """Warn of a run that has not come to its end."""
    if finished.kind != "picture" and _is_torn(finished.path):
        watch.say(f"warning: the last line of {finished.path} is not complete and was left out")
    snapshot = finished.path.with_name(f"{finished.path.name}.session")
    if finished.kind == "track" and snapshot.exists():
        watch.say(f"warning: tracking into {finished.path} has not come to its end; track --resume goes on")


def _is_torn(log: Path) -> bool:
    """Whether the last line has no end."""
    with log.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read() != b"\n"


def _report(request: Request, finished: Finished, tally: Tally) -> dict[str, Any]:
    """What went into the exports, in plain values."""
    return {
        "results": str(finished.path),
        "kind": finished.kind,
        "pictures": tally.pictures,
        "masks": tally.masks,
        "objects": {} if finished.kind == "folder" else {str(n): tally.seen[n] for n in sorted(tally.seen)},
        "labels": dict(tally.labels),
        "exports": request.exports.places,
    }


def _show(report: dict[str, Any], *, as_json: bool) -> None:
    from maskwright.cli.terminal import print_json, print_line

    if as_json:
        print_json(report)
        return
    unit = "frame" if report["kind"] == "track" else "picture"
    pictures, masks = report["pictures"], report["masks"]
    print_line(
        f"{masks} {'mask' if masks == 1 else 'masks'} in {pictures} {unit if pictures == 1 else f'{unit}s'}: "
        + (", ".join(f"{count} {name!r}" for name, count in report["labels"].items()) or "no object")
    )
    show_exports(report)
