"""COCO JSON: one file of annotations for a folder of pictures.

The file is an object with ``images`` (id, file_name, and width and height, which are checked) and
``annotations`` (id, image_id, segmentation, iscrowd). A segmentation is a list of polygons ``[x, y, x, y,
...]``, an RLE with compressed ``counts`` (text), or one with a list of run lengths.

What is left out: annotations with ``iscrowd`` 1, which outline a group of objects and not one; boxes without
an outline; and pictures that then have no object. Masks may overlap. Everything else about the pixels outside
them is unknown: few data sets label every object.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from maskwright.errors import ImageError, InputError
from maskwright.io.datasets.choosing import in_split
from maskwright.io.datasets.protocol import Scene, pack
from maskwright.io.datasets.reading import check_size, read_json, read_picture
from maskwright.pixels.rle import decode
from maskwright.types import BoolArray, Size


class Outline(NamedTuple):
    """One annotated object."""

    id: int
    segmentation: Any
    """Polygons or an RLE, as in the file."""


@dataclass(frozen=True)
class _Entry:
    """One picture and its objects."""

    name: str
    image: Path
    size: Size | None
    """As the file says; None where it does not."""
    outlines: Sequence[Outline]


class CocoPictures:
    """The pictures of a COCO file that have masks, as :class:`.protocol.Pictures`.

    Args:
        path: The JSON file.
        split: ``train``, ``val`` (a tenth of the pictures, by file name) or empty for all.
        images: Folder that file names are relative to; found near the file if it is not given.
        content: What the file holds, from whoever has read it already; large files take long.

    Raises:
        InputError: it is no COCO file, is inconsistent, has no masks, or its pictures are not found.
    """

    def __init__(self, path: Path, split: str = "", images: Path | None = None, content: Any = None) -> None:
        self.path = path
        content = _checked(path, read_json(path) if content is None else content)
        outlines = _outlines(path, content)
        files = {_image_id(path, image): image for image in content["images"]}
        _check_known(path, outlines, files)
        used = [files[key] for key in files if key in outlines]
        if not used:
            raise InputError(
                f"{path} has no masks: its {len(content['annotations'])} annotations are crowds or have no "
                "segmentation; boxes alone are not enough"
            )
        folder = images or _find_images(path, used)
        entries = [_entry(path, folder, image, outlines[image["id"]]) for image in used]
        self._entries = in_split(entries, [entry.name for entry in entries], split)
        if not self._entries:
            raise InputError(f"{path} has no picture in split {split!r}; it has {len(entries)} in all")
        self.names = [entry.name for entry in self._entries]
        self.sources = [path.stem] * len(self.names)

    def __len__(self) -> int:
        return len(self._entries)

    def read(self, index: int) -> Scene:
        """One picture with its masks; ids are those of the annotations.

        Raises:
            ImageError: the picture is missing or damaged, or an annotation does not fit it.
        """
        entry = self._entries[index]
        picture = read_picture(entry.image)
        size = (picture.shape[0], picture.shape[1])
        if entry.size is not None:
            check_size(entry.image, size, entry.size, f"its entry in {self.path}")
        layers = pack(self._masks(entry, size), size)
        return Scene.from_layers(picture, layers, [outline.id for outline in entry.outlines])

    def _masks(self, entry: _Entry, size: Size) -> Iterator[BoolArray]:
        for outline in entry.outlines:
            try:
                yield mask_of(outline.segmentation, size)
            except InputError as error:
                raise ImageError(
                    f"{self.path}: annotation {outline.id} of {entry.name}: {error}; correct or remove it"
                ) from error


def mask_of(segmentation: Any, size: Size) -> BoolArray:
    """The bitmap (h, w) of a COCO segmentation: polygons, or an RLE of either kind.

    Polygons of fewer than three corners cover nothing.

    Raises:
        InputError: it is neither, or for another size.
    """
    if isinstance(segmentation, Mapping):
        stated = segmentation.get("size")
        if not isinstance(stated, Sequence) or list(stated) != list(size):
            raise InputError(f"its RLE is of size (h, w) {stated}, the picture of {list(size)}")
        return np.ascontiguousarray(decode([segmentation])[0])
    return _filled(segmentation, size)


def _filled(polygons: Any, size: Size) -> BoolArray:
    from pycocotools import mask as coco

    try:
        corners = [[float(value) for value in polygon] for polygon in polygons]
    except (TypeError, ValueError) as error:
        raise InputError(f"its outline is no list of polygons [x, y, x, y, ...] ({error})") from error
    if not all(np.isfinite(polygon).all() and len(polygon) % 2 == 0 for polygon in corners):
        raise InputError("its polygons have an odd number of coordinates, or such as are NaN or infinite")
    solid = [polygon for polygon in corners if len(polygon) >= 6]
    if not solid:
        return np.zeros(size, np.bool_)
    code = coco.merge(coco.frPyObjects(solid, *size))
    return np.ascontiguousarray(decode([code])[0])


def _checked(path: Path, content: Any) -> Mapping[str, Any]:
    if not is_coco(content):
        raise InputError(f"{path} is no COCO file: it has no lists named images and annotations")
    found: Mapping[str, Any] = content
    return found


def is_coco(content: Any) -> bool:
    """Whether the content of a JSON file is laid out as COCO's."""
    return isinstance(content, dict) and all(
        isinstance(content.get(name), list) for name in ("images", "annotations")
    )


def _image_id(path: Path, image: Any) -> Any:
    if not isinstance(image, dict) or "id" not in image or not isinstance(image.get("file_name"), str):
        raise InputError(f"{path}: an entry of images lacks id or file_name: {str(image)[:80]}")
    return image["id"]


def _outlines(path: Path, content: Mapping[str, Any]) -> dict[Any, list[Outline]]:
    """Objects with masks by the id of their picture."""
    found: dict[Any, list[Outline]] = {}
    for number, annotation in enumerate(content["annotations"]):
        if not isinstance(annotation, dict) or "image_id" not in annotation:
            raise InputError(f"{path}: entry {number} of annotations lacks image_id: {str(annotation)[:80]}")
        if annotation.get("segmentation") and not annotation.get("iscrowd"):
            outline = Outline(int(annotation.get("id", number)), annotation["segmentation"])
            found.setdefault(annotation["image_id"], []).append(outline)
    return found


def _check_known(path: Path, outlines: Mapping[Any, Sequence[Outline]], files: Mapping[Any, Any]) -> None:
    unknown = [key for key in outlines if key not in files]
    if unknown:
        raise InputError(
            f"{path}: annotation {outlines[unknown[0]][0].id} belongs to picture {unknown[0]!r}, which is "
            "not among its images; add the picture or remove the annotation"
        )


def _entry(path: Path, folder: Path, image: Mapping[str, Any], outlines: Sequence[Outline]) -> _Entry:
    try:
        size = (int(image["height"]), int(image["width"])) if "height" in image and "width" in image else None
    except (TypeError, ValueError) as error:
        raise InputError(f"{path}: width and height of {image['file_name']} are no numbers") from error
    return _Entry(image["file_name"], folder / image["file_name"], size, outlines)


def _find_images(path: Path, used: Sequence[Mapping[str, Any]]) -> Path:
    """The folder that has the first picture in it, beside the file or where COCO and its kin put it."""
    name = used[0]["file_name"]
    part = path.stem.rpartition("_")[2]
    beside, above = path.parent, path.parent.parent
    places = [beside, beside / "images", beside / path.stem, beside / part]
    places += [above / part, above / "images" / part, above / "images", above]
    for place in places:
        if (place / name).is_file():
            return place
    raise InputError(
        f"the pictures of {path} are not found: {name} is neither beside it nor in "
        f"{', '.join(str(place) for place in places[1:6])}; name their folder (images=, --images)"
    )
