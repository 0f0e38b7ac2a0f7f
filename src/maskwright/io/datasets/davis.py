"""Videos as folders of pictures and label maps: DAVIS 2016 and 2017, YouTube-VOS, MOSE and their kin.

``JPEGImages/SEQUENCE/*.jpg`` and ``Annotations/SEQUENCE/*.png``, matched by name; DAVIS has a folder for the
resolution in between, of which 480p is preferred. Label maps are palette or grey: 0 is background, 1.. are
objects. Where nothing but 255 occurs, as in DAVIS 2016, that is the only object; beside other numbers 255 is
void and no object. Frames may lack a label map; nothing is known about those then. Objects may appear later.

``meta.json`` (YouTube-VOS) is read if it is there, and spares looking for objects in all label maps.
``ImageSets/2017/train.txt`` and ``val.txt`` tell the splits; without them it is a tenth, by name.
The ``valid`` and ``test`` parts of YouTube-VOS show each object only where it first appears: enough to follow
them, but not to learn from or to judge by.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from maskwright.errors import InputError
from maskwright.io.datasets.choosing import check_split, in_split
from maskwright.io.datasets.labelled import read_labels
from maskwright.io.datasets.protocol import Clip, Scene
from maskwright.io.datasets.reading import check_size, folders_in, pictures_in, read_json, read_picture

VOID = 255
"""Label of pixels that belong to nothing that is judged, unless it is the only one."""
_RESOLUTIONS = ("480p", "Full-Resolution", "1080p")


@dataclass(frozen=True)
class Footage:
    """Files of one video."""

    name: str
    images: Sequence[Path]
    labels: Mapping[int, Path]
    """Label maps by the number of their frame."""


class DavisVideos:
    """Videos in DAVIS layout, as :class:`.protocol.Videos`; ids are the labels.

    Args:
        folder: Has ``JPEGImages/`` and ``Annotations/`` in it.
        split: ``train``, ``val`` or empty for all.

    Raises:
        InputError: another layout, no sequence in the split, or a sequence without frames.
    """

    def __init__(self, folder: Path, split: str = "") -> None:
        annotations, images = (_resolved(folder / name) for name in ("Annotations", "JPEGImages"))
        found = folders_in(annotations)
        if not found:
            raise InputError(
                f"{folder} has no sequences: expected Annotations/NAME/*.png and JPEGImages/NAME/*.jpg"
            )
        names = _chosen(folder, [place.name for place in found], split)
        self._videos = [_sequence(annotations / name, images / name) for name in names]
        self._meta = _objects_of(folder / "meta.json")
        self._ids: dict[int, tuple[int, ...]] = {}
        self._lock = threading.Lock()
        self.names = names

    def __len__(self) -> int:
        return len(self._videos)

    def num_frames(self, index: int) -> int:
        """Frames of one video."""
        return len(self._videos[index].images)

    def annotated(self, index: int) -> Sequence[int]:
        """Numbers of the frames that have a label map."""
        return list(self._videos[index].labels)

    def read(self, index: int, frames: Sequence[int]) -> Clip:
        """Frames of one video with the masks of all its objects; see :class:`.protocol.Videos`.

        Raises:
            ImageError: a picture or label map is missing, damaged, or of another size than the other.
            InputError: there is no such frame.
        """
        video, ids = self._videos[index], self.ids(index)
        check_frames(video.name, frames, len(video.images))
        scenes = [_scene(video, number, ids) for number in frames]
        return Clip.from_scenes(scenes, np.array([number in video.labels for number in frames]))

    def ids(self, index: int) -> tuple[int, ...]:
        """Labels of all objects of one video, found in its label maps when it is first asked for."""
        with self._lock:
            known = self._ids.get(index)
        if known is None:
            video = self._videos[index]
            known = self._meta.get(video.name) or _find_objects(video)
            with self._lock:
                self._ids[index] = known
        return known


def is_davis(folder: Path) -> bool:
    """Whether a folder is in this layout."""
    return (folder / "JPEGImages").is_dir() and (folder / "Annotations").is_dir()


def check_frames(name: str, frames: Sequence[int], length: int) -> None:
    """InputError unless a video has all these frames."""
    missing = [number for number in frames if not 0 <= number < length]
    if missing or not frames:
        what = f"no frame {missing[0]}" if missing else "frames, but none was asked for"
        raise InputError(f"{name} has {what}; its frames are 0 to {length - 1}")


def _resolved(folder: Path) -> Path:
    """The folder of sequences, inside that of the resolution if there is one."""
    return next((folder / name for name in _RESOLUTIONS if (folder / name).is_dir()), folder)


def _chosen(folder: Path, names: Sequence[str], split: str) -> list[str]:
    """Names of a split's sequences: by the lists of DAVIS, or a tenth."""
    check_split(split)
    listed = folder / "ImageSets" / "2017" / f"{split}.txt"
    if split and listed.is_file():
        wanted = set(listed.read_text(encoding="utf-8").split())
        chosen = [name for name in names if name in wanted]
    else:
        chosen = in_split(names, names, split)
    if not chosen:
        raise InputError(f"{folder} has no sequence in split {split!r}; it has {len(names)} in all")
    return chosen


def _sequence(annotations: Path, images: Path) -> Footage:
    pictures, labels = pictures_in(images), pictures_in(annotations)
    if not pictures:
        raise InputError(f"{annotations} annotates a video without frames: there is no picture in {images}")
    lost = [path for name, path in labels.items() if name not in pictures]
    if lost:
        raise InputError(f"{lost[0]} has no picture of that name in {images}; copy it there or remove it")
    if not labels:
        raise InputError(f"{annotations} has no label maps; put them there or remove the folder")
    numbered = {n: labels[name] for n, name in enumerate(pictures) if name in labels}
    return Footage(annotations.name, list(pictures.values()), numbered)


def _objects_of(path: Path) -> dict[str, tuple[int, ...]]:
    """Objects of each video by ``meta.json``; empty if there is none."""
    if not path.is_file():
        return {}
    content = read_json(path)
    try:
        videos: dict[str, Any] = content["videos"]
        return {name: tuple(sorted(int(key) for key in facts["objects"])) for name, facts in videos.items()}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"{path} is not as expected, {{'videos': {{NAME: {{'objects': {{'1': ...}}}}}}}}; "
            "correct or remove it"
        ) from error


def _find_objects(video: Footage) -> tuple[int, ...]:
    found: set[int] = set()
    for path in video.labels.values():
        found.update(np.flatnonzero(np.bincount(read_labels(path).ravel())).tolist())
    found.discard(0)
    return tuple(sorted(found if found == {VOID} else found - {VOID}))


def _scene(video: Footage, number: int, ids: Sequence[int]) -> Scene:
    picture = read_picture(video.images[number])
    labels: npt.NDArray[np.uint16] = np.zeros(picture.shape[:2], np.uint16)
    path = video.labels.get(number)
    if path is not None:
        labels = read_labels(path)
        size = (labels.shape[0], labels.shape[1])
        check_size(video.images[number], picture.shape[:2], size, f"its label map {path}")
    return (
        Scene.from_labels(picture, labels, ids) if ids else Scene.from_layers(picture, labels[None] * 0, ())
    )
