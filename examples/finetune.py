"""Fine-tune nano on a handful of pictures, on the processor, in about a minute.

nano knows things in photographs, not letters. So the pictures are pieces of a photographed page, which comes
with scikit-image, and the objects its letters, found by a threshold. They are written as a COCO file, like
your own, and the rest is three commands:

    maskwright train --data letters/train.json --val letters/val.json --out run ...
    maskwright eval show letters/val.json --model nano --against run/model.safetensors --out before-after.png
    maskwright segment PHOTO --model run/model.safetensors ...

Run it:  python examples/finetune.py --out finetuned
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pycocotools import mask as coco_masks
from scipy import ndimage
from skimage import data, filters

from maskwright.cli import main as maskwright

ZOOM = 3
"""The page is small, so it is enlarged."""
TILE = (144, 216)
"""Height and width of a piece."""
TRAIN = [(y, x) for y in (126, 186, 246) for x in (12, 180, 348)]
VAL = [(y, x) for y in (126, 246) for x in (600, 840)]
"""Where pieces lie, (y, x): the right half of the page is held out."""
LEAST = 225
"""Pixels of a letter that counts; fewer are dots and strokes cut off by the edge of a piece."""


def letters() -> tuple[np.ndarray, np.ndarray]:
    """The page (h, w) and its letters, numbered from 1 in a label map of the same size."""
    page = data.page()
    height, width = page.shape
    page = np.asarray(Image.fromarray(page).resize((ZOOM * width, ZOOM * height), Image.Resampling.BICUBIC))
    labels, _ = ndimage.label(page < filters.threshold_local(page, 35 * ZOOM, offset=12))
    return page, labels


def write_coco(folder: Path, name: str, places: list[tuple[int, int]]) -> Path:
    """Pieces of the page as PNG files, and their letters as ``NAME.json``."""
    page, labels = letters()
    pictures: list[dict[str, Any]] = []
    outlines: list[dict[str, Any]] = []
    for number, (y, x) in enumerate(places, start=1):
        window = (slice(y, y + TILE[0]), slice(x, x + TILE[1]))
        file = f"{name}-{number}.png"
        Image.fromarray(page[window]).convert("RGB").save(folder / file)
        pictures.append({"id": number, "file_name": file, "height": TILE[0], "width": TILE[1]})
        for label in np.unique(labels[window]):
            mask = labels[window] == label
            if label == 0 or mask.sum() < LEAST:
                continue
            code = coco_masks.encode(np.asfortranarray(mask.astype(np.uint8)))
            outlines.append(
                {
                    "id": len(outlines) + 1,
                    "image_id": number,
                    "category_id": 1,
                    "iscrowd": 0,
                    "area": int(mask.sum()),
                    "bbox": [float(value) for value in coco_masks.toBbox(code)],
                    "segmentation": {"size": list(TILE), "counts": code["counts"].decode()},
                }
            )
    path = folder / f"{name}.json"
    names = [{"id": 1, "name": "letter"}]
    path.write_text(json.dumps({"images": pictures, "annotations": outlines, "categories": names}))
    return path


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("finetuned"), help="folder for everything")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--size", type=int, default=256, help="side of the network's input, a multiple of 32")
    options = parser.parse_args(arguments)
    pieces = options.out / "letters"
    pieces.mkdir(parents=True, exist_ok=True)
    train, val = write_coco(pieces, "train", TRAIN), write_coco(pieces, "val", VAL)
    settings = {
        "loop.steps": options.steps,
        "loop.accumulate": 1,
        "loop.warmup_steps": 5,
        "loop.clip": 1.0,
        "loop.ema": 0.95,
        "pictures.size": options.size,
        "pictures.rate": 2e-4,
        "pictures.encoder_rate": 1e-4,
    }
    overrides = [part for name, value in settings.items() for part in ("--set", f"{name}={value}")]
    files = ["--data", str(train), "--val", str(val), "--out", str(options.out / "run")]
    code = maskwright(["train", *files, "--freeze", "trunk", *overrides])
    if code:
        return code
    model = options.out / "run" / "model.safetensors"
    sheet = str(options.out / "before-after.png")
    compared = ["--model", "nano", "--against", str(model), "--first-prompt", "click"]
    return maskwright(["eval", "show", str(val), *compared, "--out", sheet, "--overwrite"])


if __name__ == "__main__":
    sys.exit(main())
