"""Objects of a video that nobody asked for: when they are found, that they are found once, their numbers."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import maskwright as mw
from maskwright.discover.choosing import choose
from maskwright.discover.pieces import clicked_pieces
from maskwright.frames import Frame, TrackedFrame
from maskwright.io.sources import open_source
from maskwright.mask_model import MaskModel
from maskwright.pixels import rle
from maskwright.pixels.boxes import boxes_of
from maskwright.runtime.fake import Fake
from seeing import SIDE, Seeing, Square, scene
from small import small_clip, small_runtime
from tracked import square, tracked


def every(frames: int, **how: Any) -> mw.Discover:
    """A search every so many frames, with few clicks."""
    return mw.Discover(every=frames, **{"options": mw.AutomaskOptions(points_per_side=4)} | how)


EVERY = every(4)


@pytest.fixture
def model() -> MaskModel:
    return MaskModel(Seeing())


def film(num_frames: int, squares: dict[int, tuple[int, int, Square]]) -> np.ndarray:
    """(t, h, w, 3): by shade the frames from which and before which a square is there, and its place."""
    return np.stack(
        [
            scene({shade: at for shade, (begin, end, at) in squares.items() if begin <= number < end})
            for number in range(num_frames)
        ]
    )


def ids_of(frames: Iterator[TrackedFrame]) -> list[tuple[int, ...]]:
    return [frame.ids for frame in frames]


def assert_same(a: TrackedFrame, b: TrackedFrame) -> None:
    assert (a.index, a.ids, a.prompted, a.discovered) == (b.index, b.ids, b.prompted, b.discovered)
    for name in ("bitmaps", "scores", "object_scores", "logits"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)


TWO = {90: (0, 99, (8, 8, 32)), 160: (5, 99, (72, 64, 40))}
"""One object from the beginning, and one that comes in frame 5."""


class TestFinding:
    def test_a_new_object_is_found_in_the_next_search_and_keeps_its_number(self, model: MaskModel) -> None:
        frames = list(model.track(film(14, TWO), discover=EVERY))
        assert [frame.ids for frame in frames] == [(1,)] * 8 + [(1, 2)] * 6
        assert {frame.index: set(frame.discovered) for frame in frames if frame.discovered} == {
            0: {1},
            8: {2},
        }
        assert not any(frame.prompted for frame in frames)
        for frame in frames[8:]:
            assert np.count_nonzero(frame[1].bitmap != square(8, 8, 32, (SIDE, SIDE))) <= 4
            assert np.count_nonzero(frame[2].bitmap != square(72, 64, 40, (SIDE, SIDE))) <= 4

    def test_nothing_is_found_twice(self, model: MaskModel) -> None:
        """Over many searches, while one object moves and another grows."""
        clip = np.stack(
            [
                scene({90: (4 + 4 * (n // 2), 8, 32), 160: (76, 72, 16 + 4 * min(n // 8, 5))})
                for n in range(40)
            ]
        )
        assert set(ids_of(model.track(clip, discover=every(2)))) == {(1, 2)}

    def test_what_is_asked_for_is_not_discovered(self, model: MaskModel) -> None:
        prompts = {7: mw.Box(8, 8, 40, 40), 30: {9: mw.Points((90, 90))}}
        frames = list(model.track(film(14, TWO), prompts, discover=every(3)))
        assert frames[0].ids == (7,)
        assert frames[0].prompted == {7}
        assert frames[6].discovered == {31}, "numbers of later prompts are left free"
        assert frames[9].prompted == {30}
        assert set(frames[-1].ids) == {7, 31, 30}

    def test_without_prompts_it_begins_with_the_first_frame(self, model: MaskModel) -> None:
        clip = film(8, TWO)
        late = {3: {6: mw.Points((80, 70))}}
        assert next(model.track(clip, late, discover=True)).index == 0
        assert next(model.track(clip, late)).index == 6
        assert next(model.track(clip, discover=True, start=5)).index == 5
        assert model.track(clip, discover=True).num_frames == 8

    def test_the_picture_network_searches_and_the_video_network_follows(self) -> None:
        pictures, video = Seeing(), Seeing()
        model = MaskModel(pictures, make_video_runtime=lambda: video)
        list(model.track(film(9, TWO), discover=EVERY))
        assert pictures.encoded == 3
        assert video.encoded == 9

    def test_no_click_falls_on_what_is_followed(self) -> None:
        pictures, video = Seeing(), Seeing()
        model = MaskModel(pictures, make_video_runtime=lambda: video)
        list(model.track(film(1, TWO), {1: mw.Box(8, 8, 40, 40)}, discover=True))
        assert pictures.decoded == 16 * 16 - 4 * 4
        assert pictures.encoded == 1
        everything = np.ones((SIDE, SIDE), np.bool_)
        list(model.track(film(9, TWO), {1: everything}, discover=EVERY))
        assert pictures.encoded == 1 + 2, "the mask was all of frame 0; afterwards it is what it lay on"

    def test_strides_count_frames_as_they_are_tracked(self, model: MaskModel) -> None:
        found = {
            f.index: f.discovered
            for f in model.track(film(20, TWO), discover=every(2), step=3)
            if f.discovered
        }
        assert found == {0: {1}, 6: {2}}

    @pytest.mark.parametrize("direction", ["backward", "both"])
    def test_other_directions(self, model: MaskModel, direction: Any) -> None:
        clip = film(14, {90: (0, 99, (8, 8, 32)), 160: (0, 6, (72, 64, 40))})
        prompts = {1: {8: mw.Box(8, 8, 40, 40)}}
        frames = list(model.track(clip, prompts, discover=EVERY, direction=direction))
        back = [frame for frame in frames if frame.index < 8]
        assert [frame.index for frame in back] == list(range(7, -1, -1))
        assert {frame.index: frame.discovered for frame in frames if frame.discovered} == {4: {2}}
        assert frames[-1].ids == (1, 2)

    def test_both_ways_with_what_was_found_on_the_way_forward(self, model: MaskModel) -> None:
        clip = film(14, {90: (0, 99, (8, 8, 32)), 160: (10, 99, (72, 64, 40)), 120: (0, 3, (72, 8, 24))})
        frames = list(model.track(clip, {1: {8: mw.Points((20, 20))}}, discover=EVERY, direction="both"))
        assert {frame.index: frame.discovered for frame in frames if frame.discovered} == {12: {2}, 0: {3}}
        assert (frames[5].ids, frames[-1].ids) == ((1, 2), (1, 2, 3))
        assert frames[-1].visible.tolist() == [True, False, True], "object 2 is not there yet"

    def test_a_camera_that_drops_frames(self, model: MaskModel) -> None:
        clip = film(12, TWO)
        source: Any = open_source(Frame(3 * n, image) for n, image in enumerate(clip))
        frames = list(model.track(source, discover=EVERY))
        assert [frame.index for frame in frames if frame.discovered] == [0, 24]


class TestSameNumbers:
    def test_stream_file_and_folder(self, model: MaskModel, tmp_path: Path) -> None:
        from PIL import Image

        clip = film(12, TWO)
        for number, picture in enumerate(clip):
            Image.fromarray(picture).save(tmp_path / f"{number:02}.png")
        wanted = list(model.track(clip, discover=EVERY))
        for source in (iter(clip), list(clip), tmp_path):
            for a, b in zip(model.track(source, discover=EVERY), wanted, strict=True):
                assert_same(a, b)

    @pytest.mark.parametrize("after", [1, 4, 5, 9, 12, 17])
    def test_a_resumed_run_is_the_uninterrupted_one(
        self, model: MaskModel, tmp_path: Path, after: int
    ) -> None:
        """With objects that come, go, are forgotten to make room, and one that the caller removes."""
        clip = film(
            24,
            {
                60: (0, 6, (8, 8, 32)),
                90: (0, 99, (72, 8, 32)),
                120: (6, 99, (8, 72, 24)),
                160: (11, 99, (72, 72, 24)),
            },
        )
        how: dict[str, Any] = {"discover": every(3, max_objects=3, forget_after=4)}
        wanted = list(model.track(clip, **how))
        assert [frame.ids for frame in wanted[6:13:6]] == [(1, 2, 3), (2, 3, 4)]
        path = tmp_path / "snapshot"
        with model.track(clip, **how) as tracking:
            for _ in range(after):
                next(tracking)
            tracking.session.save(path)
        session = model.load_session(path)
        rest = list(model.track(clip, session=session, **how))
        for a, b in zip(rest, wanted[after:], strict=True):
            assert_same(a, b)

    def test_a_network_of_the_official_kind(self, tmp_path: Path) -> None:
        model, clip = MaskModel(small_runtime()), small_clip(7, (64, 64))
        loose = mw.AutomaskOptions(points_per_side=2, min_score=0.3, min_stability=0.2, stability_offset=0.1)
        how: dict[str, Any] = {"discover": every(3, options=loose, max_objects=2)}
        wanted = []
        with model.track(iter(clip), **how) as tracking:
            for frame in tracking:
                wanted.append(frame)
                if frame.index in (0, 4):
                    tracking.session.save(tmp_path / f"{frame.index}")
        assert any(frame.discovered for frame in wanted)
        for after in (0, 4):
            session = model.load_session(tmp_path / f"{after}")
            rest = list(model.track(clip, session=session, **how))
            for a, b in zip(rest, wanted[after + 1 :], strict=True):
                assert_same(a, b)


class TestNumbers:
    def test_none_is_given_twice(self, model: MaskModel, tmp_path: Path) -> None:
        clip = film(10, {90: (0, 99, (8, 8, 32))})
        with model.track(clip, discover=EVERY) as tracking:
            for frame in tracking:
                if frame.index == 1:
                    tracking.session.remove(1)
                    path = tracking.session.save(tmp_path / "snapshot")
            assert frame.ids == (2,)
        assert model.load_session(path).highest_id == 1
        rest = list(model.track(clip, discover=EVERY, session=model.load_session(path)))
        assert rest[-1].ids == (2,)

    def test_a_corrected_object_is_the_callers(self, model: MaskModel) -> None:
        with model.track(film(9, TWO), discover=EVERY) as tracking:
            for frame in tracking:
                if frame.index == 2:
                    assert list(tracking.session.discoveries) == [1]
                    corrected = tracking.session.prompt(1, mw.Points((20, 20)))
                    assert (corrected.prompted, corrected.discovered) == ({1}, frozenset())
            assert list(tracking.session.discoveries) == [2]

    def test_the_highest_number(self, model: MaskModel, caplog: pytest.LogCaptureFixture) -> None:
        clip = film(13, {90: (0, 2, (8, 8, 32)), 120: (2, 7, (8, 8, 32)), 160: (7, 99, (72, 72, 32))})
        how = every(3, max_objects=1, forget_after=1, max_id=1)
        assert set(ids_of(model.track(film(13, TWO), discover=how))) == {(1,)}
        assert "no number left up to 1" in caplog.text
        assert caplog.text.count("no number left") == 1
        assert ids_of(model.track(clip, discover=how))[-1] == (1,)


class TestBounds:
    def test_max_objects(self, model: MaskModel, caplog: pytest.LogCaptureFixture) -> None:
        many = {60 + 20 * n: (0, 99, (4 + 40 * (n % 3), 4 + 40 * (n // 3), 32)) for n in range(9)}
        frames = list(model.track(film(12, many), discover=every(2, max_objects=4)))
        assert set(ids_of(iter(frames))) == {(1, 2, 3, 4)}
        assert caplog.messages == [
            "5 more found in frame 0 than there is room for (max_objects=4); they are not followed, and the "
            "area is not searched until there is room"
        ]

    def test_where_there_is_no_room_there_is_no_search(self) -> None:
        pictures, video = Seeing(), Seeing()
        model = MaskModel(pictures, make_video_runtime=lambda: video)
        list(model.track(film(12, TWO), discover=every(2, max_objects=1)))
        assert pictures.encoded == 1

    def test_later_prompts_have_their_room(self, model: MaskModel) -> None:
        many = {60 + 20 * n: (0, 99, (4 + 40 * (n % 3), 4 + 40 * (n // 3), 32)) for n in range(9)}
        prompts = {1: {5: mw.Points((20, 20))}}
        frames = list(model.track(film(8, many), prompts, discover=every(2, max_objects=3)))
        assert [len(frame) for frame in frames] == [2] * 5 + [3] * 3

    def test_memory_stays_as_it_is(self, model: MaskModel) -> None:
        """Sixty objects that come and go."""
        clip = (
            scene({60 + 10 * (n // 5 % 15): (4 + 40 * (n // 5 % 3), 4 + 40 * (n // 5 % 2), 32)})
            for n in range(240)
        )
        how = every(5, max_objects=3, forget_after=2)
        seen: set[int] = set()
        sizes, most = set(), 0
        with model.track(clip, discover=how) as tracking:
            for frame in tracking:
                new = set(frame.ids) - seen
                assert all(number > max(seen, default=0) for number in new)
                seen |= new
                most = max(most, len(frame))
                if frame.index > 20:
                    sizes.add(tracking.session.num_bytes)
        assert len(seen) > 40
        assert most == 3
        assert len(sizes) == 1

    def test_what_was_asked_for_is_never_forgotten(self, model: MaskModel) -> None:
        clip = film(40, {90: (0, 2, (8, 8, 32)), 120: (0, 2, (8, 72, 32)), 160: (12, 99, (72, 72, 32))})
        how = every(3, max_objects=2, forget_after=3)
        frames = list(model.track(clip, {5: mw.Points((20, 20))}, discover=how))
        assert frames[0].ids == (5, 6)
        assert frames[11].ids == (5, 6), "nothing else wants the room"
        assert set(ids_of(iter(frames[12:]))) == {(5, 7)}
        kept = list(model.track(clip, discover=every(3, max_objects=2, forget_after=None)))
        assert kept[-1].ids == (1, 2)


class TestNothingFound:
    @pytest.mark.parametrize(
        ("how", "words"),
        [
            (
                {"options": mw.AutomaskOptions(points_per_side=4, min_score=0.95)},
                "kept 0 of 48 masks: 48 not above min_score; lower min_score",
            ),
            ({"min_area": 0.2, "max_area": 0.6}, "of these 1 below min_area; lower min_area"),
            ({"min_area": 0.001, "max_area": 0.01}, "of these 1 above max_area; raise max_area"),
        ],
    )
    def test_it_is_said_once_which_filter_took_how_many(
        self, model: MaskModel, caplog: pytest.LogCaptureFixture, how: dict[str, Any], words: str
    ) -> None:
        clip = film(9, {90: (0, 99, (8, 8, 32))})
        frames = list(model.track(clip, discover=every(2, **how)))
        assert len(frames) == 9
        assert not any(map(len, frames))
        (message,) = caplog.messages
        assert message.startswith("nothing was discovered in frame 0: kept ")
        assert words in message

    def test_nothing_new_is_no_news(self, model: MaskModel, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.WARNING):
            list(model.track(film(9, {90: (0, 99, (8, 8, 32))}), discover=every(2)))
            list(model.track(film(9, {90: (0, 99, (8, 8, 32))}), {1: mw.Points((20, 20))}, discover=every(2)))
        assert [text for text in caplog.messages if "room" in text or "twice" in text] == []

    def test_progress_is_told_and_may_end_it(self, model: MaskModel) -> None:
        told: list[int] = []
        how = every(2, progress=lambda step: told.append(step.done))
        list(model.track(film(2, TWO), discover=how))
        assert told == [4, 8, 12, 16]

        def stop(step: mw.SearchStep) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            list(model.track(film(2, TWO), discover=mw.Discover(progress=stop)))


def found(*masks: tuple[np.ndarray, float], size: tuple[int, int] = (96, 128)) -> mw.FoundMasks:
    bitmaps = np.stack([bitmap for bitmap, _ in masks])
    runs = tuple(rle.placed(bitmap, (0, 0), bitmap.shape) for bitmap in bitmaps)
    num = len(masks)
    scores = np.array([score for _, score in masks], np.float32)
    areas = bitmaps.sum((1, 2)).astype(np.int64)
    boxes = boxes_of(bitmaps)
    return mw.FoundMasks(
        size,
        runs,
        scores,
        np.ones(num, np.float32),
        boxes,
        areas,
        boxes[:, :2].copy(),
        np.zeros((num, 4), np.int64),
    )


def at(x: int, y: int, side: int) -> np.ndarray:
    return square(x, y, side, (96, 128))


NOBODY: dict[int, np.ndarray] = {}
LOOSE = mw.Discover(min_area=0, max_area=1)


class TestChoosing:
    @pytest.mark.parametrize(
        ("masks", "followed", "new"),
        [
            ([(at(8, 8, 40), 0.7), (at(60, 8, 40), 0.9)], NOBODY, (1, 0)),
            ([(at(8, 8, 40), 0.9), (at(12, 12, 20), 0.91)], NOBODY, (0,)),
            ([(at(8, 8, 40), 0.8), (at(12, 12, 20), 0.91)], NOBODY, (1,)),
            ([(at(8, 8, 40), 0.8), (at(12, 12, 8), 0.7), (at(30, 30, 8), 0.8)], NOBODY, (0,)),
            ([(at(8, 8, 40), 0.9), (at(40, 40, 36), 0.8)], NOBODY, (0, 1)),
            ([(at(8, 8, 40), 0.9)], {1: at(8, 8, 40)}, ()),
            ([(at(8, 8, 40), 0.9)], {1: at(12, 12, 27)}, ()),
            ([(at(8, 8, 40), 0.9)], {1: at(12, 12, 20)}, (0,)),
            ([(at(12, 12, 8), 0.9)], {1: at(8, 8, 40)}, ()),
            ([(at(8, 8, 40), 0.9)], {1: at(0, 0, 30), 2: at(28, 28, 24)}, ()),
            ([(at(8, 8, 40), 0.9)], {1: np.zeros((96, 128), np.bool_)}, (0,)),
        ],
        ids=[
            "the surer one first",
            "a part",
            "a part that is surer than the whole",
            "parts",
            "touching",
            "followed",
            "the same but for its edge",
            "more than what is followed",
            "a part of what is followed",
            "covered by two",
            "followed but not seen",
        ],
    )
    def test_what_is_new(
        self, masks: list[tuple[np.ndarray, float]], followed: dict[int, np.ndarray], new: tuple[int, ...]
    ) -> None:
        frame = tracked(0, followed, size=(96, 128))
        assert choose(found(*masks), frame, LOOSE).new == new

    def test_sizes(self) -> None:
        masks = found((at(8, 8, 4), 0.9), (at(40, 8, 40), 0.9), (np.ones((96, 128), np.bool_), 0.9))
        verdict = choose(masks, tracked(0, NOBODY, size=(96, 128)), mw.Discover())
        assert (verdict.new, verdict.small, verdict.large) == ((1,), 1, 1)
        assert str(verdict) == "1 below min_area, 1 above max_area"

    def test_nothing_at_all(self) -> None:
        verdict = choose(mw.FoundMasks.none((96, 128)), tracked(0, NOBODY, size=(96, 128)), LOOSE)
        assert verdict.new == ()

    def test_large_frames_are_looked_at_coarsely(self) -> None:
        """As on a grid of 256 cells: what differs by a few pixels in 2000 is the same."""
        size = (1200, 2000)
        masks = found((square(100, 100, 600, size), 0.9), (square(900, 300, 500, size), 0.8), size=size)
        frame = tracked(0, {1: square(103, 98, 602, size)}, size=size)
        assert choose(masks, frame, mw.Discover()).new == (1,)


class TestPieces:
    @pytest.mark.parametrize(
        ("mask", "click", "left"),
        [
            (at(8, 8, 40), (20, 20), at(8, 8, 40)),
            (at(8, 8, 40) | at(100, 70, 8), (20, 20), at(8, 8, 40) | at(100, 70, 8)),
            (at(8, 8, 40) | at(80, 50, 30), (20, 20), at(8, 8, 40)),
            (at(8, 8, 40) | at(80, 50, 30), (90, 60), at(80, 50, 30)),
            (at(8, 8, 40) | at(80, 50, 30), (70, 20), at(8, 8, 40)),
            (at(8, 8, 40) | at(80, 50, 30), (0, 0), at(8, 8, 40)),
        ],
        ids=["one piece", "a speck", "the first", "the second", "beside the mask", "beside its box"],
    )
    def test_the_one_that_was_clicked_on(
        self, mask: np.ndarray, click: tuple[int, int], left: np.ndarray
    ) -> None:
        masks = found((at(30, 30, 20), 0.8), (mask, 0.9))
        masks.points[1] = click
        pieces = clicked_pieces(masks, 0.8)
        np.testing.assert_array_equal(pieces.bitmaps, [at(30, 30, 20), left])
        np.testing.assert_array_equal(pieces.boxes, boxes_of(pieces.bitmaps))
        np.testing.assert_array_equal(pieces.areas, pieces.bitmaps.sum((1, 2)))
        np.testing.assert_array_equal(clicked_pieces(masks, 0).bitmaps, masks.bitmaps)

    def test_none(self) -> None:
        assert len(clicked_pieces(mw.FoundMasks.none((96, 128)), 0.8)) == 0


class TestSearchWithin:
    def test_clicks_and_crops_elsewhere_are_left_out(self) -> None:
        from maskwright.automask.search import Search

        picture = np.zeros((96, 128, 3), np.uint8)
        corner = np.zeros((96, 128), np.bool_)
        corner[:12, :12] = True
        fake = Fake()
        options = mw.AutomaskOptions(points_per_side=8, crop_layers=1, crop_points_divisor=2)
        search = Search(fake, picture, options, within=corner)
        clicks = np.concatenate([step.new.points for step in search])
        assert fake.encoded == 2, "the picture, and of four crops the one in the corner"
        assert search.total == 1 + 1
        assert (clicks < 12).all()
        nowhere = Search(Fake(), picture, options, within=np.zeros((96, 128), np.bool_))
        assert (nowhere.total, list(nowhere), len(nowhere.result())) == (0, [], 0)


class TestBadInput:
    @pytest.mark.parametrize(
        ("how", "words"),
        [
            ({"every": 0}, "every is 0; it must be a whole number from 1 on"),
            ({"every": 2.5}, "every is 2.5"),
            ({"every": True}, "every is True"),
            ({"max_objects": 0}, "max_objects is 0"),
            ({"forget_after": 0}, "forget_after is 0"),
            ({"max_id": 0}, "max_id is 0"),
            ({"min_area": -0.1}, "min_area is -0.1; it must be a number from 0 to 1"),
            ({"max_area": 1.5}, "max_area is 1.5"),
            ({"min_whole": 2}, "min_whole is 2"),
            ({"max_covered": float("nan")}, "max_covered is nan"),
            ({"same_iou": "half"}, "same_iou is 'half'"),
            ({"same_iou": 0}, "every mask is an object that is followed"),
            ({"min_area": 0.5, "max_area": 0.4}, "min_area=0.5 is not below max_area=0.4"),
            ({"preset": "quick"}, "no preset 'quick'; choose one of fast, balanced, dense"),
            ({"options": {"min_score": 0.5}}, "pass AutomaskOptions"),
            ({"options": mw.AutomaskOptions(), "preset": "dense"}, "not both"),
        ],
    )
    def test_settings(self, how: dict[str, Any], words: str) -> None:
        with pytest.raises(mw.InputError, match=words.replace("(", r"\(")):
            mw.Discover(**how)

    @pytest.mark.parametrize(
        ("prompts", "how", "words"),
        [
            ({}, {"discover": None}, "no prompts: say what to follow, .* or pass discover=True"),
            ({}, {"discover": False}, "no prompts"),
            ({}, {"discover": 0}, "every is 0"),
            ({}, {"discover": "all"}, "discover is 'all'; pass True"),
            ({}, {"discover": True, "direction": "backward"}, "backward from where"),
            (
                {n: mw.Box(8, 8, 40, 40) for n in range(8)},
                {"discover": True},
                "max_objects is 8, and 8 objects are prompted: .*; make it larger than 8",
            ),
            (
                {300: mw.Box(8, 8, 40, 40)},
                {"discover": mw.Discover(max_id=255)},
                "object 300 is prompted, and discovered objects get numbers above it, up to 255",
            ),
            ({"a": mw.Box(8, 8, 40, 40)}, {"discover": True}, "whole number"),
        ],
    )
    def test_calls(self, model: MaskModel, prompts: Any, how: dict[str, Any], words: str) -> None:
        with pytest.raises(mw.InputError, match=words):
            model.track(film(4, TWO), prompts, **how)

    def test_frames_smaller_than_the_grid(self, model: MaskModel) -> None:
        with pytest.raises(mw.InputError, match=r"only 12 x 10 pixels.*points_per_side=10 or less"):
            list(model.track(np.zeros((2, 10, 12, 3), np.uint8), discover=True))

    def test_the_defaults_suit_nano(self) -> None:
        assert mw.Discover().search("nano").min_score == 0.6
        assert mw.Discover().search("sam2.1-tiny") == mw.AutomaskOptions.preset("fast")
        assert mw.Discover(options=mw.AutomaskOptions()).search("nano") == mw.AutomaskOptions()


class TestSession:
    def test_adding_by_hand(self, model: MaskModel) -> None:
        clip = film(3, TWO)
        session = model.session()
        with pytest.raises(mw.StateError):
            session.add_discovered([square(8, 8, 32, (SIDE, SIDE))])
        session.push(clip[0])
        session.prompt(4, mw.Points((20, 20)))
        frame = session.add_discovered([square(72, 64, 40, (SIDE, SIDE))] * 2, above=8)
        assert frame.ids == (4, 9, 10)
        assert frame.discovered == {9, 10}
        with pytest.raises(mw.PromptError, match="expected bool"):
            session.add_discovered([square(0, 0, 4, (8, 8))])
        session.push(clip[1])
        session.push(clip[2])
        assert {number: one.unseen for number, one in session.discoveries.items()} == {9: 2, 10: 2}
        assert (session.tick, session.ids) == (2, (4, 9, 10))
        session.reset()
        assert session.highest_id == 0
