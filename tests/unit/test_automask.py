"""Automatic masks against a plain twin that stretches every mask, and everything around the search."""

from __future__ import annotations

import gc
import logging
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import maskwright as mw
from maskwright.automask.clicks import batch_size
from maskwright.automask.places import crops, points
from maskwright.config import PRESETS
from maskwright.mask_model import MaskModel
from maskwright.model.candidates import stable_single, take
from maskwright.pixels import rle
from maskwright.pixels.boxes import boxes_of
from maskwright.pixels.nms import nms
from maskwright.pixels.postprocess import clean, upscale
from maskwright.runtime.batching import object_prompt, pack
from maskwright.runtime.fake import Fake
from maskwright.segmenter import embed
from small import SMALL, small_runtime

LOOSE = {"min_score": 0.3, "min_stability": 0.2, "stability_offset": 0.1, "points_per_side": 4}
"""Filters that let some of the masks of a random network pass, and not all."""


@pytest.fixture(scope="module")
def model() -> MaskModel:
    return MaskModel(small_runtime())


def plain(model: MaskModel, picture: np.ndarray, options: mw.AutomaskOptions) -> list[dict[str, Any]]:
    """All at full size, one mask after the other, in the official order."""
    runtime, side, size = model.runtime, model.config.image_size, picture.shape[:2]
    by_crop = []
    for crop in crops(size, options):
        part = embed(runtime, [picture[crop.y0 : crop.y1, crop.x0 : crop.x1]])[0]
        records = []
        for x, y in points(options, crop):
            at = np.array([[x / crop.size[1] * side, y / crop.size[0] * side]], np.float32)
            one = runtime.decode(part.features, pack([object_prompt(at, np.array([1]), None, None)]))
            logits, iou = one.logits_BPMHW[0, 0, 1:], one.iou_BPM[0, 0, 1:]
            if options.second_look:
                prompts = [
                    object_prompt(at, np.array([1]), None, low.clamp(-32, 32).numpy()) for low in logits
                ]
                again = runtime.decode(part.features, pack(prompts))
                best = stable_single(again.logits_BPMHW, again.iou_BPM, SMALL.stability_delta, 0.98)
                logits, iou = take(again.logits_BPMHW, best)[0], take(again.iou_BPM, best)[0]
            logits = clean(logits, options.max_hole_area, options.max_speck_area)
            for full, score in zip(upscale(logits, crop.size), iou.tolist(), strict=True):
                above = (full > options.threshold + options.stability_offset).sum()
                stability = float(above / (full > options.threshold - options.stability_offset).sum())
                bitmap = np.zeros(size, bool)
                bitmap[crop.y0 : crop.y1, crop.x0 : crop.x1] = full > options.threshold
                if score <= options.min_score or not stability >= options.min_stability:
                    continue
                box = boxes_of(bitmap)
                inner = np.abs(box - [0, 0, 1, 1] - crop.box) <= 20
                if (inner & ~(np.abs(box - [0, 0, 1, 1] - [0, 0, *size[::-1]]) <= 20)).any():
                    continue
                records.append(
                    {"bitmap": bitmap, "score": score, "stability": stability, "box": box, "crop": crop,
                     "point": (x + crop.x0, y + crop.y0)}
                )  # fmt: skip
        scores = [one["score"] for one in records]
        kept = nms([one["box"] - [0, 0, 1, 1] for one in records], scores, options.max_overlap)
        by_crop += [records[index] for index in kept]
    if not options.crop_layers:
        return by_crop
    small = [1 / (one["crop"].size[0] * one["crop"].size[1]) for one in by_crop]
    kept = nms([one["box"] - [0, 0, 1, 1] for one in by_crop], small, options.max_crop_overlap)
    return [by_crop[index] for index in kept]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"max_overlap": 1.01},
        {"second_look": True, "max_overlap": 0.99},
        {"crop_layers": 1, "crop_points_divisor": 2, "max_overlap": 1, "max_crop_overlap": 0.95},
        {"max_hole_area": 3, "max_speck_area": 2, "threshold": 0.05, "max_overlap": 1},
        {"points_per_batch": 3, "max_overlap": 1},
    ],
)
def test_it_is_the_plain_twin(model: MaskModel, changes: dict[str, Any]) -> None:
    picture = np.random.default_rng(5).integers(0, 255, (150, 190, 3), np.uint8)
    options = mw.AutomaskOptions(**LOOSE | changes)
    wanted = plain(model, picture, options)
    assert 0 < len(wanted) < 3 * 16 * 5
    with model.search(picture, options=options) as search:
        steps = list(search)
    found = search.result(largest_first=False)
    assert len(found) == len(wanted) == search.sieve.kept
    assert (
        steps[-1].done
        == steps[-1].total
        == sum(len(points(options, crop)) for crop in crops((150, 190), options))
    )
    for got, want in zip(found, wanted, strict=True):
        assert np.count_nonzero(got.bitmaps[0] != want["bitmap"]) <= 2
        np.testing.assert_allclose(got.boxes[0], want["box"], atol=1)
        np.testing.assert_allclose(got.scores[0], want["score"], atol=1e-5)
        np.testing.assert_allclose(got.stabilities[0], want["stability"], atol=1e-3)
        np.testing.assert_allclose(got.points[0], want["point"], atol=1e-4)
        assert got.crops[0].tolist() == want["crop"].box.tolist()


class TestDiscs:
    """The fake runtime draws three discs around every click, of radius 0.05, 0.1 and 0.2."""

    def test_largest_first_and_complete(self, picture: np.ndarray) -> None:
        found = MaskModel(Fake()).automask(picture, points_per_side=3, min_score=0.75, max_overlap=0.2)
        assert isinstance(found, mw.FoundMasks)
        assert (np.diff(found.areas) <= 0).all()
        assert set(np.round(found.scores, 2)) == {np.float32(0.9)}
        assert (found.stabilities == 1).all()
        np.testing.assert_array_equal(found.boxes, boxes_of(found.bitmaps))
        np.testing.assert_array_equal(found.areas, found.bitmaps.sum((1, 2)))
        np.testing.assert_array_equal(found.image, picture)
        assert found.crops.tolist() == [[0, 0, 128, 96]] * 9
        at = found.points.astype(int)
        assert found.bitmaps[np.arange(9), at[:, 1], at[:, 0]].all()

    def test_crops_find_smaller_discs(self, picture: np.ndarray) -> None:
        fake = Fake()
        found = MaskModel(fake).automask(
            picture, points_per_side=4, crop_layers=1, max_overlap=1, min_score=0.75
        )
        assert fake.encoded == 5
        assert len(np.unique(found.crops, axis=0)) > 1

    def test_one_mask_per_click(self, picture: np.ndarray) -> None:
        search = MaskModel(Fake()).search(picture, points_per_side=2, candidates=False, max_overlap=1)
        assert sum(len(step.new) for step in search) == 4
        assert search.sieve.decoded == 4

    def test_a_second_look_asks_for_every_mask(self, picture: np.ndarray) -> None:
        fake = Fake()
        MaskModel(fake).automask(picture, points_per_side=2, second_look=True)
        assert fake.decoded == 4 + 3 * 4

    def test_pictures_of_16_bits_and_small_ones(self) -> None:
        model = MaskModel(Fake())
        deep = np.random.default_rng(0).integers(0, 65535, (40, 50), np.uint16)
        assert model.automask(deep, points_per_side=2).image.dtype == np.uint8  # type: ignore[union-attr]
        found = model.automask(np.zeros((1, 3, 3), np.uint8), points_per_side=1, min_score=0, min_stability=0)
        assert found.bitmaps.shape[1:] == (1, 3)


class TestSearch:
    def test_steps_count_and_estimate(self, picture: np.ndarray) -> None:
        search = MaskModel(Fake()).search(picture, points_per_side=4, points_per_batch=3)
        steps = list(search)
        assert [step.done for step in steps] == [3, 6, 9, 12, 15, 16]
        assert {step.total for step in steps} == {16}
        assert steps[0].seconds_left == pytest.approx(steps[0].seconds / 3 * 13)
        assert steps[-1].seconds_left == 0
        assert search.finished

    def test_cancelling_keeps_what_was_found(self, picture: np.ndarray) -> None:
        fake = Fake()
        with MaskModel(fake).search(picture, points_per_side=8, points_per_batch=4) as search:
            for step in search:
                if step.done >= 8:
                    break
        assert list(search) == []
        assert not search.finished
        assert fake.decoded == 8
        assert 0 < len(search.result()) <= 3 * 8
        assert search.sieve.kept == len(search.result())

    def test_cancelling_from_another_thread(self, picture: np.ndarray) -> None:
        search = MaskModel(Fake()).search(picture, points_per_side=60, points_per_batch=1)
        timer = threading.Timer(0.05, search.close)
        timer.start()
        done = sum(1 for _ in search)
        timer.join()
        assert done < 3600

    def test_nothing_is_computed_before_the_first_step(self, picture: np.ndarray) -> None:
        fake = Fake()
        search = MaskModel(fake).search(picture)
        assert (fake.encoded, len(search.result()), search.sieve.decoded) == (0, 0, 0)

    def test_progress_is_told_and_may_stop_it(self, picture: np.ndarray) -> None:
        told: list[int] = []
        MaskModel(Fake()).automask(picture, "fast", progress=lambda step: told.append(step.done))
        assert told == list(range(4, 257, 4))

        def stop(step: mw.SearchStep) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            MaskModel(Fake()).automask(picture, "fast", progress=stop)

    def test_options_or_a_preset(self, picture: np.ndarray) -> None:
        with pytest.raises(mw.InputError, match="not both"):
            MaskModel(Fake()).automask(picture, options=mw.AutomaskOptions(), min_score=0.5)

    def test_a_picture_smaller_than_the_grid(self) -> None:
        fake = Fake()
        with pytest.raises(mw.InputError, match="points_per_side=9 or less"):
            MaskModel(fake).automask(np.zeros((9, 20, 3), np.uint8))
        assert fake.encoded == 0

    def test_no_picture(self) -> None:
        with pytest.raises(mw.ImageError):
            MaskModel(Fake()).automask("absent.jpg")


class TestNothingFound:
    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"min_score": 0.95}, "kept 0 of 12 masks: 12 not above min_score; lower min_score"),
            ({"stability_offset": 9.0}, "12 below min_stability; lower min_stability or stability_offset"),
            ({"threshold": 9.0, "min_stability": 0, "min_score": 0.75}, "8 empty; lower threshold"),
        ],
    )
    def test_it_says_which_filter_took_how_many(
        self, picture: np.ndarray, caplog: pytest.LogCaptureFixture, changes: dict[str, Any], words: str
    ) -> None:
        with caplog.at_level(logging.WARNING):
            found = MaskModel(Fake()).automask(picture, points_per_side=2, **{"min_score": 0.5} | changes)
        assert len(found) == 0
        assert "no masks were found" in caplog.text
        assert words in caplog.text

    def test_an_empty_result_is_a_result(self, picture: np.ndarray, tmp_path: Path) -> None:
        found = MaskModel(Fake()).automask(picture, points_per_side=2, min_score=0.95)
        assert found.bitmaps.shape == (0, 96, 128)
        assert (found.boxes.shape, found.rle(), found.save(tmp_path), list(found)) == ((0, 4), [], [], [])
        np.testing.assert_array_equal(found.overlay(), picture)
        assert not found.numbers().any()


class TestFoundMasks:
    @pytest.fixture
    def found(self, picture: np.ndarray) -> mw.FoundMasks:
        return MaskModel(Fake()).automask(picture, points_per_side=3, min_score=0.5, max_overlap=1)

    def test_some_of_them(self, found: mw.FoundMasks) -> None:
        assert len(found) == 27
        small = found[found.areas < np.median(found.areas)]
        assert 0 < len(small) < 27
        for some, rows in (
            (found[2:5], [2, 3, 4]),
            (found[[4, 0]], [4, 0]),
            (found[-1], [26]),
            (found[[]], []),
            (found[[True] + [False] * 26], [0]),
        ):
            np.testing.assert_array_equal(some.areas, found.areas[rows])
            np.testing.assert_array_equal(some.bitmaps, found.bitmaps[rows])
            assert some.image is found.image
        with pytest.raises(IndexError):
            found[27]
        assert [len(one) for one in found] == [1] * 27

    def test_codes(self, found: mw.FoundMasks) -> None:
        assert found.rle() == rle.encode(found.bitmaps)

    def test_the_smallest_on_top(self, found: mw.FoundMasks) -> None:
        numbers, bitmaps = found.numbers(), found.bitmaps
        order = np.where(bitmaps, found.areas[:, None, None], 1 << 40)
        np.testing.assert_array_equal(numbers > 0, bitmaps.any(0))
        inside = numbers > 0
        np.testing.assert_array_equal(found.areas[numbers[inside] - 1], order.min(0)[inside])

    def test_the_overlay_is_that_of_dense_masks(self, found: mw.FoundMasks, picture: np.ndarray) -> None:
        from maskwright.pixels import draw

        np.testing.assert_array_equal(
            found.overlay(alpha=0.3), draw.overlay(picture, found.bitmaps, alpha=0.3)
        )
        with pytest.raises(mw.InputError, match="alpha"):
            found.overlay(alpha=2)
        with pytest.raises(mw.InputError, match="no picture"):
            replace(found, image=None).overlay()

    def test_files(self, found: mw.FoundMasks, tmp_path: Path) -> None:
        from maskwright.io.images import read_image

        paths = found[:11].save(tmp_path / "masks", stem="m")
        assert [path.name for path in paths[:2]] == ["m_00.png", "m_01.png"]
        np.testing.assert_array_equal(read_image(paths[3])[..., 0] > 0, found.bitmaps[3])
        with pytest.raises(mw.OutputError, match="exists already"):
            found.save(tmp_path / "masks", stem="m", overwrite=False)
        np.testing.assert_array_equal(read_image(found.save_overlay(tmp_path / "o.png")), found.overlay())
        with pytest.raises(mw.InputError, match="picture format"):
            found.save_overlay(tmp_path / "o.xyz")

    def test_what_it_shows_of_itself(self, found: mw.FoundMasks) -> None:
        assert repr(found).startswith("FoundMasks(27 masks, 96 x 128, scores [0.")


class TestMemory:
    def test_the_batch_follows_the_memory_allowed(self) -> None:
        tiny, options = PRESETS["sam2.1-tiny"], mw.AutomaskOptions()
        gpu, cpu = torch.device("cuda"), torch.device("cpu")
        assert batch_size(options, tiny, gpu) == 16
        assert batch_size(replace(options, memory_mib=4096), tiny, gpu) == 64
        assert batch_size(replace(options, memory_mib=32), tiny, gpu) == 1
        assert batch_size(options, tiny.at(512), gpu) == 64
        assert batch_size(options, PRESETS["nano"], gpu) == 45
        assert batch_size(options, PRESETS["nano"].at(512), gpu) == 64
        assert batch_size(options, tiny, cpu) == 4
        assert batch_size(replace(options, points_per_batch=2), tiny, cpu) == 2

    def test_a_picture_of_40_megapixels(self) -> None:
        """Above the picture and the limit there is nothing of its size: one mask would be 160 MB of logits.

        The masks of a random network are the worst case, with outlines everywhere.
        """
        model = MaskModel(small_runtime())
        picture = np.zeros((5000, 8000, 3), np.uint8)
        picture[::2, :, 1] = 200
        picture[1000:3000, 2000:5000] = 250
        loose = LOOSE | {"max_overlap": 1.0, "min_stability": 0.0, "min_score": 0, "points_per_side": 1}
        search = model.search(picture, options=mw.AutomaskOptions(**loose, memory_mib=128))
        del picture
        gc.collect()
        peak = Watched(lambda: [*search, search.result(largest_first=False)])
        found = peak.value[-1]
        assert len(found) == 3
        assert found.size == (5000, 8000)
        assert peak.mebibytes < 160


class Watched:
    """Runs something and notes by how much the memory of the process grew meanwhile, at its peak."""

    def __init__(self, work: Any) -> None:
        before, self._top, done = resident(), 0, threading.Event()

        def watch() -> None:
            while not done.is_set():
                self._top = max(self._top, resident())
                time.sleep(0.002)

        thread = threading.Thread(target=watch)
        thread.start()
        try:
            self.value = work()
        finally:
            done.set()
            thread.join()
        self.mebibytes = (self._top - before) / 2**20


def resident() -> int:
    """Bytes of memory that this process has."""
    status = Path("/proc/self/statm")
    if not status.is_file():
        pytest.skip("measures memory through /proc")
    return int(status.read_text().split()[1]) * 4096


def test_clicks_share_the_work_that_depends_on_the_picture_only() -> None:
    """Many clicks at once are answered as one by one, for one picture and for several."""
    runtime = small_runtime()
    pictures = [np.random.default_rng(seed).integers(0, 255, (64, 64, 3), np.uint8) for seed in range(2)]
    at = [np.array([[x, 20.0]], np.float32) for x in (5, 30, 50)]
    both = runtime.without_memory(runtime.encode_image(_pixels(pictures)))
    prompts = pack([object_prompt(one, np.array([1]), None, None) for one in at])
    twice = prompts._replace(
        points_BPK2=prompts.points_BPK2.expand(2, -1, -1, -1), labels_BPK=prompts.labels_BPK.expand(2, -1, -1)
    )
    together = runtime.decode(both, twice)
    for row, picture in enumerate(pictures):
        features = embed(runtime, [picture])[0].features
        for column, one in enumerate(at):
            alone = runtime.decode(features, pack([object_prompt(one, np.array([1]), None, None)]))
            torch.testing.assert_close(
                together.logits_BPMHW[row, column], alone.logits_BPMHW[0, 0], atol=1e-4, rtol=1e-4
            )


def _pixels(pictures: list[np.ndarray]) -> torch.Tensor:
    from maskwright.pixels.preprocess import preprocess

    return torch.stack(
        [preprocess(one, SMALL.image_size, SMALL.pixel_mean, SMALL.pixel_std) for one in pictures]
    )
