"""Choosing a model for a frame rate: by measurements that are put in, and by a clock that is."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import maskwright as mw
from choosing import CPU, LARGE, NANO, SPEEDS, TINY, Clock, Machine, candidates
from maskwright.budget import accuracy, search, timing
from maskwright.budget.candidates import encoder_gflop, ordered
from maskwright.budget.options import Budget
from maskwright.budget.store import Speeds
from maskwright.budget.timing import Speed, timed
from maskwright.config import PRESETS
from maskwright.errors import CheckpointError
from maskwright.mask_model import MaskModel
from maskwright.model.sam2 import SAM2
from maskwright.runtime.fake import Fake
from maskwright.weights.load import save_checkpoint
from small import SMALL, small_runtime


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "speeds.json"


class TestOptions:
    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"per_second": 0}, "target_fps is 0"),
            ({"per_second": float("nan")}, "target_fps is nan"),
            ({"per_second": float("inf")}, "target_fps is inf"),
            ({"objects": 0}, "objects is 0"),
            ({"task": "film"}, "choose one of video, photo"),
            ({"size": (0, 4)}, "size is"),
            ({"seconds": 0}, "seconds is 0"),
        ],
    )
    def test_impossible_values(self, change: dict[str, Any], message: str) -> None:
        with pytest.raises(mw.InputError, match=message):
            mw.Budget(**{"per_second": 10, **change})

    def test_a_fifth_is_kept_in_reserve(self) -> None:
        assert Budget.of(20).allowed == pytest.approx(0.04)
        assert Budget.of(Budget(5, objects=3)).objects == 3


class TestOrder:
    def test_official_models_come_first_then_their_smaller_sizes_then_nano(self) -> None:
        titles = [one.title for one in candidates(NANO, TINY, LARGE)]
        assert titles == list(SPEEDS)

    def test_the_exact_dtype_comes_before_the_quick_one(self) -> None:
        first = [one.title for one in candidates(TINY, dtypes=("float32", "bfloat16"))][:3]
        assert first == [
            "sam2.1-tiny at 1024 px in float32",
            "sam2.1-tiny at 1024 px in bfloat16",
            "sam2.1-tiny at 768 px in float32",
        ]

    def test_nano_by_what_was_measured_of_it(self) -> None:
        found = ordered([NANO], "video", ("float32", "bfloat16"), None)
        figures = [accuracy.figure(one.side, one.dtype, "video") for one in found]
        assert figures == sorted(figures, reverse=True)
        assert min(figures) > 0.5

    def test_a_size_that_was_asked_for_is_the_only_one(self) -> None:
        assert [one.side for one in ordered([TINY, NANO], "video", ("float32",), 640)] == [640, 640]

    def test_every_official_model_has_a_published_figure(self) -> None:
        assert set(accuracy.PUBLISHED) == set(PRESETS) - {"nano"}

    def test_own_sizes_load_without_a_size(self) -> None:
        own, smaller = candidates(NANO)[1:3]
        assert own.options == {"image_size": None, "dtype": "float32", "runtime": "eager"}
        assert smaller.options == {"image_size": 448, "dtype": "float32", "runtime": "eager"}


class TestCost:
    def test_what_was_measured_is_said_with_its_figures(self) -> None:
        cost = accuracy.cost("nano", 384, 512, "float32", "video")
        assert cost == "J&F 0.760 instead of 0.797 on 11 videos (vos_dev)"
        assert accuracy.cost("nano", 512, 512, "float32", "video") == "nothing given up"

    @pytest.mark.parametrize(
        "setting", [("sam2.1-tiny", 512, 1024, "float32"), ("nano", 512, 512, "float16"), ("a", 32, 64, "x")]
    )
    def test_what_was_not_is_said_too(self, setting: tuple[str, int, int, str]) -> None:
        assert "not measured" in accuracy.cost(*setting, "video")


class TestArithmetic:
    def test_official_encoders_at_their_own_size(self) -> None:
        assert encoder_gflop(TINY.config, 1024) == 292
        assert encoder_gflop(LARGE.config, 1024) == 1823
        assert encoder_gflop(NANO.config, 512) == 0

    def test_smaller_inputs_take_less_than_their_share(self) -> None:
        assert 292 / 16 < encoder_gflop(TINY.config, 512) < 292 / 4

    def test_objects_add_up_in_videos_only(self) -> None:
        one = candidates(TINY)[0]
        assert one.least_gflop(Budget(1)) == pytest.approx(292 + 416)
        assert one.least_gflop(Budget(1, objects=2)) == pytest.approx(292 + 2 * 416)
        assert one.least_gflop(Budget(1, task="photo", objects=2)) == 292


class TestSettle:
    @pytest.mark.parametrize(
        ("target", "chosen"),
        [
            (0.7, "sam2.1-large at 1024 px in float32"),
            (2, "sam2.1-tiny at 1024 px in float32"),
            (7, "sam2.1-tiny at 768 px in float32"),
            (18, "nano at 448 px in float32"),
        ],
    )
    def test_the_most_accurate_that_keeps_up(self, path: Path, target: float, chosen: str) -> None:
        model, choice = Machine(SPEEDS, path).settle(
            Budget(target, seconds=100), candidates(NANO, TINY, LARGE)
        )
        assert (model, choice.candidate.title, choice.reached) == (chosen, chosen, True)
        assert choice.per_second == pytest.approx(1 / SPEEDS[chosen])

    def test_it_says_what_it_chose_and_what_that_costs(
        self, path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO, "maskwright")
        _, choice = Machine(SPEEDS, path).settle(Budget(18, seconds=100), candidates(NANO))
        assert choice.reason == (
            "nano at 448 px in float32: 25 frames/s here, 18 wanted with 20% of the time to spare; "
            "J&F 0.785 instead of 0.797 on 11 videos (vos_dev); "
            "passed over: nano at 640 px in float32 (11.1/s), nano at 512 px in float32 (20/s)"
        )
        assert [record.message for record in caplog.records] == [choice.reason]
        assert caplog.records[0].levelname == "INFO"

    def test_an_impossible_target_gives_the_quickest_with_a_warning(
        self, path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        model, choice = Machine(SPEEDS, path).settle(Budget(1000), candidates(NANO))
        assert (model, choice.reached) == ("nano at 256 px in float32", False)
        assert "nothing here keeps up; the quickest is taken: nano at 256 px" in caplog.text
        assert "50 frames/s here, 1000 wanted" in choice.reason

    def test_what_arithmetic_rules_out_is_not_even_loaded(self, path: Path) -> None:
        machine = Machine(SPEEDS, path, peak=100)
        _, choice = machine.settle(Budget(10), candidates(NANO, TINY, LARGE))
        assert machine.loaded == ["nano at 640 px in float32", "nano at 512 px in float32"]
        assert choice.passed_over[0].why == "not tried: far too slow"

    def test_sizes_that_cannot_help_are_passed_over(self, path: Path) -> None:
        slow = dict.fromkeys(SPEEDS, 10.0) | {"sam2.1-tiny at 512 px in float32": 1.0}
        machine = Machine(slow, path)
        _, choice = machine.settle(Budget(50, seconds=100), candidates(TINY))
        assert machine.timed == ["sam2.1-tiny at 1024 px in float32", "sam2.1-tiny at 512 px in float32"]
        assert choice.candidate.side == 512
        assert not choice.reached

    def test_when_the_time_is_over_the_quickest_is_still_measured(self, path: Path) -> None:
        machine = Machine(SPEEDS, path)
        _, choice = machine.settle(Budget(30, seconds=5), candidates(NANO, TINY, LARGE))
        assert machine.timed[-1] == choice.candidate.title == "nano at 256 px in float32"
        assert any(one.why == "not tried for lack of time" for one in choice.passed_over)
        assert "with more seconds to measure" in choice.reason
        assert choice.reached

    def test_a_damaged_file_is_passed_over(self, path: Path) -> None:
        machine = Machine(SPEEDS, path, broken=("sam2.1-tiny",))
        _, choice = machine.settle(Budget(5, seconds=100), candidates(NANO, TINY))
        assert choice.candidate.model == NANO
        assert choice.passed_over[0].why == "not usable: the file is damaged"

    def test_a_damaged_file_is_no_error_where_another_model_is_left(self, path: Path) -> None:
        machine = Machine(SPEEDS, path, broken=("nano",))
        _, choice = machine.settle(Budget(50, seconds=100), candidates(NANO, TINY))
        assert (choice.candidate.title, choice.reached) == ("sam2.1-tiny at 512 px in float32", False)
        assert choice.passed_over[-1].why == "not usable: the file is damaged"

    def test_a_damaged_file_that_was_named_is_an_error(self, path: Path) -> None:
        with pytest.raises(CheckpointError, match="damaged"):
            Machine(SPEEDS, path, broken=("sam2.1-tiny",)).settle(Budget(5), candidates(TINY))

    def test_the_chosen_model_is_loaded_once(self, path: Path) -> None:
        machine = Machine(SPEEDS, path)
        machine.settle(Budget(18), candidates(NANO))
        assert machine.loaded.count("nano at 448 px in float32") == 1


class TestStore:
    def test_measured_once(self, path: Path) -> None:
        machine = Machine(SPEEDS, path)
        first = machine.settle(Budget(18), candidates(NANO))[1]
        assert len(machine.timed) == 3
        again = machine.settle(Budget(18), candidates(NANO))[1]
        assert len(machine.timed) == 3
        assert again == first
        machine.settle(Budget(24), candidates(NANO))
        assert machine.timed[3:] == ["nano at 384 px in float32"]

    def test_measured_anew_when_asked_to(self, path: Path) -> None:
        machine = Machine(SPEEDS, path)
        machine.settle(Budget(18), candidates(NANO))
        machine.seconds = dict.fromkeys(SPEEDS, 0.01)
        assert machine.settle(Budget(18, measure=True), candidates(NANO))[1].candidate.side == 640

    def test_each_setting_is_another(self, path: Path) -> None:
        machine = Machine(SPEEDS, path)
        for budget in (Budget(9, objects=2), Budget(9, size=(480, 640)), Budget(9)):
            machine.settle(budget, candidates(NANO)[1:])
        assert len(machine.timed) == 3
        assert len(json.loads(path.read_text())["speeds"]) == 3

    @pytest.mark.parametrize(("busy", "hours", "found"), [(False, 24, True), (False, 24 * 31, False)])
    def test_old_ones_do_not_count(self, path: Path, busy: bool, hours: float, found: bool) -> None:
        one = candidates(NANO)[0]
        Speeds(CPU, path, lambda: 0.0).keep(one, Budget(9), 0.5, busy=busy)
        later = Speeds(CPU, path, lambda: hours * 3600).find(one, Budget(9))
        assert later == (0.5 if found else None)

    def test_those_of_a_busy_machine_count_for_an_hour(self, path: Path) -> None:
        one = candidates(NANO)[0]
        Speeds(CPU, path, lambda: 0.0).keep(one, Budget(9), 0.5, busy=True)
        assert Speeds(CPU, path, lambda: 1800.0).find(one, Budget(9)) == 0.5
        assert Speeds(CPU, path, lambda: 4000.0).find(one, Budget(9)) is None

    @pytest.mark.parametrize("content", ["", "{", "[]", '{"format": "other", "speeds": {}}', '{"speeds": 3}'])
    def test_a_damaged_file_is_as_good_as_none(self, path: Path, content: str) -> None:
        path.parent.mkdir()
        path.write_text(content)
        speeds, one = Speeds(CPU, path), candidates(NANO)[0]
        assert speeds.find(one, Budget(9)) is None
        speeds.keep(one, Budget(9), 0.25, busy=False)
        assert speeds.find(one, Budget(9)) == 0.25

    def test_a_folder_that_cannot_be_written_costs_nothing(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("in the way")
        Speeds(CPU, tmp_path / "file" / "speeds.json").keep(candidates(NANO)[0], Budget(9), 1, busy=False)


class TestTiming:
    def steps(self, clock: Clock, *seconds: float) -> Callable[[], None]:
        left = list(seconds)

        def step() -> None:
            clock.now += left.pop(0)

        return step

    def test_the_median_after_one_that_warms_up(self) -> None:
        clock = Clock()
        step = self.steps(clock, 9.0, 1.0, 2.0, 3.0, 1.0, 1.0)
        assert timed(step, 100.0, clock.now + 1000, clock) == Speed(1.0, 5)

    def test_more_where_it_is_close(self) -> None:
        clock = Clock()
        assert timed(self.steps(clock, *[1.0] * 16), 1.1, clock.now + 1000, clock).samples == timing.MOST

    def test_frames_that_warm_up_do_not_count(self) -> None:
        clock = Clock()
        step = self.steps(clock, 9.0, 8.0, 1.0, 1.0, 1.0, 1.0, 1.0)
        assert timed(step, 2.0, clock.now + 1000, clock, warm_ups=2) == Speed(1.0, 5)

    def test_one_is_enough_if_it_is_far_too_slow(self) -> None:
        clock = Clock()
        assert timed(self.steps(clock, 1.0, 1.0), 0.4, clock.now + 1000, clock) == Speed(1.0, 1)

    def test_no_longer_than_the_limit(self) -> None:
        clock = Clock()
        assert timed(self.steps(clock, 1.0, 1.0, 1.0), 0.9, clock.now + 2.5, clock).samples == 2

    def test_frames_are_made_with_full_memories(self) -> None:
        model = MaskModel(small_runtime())
        with timing.frames(model, Budget(10, objects=2, size=(48, 64))) as step:
            frames = [step() for _ in range(3)]
        assert [len(frame) for frame in frames] == [2, 2, 2]  # type: ignore[arg-type]

    def test_photographs_too(self) -> None:
        runtime = Fake(SMALL)
        with timing.frames(MaskModel(runtime), Budget(10, task="photo", size=(48, 64))) as step:
            step()
            step()
        assert runtime.encoded == 2

    def test_the_peak_by_a_clock(self) -> None:
        times = iter(np.arange(100) * 2.0)
        assert timing.peak_gflops(CPU, "float32", lambda: next(times)) == pytest.approx(2e-9 * 1024**3 / 2)


class TestFullMemory:
    def test_as_full_as_after_many_frames(self, picture: np.ndarray) -> None:
        sessions = []
        for filled in (True, False):
            session = MaskModel(small_runtime()).session()
            session.push(picture)
            session.prompt(1, mw.Box(14, 22, 58, 66))
            if filled:
                session.fill_memory()
            else:
                for _ in range(15):
                    session.push(picture)
            session.push(picture)
            sessions.append(session)
        full, real = (session._tracks.memories for session in sessions)
        assert full.frames(0) == real.frames(0)
        now = sessions[0]._tracks._moment(list(sessions[0]._tracks.objects), sessions[0]._now)  # type: ignore[arg-type]
        shapes = [
            [tuple(part.shape) for part in one.glance([0], now).bank] + [one.glance([0], now).masked]
            for one in (full, real)
        ]
        assert shapes[0] == shapes[1]
        assert shapes[0][-1] is False


def within(per_second: float) -> Budget:
    """A target, and time enough to load models on a machine that does other things as well."""
    return Budget(per_second, seconds=3600)


class TestLoad:
    @pytest.fixture(autouse=True)
    def alone(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("MASKWRIGHT_CACHE", str(tmp_path / "cache"))
        monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
        monkeypatch.setenv("MASKWRIGHT_OFFLINE", "1")

    def speeds(self, monkeypatch: pytest.MonkeyPatch, seconds: Callable[[MaskModel], float]) -> list[str]:
        """Put measurements in; the list fills with what was measured."""
        asked = []

        def speed_of(model: MaskModel, budget: Budget, end: float, clock: Callable[[], float]) -> Speed:
            asked.append(f"{model.name} {model.video_runtime.config.image_size} {model.dtype}")
            return Speed(seconds(model), 5)

        monkeypatch.setattr(timing, "speed_of", speed_of)
        monkeypatch.setattr(search, "is_busy", lambda: False)
        return asked

    def test_a_file_by_its_sizes(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        torch.manual_seed(0)
        file = save_checkpoint(tmp_path / "s.safetensors", SMALL.at(1024), SAM2(SMALL).state_dict())
        asked = self.speeds(monkeypatch, lambda model: (model.config.image_size / 1024) ** 2)
        model = mw.load(file, device="cpu", dtype="float32", target_fps=within(2))
        assert asked == [f"small-test {side} torch.float32" for side in (1024, 768, 512)]
        assert model.config.image_size == 512
        assert model.choice is not None
        assert model.choice.reached
        assert "not measured" in model.choice.cost

    def test_without_a_name_what_is_on_this_machine(
        self, monkeypatch: pytest.MonkeyPatch, nano_file: Path
    ) -> None:
        asked = self.speeds(monkeypatch, lambda model: model.video_runtime.config.image_size / 5120)
        model = mw.load(device="cpu", dtype="float32", target_fps=within(8.5))
        assert asked == ["nano 640 torch.float32", "nano 512 torch.float32", "nano 448 torch.float32"]
        assert (model.config.image_size, model.video_runtime.config.image_size) == (448, 448)

    def test_its_own_sizes_stay_two(self, monkeypatch: pytest.MonkeyPatch, nano_file: Path) -> None:
        self.speeds(monkeypatch, lambda model: model.video_runtime.config.image_size / 5120)
        model = mw.load("nano", device="cpu", dtype="float32", target_fps=within(8))
        assert (model.config.image_size, model.video_runtime.config.image_size) == (704, 512)

    def test_a_name_and_a_target_that_it_cannot_reach(
        self, monkeypatch: pytest.MonkeyPatch, nano_file: Path
    ) -> None:
        self.speeds(monkeypatch, lambda model: 1.0)
        model = mw.load("nano", device="cpu", dtype="float32", target_fps=within(100))
        assert model.choice is not None
        assert "without a name, other models on this machine are tried too" in model.choice.reason

    def test_without_a_target_nothing_is_chosen(self, nano_file: Path) -> None:
        assert mw.load(device="cpu").choice is None

    def test_a_model_that_is_not_here_is_never_fetched(self, tmp_path: Path) -> None:
        assert [one.source for one in search.models_here()] == ["nano"]
        with pytest.raises(mw.DownloadError, match="not on this machine"):
            search.file_of(TINY)

    def test_a_file_with_another_content_is_not_taken(self, tmp_path: Path) -> None:
        weights = tmp_path / "cache" / "weights"
        weights.mkdir(parents=True)
        (weights / "sam2.1_hiera_tiny.pt").write_bytes(b"12345")
        assert [one.source for one in search.models_here()] == ["nano", "sam2.1-tiny"]
        with pytest.raises(mw.DownloadError, match="damaged"):
            search.file_of(TINY)
