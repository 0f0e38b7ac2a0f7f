"""Small data sets that tests write for themselves, in the layouts of the field."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

HEIGHT, WIDTH = 40, 60


def photo(path: Path, seed: int = 0, size: tuple[int, int] = (HEIGHT, WIDTH)) -> np.ndarray:
    """Writes a picture without loss and gives its pixels."""
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, format="PNG")
    return pixels


def label_map(path: Path, labels: np.ndarray, *, palette: bool = False) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(labels.astype(np.uint8))
    if palette:
        picture.putpalette([value for number in range(256) for value in (255 - number, number, 7)])
    picture.save(path)


def rectangle(top: int, left: int, bottom: int, right: int, value: int = 1) -> np.ndarray:
    """A label map with one rectangle."""
    labels = np.zeros((HEIGHT, WIDTH), np.uint8)
    labels[top:bottom, left:right] = value
    return labels


def run_lengths(mask: np.ndarray) -> list[int]:
    """Uncompressed COCO counts, down the columns, the first for pixels that are not set."""
    flat = mask.T.ravel().astype(np.int8)
    edges = np.flatnonzero(np.diff(flat)) + 1
    runs = np.diff([0, *edges, flat.size]).tolist()
    return [0, *runs] if flat[0] else runs


def write_json(path: Path, content: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")
    return path
