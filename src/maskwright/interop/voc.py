"""Pascal VOC: ``Annotations/NAME.xml``, ``SegmentationObject/NAME.png`` and ``SegmentationClass/NAME.png``.

In SegmentationObject the objects are numbered 1, 2, 3 ... as they stand in the XML file, in SegmentationClass
by class, as ``labels.txt`` lists them; 0 is the background. No pixels are marked as doubtful (255). A pixel
has one value, so of objects that overlap the smaller one is on top. Boxes count pixels from 1, as VOC does.

VOC itself has no polygons; each object also has its outline as ``<polygon>``, one for each part, as Roboflow
and supervision read them: holes are cut open along bridges of no width, and corners are middles of pixels,
counted from 1 as boxes are. ``<track_id>`` is its number.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np
from PIL import Image

from maskwright.errors import InputError
from maskwright.interop.annotations import AnnotatedPicture, Annotation
from maskwright.interop.categories import Categories
from maskwright.interop.markup import markup, node, root_of, text_of
from maskwright.interop.outputs import OutputFolder, inner_path
from maskwright.interop.pictures import numbered
from maskwright.interop.polygons import bridged, draw, from_rings, trace
from maskwright.interop.reading import label_of, score_of
from maskwright.interop.writing import ExportOptions
from maskwright.io.sinks.indexed import palette_png
from maskwright.pixels import rle
from maskwright.types import BoolArray, ByteArray, Size

_MOST = 254
_XML, _OBJECTS, _CLASSES = "Annotations", "SegmentationObject", "SegmentationClass"


class VocWriter:
    """Writes the folder; see the head of this module."""

    def __init__(self, path: Path, options: ExportOptions) -> None:
        self._tolerance = options.tolerance
        self._categories = Categories(options.labels.values(), first=1)
        patterns = [f"{_XML}/**/*.xml", f"{_OBJECTS}/**/*.png", f"{_CLASSES}/**/*.png", "labels.txt"]
        self._folder = OutputFolder(path, patterns, overwrite=options.overwrite)

    def write(self, picture: AnnotatedPicture) -> None:
        """Write the three files of one picture, the XML last."""
        count = len(picture.annotations)
        classes = [self._categories.number(item.label) for item in picture.annotations]
        if max(count, *classes, 0) > _MOST:
            raise InputError(
                f"{picture.name} has {count} objects, and there are {len(self._categories.names)} classes; "
                f"the PNGs of Pascal VOC hold {_MOST}; choose another format"
            )
        for inside, values in ((_OBJECTS, list(range(1, count + 1))), (_CLASSES, classes)):
            path = self._folder.place(picture.name, ".png", inside=inside)
            self._folder.write(path, palette_png(numbered(picture, values)))
        text = markup(self._annotation(picture))
        self._folder.write(self._folder.place(picture.name, ".xml", inside=_XML), text.encode("utf-8"))

    def finish(self) -> None:
        """Write the list of classes, one a line."""
        lines = [" ".join(name.split()) for name in ("background", *self._categories.names)]
        text = "".join(f"{line}\n" for line in lines)
        self._folder.write(self._folder.path / "labels.txt", text.encode("utf-8", "replace"))

    def discard(self) -> None:
        """The files that are complete stay."""
        self._folder.discard()

    def _annotation(self, picture: AnnotatedPicture) -> Element:
        name = inner_path(picture.name)
        height, width = picture.size
        size = [node("width", None, f"{width}"), node("height", None, f"{height}"), node("depth", None, "3")]
        head = [
            node("folder", None, str(name.parent) if name.parent.name else "JPEGImages"),
            node("filename", None, name.name),
            node("size", None, size),
            node("segmented", None, "1"),
        ]
        objects = [self._object(item, picture.size) for item in picture.annotations]
        return node("annotation", None, [*head, *objects])

    def _object(self, annotation: Annotation, size: Size) -> Element:
        x0, y0, x1, y1 = annotation.box
        edges = {"xmin": x0 + 1, "ymin": y0 + 1, "xmax": x1, "ymax": y1}
        cut = int(x0 == 0 or y0 == 0 or x1 == size[1] or y1 == size[0])
        outline = trace(annotation, self._tolerance, inclusive=True)
        score = [] if annotation.score is None else [node("score", None, f"{annotation.score}")]
        return node(
            "object",
            None,
            [
                node("name", None, annotation.label),
                node("pose", None, "Unspecified"),
                node("truncated", None, str(cut)),
                node("difficult", None, "0"),
                node("track_id", None, str(annotation.id)),
                *score,
                node("bndbox", None, [node(edge, None, str(value)) for edge, value in edges.items()]),
                *(_polygon(bridged(part) + 1) for part in outline.geoms),
            ],
        )


def _polygon(corners: np.ndarray) -> Element:
    """``<x1><y1><x2><y2>`` ..."""
    made = node("polygon", None, [])
    for number, (x, y) in enumerate(corners.round(2).tolist(), start=1):
        made.extend([node(f"x{number}", None, f"{x:.8g}"), node(f"y{number}", None, f"{y:.8g}")])
    return made


def read_voc(
    path: str | os.PathLike[str], images: str | os.PathLike[str] | None = None
) -> Iterator[AnnotatedPicture]:
    """Read a folder in Pascal VOC's layout, whoever wrote it.

    Masks are those of SegmentationObject where it has the picture, else the polygons in the XML file, else
    objects that have neither are left out: a box is no mask.

    Args:
        path: The folder that ``Annotations`` is in.
        images: The folder of the pictures; ``JPEGImages`` beside it without.

    Raises:
        InputError: no such folder, or a file that makes no sense; which one.
    """
    from maskwright.io.sources.stills import natural_order

    root = Path(path)
    files = sorted((root / _XML).rglob("*.xml"), key=natural_order)
    if not (root / _XML).is_dir():
        raise InputError(f"{root} has no folder {_XML}; name the folder that it is in")
    folder = root / "JPEGImages" if images is None else Path(images)
    return (_read(root, file.relative_to(root / _XML), folder) for file in files)


def _read(root: Path, file: Path, images: Path) -> AnnotatedPicture:
    from maskwright.io.sources.stills import read_frame

    path = root / _XML / file
    content = root_of(path)
    try:
        size = int(text_of(content, "size/height")), int(text_of(content, "size/width"))
        name = (file.parent / text_of(content, "filename")).as_posix()
        labels = _labels(root / _OBJECTS / file.with_suffix(".png"), size)
        rows = enumerate(content.findall("object"), start=1)
        found = [_object(number, row, labels, size) for number, row in rows]
        kept = tuple(item for item in found if item is not None)
        return AnnotatedPicture(name, size, _distinct(kept), read=partial(read_frame, images / name))
    except ValueError as error:
        raise InputError(f"{path}: {error}; correct or remove it") from error


def _labels(path: Path, size: Size) -> ByteArray | None:
    """The numbers of the objects, if there is such a picture."""
    if not path.is_file():
        return None
    with Image.open(io.BytesIO(path.read_bytes())) as image:
        labels = np.asarray(image, np.uint8)
    if labels.shape != size:
        raise InputError(f"{path} is {labels.shape}, the picture {size}")
    return labels


def _object(number: int, row: Element, labels: ByteArray | None, size: Size) -> Annotation | None:
    name, score = text_of(row, "name"), row.findtext("score")
    bitmap = _outlined(row, size) if labels is None else np.asarray(labels == number)
    if bitmap is None:
        return None
    return Annotation(
        int(row.findtext("track_id") or number),
        rle.encode(bitmap[None])[0],
        label_of(name),
        score_of(score),
    )


def _outlined(row: Element, size: Size) -> BoolArray | None:
    """What the polygons of an object cover; None if it has none."""
    lines = [[float(value.text or "") for value in part] for part in row.findall("polygon")]
    shapes = [from_rings([np.array(line).reshape(-1, 2) - 1]) for line in lines]
    return draw(shapes, size, inclusive=True) if shapes else None


def _distinct(found: tuple[Annotation, ...]) -> tuple[Annotation, ...]:
    """Numbers by place where two objects have the same."""
    from dataclasses import replace

    if len({item.id for item in found}) == len(found):
        return found
    return tuple(replace(item, id=number) for number, item in enumerate(found, start=1))
