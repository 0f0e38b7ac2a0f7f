"""Which formats there are, and opening one for writing."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from maskwright.errors import InputError
from maskwright.interop.annotations import AnnotatedPicture
from maskwright.interop.outputs import OutputFolder, SingleFile, file_or_folder
from maskwright.interop.writing import Export, ExportOptions, Pages, PageWriter, Writer

What = Literal["file", "folder", "either"]
_Open = Callable[[Path, ExportOptions], Writer]


@dataclass(frozen=True)
class Format:
    """One format."""

    name: str
    """What it is called, here and on the command line."""
    what: What
    """What a path names: a file, a folder, or either, where a path with the ending is a file."""
    endings: tuple[str, ...]
    """Of the file; empty for a folder."""
    summary: str
    """One line, for help texts."""
    open: _Open
    """Makes the writer; imports what that needs."""
    needs_pixels: bool = False
    """Whether it cannot do without the pictures themselves."""
    needs_extra: bool = True
    """Whether it takes the packages of ``maskwright[export]``."""


def open_export(
    format: str,
    path: str | os.PathLike[str],
    *,
    labels: Mapping[int, str] | None = None,
    tolerance: float = 1.0,
    overwrite: bool = False,
) -> Export:
    """Begin an output; hand it pictures with :meth:`.Export.add`.

    Everything that can be known to fail is tried here, before any long work.

    Args:
        format: One of :data:`FORMATS`.
        path: File or folder, as the format wants it. The folder of a file must exist.
        labels: What each object is, by its number. Its names are the categories, in that order, even those
            of objects that are never seen; further ones follow as they come. Without it an object is what
            its annotation says, which is ``object`` unless somebody named it.
        tolerance: How far in pixels a polygon may leave the edge of a mask; 0 follows the pixels exactly.
            Small objects get less, so that at least 0.98 of each mask agrees.
        overwrite: Replace what an earlier run wrote. In a folder, files that are not written anew stay.

    Raises:
        InputError: no such format, a path that does not suit it, a tolerance below 0, a blank label.
        OutputError: the place cannot be written, or there is an earlier result.
        MissingExtraError: the packages of ``maskwright[export]`` are not installed.
    """
    known = FORMATS.get(format)
    if known is None:
        raise InputError(f"there is no format {format!r}; choose one of {', '.join(FORMATS)}")
    options = ExportOptions(dict(labels or {}), tolerance, overwrite)
    target = Path(path)
    if known.what == "file" and target.suffix.lower() not in known.endings:
        raise InputError(f"{known.name} is written to a file; end {target} in {' or '.join(known.endings)}")
    if known.needs_extra:
        require_extra()
    return Export(known.open(target, options), options.labels)


def export(
    pictures: Iterable[AnnotatedPicture],
    path: str | os.PathLike[str],
    *,
    format: str | None = None,
    labels: Mapping[int, str] | None = None,
    tolerance: float = 1.0,
    overwrite: bool = False,
) -> int:
    """Write a whole folder or video, one picture at a time, as they come.

    Args:
        pictures: For example a :class:`.finished.Finished`, or :func:`.annotations.from_frames` of a video
            that is being tracked.
        path: File or folder; without ``format``, the ending of a file chooses one.
        format: One of :data:`FORMATS`.
        labels: As in :func:`open_export`, as are the others.
        tolerance: Of polygons, in pixels.
        overwrite: Replace an earlier result.

    Returns:
        How many pictures there were.

    Raises:
        MaskwrightError: whatever :func:`open_export`, :meth:`.Export.add` and the pictures raise.
    """
    kind = format_of(path) if format is None else format
    count = 0
    with open_export(kind, path, labels=labels, tolerance=tolerance, overwrite=overwrite) as target:
        for picture in pictures:
            target.add(picture)
            count += 1
    return count


def format_of(path: str | os.PathLike[str]) -> str:
    """The format that the ending of a file stands for.

    Raises:
        InputError: it stands for none.
    """
    found = ending_format(path)
    if found is None:
        endings = [end for known in FORMATS.values() for end in known.endings]
        raise InputError(
            f"cannot tell the format of {os.fspath(path)}; end its name in "
            f"{', '.join(dict.fromkeys(endings))}, or name the format: {', '.join(FORMATS)}"
        )
    return found


def ending_format(path: str | os.PathLike[str]) -> str | None:
    """The format that the ending of a file stands for; None for a folder and where it stands for none."""
    place = Path(path)
    if place.is_dir():
        return None
    return next((known.name for known in FORMATS.values() if place.suffix.lower() in known.endings), None)


def is_file(format: str, path: str | os.PathLike[str]) -> bool:
    """Whether a format takes this path for a file, and not for a folder."""
    known = FORMATS[format]
    return known.what == "file" or Path(path).suffix.lower() in known.endings


def require_extra() -> None:
    """Make sure that polygons can be traced.

    Raises:
        MissingExtraError: a package is not installed.
    """
    from maskwright.interop.polygons import rasterio_features, shapely_package

    shapely_package()
    rasterio_features()


def _coco(path: Path, options: ExportOptions) -> Writer:
    from maskwright.interop.coco import CocoWriter

    return CocoWriter(path, options)


def _coco_polygons(path: Path, options: ExportOptions) -> Writer:
    from maskwright.interop.coco import CocoWriter

    return CocoWriter(path, options, polygons=True)


def _yolo(path: Path, options: ExportOptions) -> Writer:
    from maskwright.interop.yolo import YoloWriter

    return YoloWriter(path, options)


def _voc(path: Path, options: ExportOptions) -> Writer:
    from maskwright.interop.voc import VocWriter

    return VocWriter(path, options)


def _labelme(path: Path, options: ExportOptions) -> Writer:
    from maskwright.interop.labelme import ENDING, pages

    return _paged(path, ENDING, options, partial(pages, tolerance=options.tolerance))


def _cvat(path: Path, options: ExportOptions) -> Writer:
    from maskwright.interop.cvat import CvatWriter

    return CvatWriter(path, options)


def _geojson(path: Path, options: ExportOptions) -> Writer:
    from maskwright.interop.geojson import ENDING, GeoJsonWriter, pages

    if path.suffix.lower() == ENDING and not path.is_dir():
        return GeoJsonWriter(path, options)
    return _paged(path, ENDING, options, partial(pages, tolerance=options.tolerance))


def _svg(path: Path, options: ExportOptions) -> Writer:
    from maskwright.interop.svg import ENDING, pages

    return _paged(path, ENDING, options, partial(pages, tolerance=options.tolerance))


def _npz(path: Path, options: ExportOptions) -> Writer:
    from maskwright.interop.arrays import ENDING, pages

    return _paged(path, ENDING, options, pages)


def _indexed(path: Path, options: ExportOptions) -> Writer:
    from maskwright.interop.pictures import PNG, indexed
    from maskwright.io.sinks.indexed import check_ids

    check_ids(options.labels)
    return _paged(path, PNG, options, indexed)


def _png(path: Path, options: ExportOptions) -> Writer:
    from maskwright.interop.pictures import masks

    return PageWriter(OutputFolder(path, ["**/*.png"], overwrite=options.overwrite), masks)


def _cutout(path: Path, options: ExportOptions) -> Writer:
    from maskwright.interop.pictures import PNG, cut_out_together, cut_outs

    output = file_or_folder(path, PNG, overwrite=options.overwrite)
    return PageWriter(output, cut_out_together if isinstance(output, SingleFile) else cut_outs)


def _pictures(path: Path, options: ExportOptions) -> Writer:
    from maskwright.interop.pictures import itself

    return PageWriter(OutputFolder(path, ["**/*.jpg", "**/*.png"], overwrite=options.overwrite), itself)


def _paged(path: Path, ending: str, options: ExportOptions, pages: Pages) -> Writer:
    return PageWriter(file_or_folder(path, ending, overwrite=options.overwrite), pages)


_PIXELS: Any = {"needs_pixels": True, "needs_extra": False}
_ALL = (
    Format("coco", "file", (".json",), "COCO JSON, exact masks", _coco, needs_extra=False),
    Format("coco-polygons", "file", (".json",), "COCO JSON, polygons where no hole is", _coco_polygons),
    Format("yolo", "folder", (), "YOLO segmentation: labels and data.yaml", _yolo),
    Format("voc", "folder", (), "Pascal VOC: XML, and PNGs of objects and classes", _voc),
    Format("labelme", "either", (".json",), "LabelMe: a JSON file for each picture", _labelme),
    Format("cvat", "file", (".xml",), "CVAT 1.1 for images, or tracks of a video", _cvat),
    Format("geojson", "either", (".geojson",), "polygons with holes, in pixels", _geojson),
    Format("svg", "either", (".svg",), "a drawing for each picture", _svg),
    Format("indexed", "either", (".png",), "palette PNGs of object numbers", _indexed, needs_extra=False),
    Format("png", "folder", (), "a black-and-white PNG for each object", _png, needs_extra=False),
    Format("npz", "either", (".npz",), "NumPy arrays of each picture", _npz, needs_extra=False),
    Format("cutout", "either", (".png",), "objects on a transparent background", _cutout, **_PIXELS),
    Format(
        "pictures", "folder", (), "the frames themselves, as other formats name them", _pictures, **_PIXELS
    ),
)
FORMATS: Mapping[str, Format] = {known.name: known for known in _ALL}
"""All formats by name."""
