"""Labelled pictures on disk: a folder of photographs with label maps, and video folders in DAVIS layout.

Two layouts are known:

``labelled``
    ``images/NAME.jpg``, ``labels/NAME.png`` (single channel: 0 is *unlabelled*, 1.. are objects) and
    ``sources.tsv`` with the columns name, source, licence, tier, kind, num_masks, split.
``davis``
    ``JPEGImages/SEQUENCE/*.jpg`` and ``Annotations/SEQUENCE/*.png``; the first frame of each is read.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from maskwright.errors import ImageError, InputError


@dataclass(frozen=True)
class Labelled:
    """One photograph and where its label map lies."""

    name: str
    image: Path
    labels: Path
    source: str
    """Short name of the collection, e.g. ``coco``: what reports group by and sampling balances."""
    tier: str = ""
    """Licence tier as stated by the data set."""


def read_index(folder: Path, split: str) -> list[Labelled]:
    """Pictures of one split of a ``labelled`` folder, or of a ``davis`` folder (whose split is ignored).

    Sorted by name. Raises InputError when the folder is in neither layout or the split is empty.
    """
    if (folder / "Annotations").is_dir():
        found = _first_frames(folder)
    elif (folder / "sources.tsv").is_file():
        found = _read_table(folder, split)
    else:
        raise InputError(
            f"{folder} is no data set: expected sources.tsv, or JPEGImages/ and Annotations/ in it"
        )
    if not found:
        raise InputError(f"{folder} has no picture in split {split!r}; choose train or val")
    return sorted(found, key=lambda sample: sample.name)


def _read_table(folder: Path, split: str) -> list[Labelled]:
    with (folder / "sources.tsv").open(newline="", encoding="utf-8") as lines:
        rows = [row for row in csv.DictReader(lines, delimiter="\t") if row["split"] == split]
    return [
        Labelled(
            name=row["name"],
            image=folder / "images" / f"{row['name']}.jpg",
            labels=folder / "labels" / f"{row['name']}.png",
            source=row["name"].partition("_")[0],
            tier=row["tier"],
        )
        for row in rows
    ]


def _first_frames(folder: Path) -> list[Labelled]:
    found = []
    for sequence in sorted(path for path in (folder / "Annotations").iterdir() if path.is_dir()):
        masks = sorted(sequence.glob("*.png"))
        if masks:
            image = folder / "JPEGImages" / sequence.name / f"{masks[0].stem}.jpg"
            found.append(Labelled(sequence.name, image, masks[0], source=sequence.name))
    return found


def read_labels(path: Path) -> np.ndarray:
    """Label map (h, w) uint16 of a single-channel or palette PNG; ImageError when it cannot be read."""
    try:
        with Image.open(path) as picture:
            labels = np.asarray(picture)
    except (OSError, ValueError) as error:
        raise ImageError(f"cannot read the label map {path}: {error}") from error
    if labels.ndim != 2:
        raise ImageError(f"{path} has shape {labels.shape}; a label map has one channel")
    return labels.astype(np.uint16)


def resize_labels(labels: np.ndarray, size: int) -> np.ndarray:
    """Label map (h, w) as (size, size) by nearest neighbour, pixel centres aligned."""
    height, width = labels.shape
    rows = ((np.arange(size) + 0.5) * height / size).astype(np.int64)
    columns = ((np.arange(size) + 0.5) * width / size).astype(np.int64)
    return np.asarray(labels[rows[:, None], columns[None, :]])


def spread(available: int, wanted: int) -> list[int]:
    """At most ``wanted`` of ``available`` numbers, evenly spaced from the first to the last."""
    if available <= wanted:
        return list(range(available))
    return [int(number) for number in np.linspace(0, available - 1, wanted).round()]
