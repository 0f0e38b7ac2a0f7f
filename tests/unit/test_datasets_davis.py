"""DAVIS and YouTube-VOS folders."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dataset_files import label_map, photo, rectangle, write_json
from maskwright.errors import ImageError, InputError
from maskwright.io.datasets.davis import DavisVideos
from maskwright.io.datasets.opening import open_dataset
from maskwright.io.datasets.protocol import Videos

FIRST = rectangle(2, 2, 20, 20)
LATER = rectangle(2, 4, 20, 22) + rectangle(25, 30, 35, 50, value=4)


def video(root: Path, name: str, labels: dict[int, np.ndarray], frames: int = 4, between: str = "") -> None:
    for number in range(frames):
        photo(root / "JPEGImages" / between / name / f"{number * 5:05}.jpg", seed=number)
    for number, map_ in labels.items():
        label_map(root / "Annotations" / between / name / f"{number * 5:05}.png", map_, palette=True)


def test_frames_and_masks_come_back_with_what_is_unknown(tmp_path: Path):
    video(tmp_path, "bear", {0: FIRST, 2: LATER})
    data = open_dataset(tmp_path)
    assert isinstance(data, Videos)
    assert (list(data.names), data.num_frames(0), list(data.annotated(0))) == (["bear"], 4, [0, 2])
    clip = data.read(0, [2, 1, 0])
    assert clip.ids == (1, 4)
    assert clip.known.tolist() == [True, False, True]
    np.testing.assert_array_equal(clip.masks[0], [LATER == 1, LATER == 4])
    np.testing.assert_array_equal(clip.masks[2], [FIRST == 1, np.zeros_like(FIRST)])  # 4 appears later
    assert not clip.masks[1].any()
    np.testing.assert_array_equal(clip.frames[1], photo(tmp_path / "again.png", seed=1))


@pytest.mark.parametrize("between", ["480p", "Full-Resolution"])
def test_the_resolution_may_lie_between(tmp_path: Path, between: str):
    video(tmp_path, "bear", {0: FIRST}, between=between)
    assert list(open_dataset(tmp_path).names) == ["bear"]


def test_255_is_the_object_of_davis_2016_and_void_elsewhere(tmp_path: Path):
    video(tmp_path, "alone", {0: FIRST * 255, 1: FIRST * 0})
    video(tmp_path, "void", {0: FIRST, 1: FIRST * 255})
    data = open_dataset(tmp_path)
    assert data.read(0, [0, 1]).ids == (255,)
    clip = data.read(1, [0, 1])
    assert clip.ids == (1,)
    assert clip.areas.ravel().tolist() == [FIRST.sum(), 0]


def test_a_video_without_objects_has_none(tmp_path: Path):
    video(tmp_path, "empty", {0: FIRST * 0})
    clip = open_dataset(tmp_path).read(0, [0])
    assert clip.masks.shape == (1, 0, 40, 60)


def test_meta_json_tells_the_objects(tmp_path: Path):
    video(tmp_path, "0a1b", {0: FIRST, 2: LATER})
    objects = {"1": {"category": "cat", "frames": ["00000"]}, "7": {"category": "dog", "frames": []}}
    write_json(tmp_path / "meta.json", {"videos": {"0a1b": {"objects": objects}}})
    clip = open_dataset(tmp_path).read(0, [2])
    assert clip.ids == (1, 7)
    assert clip.areas.tolist() == [[int((LATER == 1).sum()), 0]]
    write_json(tmp_path / "meta.json", {"videos": ["0a1b"]})
    with pytest.raises(InputError, match=r"meta\.json is not as expected"):
        open_dataset(tmp_path)


def test_splits_come_from_the_lists_of_davis(tmp_path: Path):
    for name in ("bear", "camel", "dog"):
        video(tmp_path, name, {0: FIRST}, frames=1)
    lists = tmp_path / "ImageSets/2017"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("bear\ndog\n")
    (lists / "val.txt").write_text("goat\n")
    assert open_dataset(tmp_path, split="train").names == ["bear", "dog"]
    assert open_dataset(tmp_path).names == ["bear", "camel", "dog"]
    with pytest.raises(InputError, match="no sequence in split 'val'"):
        open_dataset(tmp_path, split="val")


def test_frames_without_leading_zeros_keep_their_order(tmp_path: Path):
    for number in (1, 2, 10):
        photo(tmp_path / f"JPEGImages/a/{number}.jpg", seed=number)
    label_map(tmp_path / "Annotations/a/10.png", FIRST)
    data = DavisVideos(tmp_path)
    assert list(data.annotated(0)) == [2]
    np.testing.assert_array_equal(data.read(0, [2]).frames[0], photo(tmp_path / "x.png", seed=10))


def test_bad_folders_and_frames_are_named(tmp_path: Path):
    (tmp_path / "JPEGImages").mkdir()
    (tmp_path / "Annotations").mkdir()
    with pytest.raises(InputError, match="has no sequences"):
        open_dataset(tmp_path)
    label_map(tmp_path / "Annotations/bear/00000.png", FIRST)
    with pytest.raises(InputError, match=r"without frames: .*JPEGImages.bear"):
        open_dataset(tmp_path)
    photo(tmp_path / "JPEGImages/bear/00001.jpg")
    with pytest.raises(InputError, match=r"00000\.png has no picture"):
        open_dataset(tmp_path)
    photo(tmp_path / "JPEGImages/bear/00000.jpg", size=(30, 60))
    data = open_dataset(tmp_path)
    with pytest.raises(ImageError, match=r"00000\.jpg is 60 x 30, but its label map .* is for 60 x 40"):
        data.read(0, [0])
    for frames in ([0, 2], [-1], []):
        with pytest.raises(InputError, match="its frames are 0 to 1"):
            data.read(0, frames)


def test_real_sequences_are_read(shared: Path):
    folder = shared / "data/vos_dev"
    if not folder.is_dir():
        pytest.skip("needs the video sequences in ../shared/data/vos_dev")
    data = open_dataset(folder)
    assert len(data) == 11
    index = data.names.index("bmx-bumps")
    clip = data.read(index, data.annotated(index)[:3])
    assert clip.ids == (1,)
    assert clip.known.all()
    assert clip.masks.shape == (3, 1, 480, 854)
    assert (clip.areas > 500).all()
