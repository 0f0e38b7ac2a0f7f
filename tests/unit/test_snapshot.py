from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from maskwright.errors import InputError, OutputError
from maskwright.frames import Frame, TrackedFrame
from maskwright.mask_model import MaskModel
from maskwright.runtime.fake import Fake
from maskwright.track.options import TrackOptions
from maskwright.track.policy import ConfidentPolicy, OfficialPolicy
from maskwright.track.session import Session
from maskwright.types import Box, MaskPrompt, Points
from small import SMALL, small_clip, small_runtime

SIZE = (48, 64)
CLICK, BOX = Points((20, 20)), Box(30, 8, 60, 40)


@pytest.fixture(scope="module")
def model() -> MaskModel:
    return MaskModel(small_runtime())


@pytest.fixture(scope="module")
def clip() -> np.ndarray:
    return small_clip(16, SIZE)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "session.snapshot"


def assert_same(a: TrackedFrame, b: TrackedFrame) -> None:
    """Bit by bit."""
    assert (a.index, a.time, a.ids, a.prompted) == (b.index, b.time, b.ids, b.prompted)
    for name in ("bitmaps", "scores", "object_scores", "boxes", "areas", "logits", "image"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)


def started(model: MaskModel, clip: np.ndarray, options: TrackOptions | None = None) -> Session:
    """Two objects, then a third, a correction, and one that is removed."""
    session = model.session(options)
    session.push(Frame(3, clip[0], 0.12))
    session.prompt(5, CLICK)
    session.prompt(2, BOX)
    for frame in clip[1:4]:
        session.push(frame)
    session.prompt(9, np.roll(np.tri(*SIZE, dtype=np.bool_), 5, axis=1))
    session.prompt(5, Points((50, 30), labels=0), anchor=False)
    session.remove(2)
    for frame in clip[4:8]:
        session.push(frame)
    return session


class TestGoingOn:
    def test_bit_by_bit(self, model: MaskModel, clip: np.ndarray, path: Path) -> None:
        session = started(model, clip)
        assert session.save(path) == path
        other = model.load_session(path)
        assert (other.ids, other.addressable) == (session.ids, session.addressable)
        assert_same(other.current, session.current)
        for frame in clip[8:]:
            assert_same(other.push(frame), session.push(frame))

    @pytest.mark.parametrize(
        "prompt",
        [
            {"object_id": 5, "prompt": BOX},
            {"object_id": 9, "prompt": Points((50, 30)), "frame": 8},
            {"object_id": 1, "prompt": CLICK, "frame": 6},
        ],
        ids=["current", "earlier", "new object earlier"],
    )
    def test_prompts_after_it(
        self, model: MaskModel, clip: np.ndarray, path: Path, prompt: dict[str, Any]
    ) -> None:
        session = started(model, clip)
        session.save(path)
        other = model.load_session(path)
        assert_same(other.prompt(**prompt), session.prompt(**prompt))
        assert_same(other.current, session.current)
        for frame in clip[8:11]:
            assert_same(other.push(frame), session.push(frame))

    @pytest.mark.parametrize(
        "first", [CLICK, BOX + CLICK, MaskPrompt(np.linspace(-8, 8, 256).reshape(16, 16)) + CLICK]
    )
    def test_prompts_in_the_same_frame_still_add_up(
        self, model: MaskModel, clip: np.ndarray, path: Path, first: Any
    ) -> None:
        session = model.session()
        session.push(clip[0])
        session.prompt(1, first)
        session.save(path)
        other = model.load_session(path)
        again = Points((50, 30), labels=0)
        assert_same(other.prompt(1, again), session.prompt(1, again))

    def test_objects_can_be_removed_after_it(self, model: MaskModel, clip: np.ndarray, path: Path) -> None:
        session = started(model, clip)
        session.save(path)
        other = model.load_session(path)
        for one in (session, other):
            one.remove(5)
        assert_same(other.push(clip[8]), session.push(clip[8]))

    def test_before_the_first_frame_and_without_objects(
        self, model: MaskModel, clip: np.ndarray, path: Path
    ) -> None:
        session = model.session()
        session.save(path)
        other = model.load_session(path)
        assert (other.ids, other.addressable) == ((), ())
        for one in (session, other):
            one.push(clip[0])
        session.save(path)
        other = model.load_session(path)
        assert_same(other.prompt(1, BOX), session.prompt(1, BOX))

    def test_saving_changes_nothing(self, model: MaskModel, clip: np.ndarray, path: Path) -> None:
        session, other = started(model, clip), started(model, clip)
        for frame in clip[8:11]:
            session.save(path)
            assert_same(session.push(frame), other.push(frame))

    def test_its_size_does_not_grow_with_time(self, model: MaskModel, clip: np.ndarray, path: Path) -> None:
        session = started(model, clip)
        sizes = []
        for frame in np.concatenate([clip] * 2):
            session.push(frame)
            sizes.append(session.save(path).stat().st_size)
        assert max(sizes[12:]) - min(sizes[12:]) < 512, "more than numbers with more digits"

    def test_another_process(self, clip: np.ndarray, path: Path) -> None:
        """Only the file and the weights matter: a runtime of its own, made anew."""
        session = started(MaskModel(small_runtime()), clip)
        session.save(path)
        other = MaskModel(small_runtime()).load_session(path)
        assert_same(other.push(clip[8]), session.push(clip[8]))


class TestOptions:
    def test_they_come_along(self, model: MaskModel, clip: np.ndarray, path: Path) -> None:
        options = TrackOptions(
            max_prompts=2, memory_dtype="float32", max_hole_area=3, non_overlapping=True, rewind=2
        )
        session = started(model, clip, options)
        session.save(path)
        other = model.load_session(path)
        assert other.options == options
        assert_same(other.push(clip[8]), session.push(clip[8]))
        assert model.load_session(path, options).options == options

    def test_others_are_refused(self, model: MaskModel, clip: np.ndarray, path: Path) -> None:
        started(model, clip).save(path)
        with pytest.raises(InputError, match="made with rewind=6, not 3; use the same options"):
            model.load_session(path, TrackOptions(rewind=3))

    def test_policies_have_to_be_passed(self, model: MaskModel, clip: np.ndarray, path: Path) -> None:
        options = TrackOptions(policy=ConfidentPolicy(min_iou=0.59))
        session = started(model, clip, options)
        session.save(path)
        with pytest.raises(InputError, match=r"policy ConfidentPolicy\(min_iou=0.59\); pass it in options="):
            model.load_session(path)
        with pytest.raises(InputError, match="policy"):
            model.load_session(path, TrackOptions(policy=ConfidentPolicy(min_iou=0.6)))
        other = model.load_session(path, options)
        for frame in clip[8:12]:
            assert_same(other.push(frame), session.push(frame))

    def test_policies_of_ones_own(self, model: MaskModel, clip: np.ndarray, path: Path) -> None:
        @dataclass(frozen=True)
        class Mine(OfficialPolicy):
            number: int = 3

        started(model, clip, TrackOptions(policy=Mine())).save(path)
        assert model.load_session(path, TrackOptions(policy=Mine())).options.policy == Mine()
        with pytest.raises(InputError, match="policy"):
            model.load_session(path, TrackOptions(policy=Mine(number=4)))


class TestRefused:
    def test_other_weights(self, model: MaskModel, clip: np.ndarray, path: Path) -> None:
        started(model, clip).save(path)
        for runtime in (small_runtime(seed=2), Fake(SMALL)):
            with pytest.raises(InputError, match="made by small-test with other weights"):
                MaskModel(runtime).load_session(path)

    def test_another_input_size(self, clip: np.ndarray, path: Path) -> None:
        started(MaskModel(Fake(SMALL)), clip).save(path)
        with pytest.raises(InputError, match="made at image_size=64, this model has 96; load the model with"):
            MaskModel(Fake(SMALL.at(96))).load_session(path)

    def test_no_such_file(self, model: MaskModel, path: Path) -> None:
        with pytest.raises(InputError, match="no snapshot at"):
            model.load_session(path)

    def test_other_files(self, model: MaskModel, path: Path) -> None:
        path.write_bytes(b"something else")
        with pytest.raises(InputError, match="not a snapshot"):
            model.load_session(path)
        save_file({"a": np.zeros(3)}, path)
        with pytest.raises(InputError, match="holds no snapshot of this version"):
            model.load_session(path)

    def test_damaged_files(self, model: MaskModel, clip: np.ndarray, path: Path) -> None:
        started(model, clip).save(path)
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
        with pytest.raises(InputError, match="not a snapshot: not a safetensors file, or a damaged one"):
            model.load_session(path)

    def test_no_room_for_it(self, model: MaskModel, tmp_path: Path) -> None:
        with pytest.raises(OutputError):
            model.session().save(tmp_path / "absent" / "file" / "x")

    def test_a_failed_one_leaves_the_last_one_whole(
        self, model: MaskModel, clip: np.ndarray, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        session = started(model, clip)
        session.save(path)
        before = path.read_bytes()
        monkeypatch.setattr("os.replace", _full)
        monkeypatch.setattr(Path, "replace", _full)
        session.push(clip[8])
        with pytest.raises(OutputError):
            session.save(path)
        assert path.read_bytes() == before
        assert list(path.parent.iterdir()) == [path]


def _full(*_: Any, **__: Any) -> None:
    raise OSError(28, "No space left on device")


def test_the_fake_goes_on_too(clip: np.ndarray, path: Path) -> None:
    model = MaskModel(Fake(SMALL))
    session = started(model, clip)
    session.save(path)
    assert_same(model.load_session(path).push(clip[8]), session.push(clip[8]))
