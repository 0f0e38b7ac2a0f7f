"""CVAT XML: "CVAT for images 1.1" for pictures, "CVAT for video 1.1" for frames of a video.

Of a picture, an object without holes and in one part is a polygon, which can be edited; any other one is a
mask, which is exact. Its number is the ``group_id``. Of a video every object is one track. A track has one
polygon in each frame, so holes and parts are cut open and joined along bridges of no width; in the frame
after the last one of a stretch the object is ``outside``. CVAT wants the names of all labels first, and
tracks one by one, so everything waits in a temporary file until the end; of a video 24 bytes for each object
in each frame are kept in memory.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path, PurePosixPath
from xml.etree.ElementTree import Element

import numpy as np

from maskwright.errors import InputError
from maskwright.interop.annotations import AnnotatedPicture, Annotation, frame_name
from maskwright.interop.bridges import Ring
from maskwright.interop.categories import Categories
from maskwright.interop.markup import attribute, clean, markup, node, root_of
from maskwright.interop.outputs import OutputFile, Spool
from maskwright.interop.polygons import check_ring, draw, from_rings, joined, rectangle, trace
from maskwright.interop.reading import label_of
from maskwright.interop.writing import ExportOptions
from maskwright.pixels import rle
from maskwright.types import BoolArray, Size


class CvatWriter:
    """Writes the file; see the head of this module. The first picture decides which of the two it is."""

    def __init__(self, path: Path, options: ExportOptions) -> None:
        self._tolerance = options.tolerance
        self._categories = Categories(map(clean, options.labels.values()))
        self._file = OutputFile(path, overwrite=options.overwrite)
        self._body = Spool(path.parent)
        self._tracks: _Tracks | None = None
        self._num_pictures = 0
        self._first: AnnotatedPicture | None = None

    def write(self, picture: AnnotatedPicture) -> None:
        """Add one picture."""
        if self._first is None:
            self._first = AnnotatedPicture(picture.name, picture.size, frame=picture.frame)
            self._tracks = None if picture.frame is None else _Tracks(self._body)
        if (picture.frame is None) != (self._first.frame is None):
            raise InputError(
                f"{picture.name} and {self._first.name} do not go together: "
                "CVAT takes pictures, or the frames of a video; write two files"
            )
        for item in picture.annotations:
            self._categories.number(clean(item.label))
        if self._tracks is None:
            self._body.write(markup(self._image(picture), level=1))
        else:
            self._check_frame(picture)
            self._tracks.add(picture, self._tolerance)
        self._num_pictures += 1

    def finish(self) -> None:
        """Write the head, then everything that waited, and give the file its name."""
        self._file.write('<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n <version>1.1</version>\n')
        self._file.write(markup(self._meta(), level=1))
        for text in self._body.all() if self._tracks is None else self._tracks.texts():
            self._file.write(text)
        self._file.write("</annotations>\n")
        self._body.close()
        self._file.finish()

    def discard(self) -> None:
        """Leave nothing behind."""
        self._body.close()
        self._file.discard()

    def _check_frame(self, picture: AnnotatedPicture) -> None:
        assert self._first is not None
        if picture.size != self._first.size:
            raise InputError(
                f"{picture.name} is of another size than {self._first.name}: all frames of a video in CVAT "
                "are of one; write a file for each"
            )

    def _meta(self) -> Element:
        labels = [node("label", None, [node("name", None, name)]) for name in self._categories.names]
        mode = "annotation" if self._tracks is None else "interpolation"
        name = "maskwright" if self._first is None else PurePosixPath(self._first.name).parts[0]
        task = [
            node("name", None, name),
            node("size", None, str(self._num_pictures)),
            node("mode", None, mode),
            node("labels", None, labels),
        ]
        if self._tracks is not None and self._first is not None:
            h, w = self._first.size
            task.append(
                node("original_size", None, [node("width", None, str(w)), node("height", None, str(h))])
            )
        return node("meta", None, [node("task", None, task)])

    def _image(self, picture: AnnotatedPicture) -> Element:
        h, w = picture.size
        shapes = [self._shape(item) for item in picture.annotations]
        return node(
            "image", {"id": self._num_pictures, "name": picture.name, "width": w, "height": h}, shapes
        )

    def _shape(self, annotation: Annotation) -> Element:
        outline = trace(annotation, self._tolerance)
        common = {"label": annotation.label, "source": "auto", "occluded": 0}
        ending = {"z_order": 0, "group_id": annotation.id}
        if len(outline.geoms) == 1 and not outline.geoms[0].interiors:
            return node("polygon", common | {"points": _points(joined(outline))} | ending)
        x0, y0, x1, y1 = annotation.box
        place = {"left": x0, "top": y0, "width": x1 - x0, "height": y1 - y0}
        return node("mask", common | {"rle": _row_runs(annotation.window())} | place | ending)


class _Tracks:
    """Where each polygon of each track waits: frame, place and length, in the order in which they came."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._entries: dict[tuple[int, str], array[int]] = {}
        self._frames: set[int] = set()

    def add(self, picture: AnnotatedPicture, tolerance: float) -> None:
        """Write the polygons of a frame to the temporary file."""
        assert picture.frame is not None
        if picture.frame in self._frames:
            raise InputError(
                f"{picture.name} is a second frame {picture.frame}; CVAT holds one video in a file, write two"
            )
        self._frames.add(picture.frame)
        for item in picture.annotations:
            place, length = self._spool.write(_points(joined(trace(item, tolerance))))
            entry = self._entries.setdefault((item.id, item.label), array("q"))
            entry.extend((picture.frame, place, length))

    def texts(self) -> Iterator[str]:
        """The tracks one by one, each frame by frame."""
        following = dict(zip(ordered := sorted(self._frames), [*ordered[1:], None], strict=True))
        for (number, label), entry in self._entries.items():
            head = node("track", {"id": number, "label": label, "source": "auto"})
            opened = markup(head, level=1).rstrip().removesuffix("/>").rstrip()
            yield f"{opened}>\n"
            rows = np.frombuffer(entry, np.int64).reshape(-1, 3)
            rows = rows[np.argsort(rows[:, 0], kind="stable")].tolist()
            for (frame, place, length), coming in zip(rows, [*rows[1:], None], strict=True):
                points = self._spool.read(place, length)
                yield _keyframe(frame, points, outside=False)
                end = following[frame]
                if end is not None and (coming is None or coming[0] != end):
                    yield _keyframe(end, points, outside=True)
            yield " </track>\n"


def _keyframe(frame: int, points: str, *, outside: bool) -> str:
    values = {
        "frame": frame,
        "outside": int(outside),
        "occluded": 0,
        "keyframe": 1,
        "points": points,
        "z_order": 0,
    }
    return markup(node("polygon", values), level=2)


def _points(corners: Ring) -> str:
    """``x,y;x,y`` with two digits, as CVAT writes them."""
    return ";".join(f"{x:.2f},{y:.2f}" for x, y in corners.tolist())


def _row_runs(window: BoolArray) -> str:
    """Run lengths along the rows, those of pixels not set and of pixels set in turn."""
    flat = np.concatenate(([False], window.ravel(), [not window.ravel()[-1]]))
    edges = np.flatnonzero(flat[1:] != flat[:-1])
    return ", ".join(map(str, np.diff(edges, prepend=0).tolist()))


def read_cvat(path: str | os.PathLike[str]) -> Iterator[AnnotatedPicture]:
    """Read polygons, boxes and masks of CVAT for images or for video 1.1; other shapes are left out.

    Frames of a video are given in order, and only those with an object in them, as keyframes have it: nothing
    is made up between two keyframes. An object's number is its track, or in a picture its ``group_id`` where
    all have different ones, else its place.

    Args:
        path: The XML file, which is read whole.

    Raises:
        InputError: no CVAT file, or a shape that makes no sense; which one.
    """
    place = Path(path)
    root = root_of(place)
    if root.tag != "annotations":
        raise InputError(f"{place} is no CVAT file: it begins with <{root.tag}>, not <annotations>")
    tracks = root.findall("track")
    return _checked(place, _frames(root, tracks) if tracks else map(_image, root.findall("image")))


def _checked(path: Path, pictures: Iterator[AnnotatedPicture]) -> Iterator[AnnotatedPicture]:
    try:
        yield from pictures
    except ValueError as error:
        raise InputError(f"{path}: {error}; correct or remove it") from error


def _image(element: Element) -> AnnotatedPicture:
    size = int(attribute(element, "height")), int(attribute(element, "width"))
    shapes = [shape for shape in element if shape.tag in ("polygon", "box", "mask")]
    groups = [int(shape.get("group_id") or 0) for shape in shapes]
    keep = len(set(groups) - {0}) == len(shapes)
    found = (
        _annotation(shape, groups[row] if keep else row + 1, shape.get("label"), size)
        for row, shape in enumerate(shapes)
    )
    return AnnotatedPicture(attribute(element, "name"), size, tuple(found))


def _frames(root: Element, tracks: list[Element]) -> Iterator[AnnotatedPicture]:
    size = tuple(int(root.findtext(f".//original_size/{side}") or 0) for side in ("height", "width"))
    if 0 in size:
        raise InputError("it lacks <original_size>")
    rows = [
        (int(attribute(shape, "frame")), int(track.get("id") or row), track.get("label"), shape)
        for row, track in enumerate(tracks)
        for shape in track
        if shape.tag in ("polygon", "box", "mask") and shape.get("outside") != "1"
    ]
    video = (root.findtext(".//task/name") or "video").replace("/", "-")
    for frame, found in groupby(sorted(rows, key=lambda row: row[:2]), key=lambda row: row[0]):
        items = (_annotation(shape, number, label, (size[0], size[1])) for _, number, label, shape in found)
        yield AnnotatedPicture(frame_name(video, frame), (size[0], size[1]), tuple(items), frame)


def _annotation(shape: Element, number: int, label: str | None, size: Size) -> Annotation:
    code = rle.encode(_covered(shape, size)[None])[0]
    return Annotation(number, code, label_of(label))


def _covered(shape: Element, size: Size) -> BoolArray:
    """(h, w) bool: the pixels of a shape."""
    if shape.tag == "mask":
        left, top, w, h = (int(attribute(shape, name)) for name in ("left", "top", "width", "height"))
        runs = np.array([int(run) for run in attribute(shape, "rle").split(",")])
        inside = left >= 0 and top >= 0 and left + w <= size[1] and top + h <= size[0]
        if runs.min() < 0 or runs.sum() != w * h or not inside:
            raise InputError("the run lengths of a mask do not fit its box, or its box the picture")
        covered = np.zeros(size, np.bool_)
        covered[top : top + h, left : left + w] = np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(h, w)
        return covered
    if shape.tag == "box":
        x0, y0, x1, y1 = (float(attribute(shape, name)) for name in ("xtl", "ytl", "xbr", "ybr"))
        return draw([from_rings([rectangle(x0, y0, x1, y1)])], size)
    pairs = [point.split(",") for point in attribute(shape, "points").split(";")]
    return draw([from_rings([check_ring(pairs, "a polygon")])], size)
