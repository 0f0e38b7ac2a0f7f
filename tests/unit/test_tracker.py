from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from PIL import Image

from clips import make_clip
from maskwright.errors import InputError, PromptError, SourceError, StateError
from maskwright.frames import Frame, TrackedFrame
from maskwright.io.sources import Source, open_source
from maskwright.mask_model import MaskModel
from maskwright.model.mask_decoder import ImageFeatures
from maskwright.runtime.eager import Eager, place
from maskwright.runtime.fake import Fake
from maskwright.runtime.select import choose
from maskwright.sam2.sam2_video_predictor import SAM2VideoPredictor
from maskwright.track.ahead import EncodedFrame, ReadyFrame
from maskwright.track.options import TrackOptions
from maskwright.track.session import Session
from maskwright.track.tracker import Direction
from maskwright.types import Box, Points
from small import SMALL, lively, small_clip

NUM_FRAMES = 24
SIZE = (64, 64)
"""That of the network's input, so that nobody has to resize."""
pytestmark = pytest.mark.usefixtures("one_thread")
CLICK, BOX = Points((20, 20)), Box(30, 8, 60, 40)
WAIT = 20.0
"""Seconds after which something that should happen at once has failed."""


@pytest.fixture(scope="module")
def model() -> MaskModel:
    choice = choose("cpu", None)
    return MaskModel(Eager(place(lively(), choice), choice))


@pytest.fixture(scope="module")
def clip() -> np.ndarray:
    return small_clip(NUM_FRAMES, SIZE)


@pytest.fixture
def drawing() -> MaskModel:
    return MaskModel(Fake(SMALL))


def assert_same(a: TrackedFrame, b: TrackedFrame) -> None:
    """Bit by bit, numbers of frames aside."""
    assert (a.ids, a.prompted) == (b.ids, b.prompted)
    for name in ("bitmaps", "scores", "object_scores", "boxes", "areas", "logits", "image"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)


def pushed(
    model: MaskModel, frames: np.ndarray | list[np.ndarray], prompts: dict[int, dict[int, Any]]
) -> list[TrackedFrame]:
    """The same by hand: ``prompts`` by place among the frames, then by object."""
    tracked = []
    with model.session() as session:
        for place_, frame in enumerate(frames):
            tracked.append(session.push(frame))
            for number, prompt in prompts.get(place_, {}).items():
                tracked[-1] = session.prompt(number, prompt)
    return tracked


def readers() -> list[threading.Thread]:
    """Threads that read ahead."""
    return [thread for thread in threading.enumerate() if thread.name == "maskwright-prefetch"]


@pytest.fixture(params=[False, True], ids=["on a processor", "as for a GPU"])
def prepares_ahead(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether frames are also stretched on another thread."""
    monkeypatch.setattr(Session, "prepares_ahead", request.param)


@pytest.mark.usefixtures("prepares_ahead")
class TestSameAsPushing:
    def test_forward(self, model: MaskModel, clip: np.ndarray) -> None:
        prompts: dict[int, Any] = {1: CLICK, 2: {4: BOX}, 3: {0: BOX, 6: Points((50, 30))}}
        tracked = list(model.track(clip[:10], prompts))
        wanted = pushed(model, clip[:10], {0: {1: CLICK, 3: BOX}, 4: {2: BOX}, 6: {3: Points((50, 30))}})
        assert [one.index for one in tracked] == list(range(10))
        for a, b in zip(tracked, wanted, strict=True):
            assert set(a.ids) == set(b.ids)
            for number in a.ids:
                row, other = a.ids.index(number), b.ids.index(number)
                np.testing.assert_array_equal(a.logits[row], b.logits[other])
                np.testing.assert_array_equal(a.bitmaps[row], b.bitmaps[other])

    @pytest.mark.parametrize("kind", ["folder", "list", "generator", "source", "file"])
    def test_from_whatever_it_comes(
        self, drawing: MaskModel, clip: np.ndarray, tmp_path: Path, kind: str
    ) -> None:
        paths = [tmp_path / f"{number}.png" for number in range(6)]
        for path, frame in zip(paths, clip, strict=False):
            Image.fromarray(frame).save(path)
        frames = clip[:6]
        source: Any = {
            "folder": tmp_path,
            "list": list(frames),
            "generator": iter(frames),
            "source": open_source(frames),
        }.get(kind)
        if kind == "file":
            source = make_clip(tmp_path / "clip.mp4", 6, size_wh=(64, 64))
            with open_source(source) as opened:
                frames = np.stack([one.image for one in opened.frames()])
        tracked = list(drawing.track(source, {1: BOX}))
        for a, b in zip(tracked, pushed(drawing, frames, {0: {1: BOX}}), strict=True):
            assert_same(a, b)

    def test_times_are_the_sources(self, drawing: MaskModel, tmp_path: Path) -> None:
        path = make_clip(tmp_path / "clip.mp4", 5)
        assert [one.time for one in drawing.track(path, {1: BOX})] == pytest.approx(
            [0, 0.04, 0.08, 0.12, 0.16]
        )

    def test_backward(self, model: MaskModel, clip: np.ndarray) -> None:
        tracked = list(model.track(clip, {1: {15: CLICK}, 2: {10: BOX}}, direction="backward", stop=3))
        wanted = pushed(model, clip[15:2:-1], {0: {1: CLICK}, 5: {2: BOX}})
        assert [one.index for one in tracked] == list(range(15, 2, -1))
        for a, b in zip(tracked, wanted, strict=True):
            assert_same(a, b)

    def test_with_a_stride(self, model: MaskModel, clip: np.ndarray) -> None:
        tracked = list(model.track(clip, {1: CLICK}, start=2, stop=20, step=3))
        assert [one.index for one in tracked] == [2, 5, 8, 11, 14, 17]
        for a, b in zip(tracked, pushed(model, clip[2:20:3], {0: {1: CLICK}}), strict=True):
            assert_same(a, b)

    def test_prompts_between_two_frames(self, model: MaskModel, clip: np.ndarray) -> None:
        wanted = pushed(model, clip[:8], {0: {1: CLICK}, 3: {1: BOX}})
        with model.track(clip[:8], {1: CLICK}) as tracking:
            for one in tracking:
                if one.index == 3:
                    one = tracking.session.prompt(1, BOX)
                assert_same(one, wanted[one.index])


def official(model: MaskModel, clip: np.ndarray) -> tuple[SAM2VideoPredictor, Any]:
    """The drop-in with the same weights and the options that the official builder sets."""
    predictor = SAM2VideoPredictor(
        lively(),
        fill_hole_area=8,
        dynamic_multimask_via_stability=True,
        binarize_mask_from_pts_for_mem_enc=True,
    )
    return predictor.eval(), predictor.init_state(list(clip))  # type: ignore[arg-type]


class TestBothWays:
    @pytest.mark.parametrize("first", [0, 4, 10, 20])
    def test_as_officially(self, model: MaskModel, clip: np.ndarray, first: int) -> None:
        """Forward from the prompted frame, then ``reverse=True`` from it."""
        tracked = list(model.track(clip, {1: {first: CLICK}, 2: {first: BOX}}, direction="both"))
        assert [one.index for one in tracked] == [*range(first, NUM_FRAMES), *range(first - 1, -1, -1)]
        predictor, state = official(model, clip)
        predictor.add_new_points_or_box(state, first, 1, points=CLICK.coords, labels=CLICK.labels)
        predictor.add_new_points_or_box(state, first, 2, box=BOX.corners)
        wanted = [logits for _, _, logits in predictor.propagate_in_video(state, first)]
        wanted += [logits for _, _, logits in predictor.propagate_in_video(state, first, reverse=True)][1:]
        for one, logits in zip(tracked, wanted, strict=True):
            np.testing.assert_array_equal(one.bitmaps, (logits > 0)[:, 0].numpy(), err_msg=f"{one.index}")

    def test_with_later_prompts(self, model: MaskModel, clip: np.ndarray) -> None:
        """They are conditioning frames on the way back too: a new object has nothing else."""
        late = Points((44, 30))
        tracked = list(model.track(clip, {1: {6: CLICK}, 2: {12: late}}, direction="both"))
        predictor, state = official(model, clip)
        predictor.add_new_points_or_box(state, 6, 1, points=CLICK.coords, labels=CLICK.labels)
        for _ in predictor.propagate_in_video(state):
            pass
        predictor.add_new_points_or_box(state, 12, 2, points=late.coords, labels=late.labels)
        for _ in predictor.propagate_in_video(state, 12):
            pass
        back = {f: logits for f, _, logits in predictor.propagate_in_video(state, 6, reverse=True)}
        for one in tracked[NUM_FRAMES - 6 :]:
            np.testing.assert_array_equal(one.bitmaps[:1], (back[one.index] > 0)[:1, 0].numpy())

    def test_the_range_is_that_of_the_way_forward(self, drawing: MaskModel, clip: np.ndarray) -> None:
        tracking = drawing.track(clip, {1: {9: BOX}}, direction="both", stop=14, step=2)
        assert tracking.num_frames == 7
        assert [one.index for one in tracking] == [9, 11, 13, 7, 5, 3, 1]

    def test_from_the_first_frame_it_is_forward(self, drawing: MaskModel, clip: np.ndarray) -> None:
        assert [one.index for one in drawing.track(clip[:3], {1: BOX}, direction="both")] == [0, 1, 2]

    def test_objects_may_be_removed_meanwhile(self, model: MaskModel, clip: np.ndarray) -> None:
        seen = []
        with model.track(clip, {1: {8: CLICK}, 2: {8: BOX}}, direction="both", stop=14) as tracking:
            for one in tracking:
                seen.append((one.index, one.ids))
                if one.index in (10, 5):
                    tracking.session.remove({10: 2, 5: 1}[one.index])
        assert seen[-1] == (0, ())
        assert (13, (1,)) in seen
        assert (6, (1,)) in seen


class TestRanges:
    @pytest.mark.parametrize(
        ("options", "frames"),
        [
            ({}, [3, 4, 5, 6, 7, 8, 9, 10, 11]),
            ({"stop": 6}, [3, 4, 5]),
            ({"start": 1, "stop": 5}, [1, 2, 3, 4]),
            ({"start": 0, "step": 3}, [0, 3, 6, 9]),
            ({"direction": "backward"}, [3, 2, 1, 0]),
            ({"direction": "backward", "start": 7, "stop": 1, "step": 2}, [7, 5, 3, 1]),
            ({"direction": "both", "start": 3}, [*range(3, 12), 2, 1, 0]),
            ({"stop": 500}, list(range(3, 12))),
        ],
    )
    def test_visited_frames(
        self, drawing: MaskModel, clip: np.ndarray, options: dict[str, Any], frames: list[int]
    ) -> None:
        tracking = drawing.track(clip[:12], {1: {3: BOX}}, **options)
        assert tracking.num_frames == len(frames)
        tracked = list(tracking)
        assert [one.index for one in tracked] == frames
        assert [one.prompted for one in tracked] == [{1} if index == 3 else set() for index in frames]

    def test_the_start_is_the_earliest_prompt(self, drawing: MaskModel, clip: np.ndarray) -> None:
        prompts = {1: {5: BOX, 2: BOX}, 2: {9: BOX}}
        assert next(drawing.track(clip, prompts)).index == 2
        assert next(drawing.track(clip, prompts, direction="backward")).index == 9
        assert next(drawing.track(clip, {1: {5: BOX}, 2: BOX})).index == 0
        assert next(drawing.track(clip, {1: BOX}, start=7)).index == 7
        assert next(drawing.track(clip, {1: BOX}, start=7, direction="backward")).index == 7

    def test_streams_have_no_length(self, drawing: MaskModel, clip: np.ndarray) -> None:
        tracking = drawing.track(iter(clip[:5]), {1: BOX})
        assert tracking.num_frames is None
        assert len(list(tracking)) == 5

    @pytest.mark.parametrize(
        ("prompts", "options", "message"),
        [
            ({}, {}, "no prompts"),
            ({1: {}}, {}, "no prompts"),
            ({1: BOX}, {"direction": "sideways"}, "direction"),
            ({1: BOX}, {"start": -1}, "start is -1"),
            ({1: BOX}, {"stop": 2.5}, "stop is 2.5"),
            ({1: BOX}, {"step": 0}, "step is 0"),
            ({"a": BOX}, {}, "whole number"),
            ({1: {-3: BOX}}, {}, "not the number of a frame"),
            ({1: {1.5: BOX}}, {}, "not the number of a frame"),
            ({1: BOX}, {"direction": "backward"}, "backward from where"),
            ({1: {3: BOX}, 2: BOX}, {"direction": "backward"}, "some prompts have no frame number"),
            ({1: {3: BOX}}, {"start": 5}, "frame 3 is prompted but not visited"),
            ({1: {3: BOX}}, {"stop": 3}, "frame 3 is prompted but not visited"),
            ({1: {3: BOX}, 2: {4: BOX}}, {"step": 2}, "frame 4 is prompted but not visited"),
            ({1: {3: BOX}}, {"direction": "backward", "start": 2}, "frame 3 is prompted but not visited"),
            ({1: {3: BOX}}, {"direction": "backward", "stop": 4}, "frame 3 is prompted but not visited"),
            ({1: {24: BOX}}, {}, "no frame 24 in array, which has frames 0 to 23"),
            ({1: {2: BOX, 30: BOX}}, {}, "no frame 30"),
            ({1: BOX}, {"start": 24}, "no frame 24"),
        ],
    )
    def test_what_makes_no_sense(
        self, drawing: MaskModel, clip: np.ndarray, prompts: Any, options: dict[str, Any], message: str
    ) -> None:
        with pytest.raises(InputError, match=message) as caught:
            drawing.track(clip, prompts, **options)
        assert "\n" not in str(caught.value)
        assert not readers()

    def test_a_stream_that_ends_before_a_prompt(self, drawing: MaskModel, clip: np.ndarray) -> None:
        tracking = drawing.track(iter(clip[:4]), {1: BOX, 2: {9: BOX}})
        seen = []
        with pytest.raises(InputError, match="frame 9 is prompted, but .* ended after frame 3"):
            for one in tracking:
                seen.append(one.index)
        assert seen == [0, 1, 2, 3]

    def test_a_stream_that_is_empty(self, drawing: MaskModel) -> None:
        with pytest.raises(InputError, match="has no frame 0"):
            list(drawing.track(iter([]), {1: BOX}))

    def test_streams_go_forward_only(self, drawing: MaskModel, clip: np.ndarray) -> None:
        tracking = drawing.track(iter(clip), {1: {3: BOX}}, direction="backward")
        with pytest.raises(InputError):
            list(tracking)

    def test_prompts_outside_the_picture(self, drawing: MaskModel, clip: np.ndarray) -> None:
        tracking = drawing.track(clip, {1: BOX, 2: {2: Points((70, 5))}})
        assert [next(tracking).index, next(tracking).index] == [0, 1]
        with pytest.raises(PromptError, match="outside"):
            next(tracking)
        assert not readers()


@pytest.mark.usefixtures("prepares_ahead")
class TestCancelling:
    def test_closing_ends_everything(self, drawing: MaskModel, clip: np.ndarray) -> None:
        closed = threading.Event()

        def frames() -> Iterator[np.ndarray]:
            try:
                while True:
                    yield clip[0]
            finally:
                closed.set()

        tracking = drawing.track(frames(), {1: BOX})
        assert [next(tracking).index, next(tracking).index] == [0, 1]
        assert readers()
        tracking.close()
        tracking.close()
        assert closed.wait(WAIT)
        assert not readers()
        with pytest.raises(StopIteration):
            next(tracking)
        with pytest.raises(StateError, match="closed"):
            tracking.session.push(clip[0])

    def test_leaving_the_block_does_too(self, drawing: MaskModel, clip: np.ndarray) -> None:
        source = open_source(clip)
        with pytest.raises(ZeroDivisionError), drawing.track(source, {1: BOX}) as tracking:
            next(tracking)
            _ = 1 / 0
        assert not readers()
        with pytest.raises(StateError, match="closed"):
            source.frames()

    def test_forgetting_it_does_too(self, drawing: MaskModel, clip: np.ndarray) -> None:
        for _ in drawing.track(clip, {1: BOX}):
            break
        assert not readers()

    def test_the_end_ends_the_thread(self, drawing: MaskModel, clip: np.ndarray) -> None:
        tracking = drawing.track(clip, {1: BOX})
        assert len(list(tracking)) == NUM_FRAMES
        assert not readers()

    @pytest.mark.parametrize("together", [1, 2])
    def test_errors_of_the_source_arrive_in_their_place(
        self, drawing: MaskModel, clip: np.ndarray, together: int
    ) -> None:
        def frames() -> Iterator[np.ndarray]:
            yield from clip[:3]
            raise OSError("the cable was pulled")

        seen = []
        with pytest.raises(OSError, match="the cable"):
            for one in drawing.track(frames(), {1: BOX}, options=TrackOptions(encode_ahead=together)):
                seen.append(one.index)
        assert seen == [0, 1, 2]
        assert not readers()


def test_what_was_made_of_a_frame_goes_when_it_is_no_longer_needed(
    model: MaskModel, clip: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Session, "prepares_ahead", True)
    with model.track(clip[:6], {1: {3: BOX}}, start=0) as tracking:
        for tracked in tracking:
            assert tracked.image is not None
            here = tracking.session._now
            assert here is not None
            assert isinstance(here.frame, ReadyFrame) == (tracked.index < 3), "nothing was encoded before"
            assert not any(isinstance(one.frame, ReadyFrame) for one in tracking.session._before)


def test_a_missing_file_is_told_before_a_runtime_for_videos_is_made(tmp_path: Path) -> None:
    def make() -> Fake:
        raise AssertionError("made")

    model = MaskModel(Fake(SMALL), make_video_runtime=make)
    with pytest.raises(SourceError, match="no such video"):
        model.track(tmp_path / "missing.mp4", {1: BOX})


class TestEncodingAhead:
    """Frames of a file are encoded several at a time."""

    PROMPTS: ClassVar[dict[int, Any]] = {1: CLICK, 2: {4: BOX}}

    @pytest.fixture
    def calls(self, model: MaskModel, monkeypatch: pytest.MonkeyPatch) -> list[int]:
        """Sizes of the batches that are encoded."""
        sizes: list[int] = []
        encode = model.runtime.encode_image

        def counted(pixels_B3HW: torch.Tensor) -> ImageFeatures:
            sizes.append(len(pixels_B3HW))
            return encode(pixels_B3HW)

        monkeypatch.setattr(model.runtime, "encode_image", counted)
        return sizes

    @pytest.mark.parametrize("direction", ["forward", "both"])
    @pytest.mark.usefixtures("prepares_ahead")
    def test_masks_stay(
        self, model: MaskModel, clip: np.ndarray, calls: list[int], direction: Direction
    ) -> None:
        wanted = list(model.track(clip[:10], self.PROMPTS, start=2, direction=direction))
        calls.clear()
        options = TrackOptions(encode_ahead=3)
        with model.track(clip[:10], self.PROMPTS, start=2, direction=direction, options=options) as tracking:
            found = list(tracking)
            assert not any(isinstance(one.frame, EncodedFrame) for one in tracking.session._before)
        assert calls[:3] == [3, 3, 2]
        assert [one.index for one in found] == [one.index for one in wanted]
        for a, b in zip(found, wanted, strict=True):
            assert a.ids == b.ids
            np.testing.assert_allclose(a.logits, b.logits, rtol=1e-4, atol=1e-4)

    def test_corrections_may_look_back(self, model: MaskModel, clip: np.ndarray) -> None:
        logits = []
        for num in (1, 4):
            with model.track(clip[:8], {1: CLICK}, options=TrackOptions(encode_ahead=num)) as tracking:
                for tracked in tracking:
                    if tracked.index == 5:
                        tracking.session.prompt(1, BOX, frame=3)
                logits.append(tracking.session.current.logits)
        np.testing.assert_allclose(*logits, rtol=1e-4, atol=1e-4)

    def test_not_where_the_newest_frame_wins(
        self, model: MaskModel, clip: np.ndarray, calls: list[int]
    ) -> None:
        options = TrackOptions(encode_ahead=4)
        assert list(model.track(iter(clip[:3]), {1: BOX}, drop_frames=True, options=options))
        assert set(calls) == {1}

    def test_a_snapshot_goes_on(self, model: MaskModel, clip: np.ndarray, tmp_path: Path) -> None:
        options = TrackOptions(encode_ahead=3)
        wanted = list(model.track(clip[:8], {1: CLICK}, options=options))[-1]
        with model.track(clip[:8], {1: CLICK}, options=options) as tracking:
            while next(tracking).index < 4:
                pass
            path = tracking.session.save(tmp_path / "snapshot")
        with model.load_session(path) as session:
            assert session.options.encode_ahead == 3
            for frame in clip[5:8]:
                last = session.push(frame)
        np.testing.assert_allclose(last.logits, wanted.logits, rtol=1e-4, atol=1e-4)


class TestDroppingFrames:
    def test_the_newest_frame_wins(self, drawing: MaskModel, clip: np.ndarray) -> None:
        busy, all_read = threading.Event(), threading.Event()

        def camera() -> Iterator[Frame]:
            for number, frame in enumerate(clip):
                yield Frame(number, frame)
                assert busy.wait(WAIT)
            all_read.set()

        tracking = drawing.track(camera(), {1: BOX, 2: {7: BOX}, 3: {9: CLICK}}, drop_frames=True)
        first = next(tracking)
        busy.set()
        assert all_read.wait(WAIT)
        rest = list(tracking)
        assert rest[-1].index == NUM_FRAMES - 1
        assert len(rest) <= 2, "one frame at most waits beside the one that was being handed over"
        assert tracking.dropped == NUM_FRAMES - 1 - len(rest)
        assert 1 in first.prompted
        assert set(rest[-1].ids) == {1, 2, 3}, "prompts of dropped frames go to the next one"

    def test_a_quick_consumer_loses_nothing(self, drawing: MaskModel, clip: np.ndarray) -> None:
        wanted = threading.Semaphore(0)

        def camera() -> Iterator[np.ndarray]:
            for frame in clip[:6]:
                assert wanted.acquire(timeout=WAIT)
                yield frame

        tracking = drawing.track(camera(), {1: BOX}, drop_frames=True)
        seen = []
        for _ in range(6):
            wanted.release()
            seen.append(next(tracking).index)
        assert (seen, tracking.dropped) == ([0, 1, 2, 3, 4, 5], 0)

    def test_live_sources_drop_by_default(self, drawing: MaskModel, clip: np.ndarray) -> None:
        source: Any = open_source(clip)
        source.live = True
        assert isinstance(source, Source)
        assert drawing.track(source, {1: BOX}).plan.drop_frames
        assert not drawing.track(source, {1: BOX}, drop_frames=False).plan.drop_frames
        with pytest.raises(InputError, match="is live and cannot be followed both; use forward"):
            drawing.track(source, {1: {3: BOX}}, direction="both")


class TestResuming:
    @pytest.mark.parametrize(
        ("direction", "stop_after"),
        [("forward", 1), ("forward", 6), ("backward", 1), ("backward", 12)]
        + [("both", after) for after in (1, 12, 15, 16, 20)],  # the way back begins after 15
    )
    def test_it_goes_on_bit_by_bit(
        self, model: MaskModel, clip: np.ndarray, tmp_path: Path, direction: Any, stop_after: int
    ) -> None:
        prompts: dict[int, Any] = {1: {9: CLICK}, 2: {9: BOX, 13: CLICK}}
        if direction == "backward":
            prompts = {1: {20: CLICK}, 2: {20: BOX, 17: CLICK}}
        path = tmp_path / "snapshot"
        wanted = list(model.track(clip, prompts, direction=direction))
        with model.track(clip, prompts, direction=direction) as tracking:
            for _ in range(stop_after):
                next(tracking)
            tracking.session.save(path)
        session = model.load_session(path)
        rest = list(model.track(clip, prompts, direction=direction, session=session))
        assert [one.index for one in rest] == [one.index for one in wanted[stop_after:]]
        for a, b in zip(rest, wanted[stop_after:], strict=True):
            assert_same(a, b)

    def test_at_the_end_there_is_nothing_left(
        self, drawing: MaskModel, clip: np.ndarray, tmp_path: Path
    ) -> None:
        tracking = drawing.track(clip[:4], {1: BOX})
        list(tracking)
        path = tracking.session.save(tmp_path / "snapshot")
        assert list(drawing.track(clip[:4], {1: BOX}, session=drawing.load_session(path))) == []

    def test_with_a_stride(self, drawing: MaskModel, clip: np.ndarray, tmp_path: Path) -> None:
        tracking = drawing.track(clip, {1: {1: BOX}}, step=4)
        next(tracking)
        next(tracking)
        path = tracking.session.save(tmp_path / "snapshot")
        rest = drawing.track(clip, {1: {1: BOX}}, step=4, session=drawing.load_session(path))
        assert [one.index for one in rest] == [9, 13, 17, 21]


def test_options_reach_the_session(drawing: MaskModel, clip: np.ndarray) -> None:
    tracking = drawing.track(clip, {1: BOX}, options=TrackOptions(rewind=1))
    for _ in range(5):
        next(tracking)
    assert tracking.session.addressable == (3, 4)
