"""The cache of decoded scenes: the same scenes as without it, read once, within its bound."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from maskwright.errors import InputError
from maskwright.io.datasets.opening import open_dataset
from maskwright.io.datasets.protocol import Clip, Pictures, Scene, Videos
from maskwright.train.decoded import DecodedPictures, DecodedVideos, shrunk

SIZE = (20, 30)
SCENE_BYTES = 20 * 30 * (3 + 1)


def scene(number: int, objects: int = 2) -> Scene:
    rng = np.random.default_rng(number)
    picture = rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    labels = rng.integers(0, objects + 1, SIZE)
    return Scene.from_labels(picture, labels, range(1, objects + 1))


class Counted:
    """Ten pictures; keeps a list of what was read."""

    names: Sequence[str] = [f"picture {number}" for number in range(10)]
    sources: Sequence[str] = ["drawn"] * 10

    def __init__(self, objects: int = 2) -> None:
        self.objects, self.asked = objects, []

    def __len__(self) -> int:
        return 10

    def read(self, index: int) -> Scene:
        self.asked.append(index)
        return scene(index, self.objects)


class CountedVideos(Counted):
    """Ten videos of ten frames, of which the even ones are annotated."""

    def num_frames(self, index: int) -> int:
        return 10

    def annotated(self, index: int) -> Sequence[int]:
        return range(0, 10, 2)

    def read(self, index: int, frames: Sequence[int]) -> Clip:
        self.asked.extend((index, number) for number in frames)
        known = np.array([number % 2 == 0 for number in frames])
        return Clip.from_scenes([scene(100 * index + number) for number in frames], known)


def same(one: Scene, other: Scene) -> None:
    np.testing.assert_array_equal(one.picture, other.picture)
    np.testing.assert_array_equal(one.masks, other.masks)
    assert one.ids == other.ids


@pytest.mark.parametrize("objects", [2, 300])
def test_scenes_are_read_once_and_stay_the_same(objects: int):
    inner = Counted(objects)
    pictures = DecodedPictures(inner)
    assert isinstance(pictures, Pictures)
    for _ in range(3):
        for index in (1, 4):
            same(pictures.read(index), scene(index, objects))
    assert inner.asked == [1, 4]
    assert pictures.num_bytes == 2 * 20 * 30 * (3 + (1 if objects < 256 else 2))


def test_what_was_not_used_for_longest_goes_first():
    inner = Counted()
    pictures = DecodedPictures(inner, max_bytes=2 * SCENE_BYTES + 100)
    for index in (0, 1, 0, 2, 0, 1):
        same(pictures.read(index), scene(index))
    assert inner.asked == [0, 1, 2, 1]
    assert pictures.num_bytes == 2 * SCENE_BYTES


def test_without_room_everything_is_read_anew():
    inner = Counted()
    pictures = DecodedPictures(inner, max_bytes=0)
    pictures.read(3)
    same(pictures.read(3), scene(3))
    assert inner.asked == [3, 3]
    assert pictures.num_bytes == 0
    with pytest.raises(InputError, match="not possible"):
        DecodedPictures(inner, max_bytes=-1)


def test_frames_of_videos_are_kept_one_by_one():
    inner = CountedVideos()
    videos = DecodedVideos(inner)
    assert isinstance(videos, Videos)
    videos.read(1, [2, 3])
    clip = videos.read(1, [4, 3, 3, 2])
    assert inner.asked == [(1, 2), (1, 3), (1, 4)]
    assert clip.known.tolist() == [True, False, False, True]
    for shown, number in zip(clip.scenes, (4, 3, 3, 2), strict=True):
        same(shown, scene(100 + number))


def test_a_clip_larger_than_the_cache_is_whole():
    videos = DecodedVideos(CountedVideos(), max_bytes=SCENE_BYTES)
    clip = videos.read(0, range(10))
    for number, shown in enumerate(clip.scenes):
        same(shown, scene(number))
    assert videos.num_bytes == SCENE_BYTES


def test_threads_get_what_they_ask_for():
    pictures = DecodedPictures(Counted(), max_bytes=3 * SCENE_BYTES)
    wrong: list[int] = []

    def read(seed: int) -> None:
        for index in np.random.default_rng(seed).integers(0, 10, 200).tolist():
            if not np.array_equal(pictures.read(index).picture, expected[index]):
                wrong.append(index)

    expected = [scene(index).picture for index in range(10)]
    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert pictures.num_bytes == 3 * SCENE_BYTES


def test_a_picture_that_two_want_at_once_counts_once():
    class Nested(Counted):
        def read(self, index: int) -> Scene:
            if not self.asked:
                self.asked.append(index)
                pictures.read(index)  # as another thread might at this moment
            return scene(index)

    pictures = DecodedPictures(Nested())
    pictures.read(1)
    assert pictures.num_bytes == SCENE_BYTES


def test_pictures_are_reduced_to_a_longest_side():
    picture = np.zeros((100, 60, 3), np.uint8)
    picture[:, 30:] = 200
    masks = np.zeros((2, 100, 60), np.bool_)
    masks[0, :, 30:] = masks[1, 20:80, 10:50] = True
    small = shrunk(Scene(picture, masks, (5, 6)), 50)
    assert small.size == (50, 30)
    assert small.ids == (5, 6)
    assert (small.picture[:, :14] == 0).all()
    assert (small.picture[:, 16:] == 200).all()
    np.testing.assert_array_equal(small.masks, masks[:, ::2, ::2])
    whole = Scene(picture, masks, (5, 6))
    assert shrunk(whole, 100) is whole
    assert shrunk(whole, 0) is whole
    inner = Counted()
    assert DecodedPictures(inner, side=15).read(0).size == (10, 15)


def test_real_pictures_stay_the_same(shared: Path):
    folder = shared / "data/train"
    if not folder.is_dir():
        pytest.skip("needs the pictures in ../shared/data/train")
    inner = open_dataset(folder, split="val")
    assert isinstance(inner, Pictures)
    pictures = DecodedPictures(inner, side=224)
    for _ in range(2):
        found = pictures.read(5)
        assert max(found.size) == 224
        same(found, shrunk(inner.read(5), 224))
