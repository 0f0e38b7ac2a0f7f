"""Which frames and objects count, how they are shown, and the ways to follow them."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator
from functools import partial

import numpy as np
import pytest
import torch

from drawn import Drawn, LabelledFrame
from maskwright import Box, Points
from maskwright.config import NANO
from maskwright.errors import InputError
from maskwright.evaluate.followers import FOLLOWERS, Found, Shown, by_first_mask, by_last_mask, by_memory
from maskwright.evaluate.video import evaluate_videos
from maskwright.mask_model import MaskModel
from maskwright.model.sam2 import SAM2
from maskwright.pixels.metrics import boundary_f, iou
from maskwright.runtime.eager import Eager, place
from maskwright.runtime.fake import Fake
from maskwright.runtime.select import choose
from maskwright.track.objects import ObjectId
from maskwright.track.options import TrackOptions
from maskwright.types import BoolArray


def square(x: int, y: int, side: int = 20, shape: tuple[int, int] = (60, 80)) -> BoolArray:
    mask = np.zeros(shape, bool)
    mask[max(y, 0) : y + side, max(x, 0) : x + side] = True
    return mask


class TestBoundary:
    def test_within_the_tolerance_outlines_agree_fully(self):
        assert boundary_f(square(10, 10), square(11, 10)) == 1
        assert boundary_f(square(10, 10), square(13, 10)) < 0.6

    def test_empty_masks(self):
        nothing = np.zeros((60, 80), bool)
        assert boundary_f(nothing, nothing) == 1
        assert boundary_f(nothing, square(5, 5)) == boundary_f(square(5, 5), nothing) == 0

    def test_refuses_what_it_cannot_compare(self):
        with pytest.raises(InputError, match="bool bitmaps"):
            boundary_f(np.zeros((4, 4)), np.zeros((4, 4), bool))


def sequence(*objects: tuple[int, int, int], frames: int = 5, late: int = 0) -> list[LabelledFrame]:
    """Squares on noise, each (x, y, step to the right); those after the first come in frame ``late``."""
    noise = np.random.default_rng(0).integers(0, 90, (60, 80, 3), np.uint8)
    found: list[LabelledFrame] = []
    for number in range(frames):
        picture, labels = noise.copy(), np.zeros((60, 80), np.uint8)
        for which, (x, y, step) in enumerate(objects):
            if which and number < late:
                continue
            mask = square(x + step * number, y)
            picture[mask], labels[mask] = 230 - 40 * which, which + 1
        found.append((picture, labels))
    return found


@pytest.fixture(scope="module")
def davis() -> Drawn:
    """Two sequences of five frames: a square that moves, and two squares of which one stays."""
    return Drawn({"moves": sequence((10, 5, 6)), "two": sequence((10, 5, 2), (50, 35, 0))})


def still(model: MaskModel | None = None) -> partial[Iterator[Found]]:
    return partial(by_first_mask, model or MaskModel(Fake()))


def test_scores_leave_out_the_first_and_the_last_frame(davis: Drawn):
    def follow(frames: Iterable[Shown], num_frames: int) -> Iterator[Found]:
        for number, (picture, _) in enumerate(frames):
            bright = picture.min(2) > 160
            yield {1: ~bright if number in (0, num_frames - 1) else bright}

    report = evaluate_videos(follow, davis, numbers=[0])
    assert [(row.video, row.object, row.frames) for row in report.rows] == [("moves", 1, 3)]
    assert (report.both, report.region.recall, report.region.decay) == (1, 1, 0)
    full = evaluate_videos(follow, davis, numbers=[0], full=True)
    assert full.frames == 4
    assert full.region.mean == pytest.approx(3 / 4)
    assert full.region.recall == 3 / 4


def test_each_object_has_its_row(davis: Drawn):
    done: list[None] = []
    report = evaluate_videos(still(), davis, step=lambda: done.append(None))
    assert len(done) == 10
    assert [(row.video, row.object) for row in report.rows] == [("moves", 1), ("two", 1), ("two", 2)]
    moves, slow, stays = (row.region.mean for row in report.rows)
    assert moves == pytest.approx(np.mean([(20 - 6 * n) / (20 + 6 * n) for n in (1, 2, 3)]))
    assert moves < slow < stays == 1
    assert report.rows[0].region.decay > 0 == report.rows[2].region.decay
    assert report.region.mean == pytest.approx((moves + slow + stays) / 3)
    assert report.both == pytest.approx((report.region.mean + report.boundary.mean) / 2)
    parts = report.by_video()
    assert list(parts) == ["moves", "two"]
    assert parts["two"].region.mean == pytest.approx((slow + stays) / 2)


def test_csv_and_json_hold_every_object(davis: Drawn):
    report = evaluate_videos(still(), davis)
    rows = list(csv.DictReader(report.to_csv().splitlines()))
    assert [(row["sequence"], row["object"], row["frames"]) for row in rows] == [
        *(("moves", "1", "3"), ("two", "1", "3"), ("two", "2", "3"))
    ]
    assert float(rows[0]["J decay"]) == pytest.approx(report.rows[0].region.decay, abs=1e-6)
    assert float(rows[1]["F recall"]) == pytest.approx(report.rows[1].boundary.recall, abs=1e-6)
    saved = json.loads(report.to_json({"model": "fake"}))
    assert saved["model"] == "fake"
    assert saved["J&F"] == pytest.approx((saved["J"]["mean"] + saved["F"]["mean"]) / 2)
    assert saved["objects"][2]["J"] == {"mean": 1.0, "recall": 1.0, "decay": 0.0}


def test_an_object_is_shown_when_it_comes(davis: Drawn):
    late = Drawn({"late": sequence((10, 5, 6), (50, 35, 0), late=2)})
    shown: list[list[int]] = []

    def follow(frames: Iterable[Shown], num_frames: int) -> Iterator[Found]:
        known: dict[int, BoolArray] = {}
        for _, prompts in frames:
            shown.append(sorted(prompts))
            known |= {number: np.asarray(mask) for number, mask in prompts.items()}
            yield known

    report = evaluate_videos(follow, late)
    assert shown == [[1], [], [2], [], []]
    assert [(row.object, row.frames) for row in report.rows] == [(1, 3), (2, 1)]
    assert report.rows[1].region.mean == 1


def test_frames_without_masks_do_not_count():
    frames = sequence((10, 5, 0), frames=7)
    sparse = Drawn(
        {"sparse": [(picture, labels if n % 2 == 0 else None) for n, (picture, labels) in enumerate(frames)]}
    )
    report = evaluate_videos(still(), sparse)
    assert [(row.frames, row.region.mean) for row in report.rows] == [(2, 1.0)]
    assert evaluate_videos(still(), sparse, full=True).frames == 3


@pytest.mark.parametrize(("shown_by", "kind"), [("mask", np.ndarray), ("box", Box), ("click", Points)])
def test_objects_are_shown_by_mask_box_or_click(davis: Drawn, shown_by: str, kind: type):
    seen: list[object] = []

    def follow(frames: Iterable[Shown], num_frames: int) -> Iterator[Found]:
        for _, prompts in frames:
            seen.extend(prompts.values())
            yield {1: square(0, 0)}

    evaluate_videos(follow, davis, numbers=[0], shown_by=shown_by)
    (prompt,) = seen
    assert isinstance(prompt, kind)
    if isinstance(prompt, Box):
        assert prompt == Box(10, 5, 30, 25)
    if isinstance(prompt, Points):
        assert square(10, 5)[int(prompt.coords[0, 1]), int(prompt.coords[0, 0])]


def test_who_follows_must_answer_for_every_frame_and_object(davis: Drawn):
    def ends(frames: Iterable[Shown], num_frames: int) -> Iterator[Found]:
        for _ in frames:
            yield {1: square(0, 0)}
            return

    with pytest.raises(InputError, match="masks for 1 frames of 5"):
        evaluate_videos(ends, davis, numbers=[0])
    with pytest.raises(InputError, match="no mask of object 2"):
        evaluate_videos(lambda frames, num_frames: ({1: square(0, 0)} for _ in frames), davis, numbers=[1])
    empty = Drawn(
        {"empty": [(picture, labels * 0) for picture, labels in sequence((0, 0, 0)) if labels is not None]}
    )
    with pytest.raises(InputError, match="no object"):
        evaluate_videos(still(), empty)


def network() -> MaskModel:
    torch.manual_seed(0)
    chosen = choose("cpu", None)
    return MaskModel(Eager(place(SAM2(NANO.at(64)).eval(), chosen), chosen))


@pytest.mark.parametrize("name", FOLLOWERS)
@pytest.mark.parametrize("shown_by", ["mask", "box"])
def test_following_gives_every_mask_and_hides_no_state(davis: Drawn, name: str, shown_by: str):
    follow = partial(FOLLOWERS[name], network())
    first, again = (evaluate_videos(follow, davis, shown_by=shown_by).rows for _ in range(2))
    assert len(first) == 3
    assert first == again


@pytest.mark.parametrize("name", FOLLOWERS)
def test_objects_may_come_late(name: str):
    frames = sequence((10, 5, 0), (50, 35, 0), late=2)
    before = [(picture, np.zeros((60, 80), np.uint8)) for picture, _ in frames[:1]]
    report = evaluate_videos(partial(FOLLOWERS[name], MaskModel(Fake())), Drawn({"late": [*before, *frames]}))
    assert [(row.object, row.frames) for row in report.rows] == [(1, 3), (2, 1)]
    assert min(row.region.mean for row in report.rows) > 0.85


def test_memory_is_a_session_by_the_official_rules(davis: Drawn):
    """What is measured is what a user's session gives, without filled holes and overlaps."""
    model, frames = network(), [scene.picture for scene in davis.read(1, range(5)).scenes]
    prompts = {1: square(10, 5), 2: square(50, 35)}
    shown = [(frame, {} if number else prompts) for number, frame in enumerate(frames)]
    found = list(by_memory(model, iter(shown), 5))
    options = TrackOptions(max_hole_area=0, non_overlapping=True, num_frames=5)
    with model.session(options) as session:
        for number, frame in enumerate(frames):
            given = {} if number else {ObjectId(key): mask for key, mask in prompts.items()}
            tracked = session.push_prompted(frame, given)
            assert tracked.ids == tuple(found[number]) == (1, 2)
            assert np.array_equal(tracked.bitmaps, np.stack(list(found[number].values())))
            assert not tracked.bitmaps.all(axis=0).any()


def test_the_last_mask_is_the_prompt_of_the_next_frame(davis: Drawn):
    """A model that draws its mask prompt as it is keeps the first mask for ever."""
    frames = [scene.picture for scene in davis.read(0, range(3)).scenes]
    shown = [(frame, {} if number else {1: square(10, 5)}) for number, frame in enumerate(frames)]
    found = [masks[1] for masks in by_last_mask(MaskModel(Fake()), iter(shown), 3)]
    assert found[0].mean() == pytest.approx(square(10, 5).mean(), rel=0.1)
    assert iou(found[1], found[0]) > 0.9  # the first mask's edges are soft, those of the drawn ones are not
    assert np.array_equal(found[2], found[1])
