"""Clicks and boxes in huge pictures choose their windows."""

from __future__ import annotations

import numpy as np
import pytest

import maskwright as mw
from maskwright.mask_model import MaskModel
from maskwright.tiles.image import TiledImage
from maskwright.tiles.prompted import moved, windows
from maskwright.types import Prompt
from painted import Painted

SIZE = (1500, 2000)
RED, BLUE = np.s_[300:420, 500:640], np.s_[200:1400, 900:1800]


@pytest.fixture
def runtime() -> Painted:
    return Painted()


@pytest.fixture
def picture(runtime: Painted) -> TiledImage:
    scene = np.full((*SIZE, 3), 64, np.uint8)
    scene[RED] = (200, 30, 40)
    scene[BLUE] = (30, 60, 190)
    return MaskModel(runtime).tiled(scene, mw.TileOptions(size=400))


def overlap(found: mw.FoundMasks, part: tuple[slice, slice]) -> float:
    truth = np.zeros(SIZE, bool)
    truth[part] = True
    return float((found.bitmaps[0] & truth).sum() / (found.bitmaps[0] | truth).sum())


def first(prompt: mw.Points | mw.Box | Prompt) -> list[tuple[int, ...]]:
    return [tuple(window) for window in windows(Prompt.of(prompt), SIZE, 400)]


class TestWindows:
    def test_a_click_is_in_the_middle_and_larger_windows_follow(self) -> None:
        assert first(mw.Points((1000, 700))) == [
            (800, 500, 1200, 900),
            (600, 300, 1400, 1100),
            (200, 0, 1800, 1500),
            (0, 0, 2000, 1500),
        ]
        assert first(mw.Points((10, 1490)))[:2] == [(0, 1100, 400, 1500), (0, 700, 800, 1500)]

    def test_a_box_has_room_around_it(self) -> None:
        assert first(mw.Box(900, 600, 1100, 800))[0] == (800, 500, 1200, 900)
        assert first(mw.Box(600, 600, 1200, 700))[0] == (450, 200, 1350, 1100)
        assert first(mw.Box(0, 0, 2000, 1500)) == [(0, 0, 2000, 1500)]

    def test_correction_clicks_stay_in_the_window_of_the_first_one(self) -> None:
        click = mw.Points((1000, 700))
        assert first(click + mw.Points((1100, 800), 0)) == first(click)
        assert first(click + mw.Points((1190, 700), 0)) == first(click)[1:]  # too near the edge to tell
        assert first(mw.Points((1300, 700), 0) + click) == first(click)[1:]
        assert first(mw.Box(900, 600, 1100, 800) + mw.Points((1000, 10)))[0] == (200, 0, 1800, 1500)

    def test_a_small_picture_is_the_window(self) -> None:
        assert list(windows(Prompt.of(mw.Points((1, 1))), (300, 399), 400)) == [(0, 0, 399, 300)]


def test_the_right_object_at_the_right_place(picture: TiledImage) -> None:
    found = picture.segment(mw.Points((560, 350)), mw.Box(495, 290, 645, 425), mw.Points((1300, 700)))
    assert [overlap(one, part) > 0.95 for one, part in zip(found, (RED, RED, BLUE), strict=True)] == [
        True
    ] * 3
    assert found.size == SIZE
    assert found.crops[0].tolist() == [360, 150, 760, 550]
    assert found.points.tolist() == [[560, 350], [570, 357.5], [1300, 700]]
    assert found.areas.tolist() == [int(one.bitmaps.sum()) for one in found]
    assert (found.scores == np.float32(0.9)).all()
    assert (found.stabilities > 0.9).all()
    assert found.image is None


def test_an_object_beyond_its_window_gets_a_larger_one(picture: TiledImage, runtime: Painted) -> None:
    found = picture.segment(mw.Points((1300, 700)))
    assert runtime.encoded == 3
    assert found.crops[0].tolist() == [400, 0, 2000, 1500]
    assert found.boxes[0] == pytest.approx([900, 200, 1800, 1400], abs=20)


def test_a_correction_costs_no_second_encoding(picture: TiledImage, runtime: Painted) -> None:
    click = mw.Points((560, 350))
    picture.segment(click)
    assert runtime.encoded == 1
    corrected = picture.segment(click + mw.Points((460, 250), 0))
    picture.segment(mw.Points((560, 350)) + mw.Points((600, 400)))
    assert runtime.encoded == 1
    assert overlap(corrected, RED) > 0.95
    for x in range(300, 380, 10):
        picture.segment(mw.Points((x, 1400)))
    picture.segment(click)
    assert runtime.encoded == 1 + 8 + 1  # only the last eight are kept


def test_the_same_prompt_gives_the_same_mask_whatever_came_before(picture: TiledImage) -> None:
    before = picture.segment(mw.Points((560, 350)))
    picture.segment(mw.Points((620, 380)))
    again = picture.segment(mw.Points((620, 380)), mw.Points((560, 350)))[1]
    np.testing.assert_array_equal(before.runs[0], again.runs[0])


def test_nothing_there(picture: TiledImage) -> None:
    found = picture.segment(mw.Points((100, 100)))
    assert (found.areas.tolist(), found.boxes.tolist()) == ([0], [[0, 0, 0, 0]])
    assert picture.overlay(found).shape == (1500, 2000, 3)


def test_it_agrees_with_an_embedding_of_the_window(picture: TiledImage, runtime: Painted) -> None:
    scene = picture.overview(5000)
    plain = MaskModel(runtime).embed(scene[150:550, 360:760]).segment(mw.Points((200, 200)))
    found = picture.segment(mw.Points((560, 350)))
    np.testing.assert_array_equal(found.bitmaps[0, 150:550, 360:760], plain.bitmaps[0])
    assert found.scores[0] == plain.scores[0]


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        (mw.Points((2001, 5)), "outside the picture, which is 2000 pixels wide and 1500 high"),
        (mw.Points((10, 1900)), "are x and y swapped"),
        (mw.Box(10, 10, 3000, 20), "clip it to the picture first"),
        (mw.MaskPrompt(np.zeros((64, 64))), "a mask prompt is a grid over one whole picture"),
        ("here", "is not a prompt"),
    ],
)
def test_prompts_that_make_no_sense(
    picture: TiledImage, runtime: Painted, prompt: object, words: str
) -> None:
    with pytest.raises(mw.PromptError, match=words):
        picture.segment(mw.Points((560, 350)), prompt)  # type: ignore[arg-type]
    assert runtime.encoded == 0


def test_options_that_make_no_sense(picture: TiledImage) -> None:
    with pytest.raises(mw.PromptError, match="no prompt"):
        picture.segment()
    with pytest.raises(mw.InputError, match="max_hole_area is -1"):
        picture.segment(mw.Points((560, 350)), max_hole_area=-1)


def test_prompts_move_with_their_window() -> None:
    prompt = mw.Points([(30, 40), (50, 60)], [1, 0]) + mw.Box(20, 30, 60, 80)
    there = moved(prompt, (10, 20), (2, 0.5))
    assert there == Prompt(mw.Points([(40, 10), (80, 20)], [1, 0]), mw.Box(20, 5, 100, 30))
