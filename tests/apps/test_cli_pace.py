"""``--target-fps`` of ``track`` and ``segment``: what is asked of the library, and what is said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from following import OBJECTS, clip
from maskwright.budget.candidates import Candidate, Known
from maskwright.budget.choice import BudgetChoice
from maskwright.budget.options import Budget
from maskwright.config import PRESETS
from maskwright.io.sinks.records import parse_header
from maskwright.mask_model import MaskModel
from maskwright.runtime.fake import Fake

if TYPE_CHECKING:
    from tests.apps.conftest import Run

CLICK = ("--point", "36,44")


@pytest.fixture
def chosen_on() -> str:
    """The runtime that a target chooses."""
    return "eager"


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch, chosen_on: str) -> list[dict[str, Any]]:
    """Makes every model a fake one that was chosen, if there was a target; fills with what was asked for."""
    asked: list[dict[str, Any]] = []

    def load(name: str | None = None, *, target_fps: Budget | None = None, **options: Any) -> MaskModel:
        asked.append({"name": name, "target_fps": target_fps, **options})
        runtime = options["runtime"] or ("eager" if target_fps is None else chosen_on)
        model = MaskModel(Fake(), runtime_name=runtime)
        if target_fps is not None:
            chosen = Candidate(Known("nano", PRESETS["nano"]), target_fps.task, 384, "float32", runtime)
            model.choice = BudgetChoice(target_fps, chosen, 40.0, True, ())
        return model

    monkeypatch.setattr("maskwright.facade.load", load)
    return asked


def test_a_video_is_measured_at_its_size_with_its_objects(
    run: Run, tmp_path: Path, calls: list[dict[str, Any]]
) -> None:
    outcome = run("track", clip(tmp_path), *OBJECTS, "--target-fps", 30)
    assert outcome.code == 0
    budget = Budget(30, objects=2, size=(48, 64))
    rest = {"device": None, "dtype": None, "image_size": None, "runtime": None}
    assert calls == [{"name": None, "target_fps": budget, **rest}]
    assert "chosen: nano at 384 px in float32: 40 frames/s here, 30 wanted" in outcome.err


def test_a_model_that_was_named_is_kept(run: Run, tmp_path: Path, calls: list[dict[str, Any]]) -> None:
    run("track", clip(tmp_path), *OBJECTS, "--target-fps", 30, "-m", "sam2.1-tiny", "--dtype", "bf16")
    assert (calls[0]["name"], calls[0]["dtype"]) == ("sam2.1-tiny", "bf16")


def test_without_a_target_it_is_nano(run: Run, tmp_path: Path, calls: list[dict[str, Any]]) -> None:
    run("track", clip(tmp_path), *OBJECTS)
    assert (calls[0]["name"], calls[0]["target_fps"]) == ("nano", None)


@pytest.mark.parametrize("chosen_on", ["eager", "openvino"])
def test_a_run_that_goes_on_keeps_what_was_chosen(
    run: Run, tmp_path: Path, calls: list[dict[str, Any]], chosen_on: str
) -> None:
    arguments = ("track", clip(tmp_path), *OBJECTS, "--log", "a.jsonl", "--target-fps", 30)
    assert run(*arguments).code == 0
    job = parse_header((tmp_path / "a.jsonl").read_bytes().splitlines(keepends=True)[0]).job
    assert run(*arguments, "--resume").code == 0
    again = {"device": None, "dtype": "float32", "image_size": job["image_size"], "runtime": chosen_on}
    assert calls[1] == {"name": "nano", "target_fps": None, **again}


@pytest.mark.parametrize("chosen_on", ["openvino"])
def test_a_run_does_not_go_on_with_another_runtime(
    run: Run, tmp_path: Path, calls: list[dict[str, Any]]
) -> None:
    arguments = ("track", clip(tmp_path), *OBJECTS, "--log", "a.jsonl")
    outcome = run(*arguments, "--target-fps", 30)
    assert outcome.code == 0
    assert "chosen: nano at 384 px in float32 on openvino: 40 frames/s" in outcome.err
    outcome = run(*arguments, "--resume")
    assert outcome.code == 2
    assert "only the log has job.runtime = 'openvino'" in outcome.err
    assert run(*arguments, "--resume", "--runtime", "openvino").code == 0


def test_a_photograph_and_what_is_written_about_it(
    run: Run, photo: Path, calls: list[dict[str, Any]], tmp_path: Path
) -> None:
    outcome = run("segment", photo, *CLICK, "--target-fps", 5, "-o", "out")
    assert outcome.code == 0
    assert calls[0]["target_fps"] == Budget(5, task="photo", size=(96, 128))
    assert "chosen: nano" in outcome.err
    assert json.loads((tmp_path / "out" / "results.json").read_text())["model"] == "nano"


@pytest.mark.parametrize("other", ["--auto", "--tiles"])
def test_what_is_not_measured_is_refused(
    run: Run, photo: Path, other: str, calls: list[dict[str, Any]]
) -> None:
    prompt = () if other == "--auto" else CLICK
    outcome = run("segment", photo, *prompt, other, "--target-fps", 5)
    assert outcome.code == 2
    assert f"not {other}" in outcome.err
    assert not calls


def test_an_impossible_rate(run: Run, photo: Path, calls: list[dict[str, Any]]) -> None:
    outcome = run("segment", photo, *CLICK, "--target-fps", 0)
    assert (outcome.code, calls) == (2, [])
    assert "target_fps is 0" in outcome.err
