from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from maskwright.errors import InputError, PromptError, StateError
from maskwright.frames import Frame, TrackedFrame
from maskwright.mask_model import MaskModel
from maskwright.pixels.postprocess import VIDEO_FILL
from maskwright.runtime.eager import Eager
from maskwright.runtime.fake import LOGIT, Fake
from maskwright.track.options import TrackOptions
from maskwright.track.session import Session
from maskwright.types import Box, MaskPrompt, Points
from small import SMALL, small_clip, small_runtime

SIZE = (48, 64)
EXACT = TrackOptions(memory_dtype="float32")
"""For comparisons of different orders of sums: bfloat16 may round them to different sides."""
CLICK, BOX = Points((20, 20)), Box(30, 8, 60, 40)


@pytest.fixture(scope="module")
def runtime() -> Eager:
    return small_runtime()


@pytest.fixture(scope="module")
def clip() -> np.ndarray:
    return small_clip(14, SIZE)


@pytest.fixture
def drawing() -> Session:
    """A session whose masks are drawn: discs around clicks, boxes, and where an object was last."""
    return Session(Fake(SMALL))


def bright(value: int = 200) -> np.ndarray:
    return np.full((*SIZE, 3), value, np.uint8)


def disc(x: int, y: int, radius: int) -> np.ndarray:
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    inside: np.ndarray = np.hypot(columns - x, rows - y) < radius
    return inside


def run(session: Session, frames: np.ndarray, prompts: dict[int, dict[int, Any]]) -> list[TrackedFrame]:
    """Push frames; ``prompts`` by number of the frame, then by object."""
    tracked = []
    for number, frame in enumerate(frames):
        tracked.append(session.push(frame))
        for one, prompt in prompts.get(number, {}).items():
            tracked[-1] = session.prompt(one, prompt)
    return tracked


def assert_same(a: TrackedFrame, b: TrackedFrame, *, within: float = 0.0) -> None:
    """The same objects with the same numbers."""
    assert (a.index, a.ids, a.prompted) == (b.index, b.ids, b.prompted)
    for name in ("logits", "scores", "object_scores"):
        one, other = getattr(a, name), getattr(b, name)
        np.testing.assert_allclose(one, other, rtol=0, atol=within * np.abs(one).max(initial=0), err_msg=name)
    if not within:
        np.testing.assert_array_equal(a.bitmaps, b.bitmaps)
        np.testing.assert_array_equal(a.boxes, b.boxes)


def only(tracked: TrackedFrame, ids: Sequence[int]) -> TrackedFrame:
    """Some of the objects of a frame."""
    rows = [tracked.ids.index(number) for number in ids]
    parts = ("bitmaps", "scores", "object_scores", "boxes", "areas", "logits")
    picked = {name: getattr(tracked, name)[rows] for name in parts}
    return replace(tracked, ids=tuple(ids), prompted=tracked.prompted & set(ids), **picked)


class TestPushing:
    def test_what_comes_back(self, runtime: Eager, clip: np.ndarray) -> None:
        session = Session(runtime)
        empty = session.push(clip[0])
        assert (len(empty), empty.bitmaps.shape, empty.logits.shape) == (0, (0, *SIZE), (0, 16, 16))
        tracked = run(session, clip[1:4], {0: {7: CLICK, 3: BOX}})
        first, last = tracked[0], tracked[-1]
        assert (first.ids, first.prompted, last.prompted) == ((7, 3), {3, 7}, frozenset())
        assert (first.index, last.index) == (1, 3)
        assert last.bitmaps.shape == (2, *SIZE)
        assert last.logits.shape == (2, 16, 16)
        assert last.areas.tolist() == last.bitmaps.sum((1, 2)).tolist()
        assert all(0 < area < SIZE[0] * SIZE[1] for area in last.areas)
        assert last[3].area == last.areas[1]
        assert last.image is not None
        np.testing.assert_array_equal(last.image, clip[3])
        assert session.ids == (7, 3)

    def test_objects_stay_where_they_were_remembered(self, drawing: Session) -> None:
        drawing.push(bright())
        wanted = drawing.prompt(1, BOX).bitmaps
        for _ in range(10):
            np.testing.assert_array_equal(drawing.push(bright()).bitmaps, wanted)

    def test_occluded_objects_are_found_again(self, drawing: Session) -> None:
        drawing.push(bright())
        before = drawing.prompt(1, BOX)
        gone = drawing.push(bright(0))
        assert before.visible.tolist() == [True]
        assert (gone.visible.tolist(), gone.areas.tolist()) == ([False], [0])
        assert gone.boxes.tolist() == [[0, 0, 0, 0]]
        assert not gone[1].visible
        back = drawing.push(bright())
        assert back[1].visible
        np.testing.assert_array_equal(back.bitmaps, before.bitmaps)

    def test_frames_with_numbers_and_times_of_their_own(self, drawing: Session) -> None:
        tracked = drawing.push(Frame(40, bright(), 1.6))
        assert (tracked.index, tracked.time) == (40, 1.6)
        assert drawing.push(bright()).index == 41
        assert drawing.push(Frame(50, bright())).index == 50
        assert drawing.addressable == (40, 41, 50)

    def test_gaps_in_the_numbers_do_not_age_memories(self, runtime: Eager, clip: np.ndarray) -> None:
        """Every pushed frame is one step of time, whatever its number: a stride is a slower camera."""
        near, far = Session(runtime), Session(runtime)
        for number, frame in enumerate(clip[:10]):
            a, b = near.push(Frame(number, frame)), far.push(Frame(number * 30, frame))
            if number == 0:
                a, b = near.prompt(1, CLICK), far.prompt(1, CLICK)
            np.testing.assert_array_equal(a.logits, b.logits)

    def test_other_kinds_of_pictures(self, drawing: Session, photo: Any) -> None:
        drawing.push(photo)
        assert drawing.push(str(photo)).size == (96, 128)
        assert drawing.push(np.zeros((96, 128), np.uint8)).size == (96, 128)

    def test_current_shows_what_prompts_changed(self, drawing: Session) -> None:
        drawing.push(bright())
        assert len(drawing.current) == 0
        prompted = drawing.prompt(1, BOX)
        assert_same(drawing.current, prompted)

    def test_pushing_with_prompts_is_pushing_and_prompting(self, runtime: Eager, clip: np.ndarray) -> None:
        apart, together = Session(runtime), Session(runtime)
        a = run(apart, clip[:6], {0: {1: CLICK}, 3: {1: BOX, 2: BOX}})
        plan: dict[int, dict[Any, Any]] = {0: {1: CLICK}, 3: {1: BOX, 2: BOX}}
        b = [together.push_prompted(frame, plan.get(number, {})) for number, frame in enumerate(clip[:6])]
        for one, other in zip(a, b, strict=True):
            assert_same(one, other)


class TestObjects:
    def test_new_ones_at_any_time(self, drawing: Session) -> None:
        run(drawing, np.stack([bright()] * 5), {0: {1: BOX}})
        tracked = drawing.prompt(9, Points((10, 10)))
        assert (tracked.ids, tracked.prompted) == ((1, 9), {9})
        after = drawing.push(bright())
        assert after.ids == (1, 9)
        np.testing.assert_array_equal(after.bitmaps, tracked.bitmaps)

    def test_together_as_alone(self, runtime: Eager, clip: np.ndarray) -> None:
        """Each object has its own memory: others change nothing but the order of sums."""
        prompts: dict[int, dict[int, Any]] = {
            0: {1: CLICK, 2: BOX},
            2: {3: disc(40, 20, 12)},
            5: {1: Points((50, 30), labels=0)},
        }
        together = run(Session(runtime, EXACT), clip, prompts)
        for number in (1, 2, 3):
            mine = {
                frame: {number: of_frame[number]} for frame, of_frame in prompts.items() if number in of_frame
            }
            alone = run(Session(runtime, EXACT), clip, mine)
            for a, b in zip(alone, together, strict=True):
                assert_same(a, only(b, a.ids), within=1e-5)

    def test_many_objects_go_in_several_batches(self, runtime: Eager, clip: np.ndarray) -> None:
        boxes = {number: Box(2 * number, 4, 2 * number + 20, 40) for number in range(1, 12)}
        together = run(Session(runtime, EXACT), clip[:4], {0: boxes})
        assert together[-1].ids == tuple(boxes)
        for number in (1, 8, 9, 11):
            alone = run(Session(runtime, EXACT), clip[:4], {0: {number: boxes[number]}})
            assert_same(alone[-1], only(together[-1], [number]), within=1e-5)

    @pytest.mark.parametrize("gone", [1, 2, 3])
    def test_a_removed_one_might_never_have_been(self, runtime: Eager, clip: np.ndarray, gone: int) -> None:
        prompts: dict[int, Any] = {1: CLICK, 2: BOX, 3: Points((44, 20))}
        session = Session(runtime, EXACT)
        run(session, clip[:5], {0: prompts})
        session.remove(gone)
        left = [number for number in prompts if number != gone]
        assert session.ids == session.current.ids == tuple(left)
        with_it = [session.push(frame) for frame in clip[5:10]]
        without = run(Session(runtime, EXACT), clip[:10], {0: {number: prompts[number] for number in left}})
        for a, b in zip(with_it, without[5:], strict=True):
            assert_same(a, b, within=1e-5)

    def test_a_number_can_be_used_again(self, drawing: Session) -> None:
        drawing.push(bright())
        drawing.prompt(1, BOX)
        drawing.push(bright())
        drawing.remove(1)
        assert len(drawing.current) == 0
        tracked = drawing.prompt(1, Points((10, 10)))
        assert tracked[1].box[2] < 30, "the box of the object that was removed is still remembered"

    def test_memory_does_not_shrink_below_its_first_size(self, drawing: Session) -> None:
        drawing.push(bright())
        size = drawing.num_bytes
        for number in range(8):
            drawing.prompt(number, BOX)
        assert drawing.num_bytes == 8 * size

    @pytest.mark.parametrize("number", [True, "1", 1.0, None])
    def test_numbers_are_whole(self, drawing: Session, number: Any) -> None:
        drawing.push(bright())
        with pytest.raises(InputError, match="whole number"):
            drawing.prompt(number, BOX)
        assert drawing.ids == ()

    def test_numpy_numbers_are_numbers(self, drawing: Session) -> None:
        drawing.push(bright())
        drawing.prompt(np.int64(4), BOX)
        assert drawing.ids == (4,)
        assert type(drawing.ids[0]) is int
        drawing.remove(4)

    def test_removing_what_is_not_there(self, drawing: Session) -> None:
        drawing.push(bright())
        drawing.prompt(1, BOX)
        with pytest.raises(InputError, match="there is no object 2; there are: 1"):
            drawing.remove(2)


class TestCorrections:
    def test_on_the_current_frame(self, runtime: Eager, clip: np.ndarray) -> None:
        session = Session(runtime)
        tracked = run(session, clip[:6], {0: {1: CLICK}})
        corrected = session.prompt(1, Points((50, 30)))
        assert np.abs(corrected.logits - tracked[-1].logits).max() > 1e-3
        assert corrected.prompted == {1}
        after = session.push(clip[6])
        uncorrected = run(Session(runtime), clip[:7], {0: {1: CLICK}})[-1]
        assert np.abs(after.logits - uncorrected.logits).max() > 1e-3

    def test_clicks_and_boxes_in_a_frame_add_up(self, runtime: Eager, clip: np.ndarray) -> None:
        """A second call starts from the mask of the first, but asks with everything."""
        session = Session(runtime)
        session.push(clip[0])
        first = session.prompt(1, CLICK)
        second = session.prompt(1, Points((50, 30), labels=0))
        other = Session(runtime)
        other.push(clip[0])
        both = Points([(20, 20), (50, 30)], labels=[1, 0])
        mask = MaskPrompt(np.clip(first.logits[0], -32, 32))
        expected = other.prompt(1, both + mask)
        np.testing.assert_allclose(second.logits, expected.logits, atol=1e-5)

    def test_a_bitmap_replaces_clicks(self, drawing: Session) -> None:
        drawing.push(bright())
        drawing.prompt(1, Points((8, 8)))
        tracked = drawing.prompt(1, disc(44, 24, 12))
        assert tracked[1].box[0] > 24
        added = drawing.prompt(1, Points((8, 8)))
        assert added[1].box[0] < 8
        assert added.bitmaps[0, 24, 44], "the click started from the mask before it"

    @pytest.mark.parametrize("back", [1, 3])
    def test_on_an_earlier_frame_is_carried_forward(
        self, runtime: Eager, clip: np.ndarray, back: int
    ) -> None:
        """The same as if it had been given when the frame was current, for this object and the others."""
        late, frame = Session(runtime, EXACT), 7 - back
        run(late, clip[:8], {0: {1: CLICK, 2: BOX}})
        shown = late.prompt(1, Points((50, 30)), frame=frame)
        in_time = Session(runtime, EXACT)
        wanted = run(in_time, clip[:8], {0: {1: CLICK, 2: BOX}, frame: {1: Points((50, 30))}})
        assert_same(shown, wanted[frame], within=1e-5)
        assert_same(late.current, wanted[-1], within=1e-5)
        for following in clip[8:]:
            assert_same(late.push(following), in_time.push(following), within=1e-5)

    def test_a_new_object_on_an_earlier_frame(self, runtime: Eager, clip: np.ndarray) -> None:
        late, in_time = Session(runtime, EXACT), Session(runtime, EXACT)
        run(late, clip[:6], {0: {1: CLICK}})
        late.prompt(2, BOX, frame=3)
        wanted = run(in_time, clip[:6], {0: {1: CLICK}, 3: {2: BOX}})
        assert_same(late.current, wanted[-1], within=1e-5)
        assert_same(late.push(clip[6]), in_time.push(clip[6]), within=1e-5)

    def test_carrying_forward_stops_at_nothing_and_keeps_later_prompts(
        self, runtime: Eager, clip: np.ndarray
    ) -> None:
        session = Session(runtime)
        tracked = run(session, clip[:6], {0: {1: CLICK}, 4: {1: BOX}})
        session.prompt(1, Points((50, 30)), frame=2)
        again = session.prompt(2, CLICK, frame=4)
        np.testing.assert_array_equal(only(again, [1]).logits, tracked[4].logits)

    def test_anchors_stay_and_others_age(self, runtime: Eager, clip: np.ndarray) -> None:
        kept, aging = Session(runtime), Session(runtime)
        for session, anchor in ((kept, True), (aging, False)):
            run(session, clip[:3], {0: {1: CLICK}})
            session.prompt(1, BOX, anchor=anchor)
            for frame in small_clip(12, SIZE, seed=5):
                session.push(frame)
        assert {f for f, stays in kept._tracks.memories.frames(0).items() if stays} == {0, 2}
        assert {f for f, stays in aging._tracks.memories.frames(0).items() if stays} == {0}
        assert 2 not in aging._tracks.memories.frames(0)

    def test_a_first_prompt_is_always_an_anchor(self, drawing: Session) -> None:
        drawing.push(bright())
        drawing.prompt(1, BOX, anchor=False)
        for _ in range(12):
            tracked = drawing.push(bright())
        assert drawing._tracks.memories.frames(0)[0]
        assert tracked[1].area > 0

    def test_frames_go_out_of_reach(self) -> None:
        session = Session(Fake(SMALL), TrackOptions(rewind=2))
        run(session, np.stack([bright()] * 5), {0: {1: BOX}})
        assert session.addressable == (2, 3, 4)
        with pytest.raises(InputError, match=r"frame 1 cannot be prompted \(any more\).*2, 3, 4.*rewind="):
            session.prompt(1, BOX, frame=1)
        assert session.prompt(1, BOX, frame=2).index == 2

    def test_no_rewind(self) -> None:
        session = Session(Fake(SMALL), TrackOptions(rewind=0))
        run(session, np.stack([bright()] * 3), {0: {1: BOX}})
        assert session.addressable == (2,)


class TestPrompts:
    def test_bitmaps(self, drawing: Session) -> None:
        wanted = disc(30, 24, 14)
        drawing.push(bright())
        tracked = drawing.prompt(1, wanted)
        assert (tracked.scores.tolist(), tracked.object_scores.tolist()) == ([1], [LOGIT])
        overlap = (tracked.bitmaps[0] & wanted).sum() / (tracked.bitmaps[0] | wanted).sum()
        assert overlap > 0.85
        np.testing.assert_array_equal(drawing.prompt(1, wanted.astype(np.uint8)).bitmaps, tracked.bitmaps)
        np.testing.assert_array_equal(drawing.prompt(1, wanted[None]).bitmaps, tracked.bitmaps)

    def test_an_empty_bitmap_says_that_the_object_is_not_here(self, drawing: Session) -> None:
        drawing.push(bright())
        tracked = drawing.prompt(1, np.zeros(SIZE, np.bool_))
        assert (tracked.visible.tolist(), tracked.areas.tolist()) == ([False], [0])

    def test_logits_alone_are_taken_as_the_mask(self, runtime: Eager, clip: np.ndarray) -> None:
        session, other = Session(runtime), Session(runtime)
        session.push(clip[0])
        other.push(clip[0])
        rows, columns = np.mgrid[:16, :16]
        logits = 20.0 - 4 * np.hypot(rows - 7, columns - 7)
        tracked = session.prompt(1, MaskPrompt(logits))
        assert tracked.scores.tolist() == [1]
        np.testing.assert_array_equal(tracked.logits[0] > 0, logits > 0)
        full = torch.nn.functional.interpolate(
            torch.from_numpy(logits)[None, None].float(), SIZE, mode="bilinear"
        )
        by_bitmap = other.prompt(1, (full[0, 0] > 0).numpy())
        assert (by_bitmap.bitmaps ^ tracked.bitmaps).mean() < 0.05

    def test_logits_with_clicks_are_a_hint(self, runtime: Eager, clip: np.ndarray) -> None:
        session = Session(runtime)
        session.push(clip[0])
        plain = session.prompt(1, CLICK).logits
        session.remove(1)
        hinted = session.prompt(1, CLICK + MaskPrompt(np.full((16, 16), 9.0))).logits
        assert np.abs(plain - hinted).max() > 1e-3

    @pytest.mark.parametrize(
        ("prompt", "message"),
        [
            (Points((65, 10)), "outside"),
            (Points((10, 50)), "outside"),
            (Box(-1, 0, 10, 10), "outside"),
            (np.zeros((64, 48), np.bool_), "expected bool"),
            (np.zeros((2, *SIZE), np.bool_), "expected bool"),
            (np.full(SIZE, 0.5), "other values than 0 and 1"),
            (MaskPrompt(np.zeros((8, 8))), "this model wants"),
            ([], "empty"),
            ("here", "not a prompt"),
        ],
    )
    def test_malformed_ones_change_nothing(self, drawing: Session, prompt: Any, message: str) -> None:
        drawing.push(bright())
        drawing.prompt(1, BOX)
        before = drawing.current
        for number in (1, 2):
            with pytest.raises(PromptError, match=message) as caught:
                drawing.prompt(number, prompt)
            assert "\n" not in str(caught.value)
        assert_same(drawing.current, before)
        assert drawing.push(bright()).ids == (1,)


class TestOptions:
    def test_without_overlaps(self, runtime: Eager, clip: np.ndarray) -> None:
        prompts: dict[int, dict[int, Any]] = {0: {1: CLICK, 2: BOX}}
        plain = run(Session(runtime), clip[:3], prompts)[-1]
        apart = run(Session(runtime, TrackOptions(non_overlapping=True)), clip[:3], prompts)[-1]
        assert plain.bitmaps.all(0).any(), "nothing overlaps, so nothing is tested"
        assert not apart.bitmaps.all(0).any()
        np.testing.assert_array_equal(apart.bitmaps.any(0), plain.bitmaps.any(0))
        np.testing.assert_array_equal(apart.logits, plain.logits)

    def test_holes_are_filled_as_officially(self, drawing: Session) -> None:
        """Up to 8 cells of the mask grid, with 0.1; larger ones stay. What is shown is what is remembered."""
        logits = np.full((16, 16), -5.0)
        logits[1:15, 1:15] = 5
        logits[3:5, 3:6] = -5  # 6 cells
        logits[8:11, 8:11] = -5  # 9 cells
        drawing.push(bright())
        filled = drawing.prompt(1, MaskPrompt(logits)).logits[0]
        assert (filled[3:5, 3:6] == np.float32(VIDEO_FILL)).all()
        assert (filled[8:11, 8:11] < 0).all()
        assert (filled[0] < 0).all(), "a region at the border is larger than that"
        after = drawing.push(bright()).logits[0]
        assert (after[3:5, 3:6] > 0).all()

    @pytest.mark.parametrize(("holes", "specks"), [(0, 0), (0, 4), (16, 0)])
    def test_other_areas(self, holes: int, specks: int) -> None:
        logits = np.full((16, 16), -5.0)
        logits[1:12, 1:12] = 5
        logits[8:11, 8:11] = -5  # 9 cells
        logits[13:15, 13:15] = 5  # 4 cells
        session = Session(Fake(SMALL), TrackOptions(max_hole_area=holes, max_speck_area=specks))
        session.push(bright())
        shown = session.prompt(1, MaskPrompt(logits)).logits[0]
        assert bool((shown[8:11, 8:11] > 0).all()) == (holes > 8)
        assert bool((shown[13:15, 13:15] > 0).all()) == (specks < 4)

    def test_memories_in_float32(self, runtime: Eager, clip: np.ndarray) -> None:
        exact = Session(runtime, TrackOptions(memory_dtype="float32"))
        a = run(exact, clip[:8], {0: {1: CLICK}})[-1].logits
        b = run(Session(runtime), clip[:8], {0: {1: CLICK}})[-1].logits
        assert 0 < np.abs(a - b).max() < 0.05 * np.abs(a).max()

    def test_the_length_of_the_video_matters_below_16_frames(self, runtime: Eager, clip: np.ndarray) -> None:
        def last(num_frames: int | None) -> np.ndarray:
            session = Session(runtime, TrackOptions(num_frames=num_frames))
            return run(session, clip[:8], {0: {1: CLICK}})[-1].logits

        np.testing.assert_array_equal(last(None), last(16))
        np.testing.assert_array_equal(last(None), last(5000))
        assert not np.array_equal(last(8), last(None))

    @pytest.mark.parametrize(
        "wrong",
        [
            {"max_prompts": 0},
            {"encode_ahead": 0},
            {"rewind": -1},
            {"rewind": 1.5},
            {"num_frames": 0},
            {"memory_dtype": "float16"},
            {"max_hole_area": -1},
            {"max_speck_area": float("nan")},
            {"max_hole_area": float("inf")},
        ],
    )
    def test_impossible_ones(self, wrong: dict[str, Any]) -> None:
        (name,) = wrong
        with pytest.raises(InputError, match=name):
            TrackOptions(**wrong)

    def test_prompted_frames_beyond_the_limit_are_forgotten(self, runtime: Eager, clip: np.ndarray) -> None:
        session = Session(runtime, TrackOptions(max_prompts=2))
        run(session, clip[:9], {frame: {1: CLICK} for frame in (0, 3, 6)})
        assert {f for f, stays in session._tracks.memories.frames(0).items() if stays} == {0, 6}


class TestLife:
    def test_prompts_need_a_frame(self, drawing: Session) -> None:
        with pytest.raises(StateError, match="no frame was pushed yet"):
            drawing.prompt(1, BOX)
        with pytest.raises(StateError, match="no frame was pushed yet"):
            drawing.current  # noqa: B018
        assert drawing.addressable == ()

    def test_unknown_frames(self, drawing: Session) -> None:
        drawing.push(bright())
        with pytest.raises(InputError, match="frame 5 cannot be prompted"):
            drawing.prompt(1, BOX, frame=5)
        assert drawing.ids == ()

    def test_frames_keep_their_size(self, drawing: Session) -> None:
        drawing.push(bright())
        before = drawing.prompt(1, BOX)
        with pytest.raises(InputError, match="frame 1 is 64 x 50 pixels, the frames before were 64 x 48"):
            drawing.push(np.zeros((50, 64, 3), np.uint8))
        assert_same(drawing.current, before)
        assert drawing.push(bright()).index == 1

    def test_reset(self, runtime: Eager, clip: np.ndarray) -> None:
        session = Session(runtime)
        wanted = run(session, clip[:3], {0: {1: CLICK, 2: BOX}})
        session.reset()
        assert (session.ids, session.addressable) == ((), ())
        session.push(np.zeros((20, 30, 3), np.uint8))
        session.reset()
        for a, b in zip(run(session, clip[:3], {0: {1: CLICK, 2: BOX}}), wanted, strict=True):
            assert_same(a, b)

    def test_closed(self, drawing: Session, tmp_path: Any) -> None:
        with drawing as session:
            session.push(bright())
            session.prompt(1, BOX)
            used = session.num_bytes
        session.close()
        assert session.num_bytes <= used
        calls = [
            lambda: session.push(bright()),
            lambda: session.prompt(1, BOX),
            lambda: session.remove(1),
            session.reset,
            lambda: session.current,
            lambda: session.save(tmp_path / "x"),
        ]
        for call in calls:
            with pytest.raises(StateError, match="the session is closed"):
                call()

    def test_it_closes_after_an_error(self, drawing: Session) -> None:
        with pytest.raises(ZeroDivisionError), drawing:
            _ = 1 / 0
        with pytest.raises(StateError, match="closed"):
            drawing.push(bright())

    def test_sessions_share_a_model(self, runtime: Eager, clip: np.ndarray) -> None:
        model = MaskModel(runtime)
        alone = run(model.session(), clip[:5], {0: {1: CLICK}})
        with model.session() as one, model.session() as other:
            for number in range(5):
                a = one.push(clip[number])
                other.push(clip[::-1][number])
                if number == 0:
                    a = one.prompt(1, CLICK)
                    other.prompt(1, BOX)
                assert_same(a, alone[number])

    def test_models_for_pictures_alone_say_so(self) -> None:
        model = MaskModel(Fake(SMALL), image_only=True)
        for call in (model.session, lambda: model.load_session("x"), lambda: model.track([], {1: BOX})):
            with pytest.raises(InputError, match="segment pictures only"):
                call()

    def test_a_picture_is_encoded_once(self) -> None:
        fake = Fake(SMALL)
        session = Session(fake)
        session.push(bright())
        assert fake.encoded == 0, "without objects there is nothing to look for"
        for number in range(4):
            session.prompt(number, BOX)
        session.push(bright())
        assert fake.encoded == 2
