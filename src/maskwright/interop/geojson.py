"""GeoJSON: polygons with holes, one feature for each object in each picture.

Coordinates are pixels, x to the right and y down, not degrees: a viewer that takes them for a map shows the
picture upside down. Properties are ``picture``, ``frame`` and ``time_s`` (of a video), ``id``, ``label``,
``score`` and ``area``. All pictures, those without objects too, are in the member ``pictures`` with their
size.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from maskwright.errors import InputError
from maskwright.interop.annotations import DEFAULT_LABEL, AnnotatedPicture, Annotation
from maskwright.interop.outputs import OutputFile, Spool, separated
from maskwright.interop.polygons import annotated, shapely_package, trace
from maskwright.interop.reading import label_of, reason_of, score_of
from maskwright.interop.writing import ExportOptions
from maskwright.types import Size

ENDING = ".geojson"


class GeoJsonWriter:
    """Writes one file with all pictures; see the head of this module."""

    def __init__(self, path: Path, options: ExportOptions) -> None:
        self._tolerance = options.tolerance
        self._file = OutputFile(path, overwrite=options.overwrite)
        self._pictures = Spool(path.parent)
        self._num_pictures = self._num_features = 0
        self._file.write('{"type": "FeatureCollection",\n"features": [')

    def write(self, picture: AnnotatedPicture) -> None:
        """Add one picture."""
        self._num_pictures += 1
        self._pictures.write(separated(self._num_pictures) + json.dumps(_about(picture)))
        for annotation in picture.annotations:
            self._num_features += 1
            row = _feature(picture, annotation, self._tolerance)
            self._file.write(separated(self._num_features) + json.dumps(row))

    def finish(self) -> None:
        """Write the list of pictures, and give the file its name."""
        self._file.write('],\n"pictures": [')
        for text in self._pictures.all():
            self._file.write(text)
        self._file.write("]}\n")
        self._pictures.close()
        self._file.finish()

    def discard(self) -> None:
        """Leave nothing behind."""
        self._pictures.close()
        self._file.discard()


def pages(picture: AnnotatedPicture, tolerance: float) -> Iterator[tuple[str, bytes]]:
    """A file for one picture alone."""
    content = {
        "type": "FeatureCollection",
        "features": [_feature(picture, item, tolerance) for item in picture.annotations],
        "pictures": [_about(picture)],
    }
    yield ENDING, json.dumps(content).encode("ascii")


def _about(picture: AnnotatedPicture) -> dict[str, Any]:
    row: dict[str, Any] = {"name": picture.name, "height": picture.size[0], "width": picture.size[1]}
    return row | _timed(picture)


def _timed(picture: AnnotatedPicture) -> dict[str, Any]:
    values = {"frame": picture.frame, "time_s": picture.time_s}
    return {name: value for name, value in values.items() if value is not None}


def _feature(picture: AnnotatedPicture, annotation: Annotation, tolerance: float) -> dict[str, Any]:
    from shapely.geometry import MultiPolygon, mapping
    from shapely.geometry.polygon import orient

    parts = [orient(part) for part in trace(annotation, tolerance).geoms]
    return {
        "type": "Feature",
        "geometry": mapping(parts[0] if len(parts) == 1 else MultiPolygon(parts)),
        "properties": {
            "picture": picture.name,
            **_timed(picture),
            "id": annotation.id,
            "label": annotation.label,
            "score": annotation.score,
            "area": annotation.area,
        },
    }


def read_geojson(
    path: str | os.PathLike[str], size: Size | None = None, name: str | None = None
) -> Iterator[AnnotatedPicture]:
    """Read polygons in pixels.

    Args:
        path: A file that was written here, or any FeatureCollection of one picture.
        size: Height and width of that picture, if the file does not say.
        name: What it is called, if the file does not say; the file's own name without.

    Raises:
        InputError: no FeatureCollection, no size, or a feature that makes no sense; which one.
    """
    from maskwright.io.datasets.reading import read_json

    place = Path(path)
    content = read_json(place)
    features = content.get("features") if isinstance(content, dict) else None
    if not isinstance(features, list) or not all(isinstance(row, dict) for row in features):
        raise InputError(f"{place} is no FeatureCollection of GeoJSON; it has no list of features")
    pictures = content.get("pictures")
    if not isinstance(pictures, list):
        if size is None:
            raise InputError(f"{place} does not say how large its picture is; pass size=(height, width)")
        pictures = [{"name": name or f"{place.stem}.jpg", "height": size[0], "width": size[1]}]
    return _read(place, features, pictures)


def _read(
    path: Path, features: list[dict[str, Any]], pictures: list[dict[str, Any]]
) -> Iterator[AnnotatedPicture]:
    known = {str(row.get("name")) for row in pictures}
    grouped: dict[str, list[Mapping[str, Any]]] = {}
    for row in features:
        owner = str((row.get("properties") or {}).get("picture"))
        grouped.setdefault(owner if owner in known else str(pictures[0].get("name")), []).append(row)
    for picture in pictures:
        try:
            size, name = (int(picture["height"]), int(picture["width"])), str(picture["name"])
            rows = grouped.get(name, [])
            found = [_annotation(number, row, size) for number, row in enumerate(rows, start=1)]
            yield AnnotatedPicture(name, size, tuple(found), picture.get("frame"), picture.get("time_s"))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(f"{path}: {reason_of(error)}; correct or remove it") from error


def _annotation(number: int, row: Mapping[str, Any], size: Size) -> Annotation:
    shapely = shapely_package()
    about = row.get("properties") or {}
    geometry = shapely.make_valid(shapely.geometry.shape(row["geometry"]))
    label, score = str(about.get("label", DEFAULT_LABEL)), about.get("score")
    return annotated(
        [geometry],
        size,
        int(about.get("id", number)),
        label_of(label),
        score_of(score),
    )
