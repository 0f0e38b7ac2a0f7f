"""Drawing objects again from windows: where windows lie, what is asked in them, and what becomes of masks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import maskwright as mw
from maskwright.config import PRESETS
from maskwright.errors import InputError, PromptError
from maskwright.mask_model import MaskModel
from maskwright.masks import Masks
from maskwright.pixels.metrics import iou
from maskwright.pixels.postprocess import upscale
from maskwright.refine import (
    WINDOWS_PER_BATCH,
    RefineSettings,
    Window,
    draw_again,
    magnified,
    plan,
    reduced,
    window_around,
)
from maskwright.runtime.fake import Fake
from maskwright.types import Box, MaskPrompt, Points, Prompt
from small import small_runtime

SIDE = 32
"""Side of the Fake's mask grid, and of the stub's."""
SIZE = (600, 800)
BOX = Box(330, 250, 410, 340)


def first_masks(*boxes: Box | None) -> Masks:
    """Rectangles as a first pass would have them; None is an empty mask."""
    bitmaps = np.zeros((len(boxes), *SIZE), bool)
    logits = np.full((len(boxes), SIDE, SIDE), -8, np.float32)
    for index, box in enumerate(boxes):
        if box is not None:
            bitmaps[index, int(box.y0) : int(box.y1), int(box.x0) : int(box.x1)] = True
            rows = slice(int(box.y0 / SIZE[0] * SIDE), int(np.ceil(box.y1 / SIZE[0] * SIDE)))
            columns = slice(int(box.x0 / SIZE[1] * SIDE), int(np.ceil(box.x1 / SIZE[1] * SIDE)))
            logits[index, rows, columns] = 8
    scores = np.full(len(boxes), 0.5, np.float32)
    return Masks(bitmaps, scores, logits, np.ones(len(boxes), np.float32))


class Windows:
    """Stands for the model: keeps what it is asked, answers with the middle of each window."""

    def __init__(self, answer: str = "middle") -> None:
        self.answer = answer
        self.batches: list[list[np.ndarray]] = []
        self.asked: list[tuple[tuple[Prompt, ...], dict[str, float]]] = []

    def __call__(self, parts: Sequence[np.ndarray]) -> list[_Window]:
        self.batches.append(list(parts))
        return [_Window(part.shape[:2], self) for part in parts]


class _Window:
    def __init__(self, size: tuple[int, int], windows: Windows) -> None:
        self.size, self.windows = size, windows

    def segment(self, *prompts: Any, **cleaning: float) -> Masks:
        self.windows.asked.append((prompts, cleaning))
        bitmap, logits = np.zeros(self.size, bool), np.full((SIDE, SIDE), -6, np.float32)
        if self.windows.answer == "middle":
            h, w = self.size
            bitmap[h // 4 : h * 3 // 4, w // 4 : w * 3 // 4] = True
            logits[SIDE // 4 : SIDE * 3 // 4, SIDE // 4 : SIDE * 3 // 4] = 6
        num = len(prompts)
        ones = np.ones(num, np.float32)
        return Masks(np.stack([bitmap] * num), ones * 0.9, np.stack([logits] * num), ones)


@pytest.fixture
def picture() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (*SIZE, 3), dtype=np.uint8)


class TestWindows:
    def test_are_square_with_room_around_the_object(self) -> None:
        extent = np.array([330, 250, 410, 330], np.float32)
        assert window_around(extent, SIZE, 0.25, 0) == (310, 230, 430, 350)

    @pytest.mark.parametrize("extent", [(0, 0, 20, 300), (700, 580, 800, 600), (0, 250, 800, 260)])
    def test_stay_in_the_picture_and_keep_the_object(self, extent: tuple[int, ...]) -> None:
        window = window_around(np.array(extent, np.float32), SIZE, 0.25, 64)
        assert 0 <= window.x0 <= extent[0]
        assert 0 <= window.y0 <= extent[1]
        assert extent[2] <= window.x1 <= SIZE[1]
        assert extent[3] <= window.y1 <= SIZE[0]

    def test_are_never_finer_than_pixels_are(self) -> None:
        window = window_around(np.array([400, 300, 404, 303], np.float32), SIZE, 0.25, 64)
        assert (window.x1 - window.x0, window.y1 - window.y0) == (64, 64)

    def test_a_picture_smaller_than_that_is_the_window(self) -> None:
        assert window_around(np.array([5, 5, 9, 9], np.float32), (40, 50), 0.25, 64) == (0, 0, 50, 40)

    def test_objects_that_fill_the_picture_have_none(self) -> None:
        boxes = np.array([[50, 40, 780, 560], [330, 250, 410, 340]], np.float32)
        prompts = [Prompt.of(Points((400, 300)))] * 2
        assert [look.objects for look in plan(boxes, prompts, SIZE, SIDE, RefineSettings())] == [(1,)]

    def test_neighbours_share_one_and_others_do_not(self) -> None:
        boxes = np.array([[330, 250, 410, 340], [20, 20, 90, 90], [334, 252, 412, 338]], np.float32)
        looks = plan(boxes, [Prompt.of(Points((1, 1), labels=0))] * 3, SIZE, SIDE, RefineSettings())
        assert [look.objects for look in looks] == [(0, 2), (1,)]
        for box in boxes[[0, 2]]:
            alone = window_around(box, SIZE, 0.25, 64)
            assert looks[0].window.around(alone) == looks[0].window
            assert looks[0].window.area <= 1.25 * alone.area

    def test_a_chain_of_neighbours_does_not_grow_without_end(self) -> None:
        boxes = np.array([[x, 200, x + 60, 260] for x in range(100, 600, 4)], np.float32)
        looks = plan(boxes, [Prompt.of(Points((1, 1), labels=0))] * len(boxes), SIZE, SIDE, RefineSettings())
        assert sorted(index for look in looks for index in look.objects) == list(range(len(boxes)))
        assert max(look.window.area for look in looks) <= 1.25 * 90**2

    def test_reach_the_box_and_the_clicks_on_the_object(self) -> None:
        boxes = np.array([[10, 10, 700, 590], [330, 250, 410, 340]], np.float32)
        prompts = [Prompt.of(Box(300, 200, 420, 360)), Prompt.of(Points([(450, 300), (5, 5)], labels=[1, 0]))]
        settings = RefineSettings(max_shared=1)
        by_box, by_click = (look.window for look in plan(boxes, prompts, SIZE, SIDE, settings))
        assert by_box == (240, 160, 480, 400)
        assert by_click.x1 >= 450
        assert by_click.x0 > 5

    def test_nothing_found_and_no_box_means_no_window(self) -> None:
        empty = np.zeros((2, 4), np.float32)
        prompts = [Prompt.of(Points((400, 300))), Prompt.of(BOX)]
        assert [look.objects for look in plan(empty, prompts, SIZE, SIDE, RefineSettings())] == [(1,)]


class TestGrids:
    def test_magnified_is_what_stretching_shows(self) -> None:
        """The logits of the window lie where the picture's, stretched to full size, have them."""
        logits = np.random.default_rng(1).normal(size=(SIDE, SIDE)).astype(np.float32)
        window = Window(160, 96, 160 + 3 * SIDE, 96 + 5 * SIDE)
        full = upscale(torch.from_numpy(logits), SIZE).numpy()[window.part]
        middles = full[2::5, 1::3]  # of cells of 3 x 5 pixels
        np.testing.assert_allclose(magnified(logits, window, SIZE), middles, atol=1e-4)

    def test_the_whole_picture_is_itself(self) -> None:
        logits = np.random.default_rng(1).normal(size=(SIDE, SIDE)).astype(np.float32)
        whole = Window(0, 0, SIZE[1], SIZE[0])
        np.testing.assert_allclose(magnified(logits, whole, SIZE), logits, atol=1e-5)
        np.testing.assert_allclose(reduced(logits, whole, SIZE), logits, atol=1e-5)

    def test_reduced_is_the_lowest_outside(self) -> None:
        logits = np.full((SIDE, SIDE), 5, np.float32)
        logits[0, 0] = -3
        found = reduced(logits, Window(200, 150, 400, 300), SIZE)  # cells 8 to 16, both ways
        inside = np.zeros((SIDE, SIDE), bool)
        inside[8:16, 8:16] = True
        np.testing.assert_allclose(found[~inside], -3, atol=1e-5)
        assert found[8, 8] == pytest.approx((15 * 5 - 3) / 16, abs=1e-4)
        np.testing.assert_allclose(found[9:16, 9:16], 5, atol=1e-4)

    def test_reduced_shares_cells_that_are_half_covered(self) -> None:
        logits = np.full((SIDE, SIDE), 5, np.float32)
        found = reduced(logits, Window(200, 150, 212, 300), SIZE)  # 12 of the 25 columns of a cell
        np.testing.assert_allclose(found[8:16, 8], 5 * 0.48 - 0.52, atol=1e-4)


class TestDrawAgain:
    def test_an_object_is_what_its_window_shows(self, picture: np.ndarray) -> None:
        masks, windows = first_masks(BOX, BOX), Windows()
        masks.bitmaps[0, :10, :10] = True  # a speck far from the box
        draw_again(masks[[0]], [Prompt.of(BOX)], picture, windows)
        draw_again(masks, [Prompt.of(BOX), Prompt.of(Box(10, 10, 790, 590))], picture, windows)
        x0, y0, x1, y1 = window_around(np.array([330, 250, 410, 340], np.float32), SIZE, 0.25, 64)
        wide, high = x1 - x0, y1 - y0
        wanted = np.zeros(SIZE, bool)
        wanted[y0 + high // 4 : y0 + high * 3 // 4, x0 + wide // 4 : x0 + wide * 3 // 4] = True
        np.testing.assert_array_equal(masks.bitmaps[0], wanted)
        np.testing.assert_array_equal(masks.bitmaps[1], first_masks(BOX).bitmaps[0])
        np.testing.assert_allclose(masks.scores, [0.9, 0.5])

    def test_logits_follow_the_new_mask(self, picture: np.ndarray) -> None:
        masks = first_masks(BOX)
        draw_again(masks, [Prompt.of(BOX)], picture, Windows())
        drawn = upscale(torch.from_numpy(masks.logits[0]), SIZE).numpy() > 0
        assert iou(drawn, masks.bitmaps[0]) > 0.7
        assert masks.logits[0, 0, 0] == -6

    def test_windows_get_the_prompts_in_their_own_pixels(self, picture: np.ndarray) -> None:
        masks, windows = first_masks(BOX), Windows()
        clicks = Points([(370, 300), (10, 590)], labels=[1, 0])
        draw_again(masks, [Prompt.of((BOX, clicks))], picture, windows)
        (asked,), _ = windows.asked[0]
        window = window_around(np.array([330, 250, 410, 340], np.float32), SIZE, 0.25, 64)
        x0, y0 = window[:2]
        assert asked.box == Box(330 - x0, 250 - y0, 410 - x0, 340 - y0)
        assert asked.points == Points((370 - x0, 300 - y0))  # the other click is not in the window
        assert asked.mask is not None
        weight = 1 / window.magnification(SIZE)
        assert asked.mask.logits[SIDE // 2, SIDE // 2] == pytest.approx(8 * weight)
        assert asked.mask.logits[0, 0] == pytest.approx(-8 * weight)
        np.testing.assert_array_equal(windows.batches[0][0], picture[window.part])

    def test_official_networks_get_the_first_box_and_all_of_the_mask(self, picture: np.ndarray) -> None:
        windows = Windows()
        for config in (PRESETS["nano"], PRESETS["sam2.1-tiny"]):
            settings = RefineSettings.suiting(config)
            draw_again(first_masks(BOX), [Prompt.of(Points((370, 300)))], picture, windows, settings=settings)
        (nano,), (official,) = (prompts for prompts, _ in windows.asked)
        assert nano.box is None
        assert official.box == Box(28, 22, 108, 112)
        assert official.mask.logits.max() == 8 > 2 * nano.mask.logits.max()

    def test_clean_up_means_the_same_area_of_the_picture(self, picture: np.ndarray) -> None:
        windows = Windows()
        draw_again(
            first_masks(BOX),
            [Prompt.of(BOX)],
            picture,
            windows,
            max_hole_area=2,
            max_speck_area=1,
            threshold=0.5,
        )
        cleaning = windows.asked[0][1]
        times = SIZE[0] * SIZE[1] / windows.batches[0][0][..., 0].size
        assert cleaning["max_hole_area"] == pytest.approx(2 * times)
        assert cleaning["max_speck_area"] == pytest.approx(times)
        assert cleaning["threshold"] == 0.5

    def test_a_window_that_shows_nothing_changes_nothing(self, picture: np.ndarray) -> None:
        masks, before = first_masks(BOX), first_masks(BOX)
        draw_again(masks, [Prompt.of(Points((370, 300)))], picture, Windows("nothing"))
        np.testing.assert_array_equal(masks.bitmaps, before.bitmaps)
        np.testing.assert_array_equal(masks.logits, before.logits)
        assert masks.scores[0] == 0.5

    def test_batches_are_bounded(self, picture: np.ndarray) -> None:
        boxes = [Box(x, y, x + 40, y + 40) for x in range(10, 700, 120) for y in (20, 300, 500)]
        masks, windows = first_masks(*boxes), Windows()
        draw_again(masks, [Prompt.of(box) for box in boxes], picture, windows)
        assert max(map(len, windows.batches)) == WINDOWS_PER_BATCH
        assert sum(map(len, windows.batches)) == len(boxes)
        for box, bitmap in zip(boxes, masks.bitmaps, strict=True):
            assert bitmap[int(box.y0) + 20, int(box.x0) + 20]


class TestSegment:
    def test_one_encoding_for_each_window_and_none_for_large_objects(self, picture: np.ndarray) -> None:
        fake = Fake()
        embedding = MaskModel(fake).embed(picture)
        embedding.segment(Box(10, 10, 790, 590), refine=True)
        assert fake.encoded == 1
        embedding.segment(BOX, Box(20, 20, 90, 90), Box(332, 250, 410, 338), refine=True)
        assert fake.encoded == 3

    def test_plain_answers_do_not_change(self, picture: np.ndarray) -> None:
        embedding = MaskModel(small_runtime()).embed(picture)
        before = embedding.segment(BOX)
        first, second = (embedding.segment(BOX, refine=True) for _ in range(2))
        np.testing.assert_array_equal(embedding.segment(BOX).bitmaps, before.bitmaps)
        np.testing.assert_array_equal(first.bitmaps, second.bitmaps)
        np.testing.assert_array_equal(first.logits, second.logits)
        assert not np.array_equal(first.logits, before.logits)

    def test_the_logits_can_be_given_back(self, picture: np.ndarray) -> None:
        embedding = MaskModel(small_runtime()).embed(picture)
        masks = embedding.segment(BOX, refine=True)
        assert len(embedding.segment(BOX + MaskPrompt(masks.logits[0]))) == 1

    def test_an_object_does_not_depend_on_those_beside_it(self, picture: np.ndarray) -> None:
        embedding = MaskModel(small_runtime()).embed(picture)
        both = embedding.segment(BOX, Points((60, 60)) + Box(20, 20, 90, 90), refine=True)
        alone = embedding.segment(Points((60, 60)) + Box(20, 20, 90, 90), refine=True)
        np.testing.assert_allclose(both.logits[1], alone.logits[0], atol=1e-4)

    def test_batches_pass_it_on(self, picture: np.ndarray) -> None:
        fake = Fake()
        MaskModel(fake).segment_batch([picture, picture], [BOX, BOX], refine=True)
        assert fake.encoded == 4

    def test_wrong_prompts_are_refused_before_anything_is_computed(self, picture: np.ndarray) -> None:
        fake = Fake()
        embedding = MaskModel(fake).embed(picture)
        with pytest.raises(PromptError, match="outside"):
            embedding.segment(Box(0, 0, 900, 10), refine=True)
        with pytest.raises(InputError, match="leave out either"):
            embedding.segment(BOX, refine=True, candidates=True)
        assert fake.decoded == 0

    def test_without_the_picture(self, picture: np.ndarray, tmp_path: Path) -> None:
        model = MaskModel(Fake())
        embedding = model.embed(picture)
        with_picture = model.load_embedding(embedding.save(tmp_path / "with"))
        assert len(with_picture.segment(BOX, refine=True)) == 1
        without = model.load_embedding(embedding.save(tmp_path / "without", picture=False))
        with pytest.raises(InputError, match="embed the picture again"):
            without.segment(BOX, refine=True)

    def test_a_box_much_narrower_than_a_pixel(self, picture: np.ndarray) -> None:
        embedding = MaskModel(Fake()).embed(picture)
        assert len(embedding.segment(Box(400.00001, 300, 400.00002, 310), refine=True)) == 1

    def test_prompts_at_the_border(self, picture: np.ndarray) -> None:
        embedding = MaskModel(small_runtime()).embed(picture)
        prompts = Points((800, 600)) + Box(770.5, 570.25, 800, 600), Points((0, 0)) + Box(0, 0, 20, 20)
        assert len(embedding.segment(*prompts, refine=True)) == 2

    @pytest.mark.parametrize("size", [(1, 1), (3, 400), (97, 31)])
    def test_tiny_and_odd_pictures(self, size: tuple[int, int]) -> None:
        embedding = MaskModel(small_runtime()).embed(np.zeros((*size, 3), np.uint8))
        h, w = size
        masks = embedding.segment(Box(0, 0, w, h), Points((w / 2, h / 2)), refine=True)
        assert masks.bitmaps.shape == (2, h, w)


def test_nano_draws_small_objects_better(nano_file: Path) -> None:
    """A disc of 36 pixels in a picture of 1600 x 1200, which is 14 x 19 pixels to the network."""
    y, x = np.mgrid[:1200, :1600]
    disc = (x - 1103) ** 2 + (y - 377) ** 2 <= 18**2
    picture = np.stack([120 + x // 32, 110 + y // 24, np.full_like(x, 90)], axis=-1).astype(np.uint8)
    picture[disc] = (230, 220, 40)
    embedding = mw.load(nano_file, device="cpu").embed(picture)
    box = Box(1085, 359, 1122, 396)
    plain, again = (embedding.segment(box, refine=refine).bitmaps[0] for refine in (False, True))
    assert iou(again, disc) > max(0.9, float(iou(plain, disc)))
