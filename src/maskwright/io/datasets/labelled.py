"""Label maps: a folder of photographs, each with a picture of its objects' numbers.

``images/NAME.jpg`` (or another picture format), ``labels/NAME.png`` (single channel: 0 is *unlabelled*, 1..
are objects; nothing is said about unlabelled pixels but that they belong to no object) and, if there is one,
``sources.tsv`` with the columns name, source, licence, tier, kind, num_masks, split. Without the table every
picture that has a label map counts, and a tenth of them is ``val``, by name (see :mod:`.choosing`).

The first frames of video folders in DAVIS layout can be read in the same way (:func:`read_index`).
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from maskwright.errors import ImageError, InputError
from maskwright.io.datasets.choosing import in_split
from maskwright.io.datasets.protocol import Scene
from maskwright.io.datasets.reading import check_size, pictures_in, read_picture


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


class LabelledPictures:
    """Photographs with label maps, as :class:`.protocol.Pictures`. Masks of one picture never overlap.

    Args:
        folder: Has ``images/`` and ``labels/`` in it.
        split: ``train``, ``val``, another one that the table knows, or empty for all.

    Raises:
        InputError: the folder is in another layout, or the split has no picture.
    """

    def __init__(self, folder: Path, split: str = "") -> None:
        self.samples = read_index(folder, split)
        self.names = [sample.name for sample in self.samples]
        self.sources = [sample.source for sample in self.samples]

    def __len__(self) -> int:
        return len(self.samples)

    def read(self, index: int) -> Scene:
        """One photograph with its masks; ids are the labels.

        Raises:
            ImageError: picture or label map are missing, damaged, or of different sizes.
        """
        sample = self.samples[index]
        picture, labels = read_picture(sample.image), read_labels(sample.labels)
        check_size(
            sample.image,
            picture.shape[:2],
            (labels.shape[0], labels.shape[1]),
            f"its label map {sample.labels}",
        )
        return Scene.from_labels(picture, labels)


def is_labelled(folder: Path) -> bool:
    """Whether a folder is in this layout."""
    if (folder / "sources.tsv").is_file():
        return (folder / "labels").is_dir()
    return bool(pictures_in(folder / "images")) and any((folder / "labels").glob("*.png"))


def read_index(folder: Path, split: str) -> list[Labelled]:
    """Pictures of one split of a labelled folder, or of a DAVIS folder (whose split is ignored).

    Sorted by name; an empty split stands for all. Raises InputError when the folder is in neither layout or
    the split is empty.
    """
    if (folder / "Annotations").is_dir():
        found = _first_frames(folder)
    elif (folder / "sources.tsv").is_file():
        found = _read_table(folder, split)
    elif is_labelled(folder):
        found = _pair_up(folder, split)
    else:
        raise InputError(
            f"{folder} is no data set: expected images/ and labels/, or JPEGImages/ and Annotations/ in it"
        )
    if not found:
        raise InputError(f"{folder} has no picture in split {split!r}; choose train or val")
    return sorted(found, key=lambda sample: sample.name)


def _read_table(folder: Path, split: str) -> list[Labelled]:
    table = folder / "sources.tsv"
    with table.open(newline="", encoding="utf-8") as lines:
        reader = csv.DictReader(lines, delimiter="\t")
        missing = {"name", "tier", "split"} - set(reader.fieldnames or ())
        if missing:
            raise InputError(
                f"{table} lacks the columns {', '.join(sorted(missing))}; add them, tab-separated"
            )
        rows = [row for row in reader if split in ("", row["split"])]
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


def _pair_up(folder: Path, split: str) -> list[Labelled]:
    """Pictures that have label maps, where there is no table."""
    labels = pictures_in(folder / "labels")
    images = {name: path for name, path in pictures_in(folder / "images").items() if name in labels}
    found = [Labelled(name, path, labels[name], source=folder.name) for name, path in images.items()]
    return in_split(found, list(images), split)


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
