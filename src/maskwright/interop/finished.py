"""Results that are finished: reading what ``segment`` and ``track`` left, one picture at a time."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from maskwright.errors import InputError, SourceError
from maskwright.interop.annotations import AnnotatedPicture, Annotation, frame_name, from_frame
from maskwright.interop.reading import reason_of
from maskwright.types import ByteArray

if TYPE_CHECKING:
    from maskwright.frames import Frame
    from maskwright.io.sources import Source

_TRACKS, _FOUND = "maskwright-log", "maskwright-automasks"
_RESULTS, _LOG = "results.json", "log.jsonl"
_WILD = re.compile(r"[*?\[]")
_ENDING = re.compile(r"\.([A-Za-z]\w{1,4}|3g[p2])$")
_UNFIT = re.compile(r'[\x00-\x1f:*?"<>|\\/]+')


@dataclass(frozen=True)
class Finished:
    """Annotated pictures in files of results; iterating reads them one by one, any number of times.

    Raises:
        InputError: while iterating: a part is damaged or missing, and which.
    """

    path: Path
    kind: str
    """``track`` (frames of a video), ``picture`` or ``folder``."""
    total: int
    """How many pictures or frames there are."""
    _open: Callable[[], Iterator[AnnotatedPicture]] = field(repr=False)
    labels: Mapping[int, str] = field(default_factory=dict)
    """What objects are, by number, where the results know."""

    def __iter__(self) -> Iterator[AnnotatedPicture]:
        return self._open()


def read_finished(path: str | os.PathLike[str], source: str | os.PathLike[str] | None = None) -> Finished:
    """Results of an earlier run, to be written in other formats.

    Args:
        path: A log of tracking (``.jsonl``); the ``results.json`` of one picture, or the folder that it is
            in; the folder of ``segment FOLDER --auto``, or the ``log.jsonl`` in it.
        source: The video, picture or folder that it is about, for formats that need pixels; frames of a
            folder of pictures then have the names of their files. Pictures are found without it where they
            still lie where they were.

    Raises:
        InputError: it is none of these, cannot be read, or its head is damaged.
    """
    place = Path(path)
    if place.is_dir():
        found = next((place / name for name in (_LOG, _RESULTS) if (place / name).is_file()), None)
        if found is None:
            raise InputError(
                f"{place} has neither {_RESULTS} nor {_LOG}; "
                "name a folder that segment wrote, or a log of track"
            )
        place = found
    origin = None if source is None else Path(source)
    head = _head(place)
    if head.get("format") == _TRACKS:
        return Finished(place, "track", _num_lines(place) - 1, partial(_frames, place, origin))
    if head.get("format") == _FOUND:
        rows = _done(place)
        return Finished(place, "folder", len(rows), partial(_pictures, place, head, rows, origin))
    if isinstance(head.get("objects"), list) and isinstance(head.get("image"), dict):
        return Finished(place, "picture", 1, partial(_picture, place, origin))
    raise InputError(f"{place} is no result of maskwright; name a log of track, or what segment wrote")


def _head(path: Path) -> Mapping[str, Any]:
    """The first line of a log, or the whole of a results file."""
    try:
        with path.open("rb") as file:
            line = file.readline()
            text = line if line.rstrip().endswith(b"}") else line + file.read()
        head = json.loads(text)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}; check the path") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is no result of maskwright: it is not JSON ({error})") from error
    if not isinstance(head, dict):
        raise InputError(f"{path} is no result of maskwright: it is not a JSON object")
    return head


def _num_lines(path: Path) -> int:
    with path.open("rb") as file:
        return sum(line.endswith(b"\n") for line in file)


def _frames(path: Path, origin: Path | None) -> Iterator[AnnotatedPicture]:
    """Frames of a log in the order in which they were tracked."""
    from maskwright.io.sinks.log import read_log

    header, frames = read_log(path)
    video = video_name(header.source)
    with closing(_Pixels(origin)) as pixels:
        for frame in frames:
            name = pixels.name(frame.index) or frame_name(video, frame.index)
            picture = from_frame(frame, name)
            if origin is None:
                yield picture
            else:
                yield _with_pixels(picture, partial(pixels.read, frame.index))


def video_name(source: str) -> str:
    """What a video is called in the names of its frames: no folder, no ending, nothing that files lack.

    Args:
        source: As a log names it: a file, a folder, a pattern, an address or ``camera 0``.
    """
    path = source.partition("?")[0] if "://" in source else source
    place = PurePosixPath(path.replace("\\", "/"))
    name = place.parent.name if _WILD.search(place.name) else place.name
    return _UNFIT.sub("-", _ENDING.sub("", name)).strip(". ") or "video"


def _with_pixels(picture: AnnotatedPicture, read: Callable[[], ByteArray]) -> AnnotatedPicture:
    return AnnotatedPicture(
        picture.name, picture.size, picture.annotations, picture.frame, picture.time_s, read
    )


class _Pixels:
    """Frames of a video by number; cheap in ascending order. Opens the video when the first one is wanted."""

    def __init__(self, origin: Path | None) -> None:
        self._origin = origin
        self._source: Source | None = None
        self._coming: Iterator[Frame] = iter(())
        self._last: Frame | None = None
        self._files = _files(origin)

    def name(self, index: int) -> str | None:
        """Name of the file that a frame is, if the video is a folder of pictures."""
        if self._origin is None or index >= len(self._files):
            return None
        return f"{self._origin.resolve().name}/{self._files[index]}"

    def read(self, index: int) -> ByteArray:
        """The picture of a frame.

        Raises:
            SourceError: the video cannot be opened, or has no such frame.
        """
        if self._last is None or self._last.index > index:
            self._coming = self._opened().frames(index)
        elif self._last.index == index:
            return self._last.image
        for frame in self._coming:
            self._last = frame
            if frame.index >= index:
                break
        if self._last is None or self._last.index != index:
            raise SourceError(f"{self._origin} has no frame {index}; is it the video that was tracked?")
        return self._last.image

    def close(self) -> None:
        if self._source is not None:
            self._source.close()

    def _opened(self) -> Source:
        from maskwright.io.sources import open_source

        if self._source is None:
            self._source = open_source(self._origin)
        return self._source


def _files(origin: Path | None) -> list[str]:
    """Names of the pictures in a folder, in the order of frames; none for anything else."""
    from maskwright.io.sources.stills import is_picture, natural_order

    if origin is None or not origin.is_dir():
        return []
    return [path.name for path in sorted(filter(is_picture, origin.iterdir()), key=natural_order)]


def _done(path: Path) -> dict[str, dict[str, Any]]:
    """The last line of each picture of a folder that was done, by file."""
    rows: dict[str, dict[str, Any]] = {}
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if number == 1 or not line.endswith(b"\n"):
                continue
            try:
                row = json.loads(line)
                rows[row["file"]] = row
            except (ValueError, KeyError, TypeError) as error:
                raise InputError(f"line {number} of {path} is damaged: {error}") from error
    return {name: row for name, row in rows.items() if "error" not in row}


def _pictures(
    path: Path, head: Mapping[str, Any], rows: Mapping[str, Mapping[str, Any]], origin: Path | None
) -> Iterator[AnnotatedPicture]:
    folder = Path(str(head.get("source"))) if origin is None else origin
    for file, row in rows.items():
        results = path.parent / f"{row.get('name')}.json"
        yield _parsed(results, file, [folder / file])


def _picture(path: Path, origin: Path | None) -> Iterator[AnnotatedPicture]:
    yield _parsed(path, None, [] if origin is None else [origin])


def _parsed(path: Path, name: str | None, places: list[Path]) -> AnnotatedPicture:
    """The content of one picture's results.

    Args:
        path: The JSON file.
        name: What the picture is called; None takes it from the file.
        places: Where the picture may lie, besides where it lay.
    """
    from maskwright.io.sources.stills import read_frame

    content = _head(path)
    try:
        image = content["image"]
        file = Path(str(image["file"]))
        found = next((place for place in (*places, file) if place.is_file()), None)
        return AnnotatedPicture(
            file.name if name is None else name,
            (int(image["height"]), int(image["width"])),
            tuple(_best(content["objects"])),
            read=None if found is None else partial(read_frame, found),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} is damaged: {reason_of(error)}; make it again") from error


def _best(objects: list[dict[str, Any]]) -> Iterator[Annotation]:
    """One mask for each object: of several candidates, the one with the highest score."""
    chosen: dict[int, dict[str, Any]] = {}
    for row in objects:
        number = int(row["id"])
        if number not in chosen or row["score"] > chosen[number]["score"]:
            chosen[number] = row
    for number, row in chosen.items():
        yield Annotation(number, row["segmentation"], score=row["score"])
