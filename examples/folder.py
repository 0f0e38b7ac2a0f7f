"""Cut objects out of all photos of a folder: boxes from a table, a mask for each, a few photos at a time.

    python examples/folder.py                          # three photographs that come with scikit-image
    python examples/folder.py photos --boxes boxes.csv --out cut

The table has a line for each object: photo,x0,y0,x1,y1,label. Nothing is done twice: photos with an overlay
in the output are left out, so the same command goes on after an interruption. For masks of everything,
without boxes, there is a command: maskwright segment photos --auto -o found.

It needs pip install "maskwright[demo]".
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import numpy as np
from PIL import Image
from skimage import data

import maskwright as mw

BATCH = 4
"""Photos that are held at a time."""
TRY_OUT = {
    "astronaut": [("astronaut", mw.Box(20, 5, 365, 512)), ("shuttle", mw.Box(348, 0, 460, 292))],
    "chelsea": [("cat", mw.Box(0, 0, 405, 300))],
    "coffee": [("cup", mw.Box(168, 10, 410, 310)), ("spoon", mw.Box(315, 225, 405, 335))],
}
"""What the folder holds that is made to try it out: photo -> label and box of each object."""

Table = dict[str, list[tuple[str, mw.Box]]]
"""File name of a photo -> label and box of each object in it."""


def make_folder(folder: Path) -> Path:
    """Photographs and a table of boxes, to try it out."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "boxes.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("photo", "x0", "y0", "x1", "y1", "label"))
        for name, objects in TRY_OUT.items():
            Image.fromarray(getattr(data, name)()).save(folder / f"{name}.jpg", quality=95)
            for label, box in objects:
                writer.writerow((f"{name}.jpg", box.x0, box.y0, box.x1, box.y1, label))
    return folder / "boxes.csv"


def read_boxes(path: Path) -> Table:
    """The table of boxes, by photo."""
    table: Table = {}
    with path.open(newline="", encoding="utf-8") as file:
        for line in csv.DictReader(file):
            box = mw.Box(*(float(line[edge]) for edge in ("x0", "y0", "x1", "y1")))
            table.setdefault(line["photo"], []).append((line["label"], box))
    return table


def cut(model: mw.MaskModel, folder: Path, table: Table, out: Path) -> None:
    """Masks as out/PHOTO/LABEL_0.png, and out/PHOTO.jpg with all of them drawn."""
    waiting = [name for name in table if not (out / Path(name).with_suffix(".jpg")).exists()]
    print(f"{len(table)} photos, {len(table) - len(waiting)} of them done already")
    for start in range(0, len(waiting), BATCH):
        names = waiting[start : start + BATCH]
        prompts = [[box for _, box in table[name]] for name in names]
        photos = [folder / name for name in names]
        results = model.segment_batch(photos, prompts, max_hole_area=60, max_speck_area=60)
        for name, masks in zip(names, results, strict=True):
            keep(masks, [label for label, _ in table[name]], out, Path(name).stem)


def keep(masks: mw.Masks, labels: list[str], out: Path, stem: str) -> None:
    """Write the masks of one photo; the overlay last, which says that it is done."""
    for label in dict.fromkeys(labels):
        masks[np.array(labels) == label].save(out / stem, stem=label)
    masks.save_overlay(out / f"{stem}.jpg")
    sizes = ", ".join(f"{label} {area}" for label, area in zip(labels, masks.areas, strict=True))
    print(f"  {stem}: {sizes} pixels")


def sheet(out: Path, height: int = 300) -> Image.Image:
    """All overlays in a row."""
    pictures = [Image.open(path) for path in sorted(out.glob("*.jpg"))]
    return Image.fromarray(
        np.hstack([one.resize((round(one.width * height / one.height), height)) for one in pictures])
    )


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Cut objects out of all photos of a folder.")
    parser.add_argument("folder", nargs="?", type=Path, help="the photos; made, to try it out, if left out")
    parser.add_argument("--boxes", type=Path, help="the table; boxes.csv in the folder by default")
    parser.add_argument("--out", type=Path, default=Path("cut"), help="where the masks go")
    asked = parser.parse_args(arguments)
    folder = asked.folder or Path("photos")
    if asked.folder is None:
        make_folder(folder)
    cut(mw.load(), folder, read_boxes(asked.boxes or folder / "boxes.csv"), asked.out)
    sheet(asked.out).save("folder.jpg")


if __name__ == "__main__":
    main()
