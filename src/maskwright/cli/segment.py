"""``maskwright segment``: from a photograph and prompts to files, all of them or none.

Cheap checks come first: prompts, output folder and picture are judged before a model is loaded.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maskwright.cli.export.request import Exports
from maskwright.cli.export.write import show_exports, write_exports
from maskwright.cli.pace import Wanted
from maskwright.cli.progress import Watch
from maskwright.cli.staging import RESULTS, results_folder, staged, write_results

if TYPE_CHECKING:
    from maskwright.mask_model import MaskModel
    from maskwright.masks import Masks
    from maskwright.types import Prompt, Size


@dataclass(frozen=True)
class Request:
    """What was asked for on the command line, as it was typed."""

    photo: Path
    points: list[str]
    boxes: list[str]
    model: str | None
    """None with ``target_fps`` and no name."""
    device: str | None
    dtype: str | None
    image_size: int | None
    multimask: bool
    refine: bool
    clean: float
    out: Path | None
    as_json: bool
    exports: Exports
    target_fps: float | None = None
    runtime: str | None = None

    @property
    def folder(self) -> Path:
        """Where the results go: ``-o``, else ``PHOTO-masks`` in the working directory."""
        return self.out if self.out is not None else Path(f"{self.photo.stem}-masks")

    def load(self, size: Size | None = None) -> MaskModel:
        """The model, for a picture of this height and width."""
        wanted = Wanted(self.model, self.device, self.dtype, self.image_size, self.runtime, self.target_fps)
        return wanted.load(Watch().say, task="photo", size=size)


def segment_photo(request: Request) -> None:
    """Segment one photograph, write the results and print one line per mask.

    Raises:
        MaskwrightError: wrong input, an unusable model, or results that cannot be written; nothing is left
            half-written.
    """
    from maskwright.cli.prompts import group
    from maskwright.errors import ImageError, InputError
    from maskwright.io.images import read_image

    prompts = group(request.points, request.boxes)
    request.exports.check_objects(prompts)
    if request.refine and request.multimask:
        raise InputError("--refine draws one mask per object again; leave out either --multimask or --refine")
    if request.photo.is_dir():
        raise ImageError(
            f"{request.photo} is a folder; give one picture in it, or --auto for everything in all of them"
        )
    picture = read_image(request.photo)
    for prompt in prompts.values():
        prompt.check_inside((picture.shape[0], picture.shape[1]))
    with results_folder(request.folder) as folder:
        request.exports.check(own=[folder, folder / RESULTS], read=request.photo)
        with Watch().warnings():
            model = request.load((picture.shape[0], picture.shape[1]))
        masks = _segment(model, request, picture, list(prompts.values()))
        report = _write(folder, replace(request, model=request.model or model.name), masks, prompts)
        report |= write_exports(request.exports, folder / RESULTS, Watch(), source=request.photo)
    show(report, folder, as_json=request.as_json)


def _segment(model: MaskModel, request: Request, picture: Any, prompts: list[Prompt]) -> Masks:
    return model.embed(picture).segment(
        *prompts,
        candidates=request.multimask,
        refine=request.refine,
        max_hole_area=request.clean,
        max_speck_area=request.clean,
    )


def _write(folder: Path, request: Request, masks: Masks, prompts: dict[int, Prompt]) -> dict[str, Any]:
    """Write masks, overlay and ``results.json``, whose content is returned."""
    names = [
        f"object-{number}-{letter}.png" if letter else f"object-{number}.png"
        for number in prompts
        for letter in ("abc" if request.multimask else [""])
    ]
    with staged(folder) as stage:
        for written, name in zip(masks.save(stage / "masks"), names, strict=True):
            written.rename(stage / name)
        (stage / "masks").rmdir()
        masks.save_overlay(stage / "overlay.png", prompts=list(prompts.values()))
        report = _report(request, masks, list(prompts), names)
        write_results(stage, report)
    return report


def _report(request: Request, masks: Masks, numbers: list[int], names: list[str]) -> dict[str, Any]:
    """The content of ``results.json``: plain numbers, boxes as COCO writes them (x, y, width, height)."""
    from maskwright.pixels.boxes import corner_and_size

    per_object = len(names) // len(numbers)
    height, width = masks.bitmaps.shape[-2:]
    scores, areas = masks.scores.reshape(-1).tolist(), masks.areas.reshape(-1).tolist()
    boxes = corner_and_size(masks.boxes.reshape(-1, 4))
    rows = zip(scores, areas, boxes, masks.rle(), names, strict=True)
    return {
        "image": {"file": str(request.photo), "height": height, "width": width},
        "model": request.model,
        "objects": [
            {
                "id": numbers[row // per_object],
                "score": round(score, 4),
                "area": area,
                "bbox": box,
                "segmentation": rle,
                "file": name,
            }
            for row, (score, area, box, rle, name) in enumerate(rows)
        ],
    }


def show(report: dict[str, Any], folder: Path, *, as_json: bool) -> None:
    """Print a line for each mask and where the overlay is, or the content of ``results.json``."""
    from rich.table import Table

    from maskwright.cli.terminal import print_json, print_line, print_table

    if as_json:
        print_json(report)
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("object", "score", "area", "box"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("file", no_wrap=True, overflow="fold")
    for row in report["objects"]:
        x, y, w, h = row["bbox"]
        box = f"{x},{y},{x + w},{y + h}"
        table.add_row(
            str(row["id"]), f"{row['score']:.3f}", f"{row['area']} px", box, str(folder / row["file"])
        )
    print_table(table)
    print_line(f"overlay: {folder / 'overlay.png'}")
    show_exports(report)
