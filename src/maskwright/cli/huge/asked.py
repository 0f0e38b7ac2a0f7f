"""Objects of a huge picture that are asked for: files, all of them or none, and a line for each."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from maskwright.cli.export.write import write_exports
from maskwright.cli.huge.everything import NUMBERS
from maskwright.cli.huge.request import Tiling, opened
from maskwright.cli.progress import Watch
from maskwright.cli.segment import Request, show
from maskwright.cli.staging import RESULTS, results_folder, staged, write_results

if TYPE_CHECKING:
    from maskwright.automask.found import FoundMasks
    from maskwright.tiles.image import TiledImage
    from maskwright.types import Prompt

WINDOW_SIDE = 1024
"""Longest side, in pixels, of the pictures of single objects."""


def segment_in_huge(request: Request, tiling: Tiling) -> None:
    """Cut objects out of a picture that is read by windows, write the results and print a line for each.

    Raises:
        MaskwrightError: wrong input, an unusable model, or results that cannot be written; nothing is left
            half-written.
    """
    from maskwright.cli.prompts import group
    from maskwright.tiles.image import TiledImage

    prompts = group(request.points, request.boxes)
    request.exports.check_objects(prompts)
    request.exports.check_huge()
    with opened(request.photo, tiling) as raster:
        for prompt in prompts.values():
            prompt.check_inside(raster.size)
        with results_folder(request.folder) as folder:
            request.exports.check(own=[folder, folder / RESULTS], read=request.photo)
            picture = TiledImage(request.load().runtime, raster, tiling.tiles())
            found = picture.segment(
                *prompts.values(), max_hole_area=request.clean, max_speck_area=request.clean
            )
            report = _write(folder, request, picture, found, prompts)
            report |= write_exports(request.exports, folder / RESULTS, Watch(), source=request.photo)
    show(report, folder, as_json=request.as_json)


def _write(
    folder: Path, request: Request, picture: TiledImage, found: FoundMasks, prompts: dict[int, Prompt]
) -> dict[str, Any]:
    """Write windows, overlay, numbers and ``results.json``, whose content is returned."""
    report = _report(request, found, list(prompts))
    asked = list(prompts.values())
    with staged(folder) as stage:
        for row, (one, prompt) in enumerate(zip(found, asked, strict=True)):
            x0, y0, x1, y1 = one.crops[0].tolist()
            picture.save_overlay(
                stage / report["objects"][row]["file"],
                one,
                longest=WINDOW_SIDE,
                window=(x0, y0, x1, y1),
                prompts=[prompt],
            )
        picture.save_overlay(stage / "overlay.png", found, prompts=asked)
        picture.save_numbers(stage / NUMBERS, found, list(prompts))
        write_results(stage, report)
    return report


def _report(request: Request, found: FoundMasks, numbers: list[int]) -> dict[str, Any]:
    """The content of ``results.json``: as for other pictures, and the window of each object."""
    from maskwright.pixels.boxes import corner_and_size

    height, width = found.size
    boxes, windows = corner_and_size(found.boxes), corner_and_size(found.crops)
    rows = zip(numbers, found.scores.tolist(), found.areas.tolist(), boxes, windows, found.rle(), strict=True)
    return {
        "image": {"file": str(request.photo), "height": height, "width": width},
        "model": request.model,
        "objects": [
            {
                "id": number,
                "score": round(score, 4),
                "area": area,
                "bbox": box,
                "window": window,
                "segmentation": rle,
                "file": f"object-{number}-window.png",
            }
            for number, score, area, box, window, rle in rows
        ],
    }
