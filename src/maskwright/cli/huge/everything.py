"""Everything in a huge picture: files, all of them or none, and a table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from maskwright.cli.auto.request import Request
from maskwright.cli.export.write import write_exports
from maskwright.cli.huge.request import Tiling, opened
from maskwright.cli.progress import Watch
from maskwright.cli.staging import RESULTS, results_folder, staged, write_results
from maskwright.errors import InputError

if TYPE_CHECKING:
    from maskwright.tiles.image import TiledImage
    from maskwright.tiles.search import TiledSearch

NUMBERS = "numbers.tif"


def find_in_huge(request: Request, tiling: Tiling) -> bool:
    """Find everything in a picture tile by tile, write the results and print the largest objects.

    Returns:
        False if Ctrl-C ended it early; the results are then those of the tiles so far.

    Raises:
        MaskwrightError: wrong input, an unusable model, or results that cannot be written; nothing is left
            half-written.
    """
    from maskwright.cli.auto.listing import is_many
    from maskwright.cli.auto.report import nothing_found, show_largest
    from maskwright.cli.terminal import print_json
    from maskwright.tiles.image import TiledImage
    from maskwright.tiles.plan import check_grid

    if is_many(request.source):
        raise InputError("--tiles takes one picture at a time; give one, or leave --tiles out for a folder")
    request.exports.check_huge()
    options, tiles = request.options(), tiling.tiles()
    watch = Watch()
    with opened(request.source, tiling) as raster, results_folder(request.folder) as folder, watch.warnings():
        check_grid(raster.size, options, tiles)
        request.exports.check(own=[folder, folder / RESULTS], read=request.source)
        model = request.load()
        picture = TiledImage(model.runtime, raster, tiles)
        search = picture.search(options=request.options(model.name))
        with watch.interrupts():
            _run(search, watch)
        report = _write(folder, request, picture, search)
        report |= write_exports(request.exports, folder / RESULTS, watch, source=request.source)
    if not search.finished:
        done = f"{search.tiles_done} of {len(search.tiles)} tiles"
        watch.say(f"interrupted after {done}; the results have what was found until then")
    elif not report["objects"]:
        watch.say(f"warning: no masks were found: {nothing_found(search.sieve, search.options)}")
    if request.as_json:
        print_json(report)
    else:
        show_largest(report, folder, numbers=NUMBERS)
    return search.finished


def _run(search: TiledSearch, watch: Watch) -> None:
    """Search, until the end or Ctrl-C."""
    with search, watch.stage("searching", search.total, unit="click") as stage:
        masks = 0
        for step in search:
            masks += len(step.new)
            stage.done = step.done
            tile = min(search.tiles_done + 1, len(search.tiles))
            stage.show(f"tile {tile} of {len(search.tiles)}, {masks} masks so far")
            if watch.stopping:
                break


def _write(folder: Path, request: Request, picture: TiledImage, search: TiledSearch) -> dict[str, Any]:
    """Write everything; the content of ``results.json`` is returned."""
    from maskwright.cli.auto.report import results

    found, tiling = search.result(), search.tiling
    report = results(str(request.source), request.model, search.options, found, search.sieve)
    report["tiles"] = {
        "size": tiling.size,
        "halo": tiling.shared,
        "number": len(search.tiles),
        "searched": search.tiles_done,
    }
    with staged(folder) as stage:
        picture.save_overlay(stage / "overlay.png", found)
        picture.save_numbers(stage / NUMBERS, found)
        write_results(stage, report)
    return report
