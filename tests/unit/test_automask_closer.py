"""Found masks that are drawn again from windows of the picture at full size."""

from __future__ import annotations

import numpy as np
import pytest

import maskwright as mw
from maskwright.automask.closer import _covered, draw_closer
from maskwright.mask_model import MaskModel
from maskwright.pixels import rle
from maskwright.pixels.boxes import boxes_of
from maskwright.pixels.metrics import iou
from maskwright.runtime.fake import Fake

LOOSE = mw.AutomaskOptions(min_score=0.3, min_stability=0.2, stability_offset=0.1, points_per_side=4)


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    """A large picture of noise."""
    return np.random.default_rng(5).integers(0, 255, (500, 700, 3), dtype=np.uint8)


@pytest.mark.parametrize("corner", [(0, 0), (7, 3), (13, 17)])
def test_a_part_as_runs_of_the_whole(corner: tuple[int, int]) -> None:
    part = np.random.default_rng(1).random((11, 9)) > 0.4
    whole = np.zeros((28, 22), bool)
    whole[corner[1] : corner[1] + 11, corner[0] : corner[0] + 9] = part
    runs = rle.placed(part, corner, whole.shape)
    np.testing.assert_array_equal(rle.bitmap(runs, whole.shape), whole)
    empty = rle.placed(np.zeros((2, 2), bool), corner, whole.shape)
    assert not rle.bitmap(empty, whole.shape).any()


@pytest.mark.parametrize("columns", [512, 5])
def test_how_much_of_each_cell_is_covered(monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    monkeypatch.setattr("maskwright.automask.closer._COLUMNS", columns)
    bitmap = np.zeros((24, 36), bool)
    bitmap[3:17, 5:29] = np.random.default_rng(2).random((14, 24)) > 0.5
    given = _covered(rle.placed(bitmap, (0, 0), bitmap.shape), boxes_of(bitmap), bitmap.shape, 6)
    np.testing.assert_allclose(given, bitmap.reshape(6, 4, 6, 6).mean(axis=(1, 3)), atol=1e-6)


def test_everything_about_a_mask_is_of_the_new_one(picture: np.ndarray) -> None:
    model = MaskModel(Fake())
    before = model.automask(picture, options=LOOSE)
    seen: list[int] = []
    after = draw_closer(model.runtime, picture, before, LOOSE, seen.append)
    assert seen == list(range(1, len(seen) + 1))
    assert 0 < len(after) <= len(before)
    assert any(runs.tobytes() not in {one.tobytes() for one in before.runs} for runs in after.runs)
    for mask in after:
        np.testing.assert_array_equal(mask.boxes, boxes_of(mask.bitmaps))
        assert mask.areas[0] == mask.bitmaps.sum()


def test_the_option_does_it_and_sorts_afterwards(picture: np.ndarray) -> None:
    model = MaskModel(Fake())
    before = model.automask(picture, options=LOOSE)
    after = model.automask(
        picture, min_score=0.3, min_stability=0.2, stability_offset=0.1, points_per_side=4, refine=True
    )
    assert (np.diff(after.areas) <= 0).all()
    expected = draw_closer(model.runtime, picture, before, LOOSE)
    assert sorted(after.areas) == sorted(expected.areas)


def test_small_pictures_stay_as_they_are() -> None:
    picture = np.zeros((24, 32, 3), np.uint8)
    fake = Fake()
    before = MaskModel(fake).automask(picture, options=LOOSE)
    assert fake.encoded == 1
    after = draw_closer(fake, picture, before, LOOSE)
    assert fake.encoded == 1
    assert [runs.tolist() for runs in after.runs] == [runs.tolist() for runs in before.runs]
    assert len(draw_closer(fake, picture, before[[]], LOOSE)) == 0


def test_a_small_object_of_a_large_picture_gets_a_sharper_outline() -> None:
    y, x = np.mgrid[:1500, :2000]
    spokes = np.cos(6 * np.arctan2(y - 700, x - 900))
    flower = np.hypot(x - 900, y - 700) < 70 + 35 * spokes
    picture = np.full((1500, 2000, 3), (60, 110, 70), np.uint8)
    picture[flower] = (220, 60, 50)
    model = mw.load()
    options = {"point_grids": [[(0.45, 0.466)]], "min_score": 0.1, "min_stability": 0.1}
    plain, refined = (model.automask(picture, refine=refine, **options) for refine in (False, True))
    best = [max(iou(bitmap, flower) for bitmap in found.bitmaps) for found in (plain, refined)]
    assert best[1] > best[0] + 0.02, best
