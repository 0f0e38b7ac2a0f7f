"""Choosing a runtime for a frame rate: alternatives of one setting, as far as they are ready here."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any

import pytest
import torch

import maskwright as mw
from choosing import CPU, NANO, SPEEDS, TINY, Machine, candidates
from maskwright.budget import search, store, timing
from maskwright.budget.candidates import Candidate, Known
from maskwright.budget.options import Budget
from maskwright.budget.runtimes import ENGINES, REPLAYED, least_share, readiness, runtimes_on
from maskwright.budget.store import FORMAT, Speeds, machine
from maskwright.budget.timing import Speed
from maskwright.config import NANO as NANO_CONFIG
from maskwright.config import ModelConfig
from maskwright.errors import CheckpointError
from maskwright.mask_model import MaskModel
from maskwright.model.sam2 import SAM2
from maskwright.runtime import select
from maskwright.runtime.exported.manifest import FILE, GraphFile, Manifest
from maskwright.runtime.exported.opening import cached_folder, fingerprint_of
from maskwright.runtime.select import GRAPH_RUNTIMES
from maskwright.weights.load import load_checkpoint, save_checkpoint
from small import SMALL

BOTH = ("eager", "openvino")
QUICKER = SPEEDS | {f"{title} on openvino": 0.8 * seconds for title, seconds in SPEEDS.items()}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "speeds.json"


class TestOrder:
    def test_runtimes_are_alternatives_of_one_setting(self) -> None:
        found = candidates(TINY, dtypes=("float32", "bfloat16"), runtimes=BOTH)
        assert [one.title for one in found[:5]] == [
            "sam2.1-tiny at 1024 px in float32",
            "sam2.1-tiny at 1024 px in float32 on openvino",
            "sam2.1-tiny at 1024 px in bfloat16",
            "sam2.1-tiny at 1024 px in bfloat16 on openvino",
            "sam2.1-tiny at 768 px in float32",
        ]
        assert found[1].options == {"image_size": None, "dtype": "float32", "runtime": "openvino"}

    def test_of_nano_too(self) -> None:
        found = candidates(NANO, dtypes=("float32", "bfloat16"), runtimes=BOTH)
        assert [one.runtime for one in found] == [*BOTH] * (len(found) // 2)
        assert all(one.cost == other.cost for one, other in zip(found[::2], found[1::2], strict=True))

    @pytest.mark.parametrize(
        ("device", "runtimes"),
        [("cpu", ["openvino", "onnx"]), ("cuda:0", ["cuda-graphs"]), ("mps", [])],
    )
    def test_by_device(self, device: str, runtimes: list[str]) -> None:
        assert runtimes_on(torch.device(device)) == ["eager", *runtimes]


class TestSettle:
    def test_pytorch_is_taken_where_it_keeps_up(self, path: Path) -> None:
        asked: list[Candidate] = []
        computer = Machine(QUICKER, path, ready=lambda one: not asked.append(one))
        model, _ = computer.settle(Budget(8, seconds=100), candidates(NANO, runtimes=BOTH))
        assert model == "nano at 640 px in float32"
        assert computer.loaded == [model]
        assert not asked

    def test_another_runtime_comes_before_a_less_accurate_setting(self, path: Path) -> None:
        model, choice = Machine(QUICKER, path).settle(
            Budget(18, seconds=100), candidates(NANO, runtimes=BOTH)
        )
        assert (model, choice.candidate.runtime) == ("nano at 512 px in float32 on openvino", "openvino")
        assert choice.reason == (
            "nano at 512 px in float32 on openvino: 25 frames/s here, "
            "18 wanted with 20% of the time to spare; nothing given up (J&F 0.797 on 11 videos (vos_dev)); "
            "passed over: nano at 640 px in float32 (11.1/s), "
            "nano at 640 px in float32 on openvino (13.9/s), nano at 512 px in float32 (20/s)"
        )

    def test_one_that_is_not_ready_is_neither_loaded_nor_mentioned(self, path: Path) -> None:
        computer = Machine(QUICKER, path, ready=lambda one: one.side != 512)
        _, choice = computer.settle(Budget(18, seconds=100), candidates(NANO, runtimes=BOTH))
        assert choice.candidate.title == "nano at 448 px in float32"
        assert "nano at 512 px in float32 on openvino" not in computer.loaded
        assert "512 px in float32 on openvino" not in choice.reason

    def test_the_quickest_may_be_on_another_runtime(self, path: Path) -> None:
        model, choice = Machine(QUICKER, path).settle(
            Budget(60, seconds=100), candidates(NANO, runtimes=BOTH)
        )
        assert (model, choice.reached) == ("nano at 256 px in float32 on openvino", False)

    def test_one_that_breaks_is_passed_over(self, path: Path) -> None:
        def load(candidate: Candidate) -> str:
            if candidate.runtime == "openvino":
                raise CheckpointError("the graph is damaged")
            return candidate.title

        computer = Machine(QUICKER, path)
        computer._load = load  # type: ignore[method-assign]
        _, choice = computer.settle(Budget(18, seconds=100), candidates(NANO, runtimes=BOTH))
        assert choice.candidate.title == "nano at 448 px in float32"
        assert choice.passed_over[1].why == "not usable: the graph is damaged"

    @pytest.mark.parametrize(("runtime", "share"), [("openvino", ENGINES), ("cuda-graphs", REPLAYED)])
    def test_one_that_would_have_to_be_far_quicker_is_not_tried(
        self, path: Path, runtime: str, share: float
    ) -> None:
        budget = Budget(10, seconds=1000, measure=True)
        limit = search.FLOOR * budget.allowed / share
        for seconds, tried in ((0.95 * limit, True), (1.05 * limit, False)):
            title = "nano at 640 px in float32"
            others = {f"{other} on {runtime}": 0.01 for other in SPEEDS}
            times = dict.fromkeys(SPEEDS, 0.01) | others | {title: seconds}
            computer = Machine(times, path)
            computer.settle(budget, candidates(NANO, runtimes=("eager", runtime)))
            assert (f"{title} on {runtime}" in computer.timed) is tried

    def test_when_the_time_is_over_only_pytorch_is_measured(self, path: Path) -> None:
        computer = Machine(QUICKER, path)
        _, choice = computer.settle(Budget(1000, seconds=1), candidates(NANO, runtimes=BOTH))
        assert computer.timed == ["nano at 640 px in float32", "nano at 256 px in float32"]
        assert choice.candidate.runtime == "eager"

    def test_the_share_is_that_of_pytorch(self) -> None:
        assert least_share("openvino", "openvino") == least_share("eager", "eager") == 1
        assert least_share("openvino", "eager") == least_share("eager", "openvino") == ENGINES
        assert least_share("cuda-graphs", "eager") == REPLAYED < ENGINES < 1


class TestStore:
    def test_the_same_choice_without_measuring(self, path: Path) -> None:
        computer = Machine(QUICKER, path)
        first = computer.settle(Budget(18), candidates(NANO, runtimes=BOTH))[1]
        timed = list(computer.timed)
        assert computer.settle(Budget(18), candidates(NANO, runtimes=BOTH))[1] == first
        assert computer.timed == timed

    def test_what_is_known_of_graphs_that_are_gone_does_not_count(self, path: Path) -> None:
        Machine(QUICKER, path).settle(Budget(18), candidates(NANO, runtimes=BOTH))
        computer = Machine(QUICKER, path, ready=lambda _candidate: False)
        choice = computer.settle(Budget(18), candidates(NANO, runtimes=BOTH))[1]
        assert choice.candidate.title == "nano at 448 px in float32"

    def test_each_runtime_has_its_own(self, path: Path) -> None:
        eager, openvino = candidates(NANO, runtimes=BOTH)[:2]
        speeds = Speeds(CPU, path)
        speeds.keep(openvino, Budget(9), 0.5, busy=False)
        assert speeds.find(eager, Budget(9)) is None
        assert speeds.find(openvino, Budget(9)) == 0.5

    def test_another_version_of_an_engine_is_measured_anew(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        eager, openvino = candidates(NANO, runtimes=BOTH)[:2]
        monkeypatch.setattr(store, "_version", lambda runtime: f" {runtime} 1" * (runtime != "eager"))
        for one in (eager, openvino):
            Speeds(CPU, path).keep(one, Budget(9), 0.5, busy=False)
        monkeypatch.setattr(store, "_version", lambda runtime: f" {runtime} 2" * (runtime != "eager"))
        assert [Speeds(CPU, path).find(one, Budget(9)) for one in (eager, openvino)] == [0.5, None]

    @pytest.mark.parametrize("runtime", ["openvino", "onnx"])
    def test_the_version_of_an_engine_is_found(self, runtime: str) -> None:
        pytest.importorskip(GRAPH_RUNTIMES[runtime])
        assert store._version(runtime) == f" {GRAPH_RUNTIMES[runtime]} {version_of(GRAPH_RUNTIMES[runtime])}"
        assert store._version("eager") == ""

    def test_a_file_from_before_runtimes_varied_is_understood(self, path: Path) -> None:
        """Its keys were made of the runtime that held for all candidates."""
        one = candidates(NANO)[0]
        about = [f"{machine(CPU)}, eager", repr(NANO.config), ("video", 640, "float32"), (1, (720, 1280))]
        key = hashlib.sha256(json.dumps(about).encode()).hexdigest()[:32]
        entry = {"what": "nano at 640 px", "seconds": 0.25, "when": 0.0, "busy": False}
        path.parent.mkdir()
        path.write_text(json.dumps({"format": FORMAT, "speeds": {key: entry}}))
        assert Speeds(CPU, path, lambda: 60.0).find(one, Budget(9)) == 0.25


class TestReady:
    @pytest.fixture(autouse=True)
    def cache(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("MASKWRIGHT_CACHE", str(tmp_path / "cache"))

    @pytest.fixture
    def model(self, tmp_path: Path) -> Known:
        pytest.importorskip("openvino")
        pytest.importorskip("onnxruntime")
        torch.manual_seed(0)
        return Known(save_checkpoint(tmp_path / "s.safetensors", SMALL, SAM2(SMALL).state_dict()), SMALL)

    def export(self, model: Known, config: ModelConfig) -> Path:
        """Put a folder with one graph, of no content, where the cache has those of a model."""
        checkpoint = load_checkpoint(search.file_of(model))
        fingerprint = fingerprint_of(checkpoint.config, checkpoint.state)
        folder = cached_folder(config, fingerprint, image_only=checkpoint.image_only)
        folder.mkdir(parents=True)
        graphs = {config.image_size: {"decode": GraphFile("decode.onnx", "", {}, {})}}
        (folder / "decode.onnx").touch()
        (folder / FILE).write_text(Manifest(config, fingerprint, False, 20, {}, graphs).text())
        return folder

    def ready(self, model: Known, side: int, dtype: str, runtime: str, task: str = "video") -> bool:
        return readiness(CPU, search.file_of)(Candidate(model, task, side, dtype, runtime))  # type: ignore[arg-type]

    def test_graphs_of_this_model_at_this_size(self, model: Known) -> None:
        assert not self.ready(model, 64, "float32", "openvino")
        folder = self.export(model, SMALL)
        assert self.ready(model, 64, "float32", "openvino")
        assert self.ready(model, 64, "bfloat16", "openvino")
        assert self.ready(model, 64, "float32", "onnx")
        assert not self.ready(model, 64, "bfloat16", "onnx")
        assert not self.ready(model, 96, "float32", "openvino")
        (folder / "decode.onnx").unlink()
        assert not self.ready(model, 64, "float32", "openvino")

    def test_graphs_of_other_weights_are_none(self, model: Known, tmp_path: Path) -> None:
        self.export(model, SMALL)
        torch.manual_seed(1)
        other = Known(save_checkpoint(tmp_path / "o.safetensors", SMALL, SAM2(SMALL).state_dict()), SMALL)
        assert not self.ready(other, 64, "float32", "openvino")

    def test_a_damaged_manifest_is_none(self, model: Known) -> None:
        (self.export(model, SMALL) / FILE).write_text("{")
        assert not self.ready(model, 64, "float32", "openvino")

    def test_a_damaged_model_is_not_ready(self, model: Known) -> None:
        self.export(model, SMALL)
        search.file_of(model).write_bytes(b"nothing")
        assert not self.ready(model, 64, "float32", "openvino")

    def test_a_package_that_is_missing(self, model: Known, monkeypatch: pytest.MonkeyPatch) -> None:
        self.export(model, SMALL)
        monkeypatch.setitem(__import__("sys").modules, "openvino", None)
        assert not self.ready(model, 64, "float32", "openvino")
        assert self.ready(model, 64, "float32", "onnx")

    def test_nano_needs_both_of_its_sizes_for_videos(self, nano_file: Path) -> None:
        pytest.importorskip("openvino")
        self.export(NANO, NANO_CONFIG.for_video)
        assert not self.ready(NANO, 512, "float32", "openvino")
        self.export(NANO, NANO_CONFIG)
        assert self.ready(NANO, 512, "float32", "openvino")
        assert self.ready(NANO, 704, "float32", "openvino", "photo")
        assert not self.ready(NANO, 704, "float32", "openvino")  # at one size for both

    def test_pytorch_is_always_ready(self) -> None:
        for runtime in ("eager", "cuda-graphs"):
            assert self.ready(TINY, 1024, "float32", runtime)


class TestFind:
    @pytest.fixture
    def loaded(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, nano_file: Path
    ) -> Callable[..., list[dict[str, Any]]]:
        """Looks for what makes 8 frames a second of a nano that takes too long in PyTorch at every size."""
        monkeypatch.setenv("MASKWRIGHT_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(timing, "speed_of", lambda model, *_about: Speed(model, 5))

        def loads(**asked: Any) -> list[dict[str, Any]]:
            calls: list[dict[str, Any]] = []

            def load(_file: Path, **options: Any) -> float:
                calls.append(options)
                return 0.02 if options["runtime"] != "eager" else 0.25

            find: Any = search.find
            find(Budget(8), [NANO], load, **{"device": "cpu", "dtype": "float32", "side": 96, **asked})
            return calls

        return loads

    def test_a_runtime_that_was_asked_for_stays(self, loaded: Callable[..., list[dict[str, Any]]]) -> None:
        assert [one["runtime"] for one in loaded(runtime="eager")] == ["eager"]
        assert [one["runtime"] for one in loaded(runtime="onnx")] == ["onnx"]

    def test_without_graphs_it_is_pytorch(self, loaded: Callable[..., list[dict[str, Any]]]) -> None:
        assert [one["runtime"] for one in loaded()] == ["eager"]

    def test_with_graphs_it_varies(
        self, loaded: Callable[..., list[dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(search, "readiness", lambda *_about: lambda one: one.runtime == "onnx")
        assert [one["runtime"] for one in loaded()] == ["eager", "onnx"]

    def test_engines_run_on_the_processor(
        self, loaded: Callable[..., list[dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(select, "available_devices", lambda: [torch.device("mps"), CPU])
        assert loaded(device=None, runtime="openvino")[0]["device"] == CPU
        assert loaded(device=None, runtime="eager")[0]["device"] == torch.device("mps")


def test_a_model_says_what_it_runs_on(nano_file: Path) -> None:
    model: MaskModel = mw.load("nano", device="cpu")
    assert model.runtime_name == "eager"
