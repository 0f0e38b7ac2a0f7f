"""Searching huge pictures: the same objects whatever the tiles, step by step, and nothing lost on the way."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

import numpy as np
import pytest

import maskwright as mw
from maskwright.mask_model import MaskModel
from maskwright.runtime.fake import Fake
from painted import Painted

pytestmark = pytest.mark.filterwarnings("ignore:Dataset has no geotransform")
SHAPES = {
    "bar over all tiles": (np.s_[100:160, 40:860], (200, 30, 40)),
    "block larger than a tile": (np.s_[200:560, 300:680], (30, 60, 190)),
    "small": (np.s_[230:270, 100:150], (30, 200, 60)),
    "at the picture's edge": (np.s_[420:600, 0:90], (230, 200, 60)),
}


@pytest.fixture(scope="module")
def scene() -> np.ndarray:
    """(600, 900, 3) with rectangles of one colour each on grey ground."""
    scene = np.full((600, 900, 3), 64, np.uint8)
    for part, colour in SHAPES.values():
        scene[part] = colour
    return scene


def truth(part: tuple[slice, slice]) -> np.ndarray:
    bitmap = np.zeros((600, 900), bool)
    bitmap[part] = True
    return bitmap


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    return float((one & other).sum() / (one | other).sum())


@pytest.mark.parametrize("tiling", [{"size": 256}, {"size": 300, "halo": 60}, {"size": 200, "halo": 40}])
def test_every_shape_is_found_once_and_whole(scene: np.ndarray, tiling: dict[str, int]) -> None:
    with MaskModel(Painted()).tiled(scene, mw.TileOptions(**tiling, overview=False)) as picture:
        found = picture.automask(points_per_side=7)
    assert len(found) == len(SHAPES)
    for part, _ in SHAPES.values():
        assert max(overlap(bitmap, truth(part)) for bitmap in found.bitmaps) > 0.87
    assert (np.diff(found.areas) <= 0).all()
    assert found.image is None
    assert found.areas.tolist() == found.bitmaps.sum((1, 2)).tolist()


def test_a_picture_smaller_than_a_tile_is_searched_like_any_other(scene: np.ndarray) -> None:
    model = MaskModel(Painted())
    plain = model.automask(scene, points_per_side=8)
    found = model.tiled(scene).automask(points_per_side=8)
    assert [one.tolist() for one in found.runs] == [one.tolist() for one in plain.runs]
    np.testing.assert_array_equal(found.scores, plain.scores)
    np.testing.assert_array_equal(found.boxes, plain.boxes)


def test_the_whole_picture_comes_first_for_what_no_tile_shows_whole(scene: np.ndarray) -> None:
    runtime = Painted()
    options = mw.TileOptions(size=300, halo=60)
    search = MaskModel(runtime).tiled(scene, options).search(points_per_side=4)
    assert [next(search).done for _ in range(2)] == [4, 8]
    assert (runtime.encoded, search.tiles_done) == (1, 0)
    block = search.result()  # so far there are but two rows of clicks in it
    assert (block.crops == (0, 0, 900, 600)).all()
    assert ((block.boxes[:, 2:] - block.boxes[:, :2]).max(axis=1) > 300 - 60).all()
    assert (
        max(overlap(bitmap, truth(SHAPES["block larger than a tile"][0])) for bitmap in block.bitmaps) > 0.8
    )
    list(search)
    assert (runtime.encoded, search.tiles_done, search.finished) == (1 + 12, 12, True)
    found = search.result()
    assert search.sieve.kept == len(found)
    best = found[
        [
            int(np.argmax([overlap(bitmap, truth(part)) for bitmap in found.bitmaps]))
            for part, _ in SHAPES.values()
        ]
    ]
    assert not (best.crops[:2] == block.crops[0]).all(axis=1).any()  # what tiles showed is finer


def test_crops_within_tiles(scene: np.ndarray) -> None:
    runtime = Painted()
    picture = MaskModel(runtime).tiled(scene, mw.TileOptions(size=500, halo=60, overview=False))
    found = picture.automask(points_per_side=14, crop_layers=1, crop_points_divisor=2)
    assert runtime.encoded == 5 * 2 * 2
    for part, _ in SHAPES.values():
        assert max(overlap(bitmap, truth(part)) for bitmap in found.bitmaps) > 0.8


class TestSteps:
    def test_they_count_clicks_of_all_tiles(self, scene: np.ndarray) -> None:
        search = (
            MaskModel(Painted())
            .tiled(scene, mw.TileOptions(size=300, halo=30, overview=False))
            .search(points_per_side=3)
        )
        assert (len(search.tiles), search.total, search.tiles_done) == (12, 12 * 9, 0)
        steps = list(search)
        assert [step.done for step in steps] == [
            9 * tile + clicks for tile in range(12) for clicks in (4, 8, 9)
        ]
        assert steps[-1].seconds_left == 0
        assert (search.finished, search.tiles_done) == (True, 12)
        assert search.sieve.kept == len(search.result())
        assert search.sieve.decoded == 3 * 9 * 12
        tile = search.tiles[1]
        here = [step.new for step in steps[3:6] if len(step.new)]
        for found in here:
            assert found.size == (600, 900)
            assert (found.boxes[:, 0] >= tile.x0).all()
            assert (found.crops == tile.box).all()

    def test_leaving_off_keeps_what_was_found(self, scene: np.ndarray) -> None:
        runtime = Painted()
        with MaskModel(runtime).tiled(scene, mw.TileOptions(size=300)).search(points_per_side=8) as search:
            for step in search:
                if step.done >= search.total // 3 + 8:  # in the midst of a tile
                    break
        assert list(search) == []
        assert runtime.encoded < len(search.tiles)
        found = search.result()
        assert 0 < len(found) < 2 * len(SHAPES)
        assert search.sieve.kept == len(found)
        assert not search.finished

    def test_cancelling_from_another_thread(self, scene: np.ndarray) -> None:
        search = MaskModel(Painted()).tiled(scene, mw.TileOptions(size=64)).search(points_per_side=30)
        timer = threading.Timer(0.05, search.close)
        timer.start()
        done = sum(1 for _ in search)
        timer.join()
        assert done < search.total / 4

    def test_nothing_is_read_before_the_first_step(self) -> None:
        class Watched:
            shape, dtype, read = (600, 900, 3), np.dtype(np.uint8), 0

            def __getitem__(self, window: tuple[slice, ...]) -> np.ndarray:
                self.read += 1
                return np.zeros((600, 900, 3), np.uint8)[window]

        source = Watched()
        search = (
            MaskModel(Painted()).tiled(source, mw.TileOptions(size=300, halo=30, overview=False)).search()
        )
        assert (source.read, len(search.result()), search.sieve.decoded) == (0, 0, 0)

    def test_tiles_of_one_grey_are_not_searched(self, scene: np.ndarray) -> None:
        runtime = Painted()
        dark = scene.copy()
        dark[:, 450:] = 255
        search = (
            MaskModel(runtime)
            .tiled(dark, mw.TileOptions(size=300, halo=30, overview=False))
            .search(points_per_side=4)
        )
        assert list(search)[-1].done == search.total
        assert (runtime.encoded, len(search.tiles)) == (9, 12)
        assert search.finished

    def test_progress_is_told(self, scene: np.ndarray) -> None:
        told: list[int] = []
        picture = MaskModel(Painted()).tiled(scene, mw.TileOptions(size=600, overview=False))
        picture.automask(points_per_side=2, progress=lambda step: told.append(step.done))
        assert told == [4, 8]

    def test_nothing_found_says_why(self, scene: np.ndarray, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.WARNING):
            found = MaskModel(Painted()).tiled(scene).automask(points_per_side=2, min_score=0.95)
        assert len(found) == 0
        assert "12 not above min_score; lower min_score" in caplog.text


class TestBadInput:
    def test_options_that_contradict(self, scene: np.ndarray) -> None:
        picture = MaskModel(Fake()).tiled(scene, mw.TileOptions(size=64))
        with pytest.raises(mw.InputError, match="not both"):
            picture.search(options=mw.AutomaskOptions(), min_score=0.5)
        with pytest.raises(mw.InputError, match="the tiles are only 64 x 64 pixels"):
            picture.search(points_per_side=65)
        with pytest.raises(mw.InputError, match="there is no preset 'best'"):
            picture.automask("best")

    def test_more_pixels_than_run_lengths_count(self) -> None:
        class Endless:
            shape, dtype = (70_000, 70_000), np.dtype(np.uint8)

            def __getitem__(self, window: object) -> np.ndarray:
                raise AssertionError

        with pytest.raises(mw.ImageError, match="70000 x 70000 pixels, more than the 4294967295"):
            MaskModel(Fake()).tiled(Endless())

    def test_a_file_that_breaks_off_keeps_what_was_found_before(
        self, scene: np.ndarray, tmp_path: Path
    ) -> None:
        rasterio = pytest.importorskip("rasterio")
        path = tmp_path / "x.tif"
        layout = {"tiled": True, "blockxsize": 64, "blockysize": 64, "compress": "deflate"}
        noisy = scene + np.random.default_rng(0).integers(0, 3, scene.shape, np.uint8)
        with (
            rasterio.open(
                path, "w", driver="GTiff", width=900, height=600, count=3, dtype="uint8", **layout
            ) as file,
        ):
            file.write(noisy.transpose(2, 0, 1))
        path.write_bytes(path.read_bytes()[: path.stat().st_size * 3 // 4])
        model, options = MaskModel(Painted()), mw.TileOptions(size=300, halo=30, overview=False)
        search = model.tiled(path, options).search(points_per_side=8)
        with pytest.raises(mw.ImageError, match="x.tif is damaged or truncated"):
            for _ in search:
                pass
        assert 0 < search.tiles_done < 12
        assert len(search.result()) > 0
        search = model.tiled(path, mw.TileOptions(size=300)).search(points_per_side=8)
        with pytest.raises(mw.ImageError):  # the whole picture is read first, so that it is known at once
            next(search)


def test_looking_at_them(scene: np.ndarray, tmp_path: Path) -> None:
    picture = MaskModel(Painted()).tiled(scene, mw.TileOptions(size=300))
    found = picture.automask(points_per_side=8)
    overlay = picture.overlay(found, longest=300)
    assert overlay.shape == (200, 300, 3)
    assert np.abs(overlay[20, 200].astype(int) - scene[20, 600]).max() <= 1  # the ground
    assert np.abs(overlay[43, 200].astype(int) - scene[130, 600]).max() > 20  # the bar is tinted
    part = picture.overlay(found, longest=90, window=(0, 400, 90, 600), prompts=[mw.Points((20, 500))])
    assert part.shape == (90, 40, 3)
    assert picture.save_overlay(tmp_path / "x.jpg", found, longest=64).stat().st_size > 0
    small = found.reduced(300)
    assert (small.size, len(small)) == ((200, 300), len(found))
    np.testing.assert_allclose(small.areas * 9, found.areas, rtol=0.1)
    np.testing.assert_allclose(small.boxes * 3, found.boxes, atol=3)
    with pytest.raises(mw.InputError, match="900 pixels wide"):
        picture.overview(100, (0, 0, 901, 5))
    with pytest.raises(mw.InputError, match="with 0 pixels"):
        picture.overview(0)


def test_numbers_of_all_masks(scene: np.ndarray, tmp_path: Path) -> None:
    rasterio = pytest.importorskip("rasterio")
    picture = MaskModel(Painted()).tiled(scene, mw.TileOptions(size=300))
    found = picture.automask(points_per_side=8)
    np.testing.assert_array_equal(found.numbers((30, 40, 800, 500)), found.numbers()[40:500, 30:800])
    for numbers, dtype in ((None, "uint16"), ([9, 70_000, 3, 2], "uint32")):
        path = picture.save_numbers(tmp_path / "n.tif", found, numbers)
        with rasterio.open(path) as file:
            assert (file.dtypes, file.block_shapes) == ((dtype,), [(512, 512)])
            expected = np.array([0, *(numbers or range(1, 5))])[found.numbers()]
            np.testing.assert_array_equal(file.read(1), expected)


def test_refining_is_for_whole_pictures(scene: np.ndarray) -> None:
    with pytest.raises(mw.InputError, match="smaller tiles"):
        MaskModel(Painted()).tiled(scene, mw.TileOptions(size=300)).search(refine=True)
