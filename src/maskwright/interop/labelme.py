"""LabelMe JSON: a file for each picture, of polygons that can be edited there.

Holes are cut open along bridges of no width, because LabelMe's polygons have none; an object in several
parts is several polygons of one ``group_id``, which is its number. Corners are middles of pixels: LabelMe
sets the pixels on the line, too. LabelMe finds the picture by ``imagePath``, which is beside the JSON file;
the pixels are not in it. The score is a field of its own.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from maskwright.errors import InputError
from maskwright.interop.annotations import AnnotatedPicture, Annotation
from maskwright.interop.outputs import inner_path
from maskwright.interop.polygons import bridged, check_ring, draw, from_rings, rectangle, trace
from maskwright.interop.reading import label_of, reason_of, score_of
from maskwright.pixels import rle
from maskwright.types import BoolArray, Size

if TYPE_CHECKING:
    from shapely import Polygon

ENDING = ".json"
VERSION = "5.5.0"
"""Of LabelMe, whose layout this is."""
_AREAS = ("polygon", "rectangle", "circle", "mask")
"""Kinds of shapes that cover something."""


def pages(picture: AnnotatedPicture, tolerance: float) -> Iterator[tuple[str, bytes]]:
    """The JSON file of a picture."""
    outlines = [(item, trace(item, tolerance, inclusive=True)) for item in picture.annotations]
    content: dict[str, Any] = {
        "version": VERSION,
        "flags": {},
        "shapes": [_shape(item, part) for item, outline in outlines for part in outline.geoms],
        "imagePath": inner_path(picture.name).name,
        "imageData": None,
        "imageHeight": picture.size[0],
        "imageWidth": picture.size[1],
    }
    yield ENDING, (json.dumps(content, indent=1) + "\n").encode("ascii")


def _shape(annotation: Annotation, part: Polygon) -> dict[str, Any]:
    return {
        "label": annotation.label,
        "points": bridged(part).round(2).tolist(),
        "group_id": annotation.id,
        "description": "",
        "shape_type": "polygon",
        "flags": {},
        "mask": None,
        **({} if annotation.score is None else {"score": annotation.score}),
    }


def read_labelme(path: str | os.PathLike[str]) -> Iterator[AnnotatedPicture]:
    """Read LabelMe files, whoever wrote them: polygons, rectangles, circles and masks; the rest is left out.

    Shapes of one label and ``group_id`` are one object. Its number is the ``group_id`` where all objects of
    the picture have different ones, else its place, from 1 on.

    Args:
        path: A JSON file, or a folder of them and of folders with them.

    Raises:
        InputError: no LabelMe file, or a shape that makes no sense; which one.
    """
    from maskwright.io.sources.stills import natural_order

    place = Path(path)
    if not place.is_dir():
        return iter([_read(place, place.parent)])
    files = sorted(place.rglob("*.json"), key=natural_order)
    if not files:
        raise InputError(f"{place} has no JSON files; name a folder of LabelMe files")
    return (_read(file, place) for file in files)


def _read(path: Path, root: Path) -> AnnotatedPicture:
    from maskwright.io.datasets.reading import read_json
    from maskwright.io.sources.stills import read_frame

    content = read_json(path)
    try:
        size = int(content["imageHeight"]), int(content["imageWidth"])
        image = str(content["imagePath"]).replace("\\", "/")
        found = tuple(_objects(content["shapes"], size))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{path} is no LabelMe file: {reason_of(error)}; correct or remove it") from error
    inside = path.parent.relative_to(root)
    return AnnotatedPicture(
        (inside / Path(image).name).as_posix(), size, found, read=partial(read_frame, path.parent / image)
    )


def _objects(shapes: Sequence[Mapping[str, Any]], size: Size) -> Iterator[Annotation]:
    grouped: dict[Any, list[Mapping[str, Any]]] = {}
    for place, shape in enumerate(shapes):
        if shape.get("shape_type", "polygon") in _AREAS:
            group = shape.get("group_id")
            key = (place, None) if group is None else (shape["label"], group)
            grouped.setdefault(key, []).append(shape)
    groups = [group for _, group in grouped if group is not None]
    keep = len(set(groups)) == len(grouped)
    for place, rows in enumerate(grouped.values(), start=1):
        covered = np.zeros(size, np.bool_)
        for row in rows:
            covered |= _covered(row, size)
        label, score = str(rows[0]["label"]), rows[0].get("score")
        yield Annotation(
            int(rows[0]["group_id"]) if keep else place,
            rle.encode(covered[None])[0],
            label_of(label),
            score_of(score),
        )


def _covered(shape: Mapping[str, Any], size: Size) -> BoolArray:
    """(h, w) bool: the pixels of a shape."""
    kind, label = shape.get("shape_type", "polygon"), shape["label"]
    corners = check_ring(shape["points"], f"the {kind} {label!r}")
    if kind == "polygon":
        return draw([from_rings([corners])], size, inclusive=True)
    if len(corners) != 2:
        raise InputError(f"the {kind} {label!r} has {len(corners)} points, not 2")
    (x0, y0), (x1, y1) = corners.tolist()
    if kind == "rectangle":
        return draw([from_rings([rectangle(x0, y0, x1, y1)])], size)
    if kind == "circle":
        rows, columns = np.mgrid[: size[0], : size[1]]
        inside: BoolArray = np.hypot(columns + 0.5 - x0, rows + 0.5 - y0) < np.hypot(x1 - x0, y1 - y0)
        return inside
    return _placed(shape["mask"], round(min(x0, x1)), round(min(y0, y1)), size)


def _placed(encoded: str, left: int, top: int, size: Size) -> BoolArray:
    """A mask that is a picture of its own, in base64, at its place."""
    from maskwright.interop.pictures import bitmap_of_png

    try:
        part = bitmap_of_png(base64.b64decode(encoded))
    except (binascii.Error, OSError) as error:
        raise InputError(f"its mask is no picture in base64: {error}") from error
    covered = np.zeros(size, np.bool_)
    seen = covered[max(top, 0) : top + part.shape[0], max(left, 0) : left + part.shape[1]]
    seen[:] = part[max(-top, 0) :, max(-left, 0) :][: seen.shape[0], : seen.shape[1]]
    return covered
