"""COCO JSON: one file for a folder of pictures or a video.

Masks are compressed run lengths, which hold them exactly, or polygons. COCO's polygons cannot have holes: a
tool fills them all. So an object with a hole stays run lengths even among polygons.

``images`` has id, file_name, width and height, and of a frame also ``video_id``, ``frame_id`` and ``time_s``;
``annotations`` has the usual fields, ``track_id`` (the number of the object, which is the same in all frames)
and ``score``. While pictures are added, annotations go to the file and what belongs to the end of it to a
temporary one, so that nothing is kept in memory.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from maskwright.errors import InputError
from maskwright.interop.annotations import AnnotatedPicture, Annotation
from maskwright.interop.categories import Categories
from maskwright.interop.outputs import OutputFile, Spool, separated
from maskwright.interop.reading import label_of, reason_of, score_of
from maskwright.interop.writing import ExportOptions
from maskwright.pixels import rle
from maskwright.types import Size


class CocoWriter:
    """Writes the file; see the head of this module.

    Args:
        path: The file.
        options: The tolerance counts for polygons only.
        polygons: Write polygons where an object has no holes.
    """

    def __init__(self, path: Path, options: ExportOptions, *, polygons: bool = False) -> None:
        self._tolerance = options.tolerance
        self._polygons = polygons
        self._categories = Categories(options.labels.values(), first=1)
        self._videos = Categories(first=1)
        self._num_pictures = self._num_annotations = 0
        self._file = OutputFile(path, overwrite=options.overwrite)
        self._pictures = Spool(path.parent)
        self._file.write('{"info": {"description": "Masks by maskwright"},\n"annotations": [')

    def write(self, picture: AnnotatedPicture) -> None:
        """Add one picture."""
        self._num_pictures += 1
        self._pictures.write(separated(self._num_pictures) + json.dumps(self._picture(picture)))
        for annotation in picture.annotations:
            self._num_annotations += 1
            row = json.dumps(self._annotation(annotation))
            self._file.write(separated(self._num_annotations) + row)

    def finish(self) -> None:
        """Write the lists of pictures and categories, and give the file its name."""
        self._file.write('],\n"images": [')
        for text in self._pictures.all():
            self._file.write(text)
        named = enumerate(self._categories.names, start=1)
        categories = [{"id": number, "name": name, "supercategory": ""} for number, name in named]
        videos = [{"id": number, "name": name} for number, name in enumerate(self._videos.names, start=1)]
        extra = f'"videos": {json.dumps(videos)},\n' if videos else ""
        self._file.write(f'],\n{extra}"categories": {json.dumps(categories)}}}\n')
        self._pictures.close()
        self._file.finish()

    def discard(self) -> None:
        """Leave nothing behind."""
        self._pictures.close()
        self._file.discard()

    def _picture(self, picture: AnnotatedPicture) -> dict[str, Any]:
        height, width = picture.size
        row = {"id": self._num_pictures, "file_name": picture.name, "width": width, "height": height}
        if picture.frame is None:
            return row
        video = str(PurePosixPath(picture.name).parent)
        row |= {"video_id": self._videos.number(video), "frame_id": picture.frame}
        return row if picture.time_s is None else {**row, "time_s": picture.time_s}

    def _annotation(self, annotation: Annotation) -> dict[str, Any]:
        x0, y0, x1, y1 = annotation.box
        return {
            "id": self._num_annotations,
            "image_id": self._num_pictures,
            "category_id": self._categories.number(annotation.label),
            "track_id": annotation.id,
            "bbox": [x0, y0, x1 - x0, y1 - y0],
            "area": annotation.area,
            "iscrowd": 0,
            **({} if annotation.score is None else {"score": annotation.score}),
            "segmentation": self._segmentation(annotation),
        }

    def _segmentation(self, annotation: Annotation) -> Any:
        if self._polygons:
            from maskwright.interop.polygons import rings, trace

            parts = [rings(part) for part in trace(annotation, self._tolerance).geoms]
            if all(len(part) == 1 for part in parts):
                return [part[0].astype(int).ravel().tolist() for part in parts]
        return annotation.rle


def read_coco(
    path: str | os.PathLike[str], images: str | os.PathLike[str] | None = None
) -> Iterator[AnnotatedPicture]:
    """Read a COCO file, whoever wrote it.

    Crowds and boxes without an outline are left out, pictures without objects are not. An object's number is
    its ``track_id`` where all of a picture have different ones, else its place in the picture, from 1 on.

    Args:
        path: The JSON file, which is read whole.
        images: The folder of the pictures, if their pixels are wanted.

    Raises:
        InputError: no COCO file, or an entry that makes no sense; the message says which.
    """
    from maskwright.io.datasets.coco import is_coco
    from maskwright.io.datasets.reading import read_json

    content = read_json(Path(path))
    if not is_coco(content):
        raise InputError(f"{os.fspath(path)} is no COCO file: it has no lists named images and annotations")
    for name in ("images", "annotations", "categories"):
        if not all(isinstance(row, dict) for row in content.get(name) or ()):
            raise InputError(
                f"{os.fspath(path)}: its {name} are not all JSON objects; correct or remove them"
            )
    return _read(os.fspath(path), content, images)


def _read(
    path: str, content: Mapping[str, Any], images: str | os.PathLike[str] | None
) -> Iterator[AnnotatedPicture]:
    categories = {row.get("id"): str(row.get("name")) for row in content.get("categories") or ()}
    rows: dict[Any, list[Mapping[str, Any]]] = {}
    for row in content["annotations"]:
        if row.get("segmentation") and not row.get("iscrowd"):
            rows.setdefault(row.get("image_id"), []).append(row)
    for image in content["images"]:
        try:
            yield _read_picture(image, rows.get(image.get("id"), []), categories, images)
        except (KeyError, TypeError, ValueError) as error:
            name = image.get("file_name", "a picture without a name")
            raise InputError(f"{path}: {name}: {reason_of(error)}; correct or remove it") from error


def _read_picture(
    image: Mapping[str, Any],
    rows: Sequence[Mapping[str, Any]],
    categories: Mapping[Any, str],
    images: str | os.PathLike[str] | None,
) -> AnnotatedPicture:
    from maskwright.io.sources.stills import read_frame

    size, name = (int(image["height"]), int(image["width"])), str(image["file_name"])
    tracks = [int(row["track_id"]) for row in rows if row.get("track_id") is not None]
    numbers = tracks if len(set(tracks)) == len(rows) else range(1, len(rows) + 1)
    found = (
        _read_annotation(number, row, size, categories) for number, row in zip(numbers, rows, strict=True)
    )
    return AnnotatedPicture(
        name,
        size,
        tuple(found),
        image.get("frame_id"),
        image.get("time_s"),
        None if images is None else partial(read_frame, Path(images) / name),
    )


def _read_annotation(
    number: int, row: Mapping[str, Any], size: Size, categories: Mapping[Any, str]
) -> Annotation:
    from maskwright.io.datasets.coco import mask_of

    label, score = categories.get(row.get("category_id")), row.get("score")
    code = rle.encode(mask_of(row["segmentation"], size)[None])[0]
    return Annotation(
        number,
        code,
        label_of(label),
        score_of(score),
    )
