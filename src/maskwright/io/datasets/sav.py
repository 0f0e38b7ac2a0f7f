"""SA-V: videos of which every fourth frame is annotated, and in which masks may overlap.

Training part (:class:`SavVideos`): ``sav_000001.mp4``, 24 frames per second, with ``sav_000001_manual.json``
and ``sav_000001_auto.json``, in one folder or in folders of a thousand. ``masklet`` in these is a list over
annotated frames of lists over objects of compressed RLEs; entry ``i`` belongs to frame ``4 i``. Masks that
people made are preferred: the automatic ones are read only of a video that has no others.

Validation and test part (:class:`SavFrames`): ``JPEGImages_24fps/VIDEO/00000.jpg`` and
``Annotations_6fps/VIDEO/OBJECT/00000.png``, one folder of bitmaps per object.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from maskwright.errors import ImageError, InputError
from maskwright.io.datasets.choosing import check_split, in_split
from maskwright.io.datasets.coco import mask_of
from maskwright.io.datasets.davis import check_frames
from maskwright.io.datasets.labelled import read_labels
from maskwright.io.datasets.protocol import Clip, Scene, pack
from maskwright.io.datasets.reading import check_size, folders_in, pictures_in, read_json, read_picture
from maskwright.types import BoolArray, ByteArray, Size

STEP = 4
"""Frames of the video per annotated frame: 24 fps against 6."""
FRAMES, MASKS = "JPEGImages_24fps", "Annotations_6fps"
_KINDS = ("manual", "auto")
_PARSED = 16
"""Annotation files that are kept in memory, each of up to some megabytes."""


class _Masklets(NamedTuple):
    """The content of one annotation file."""

    num_frames: int
    ids: tuple[int, ...]
    rles: Sequence[Sequence[Any]]
    """Over annotated frames, over objects; None where an object is not to be seen."""


class SavVideos:
    """Videos of SA-V's training part, as :class:`.protocol.Videos`; needs PyAV (``maskwright[video]``).

    Args:
        path: The folder, or one ``_manual.json`` or ``_auto.json``.
        split: ``train``, ``val`` (a tenth, by name) or empty for all.

    Raises:
        InputError: there is no annotation file, or one without its video.
    """

    def __init__(self, path: Path, split: str = "") -> None:
        files = [path] if path.is_file() else annotation_files(path)
        names = [_video_name(file) for file in files]
        check_split(split)
        self._files = in_split(files, names, split)
        if not self._files:
            what = f"in split {split!r}" if files else "there: expected NAME.mp4 with NAME_manual.json"
            raise InputError(f"{path} has no SA-V video {what}")
        self.names = [_video_name(file) for file in self._files]
        self._videos = [_video_of(file) for file in self._files]
        self._masklets = lru_cache(maxsize=_PARSED)(self._parse)

    def __len__(self) -> int:
        return len(self._files)

    def num_frames(self, index: int) -> int:
        """Frames of one video, by its annotation file."""
        return self._masklets(index).num_frames

    def annotated(self, index: int) -> Sequence[int]:
        """Every fourth frame."""
        content = self._masklets(index)
        return range(0, min(len(content.rles) * STEP, content.num_frames), STEP)

    def read(self, index: int, frames: Sequence[int]) -> Clip:
        """Frames of one video with the masks of all its objects; see :class:`.protocol.Videos`.

        Raises:
            ImageError: a mask is of another size than the video, or a frame is damaged.
            SourceError: the video cannot be read.
            InputError: there is no such frame.
        """
        content, known = self._masklets(index), self.annotated(index)
        check_frames(self.names[index], frames, content.num_frames)
        pictures = _decoded(self._videos[index], frames)
        scenes = []
        for number in frames:
            picture = pictures[number]
            rles = content.rles[number // STEP] if number in known else [None] * len(content.ids)
            size = (picture.shape[0], picture.shape[1])
            layers = pack(self._bitmaps(index, number, rles, size), size)
            scenes.append(Scene.from_layers(picture, layers, content.ids))
        return Clip.from_scenes(scenes, np.array([number in known for number in frames]))

    def _bitmaps(self, index: int, number: int, rles: Sequence[Any], size: Size) -> Iterator[BoolArray]:
        for place, rle in enumerate(rles):
            if not rle:
                yield np.zeros(size, np.bool_)
                continue
            try:
                yield mask_of(rle, size)
            except InputError as error:
                raise ImageError(
                    f"{self._files[index]}: masklet {place} at frame {number}: {error}; download it again"
                ) from error

    def _parse(self, index: int) -> _Masklets:
        return _masklets(self._files[index])


class SavFrames:
    """Videos of SA-V's validation or test part, as :class:`.protocol.Videos`; ids are the folders' numbers.

    An object without a bitmap in a frame that has one of another object is not to be seen there.

    Args:
        folder: Has ``JPEGImages_24fps/`` and ``Annotations_6fps/`` in it.
        split: ``train``, ``val`` (a tenth, by name) or empty for all.

    Raises:
        InputError: no video in the split, or one without frames or objects.
    """

    def __init__(self, folder: Path, split: str = "") -> None:
        places = folders_in(folder / MASKS)
        check_split(split)
        places = in_split(places, [place.name for place in places], split)
        if not places:
            raise InputError(
                f"{folder} has no video in split {split!r}: "
                f"expected {FRAMES}/NAME/*.jpg and {MASKS}/NAME/000/*.png"
            )
        self.names = [place.name for place in places]
        self._objects = [_objects(place) for place in places]
        self._pictures = [pictures_in(folder / FRAMES / name) for name in self.names]
        self._annotated = [
            _numbers(place, pictures, objects)
            for place, pictures, objects in zip(places, self._pictures, self._objects, strict=True)
        ]

    def __len__(self) -> int:
        return len(self.names)

    def num_frames(self, index: int) -> int:
        """Frames of one video."""
        return len(self._pictures[index])

    def annotated(self, index: int) -> Sequence[int]:
        """Numbers of the frames that have a bitmap of some object."""
        return self._annotated[index]

    def read(self, index: int, frames: Sequence[int]) -> Clip:
        """Frames of one video with the masks of all its objects; see :class:`.protocol.Videos`.

        Raises:
            ImageError: a picture or bitmap is damaged, or they are of different sizes.
            InputError: there is no such frame.
        """
        check_frames(self.names[index], frames, self.num_frames(index))
        known = set(self._annotated[index])
        scenes = [self._scene(index, number) for number in frames]
        return Clip.from_scenes(scenes, np.array([number in known for number in frames]))

    def _scene(self, index: int, number: int) -> Scene:
        name, path = list(self._pictures[index].items())[number]
        picture = read_picture(path)
        size = (picture.shape[0], picture.shape[1])
        objects = self._objects[index]
        masks = (_bitmap(files.get(name), path, size) for files in objects.values())
        return Scene.from_layers(picture, pack(masks, size), list(objects))


def is_sav_frames(folder: Path) -> bool:
    """Whether a folder is in the layout of the validation part."""
    return (folder / FRAMES).is_dir() and (folder / MASKS).is_dir()


def annotation_files(folder: Path) -> list[Path]:
    """One annotation file per video, in the folder or those in it: the manual one where there is one."""
    found: dict[Path, Path] = {}
    for kind in reversed(_KINDS):
        for pattern in (f"*_{kind}.json", f"*/*_{kind}.json"):
            found.update({file.with_name(_video_name(file)): file for file in folder.glob(pattern)})
    return [found[name] for name in sorted(found)]


def is_masklets(content: Any) -> bool:
    """Whether the content of a JSON file is laid out as SA-V's."""
    return isinstance(content, dict) and isinstance(content.get("masklet"), list)


def _video_name(file: Path) -> str:
    name = file.stem
    for kind in _KINDS:
        name = name.removesuffix(f"_{kind}")
    return name


def _video_of(file: Path) -> Path:
    video = file.with_name(f"{_video_name(file)}.mp4")
    if not video.is_file():
        raise InputError(f"{file} has no video beside it; put {video.name} there or remove the file")
    return video


def _masklets(path: Path) -> _Masklets:
    content = read_json(path)
    if not is_masklets(content):
        raise InputError(f"{path} is no SA-V annotation: it has no list named masklet; download it again")
    rles = content["masklet"]
    width = len(rles[0]) if rles and isinstance(rles[0], list) else 0
    if not width or any(not isinstance(row, list) or len(row) != width for row in rles):
        raise InputError(f"{path}: masklet has no objects, or not as many in each frame; download it again")
    try:
        ids = tuple(int(number) for number in content.get("masklet_id") or range(width))
        num_frames = int(content.get("video_frame_count") or (len(rles) - 1) * STEP + 1)
    except (TypeError, ValueError) as error:
        raise InputError(f"{path}: masklet_id or video_frame_count are no numbers: {error}") from error
    if len(ids) != width:
        raise InputError(f"{path} has {len(ids)} masklet_id for {width} objects; download it again")
    return _Masklets(num_frames, ids, rles)


def _decoded(video: Path, frames: Sequence[int]) -> Mapping[int, ByteArray]:
    """Frames of a video file by number."""
    from maskwright.io.sources import open_source

    first, last = min(frames), max(frames)
    step = math.gcd(*(number - first for number in frames)) or 1
    wanted = set(frames)
    with closing(open_source(video, corrupt="stop")) as source:
        passing = source.frames(first, last + 1, step)
        found = {frame.index: frame.image for frame in passing if frame.index in wanted}
    missing = sorted(wanted - set(found))
    if missing:
        raise ImageError(
            f"{video} ends before frame {missing[0]}, which its annotation counts; download it again"
        )
    return found


def _objects(place: Path) -> dict[int, dict[str, Path]]:
    """Bitmaps of each object of a video, by name of their frame."""
    found = {}
    for folder in folders_in(place):
        if not folder.name.isdecimal():
            raise InputError(f"{folder}: folders of objects are named by number, such as 000; rename it")
        found[int(folder.name)] = pictures_in(folder)
    if not found:
        raise InputError(f"{place} has no folders of objects (000, 001, ...) in it")
    return found


def _numbers(
    place: Path, pictures: Mapping[str, Path], objects: Mapping[int, Mapping[str, Path]]
) -> list[int]:
    """Frames that have a bitmap; InputError if one of these has no picture."""
    names = {name for files in objects.values() for name in files}
    lost = sorted(names - set(pictures))
    if lost or not names:
        what = f"a bitmap {lost[0]}.png, but no picture of that name" if lost else "no bitmaps"
        raise InputError(f"{place} has {what}; copy what is missing, or remove it")
    return [number for number, name in enumerate(pictures) if name in names]


def _bitmap(path: Path | None, picture: Path, size: Size) -> BoolArray:
    if path is None:
        return np.zeros(size, np.bool_)
    labels = read_labels(path)
    check_size(picture, size, (labels.shape[0], labels.shape[1]), f"its bitmap {path}")
    return labels > 0
