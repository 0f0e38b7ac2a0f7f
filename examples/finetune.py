"""Fine-tune nano on a handful of pictures, on the processor, in about a minute.

The pictures are pieces of one photograph of ancient coins that comes with scikit-image; their outlines are
found by a watershed. They are written as a COCO file, as your own would be, and the rest is three commands:

    maskwright train --data coins/train.json --val coins/val.json --out run ...
    maskwright eval show coins/val.json --model nano --against run/model.safetensors --out before-after.png
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
from skimage import data, filters, segmentation

from maskwright.cli import main as maskwright

TILE = (151, 192)
"""Height and width of a piece."""
TRAIN, VAL = [(0, 0), (0, 96), (0, 192)], [(152, 0), (152, 192)]
"""Where pieces lie, (y, x): the lower half of the photograph is held out."""
LEAST = 400
"""Pixels of a coin that counts; fewer are cut off by the edge of a piece."""


def coins() -> tuple[np.ndarray, np.ndarray]:
    """The photograph (h, w) and its coins, numbered from 1 in a label map of the same size."""
    photo = data.coins()
    markers = np.zeros(photo.shape, np.int32)
    markers[photo < 30], markers[photo > 150] = 1, 2
    found = ndimage.binary_fill_holes(segmentation.watershed(filters.sobel(photo), markers) == 2)
    labels, _ = ndimage.label(found)
    return photo, labels


def write_coco(folder: Path, name: str, places: list[tuple[int, int]]) -> Path:
    """Pieces of the photograph as PNG files, and their coins as ``NAME.json``."""
    photo, labels = coins()
    pictures: list[dict[str, Any]] = []
    outlines: list[dict[str, Any]] = []
    for number, (y, x) in enumerate(places, start=1):
        window = (slice(y, y + TILE[0]), slice(x, x + TILE[1]))
        file = f"{name}-{number}.png"
        Image.fromarray(photo[window]).convert("RGB").save(folder / file)
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
    names = [{"id": 1, "name": "coin"}]
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
    pieces = options.out / "coins"
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
