"""YOLO segmentation labels: a text file for each picture, a line for each object, and ``data.yaml``.

A line is the number of the class and the corners of one polygon, x and y divided by width and height. There
are no holes and no parts: what has some is cut open along bridges of no width, so that one line stays one
object, as when ultralytics converts COCO. (A line for each part would make several objects of one, which
teaches a network to find them so.) Numbers of objects and scores have no place.

Corners are middles of pixels: ultralytics and supervision set the pixels on the line, too. Boxes, which are
read only, are edges.

The layout is ``labels/NAME.txt`` beside ``images/NAME.jpg``; the pictures are not copied.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from maskwright.errors import InputError, MissingExtraError
from maskwright.interop.annotations import DEFAULT_LABEL, AnnotatedPicture, Annotation
from maskwright.interop.bridges import Ring
from maskwright.interop.categories import Categories
from maskwright.interop.outputs import OutputFolder
from maskwright.interop.polygons import annotated, from_rings, joined, rectangle, trace
from maskwright.interop.reading import label_of
from maskwright.interop.writing import ExportOptions
from maskwright.types import Size

_PLACES = ("images", ".", "../images")
"""Where pictures lie, as seen from the folder that has ``labels`` in it."""


class YoloWriter:
    """Writes the folder; see the head of this module."""

    def __init__(self, path: Path, options: ExportOptions) -> None:
        self._yaml = _yaml()
        self._tolerance = options.tolerance
        self._categories = Categories(options.labels.values())
        self._folder = OutputFolder(path, ["data.yaml", "labels/**/*.txt"], overwrite=options.overwrite)

    def write(self, picture: AnnotatedPicture) -> None:
        """Write the labels of one picture; an empty file if there are none."""
        path = self._folder.place(picture.name, ".txt", inside="labels", exact=True)
        lines = [self._line(annotation, picture.size) for annotation in picture.annotations]
        self._folder.write(path, "".join(lines).encode("ascii"))

    def finish(self) -> None:
        """Write ``data.yaml``."""
        names = dict(enumerate(self._categories.names))
        content = {"train": "images", "val": "images", "names": names}
        text = self._yaml.safe_dump(content, allow_unicode=True, sort_keys=False)
        self._folder.write(self._folder.path / "data.yaml", text.encode("utf-8", "replace"))

    def discard(self) -> None:
        """The labels of pictures that were done stay."""
        self._folder.discard()

    def _line(self, annotation: Annotation, size: Size) -> str:
        corners = joined(trace(annotation, self._tolerance, inclusive=True)) / (size[1], size[0])
        numbers = " ".join(f"{value:.7g}" for value in corners.ravel().tolist())
        return f"{self._categories.number(annotation.label)} {numbers}\n"


def read_yolo(
    path: str | os.PathLike[str], images: str | os.PathLike[str] | None = None
) -> Iterator[AnnotatedPicture]:
    """Read YOLO labels, whoever wrote them: polygons, and boxes as rectangles.

    Args:
        path: ``data.yaml``, or the folder that it and ``labels`` are in.
        images: The folder of the pictures, whose sizes are needed; without it ``images`` beside ``labels``.

    Raises:
        InputError: no data.yaml, a picture without a size, or a line that makes no sense; which one.
    """
    place = Path(path)
    config = place if place.is_file() else place / "data.yaml"
    names = _names(config)
    root = config.parent
    folder = (
        Path(images)
        if images is not None
        else next((root / name for name in _PLACES if (root / name).is_dir()), root)
    )
    labels = root / "labels"
    if not labels.is_dir():
        raise InputError(f"{root} has no folder labels; name the folder that data.yaml and labels are in")
    return _read(labels, folder, names)


def _names(config: Path) -> dict[int, str]:
    """Names of the classes by number."""
    yaml = _yaml()
    try:
        content = yaml.safe_load(config.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot read {config}: {error.strerror or error}; check the path") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{config} is no YAML: {' '.join(str(error).split())}") from error
    names = content.get("names") if isinstance(content, dict) else None
    try:
        rows = names.items() if isinstance(names, dict) else enumerate(names or ())
        return {int(number): str(name) for number, name in rows}
    except (TypeError, ValueError) as error:
        raise InputError(f"{config}: names is neither a list nor numbered; correct it") from error


def _yaml() -> Any:
    try:
        import yaml
    except ImportError as error:
        raise MissingExtraError("YOLO's data.yaml needs PyYAML: pip install 'maskwright[export]'") from error
    return yaml


def _read(labels: Path, images: Path, names: dict[int, str]) -> Iterator[AnnotatedPicture]:
    from maskwright.interop.pictures import size_of
    from maskwright.io.sources.stills import natural_order, read_frame

    for path in sorted(labels.rglob("*.txt"), key=natural_order):
        relative = path.relative_to(labels)
        picture = _picture_of(images / relative.parent, path.stem)
        size = size_of(picture)
        rows = path.read_text(encoding="utf-8").splitlines()
        found = [
            _annotation(path, number, row, size, names) for number, row in enumerate(rows, 1) if row.strip()
        ]
        yield AnnotatedPicture(
            (relative.parent / picture.name).as_posix(), size, tuple(found), read=partial(read_frame, picture)
        )


def _picture_of(folder: Path, stem: str) -> Path:
    from maskwright.io.sources.stills import is_picture

    found = next((path for path in sorted(folder.glob("*")) if path.stem == stem and is_picture(path)), None)
    if found is None:
        raise InputError(f"there is no picture {stem} in {folder}; name their folder with images=")
    return found


def _annotation(path: Path, number: int, row: str, size: Size, names: dict[int, str]) -> Annotation:
    try:
        values = [float(value) for value in row.split()]
        corners = _corners(values[1:])
        label = names.get(int(values[0]), DEFAULT_LABEL)
    except (ValueError, IndexError) as error:
        raise InputError(f"line {number} of {path} makes no sense: {error}; correct or remove it") from error
    outline = from_rings([corners * (size[1], size[0])])
    is_box = len(values) in (5, 6)
    return annotated([outline], size, number, label_of(label), inclusive=not is_box)


def _corners(values: Sequence[float]) -> Ring:
    """Corners from the numbers after the class: a polygon, or the middle and size of a box."""
    numbers: Any = np.asarray(values, np.float64)
    if not np.isfinite(numbers).all():
        raise ValueError("a number is NaN or infinite")
    if len(values) in (4, 5):
        x, y, w, h = values[:4]
        return rectangle(x - w / 2, y - h / 2, x + w / 2, y + h / 2)
    if len(values) < 6:
        raise ValueError(f"{len(values)} numbers after the class; a box has 4, a polygon 6 and more")
    corners: Ring = numbers[: len(numbers) // 2 * 2].reshape(-1, 2)
    return corners
