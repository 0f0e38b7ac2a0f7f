"""Which layout a data set is in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from maskwright.errors import InputError
from maskwright.io.datasets.coco import CocoPictures, is_coco
from maskwright.io.datasets.davis import DavisVideos, is_davis
from maskwright.io.datasets.labelled import LabelledPictures, is_labelled
from maskwright.io.datasets.protocol import Pictures, Videos
from maskwright.io.datasets.reading import read_json
from maskwright.io.datasets.sav import SavFrames, SavVideos, annotation_files, is_masklets, is_sav_frames

LAYOUTS = (
    "a COCO JSON file; a folder with images/ and labels/ (label maps); JPEGImages/ and Annotations/ (DAVIS, "
    "YouTube-VOS); sav_*.mp4 with their _manual.json, or JPEGImages_24fps/ and Annotations_6fps/ (SA-V)"
)
"""What can be opened, for messages."""


def open_dataset(path: Path, *, split: str = "", images: Path | None = None) -> Pictures | Videos:
    """A data set, whatever its layout.

    Args:
        path: A COCO file, or a folder that has one in it or in ``annotations/``; a folder of label maps, of
            DAVIS's, YouTube-VOS's or SA-V's layout; one annotation file of SA-V.
        split: ``train`` or ``val``: as the data set says, or else a tenth of the names for ``val``. Empty for
            everything, which is right for a data set that is used for one purpose as a whole.
        images: Folder of a COCO file's pictures, where they are not found near it.

    Raises:
        InputError: missing, in no known layout, inconsistent, or without anything in the split; the message
            names the file and says what to do.
    """
    if not path.exists():
        raise InputError(f"no such data set: {path}; check the path")
    if images is not None and not images.is_dir():
        raise InputError(f"no such folder of pictures: {images}; check the path")
    if path.is_file():
        return _from_file(path, split, images)
    if is_sav_frames(path):
        return SavFrames(path, split)
    if is_davis(path):
        return DavisVideos(path, split)
    if is_labelled(path):
        return LabelledPictures(path, split)
    if annotation_files(path):
        return SavVideos(path, split)
    return _from_coco_folder(path, split, images)


def _from_file(path: Path, split: str, images: Path | None) -> Pictures | Videos:
    if path.suffix.lower() != ".json":
        raise InputError(f"{path} is no data set; known are {LAYOUTS}")
    content = read_json(path)
    if is_masklets(content):
        return SavVideos(path, split)
    if is_coco(content):
        return CocoPictures(path, split, images, content)
    raise InputError(f"{path} is JSON, but neither COCO (images, annotations) nor SA-V (masklet)")


def _from_coco_folder(folder: Path, split: str, images: Path | None) -> Pictures:
    """The only COCO file of a folder, or the only one that has the split in its name."""
    files = [path for place in (folder, folder / "annotations") for path in sorted(place.glob("*.json"))]
    files = [path for path in files if path.stem.startswith("instances")] or files
    named = [path for path in files if split and split in path.stem]
    if not files:
        raise InputError(f"{folder} is no data set; known are {LAYOUTS}")
    if len(named) == 1:
        return CocoPictures(named[0], "", images)
    if len(files) == 1:
        return CocoPictures(files[0], split, images)
    raise InputError(f"{folder} has several annotation files; give one of them: {_listing(files)}")


def _listing(files: Sequence[Path]) -> str:
    shown = ", ".join(str(path) for path in files[:6])
    return f"{shown}, ..." if len(files) > 6 else shown
