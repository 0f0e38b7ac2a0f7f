"""Everything in one photograph: files, all of them or none, and a table."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maskwright.cli.auto.request import Request
from maskwright.cli.export.write import write_exports
from maskwright.cli.progress import Watch
from maskwright.cli.staging import RESULTS, results_folder, staged, write_results

if TYPE_CHECKING:
    from maskwright.automask.found import FoundMasks
    from maskwright.automask.search import Search
    from maskwright.types import ImageArray

MASKS = "masks"
"""Folder of the masks within that of the results."""
_OURS = re.compile(r"object-[0-9]{3,}\.png")


def find_in_photo(request: Request) -> None:
    """Find everything in one photograph, write the results and print the largest objects.

    Raises:
        MaskwrightError: wrong input, an unusable model, or results that cannot be written; nothing is left
            half-written.
    """
    from maskwright.automask.places import check_size
    from maskwright.cli.auto.report import nothing_found, show_largest
    from maskwright.cli.terminal import print_json
    from maskwright.io.images import read_image

    options = request.options()
    picture = read_image(request.source)
    check_size((picture.shape[0], picture.shape[1]), options)
    watch = Watch()
    with results_folder(request.folder) as folder, watch.warnings():
        request.exports.check(own=[folder, folder / RESULTS], read=request.source)
        search = _searched(request, picture, watch)
        report = _write(folder, request, search, _found(search, watch), watch)
        report |= write_exports(request.exports, folder / RESULTS, watch, source=request.source)
    if not report["objects"]:
        watch.say(f"warning: no masks were found: {nothing_found(search.sieve, search.options)}")
    if request.as_json:
        print_json(report)
    else:
        show_largest(report, folder)


def _searched(request: Request, picture: ImageArray, watch: Watch) -> Search:
    """The search, done."""
    model = request.load()
    with model.search(picture, options=request.options(model.name)) as search:
        with watch.stage("searching", search.total, unit="click") as stage:
            masks = 0
            for step in search:
                masks += len(step.new)
                stage.done = step.done
                stage.show(f"{masks} masks so far")
        return search


def _found(search: Search, watch: Watch) -> FoundMasks:
    """What the search found, drawn again where that was asked for."""
    if not search.options.refine:
        return search.result()
    with watch.stage("refining", search.sieve.kept, unit="mask") as stage:
        return search.result(progress=lambda _: stage.advance())


def _write(folder: Path, request: Request, search: Search, found: FoundMasks, watch: Watch) -> dict[str, Any]:
    """Write everything; the content of ``results.json`` is returned."""
    from maskwright.cli.auto.report import numbers_png, results
    from maskwright.io.files import write_bytes

    digits = max(3, len(str(len(found))))
    names = [f"{MASKS}/object-{number:0{digits}}.png" for number in range(1, len(found) + 1)]
    with staged(folder) as stage:
        _write_masks(stage, found, names, watch)
        found.save_overlay(stage / "overlay.png")
        write_bytes(stage / "numbers.png", numbers_png(found))
        report = results(str(request.source), request.model, search.options, found, search.sieve, names)
        write_results(stage, report)
    _remove_others(folder / MASKS, {Path(name).name for name in names})
    return report


def _write_masks(folder: Path, found: FoundMasks, names: list[str], watch: Watch) -> None:
    from maskwright.io.images import write_image

    (folder / MASKS).mkdir()
    with watch.stage("writing", len(found), unit="mask") as stage:
        for name, mask in zip(names, found, strict=True):
            write_image(folder / name, mask.bitmaps[0])
            stage.advance()


def _remove_others(folder: Path, names: set[str]) -> None:
    """Remove the masks of an earlier run that found more of them."""
    from maskwright.io.files import output_error

    try:
        for path in folder.iterdir():
            if _OURS.fullmatch(path.name) and path.name not in names:
                path.unlink(missing_ok=True)
    except OSError as error:
        raise output_error(folder, error) from error
