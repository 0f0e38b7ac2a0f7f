"""SA-V: videos with masklets, and the folders of its validation part."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from clips import make_clip, picture
from dataset_files import HEIGHT, WIDTH, label_map, photo, rectangle, write_json
from maskwright.errors import ImageError, InputError
from maskwright.io.datasets.opening import open_dataset
from maskwright.io.datasets.protocol import Videos
from maskwright.pixels.rle import encode

FRAMES = 11


def masks() -> np.ndarray:
    """(3 annotated frames, 2 objects, 48, 64); they overlap, and the second one hides in the middle."""
    found = np.zeros((3, 2, 48, 64), np.bool_)
    for number in range(3):
        found[number, 0, 5:30, 5 + 4 * number : 40] = True
        found[number, 1, 20:40, 20:60] = number != 1
    return found


def masklets(ids=(3, 8)) -> dict:
    return {
        "video_id": "sav_000001",
        "video_frame_count": float(FRAMES),
        "video_height": 48.0,
        "video_width": 64.0,
        "masklet": [encode(frame) for frame in masks()],
        "masklet_id": list(ids),
        "masklet_num": 2,
    }


@pytest.fixture(scope="module")
def video(tmp_path_factory) -> Path:
    return make_clip(tmp_path_factory.mktemp("video") / "sav_000001.mp4", FRAMES)


@pytest.fixture
def folder(tmp_path: Path, video: Path) -> Path:
    (tmp_path / "sav_000").mkdir()
    shutil.copy(video, tmp_path / "sav_000")
    write_json(tmp_path / "sav_000/sav_000001_manual.json", masklets())
    return tmp_path


def test_every_fourth_frame_has_its_masklets(folder: Path):
    data = open_dataset(folder)
    assert isinstance(data, Videos)
    assert (data.names, data.num_frames(0), list(data.annotated(0))) == (["sav_000001"], FRAMES, [0, 4, 8])
    clip = data.read(0, [8, 0, 5, 4, 10])
    assert clip.ids == (3, 8)
    assert clip.known.tolist() == [True, True, False, True, False]
    np.testing.assert_array_equal(clip.masks[[1, 3, 0]], masks())
    assert not clip.masks[[2, 4]].any()
    for frame, number in zip(clip.frames, (8, 0, 5, 4, 10), strict=True):
        near = np.abs(frame.astype(int) - picture(number)).mean()
        assert near < min(np.abs(frame.astype(int) - picture(other)).mean() for other in (3, 9))


def test_manual_masks_are_preferred_and_one_file_can_be_given(folder: Path):
    auto = write_json(folder / "sav_000/sav_000001_auto.json", masklets(ids=(0, 1)))
    assert open_dataset(folder).read(0, [0]).ids == (3, 8)
    assert open_dataset(auto).read(0, [0]).ids == (0, 1)
    (folder / "sav_000/sav_000001_manual.json").unlink()
    assert open_dataset(folder).read(0, [0]).ids == (0, 1)


def test_an_object_that_is_not_there_has_an_empty_mask(folder: Path):
    content = masklets()
    content["masklet"][0][0] = None
    write_json(folder / "sav_000/sav_000001_manual.json", content)
    assert open_dataset(folder).read(0, [0]).areas.tolist() == [[0, 800]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"masklet": []}, "no objects"),
        ({"masklet": [[None, None], [None]]}, "not as many in each frame"),
        ({"masklet_id": [1]}, "1 masklet_id for 2 objects"),
        ({"masklet_id": ["a", "b"]}, "no numbers"),
        ({"video_frame_count": 400.0, "masklet": masklets()["masklet"] * 20}, "ends before frame 40"),
    ],
)
def test_a_bad_annotation_is_named(folder: Path, change: dict, message: str):
    write_json(folder / "sav_000/sav_000001_manual.json", {**masklets(), **change})
    with pytest.raises(InputError, match=message) as raised:
        open_dataset(folder).read(0, [0, 40])
    assert "sav_000001" in str(raised.value)


def test_a_mask_of_another_size_than_the_video_is_named(folder: Path):
    content = masklets()
    content["masklet"][1][0] = encode(np.ones((1, 64, 48), np.bool_))[0]
    write_json(folder / "sav_000/sav_000001_manual.json", content)
    data = open_dataset(folder)
    data.read(0, [0])
    with pytest.raises(ImageError, match="masklet 0 at frame 4: its RLE is of size"):
        data.read(0, [0, 4])


def test_missing_files_are_named(folder: Path, tmp_path: Path):
    path = folder / "sav_000/sav_000001_manual.json"
    text = json.dumps(masklets())
    path.write_text(text[: len(text) // 2])
    with pytest.raises(InputError, match="no valid JSON"):
        open_dataset(folder).num_frames(0)
    (folder / "sav_000/sav_000001.mp4").unlink()
    with pytest.raises(InputError, match=r"no video beside it; put sav_000001\.mp4"):
        open_dataset(folder)


def val_part(root: Path) -> None:
    for number in range(9):
        photo(root / f"JPEGImages_24fps/sav_1/{number:05}.jpg", seed=number)
    for number in (0, 4, 8):
        label_map(root / f"Annotations_6fps/sav_1/000/{number:05}.png", rectangle(2, 2, 30, 30) * 255)
    label_map(root / "Annotations_6fps/sav_1/002/00004.png", rectangle(10, 10, 40, 60))


def test_the_validation_part_has_a_folder_for_each_object(tmp_path: Path):
    val_part(tmp_path)
    data = open_dataset(tmp_path)
    assert isinstance(data, Videos)
    assert (data.num_frames(0), list(data.annotated(0))) == (9, [0, 4, 8])
    clip = data.read(0, [4, 5, 8])
    assert clip.ids == (0, 2)
    assert clip.known.tolist() == [True, False, True]
    np.testing.assert_array_equal(clip.masks[0, 1], rectangle(10, 10, 40, 60) > 0)  # over the first one
    assert clip.areas.tolist() == [[784, 1500], [0, 0], [784, 0]]
    np.testing.assert_array_equal(clip.frames[1], photo(tmp_path / "x.png", seed=5))


def test_bad_folders_of_the_validation_part_are_named(tmp_path: Path):
    val_part(tmp_path)
    label_map(tmp_path / "Annotations_6fps/sav_1/002/00008.png", np.ones((HEIGHT, WIDTH + 2)))
    with pytest.raises(ImageError, match="its bitmap"):
        open_dataset(tmp_path).read(0, [8])
    label_map(tmp_path / "Annotations_6fps/sav_1/002/00099.png", rectangle(0, 0, 5, 5))
    with pytest.raises(InputError, match=r"00099\.png, but no picture"):
        open_dataset(tmp_path)
    (tmp_path / "Annotations_6fps/sav_1/cat").mkdir()
    with pytest.raises(InputError, match="named by number"):
        open_dataset(tmp_path)
    shutil.rmtree(tmp_path / "Annotations_6fps/sav_1")
    with pytest.raises(InputError, match="has no video in split"):
        open_dataset(tmp_path)
