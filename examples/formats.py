"""Masks into the files of other tools, and back: a data set to train on, and what an annotator has corrected.

    python examples/formats.py                # photographs that come with scikit-image
    python examples/formats.py --out dataset

Writes COCO (exact), YOLO with its pictures (polygons), and LabelMe to correct by hand; reads each again and
says how much of every mask came back. For finished results there is a command: maskwright export
photos-masks --coco photos.json.

It needs pip install "maskwright[demo,export]".
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image
from skimage import data

import maskwright as mw
from maskwright import interop

PHOTOS = {
    "astronaut": {"astronaut": mw.Box(20, 5, 365, 512), "shuttle": mw.Box(348, 0, 460, 292)},
    "coffee": {"cup": mw.Box(168, 10, 410, 310), "spoon": mw.Box(315, 225, 405, 335)},
}
"""Photograph -> name and box of each object."""


def annotated(model: mw.MaskModel) -> list[interop.AnnotatedPicture]:
    """Every photograph with the masks of its objects."""
    pictures = []
    for name, objects in PHOTOS.items():
        masks = model.embed(getattr(data, name)()).segment(*objects.values(), max_speck_area=60)
        labels = dict(enumerate(objects, 1))  # objects are numbered 1, 2, 3 ...
        pictures.append(interop.from_masks(masks, f"{name}.png", labels))
    return pictures


def write(pictures: list[interop.AnnotatedPicture], out: Path) -> None:
    """The same in three formats, and the photographs where YOLO looks for them."""
    out.mkdir(parents=True, exist_ok=True)
    interop.export(pictures, out / "coco.json")
    interop.export(pictures, out / "yolo", format="yolo")
    interop.export(pictures, out / "yolo" / "images", format="pictures")
    interop.export(pictures, out / "labelme", format="labelme")


def compare(
    pictures: Iterable[interop.AnnotatedPicture], again: Iterable[interop.AnnotatedPicture]
) -> dict[str, float]:
    """IoU of every object with what was read again, by its name."""
    back = {one.name: one for one in again}
    found = {}
    for picture in pictures:
        for ours, theirs in zip(picture.annotations, back[picture.name].annotations, strict=True):
            a, b = ours.bitmap(), theirs.bitmap()
            found[theirs.label] = float((a & b).sum() / (a | b).sum())
    return found


def sheet(pictures: Iterable[interop.AnnotatedPicture], height: int = 300) -> Image.Image:
    """Every picture with its objects, in a row."""
    drawn = [Image.fromarray(interop.to_masks(picture).overlay()) for picture in pictures]
    drawn = [one.resize((round(one.width * height / one.height), height)) for one in drawn]
    return Image.fromarray(np.hstack(drawn))


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Masks into the files of other tools, and back.")
    parser.add_argument("--out", type=Path, default=Path("dataset"), help="where the files go")
    out = parser.parse_args(arguments).out
    pictures = annotated(mw.load())
    write(pictures, out)
    readers = {
        "coco": interop.read_coco(out / "coco.json"),
        "yolo": interop.read_yolo(out / "yolo"),
        "labelme": interop.read_labelme(out / "labelme"),
    }
    for name, again in readers.items():
        kept = compare(pictures, again)
        print(f"{name:8}" + ", ".join(f"{label} {iou:.4f}" for label, iou in kept.items()))
    sheet(interop.read_yolo(out / "yolo")).save("formats.jpg")


if __name__ == "__main__":
    main()
