"""Other implementations in processes of their own: a stand-in, and transformers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from maskwright.measure import others
from maskwright.measure.first import apart, fresh_seconds
from maskwright.measure.others import Other, interpreters
from maskwright.measure.plan import Plan
from maskwright.measure.run import measure
from maskwright.measure.shots import Failure

STAND_IN = """
import json, sys
import numpy as np

job = json.load(open(sys.argv[1]))
def say(value):
    print(json.dumps(value), flush=True)
if job["breaks"] == "at once":
    raise SystemExit(1)
say({"failed": "ImportError: no such thing"} if job["breaks"] == "loading" else {"version": "them 1.0"})
for line in sys.stdin:
    request = json.loads(line)
    if job["breaks"] == "answering":
        continue
    if request["do"] == job["breaks"]:
        say({"failed": "RuntimeError: out of something"})
        continue
    if "save" in request:
        masks = np.zeros((1, 10, 13), bool)
        masks[0, 2:5, 3:11] = True
        np.savez(request["save"], masks=np.packbits(masks, axis=-1), width=13)
    say({"seconds": 0.25, "mib": 7.0})
"""


@pytest.fixture
def worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "stand_in.py"
    path.write_text(STAND_IN)
    monkeypatch.setattr(others, "WORKER", path)
    return tmp_path


def start(folder: Path, breaks: str = "") -> Other:
    return Other(sys.executable, {"implementation": "official", "breaks": breaks}, folder)


class TestOther:
    def test_masks_and_times(self, worker: Path) -> None:
        one = start(worker)
        try:
            assert one.who == "them 1.0"
            assert one.embed().times == {"pipeline": 0.25}
            shot = one.prompt((3.0, 4.0))
            assert shot.answer is not None
            assert shot.answer.masks.shape == (1, 10, 13)
            assert shot.answer.masks.sum() == 24
            assert shot.answer.logits is None
            assert one.peak_mib() == 7
            assert one.fresh((3.0, 4.0)).times["end_to_end"] > 0
        finally:
            one.close()

    def test_cannot_run(self, worker: Path) -> None:
        with pytest.raises(Failure, match="no such thing"):
            start(worker, "loading")

    def test_ends_early(self, worker: Path) -> None:
        with pytest.raises(Failure, match="has ended"):
            start(worker, "at once")

    def test_one_failure_is_not_the_end(self, worker: Path) -> None:
        one = start(worker, "automask")
        try:
            with pytest.raises(Failure, match="out of something"):
                one.automask()
            assert one.next().answer is not None
        finally:
            one.close()

    def test_does_not_answer(self, worker: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        one = start(worker, "answering")
        monkeypatch.setattr(others, "LIMIT", 0.01)
        try:
            with pytest.raises(Failure, match="no answer within"):
                one.embed()
        finally:
            one.close()
            one.close()


def test_where_others_are(monkeypatch: pytest.MonkeyPatch) -> None:
    def only(package: str) -> Any:
        return package if package == "transformers" else None

    monkeypatch.setattr(others.importlib.util, "find_spec", only)
    assert interpreters(None) == {"transformers": sys.executable}
    assert interpreters(Path("other/python")) == {
        "transformers": sys.executable,
        "official": "other/python",
    }
    monkeypatch.setattr(others, "_has", lambda python, package: package == "transformers")
    assert set(interpreters(Path("other/python")).values()) == {"other/python"}


@pytest.mark.skipif(os.name != "posix", reason="process groups are POSIX")
def test_a_process_is_out_of_reach_of_ctrl_c_and_no_quicker_for_it() -> None:
    asked = [sys.executable, "-c", "import os; print(os.getpgrp() == os.getpid(), os.getsid(0))"]
    said = subprocess.run(asked, capture_output=True, text=True, check=True, **apart()).stdout.split()
    assert said[0] == "True"
    if sys.version_info >= (3, 11):
        assert int(said[1]) == os.getsid(0)


def test_an_environment_is_asked_what_it_has() -> None:
    assert others._has(Path(sys.executable), "torch")
    assert not others._has(Path(sys.executable), "no_such_package")
    assert not others._has(Path("no/such/python"), "torch")


def test_the_first_mask_of_a_fresh_process(photo: Path, nano_file: Path) -> None:
    load = {"name": str(nano_file), "device": "cpu", "dtype": None, "image_size": 64}
    assert 0 < fresh_seconds(photo, (36, 44), 1, load) < 300


def test_a_fresh_process_that_fails(photo: Path) -> None:
    with pytest.raises(Failure, match="UnknownModelError"):
        fresh_seconds(photo, (36, 44), 1, {"name": "sam9"})


def test_masks_equal_those_of_transformers(
    photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("transformers")
    monkeypatch.setenv("MASKWRIGHT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    plan = Plan(
        models=("sam2.1-tiny",),
        image=photo,
        parts=("image", "video"),
        objects=(2,),
        device="cpu",
        image_size=128,
        random_weights=True,
        seconds=1.0,
    )
    report = measure(plan)
    figures = {(one.task, one.ours): one for one in report.figures}
    assert set(figures) == {(task, ours) for task in ("embed", "prompt", "frame") for ours in (True, False)}
    for task in ("prompt", "frame"):
        parity = figures[task, True].parity
        assert parity is not None
        assert parity.reference.startswith("transformers")
        assert parity.empty < parity.masks / 2
        assert parity.mean_iou > 0.995
        assert parity.logit_error is not None
        assert parity.logit_error < 1e-3
    assert figures["frame", False].parity is None
    assert report.subjects[0].random_weights
    assert any("sam2" in note or "official" in note for note in report.notes)
    assert np.isfinite(json.loads(json.dumps(report.plain()))["figures"][0]["times"]["model"]["p50_ms"])
