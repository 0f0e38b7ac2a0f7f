"""``maskwright bench`` on a runtime that draws: what it writes and prints, Ctrl-C, and bad input."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from maskwright.runtime.fake import Fake

if TYPE_CHECKING:
    from tests.apps.conftest import EveryModel, Run

QUICK = ("--seconds", "1", "--only", "image,video", "--objects", "1")


def test_what_it_writes(run: Run, fake_load: list[dict[str, Any]], photo: Path) -> None:
    outcome = run("bench", *QUICK, "--image", photo, "--device", "cpu", "--threads", "1", "-o", "out")
    assert outcome.code == 0, outcome.err
    assert fake_load[0]["device"] == "cpu"
    report = json.loads(Path("out/bench.json").read_text())
    assert (report["format"], report["finished"]) == ("maskwright-bench-1", True)
    assert [one["task"] for one in report["figures"]] == ["embed", "prompt", "frame"]
    frame = report["figures"][2]
    assert set(frame["times"]) == {"model", "pipeline", "end_to_end"}
    assert set(frame["times"]["pipeline"]) == {"p50_ms", "p95_ms", "per_second", "samples_ms"}
    assert {"encode", "recall", "decode", "remember"} <= set(frame["stages_ms"])
    assert report["about"]["threads"] == 1
    assert report["models"][0]["photo"] == "scene.png, 128 x 96"
    text = Path("out/bench.md").read_text()
    assert "| tracked frame, 1 object |" in text
    assert "![Chart](bench.png)" in text
    with Image.open("out/bench.png") as chart:
        assert chart.format == "PNG"
        assert len(chart.convert("RGB").getcolors(1 << 20) or []) > 5
    assert "tracked frame, 1 object" in outcome.out
    assert "written: out/bench.json" in outcome.out


def test_json(run: Run, fake_load: list[dict[str, Any]], photo: Path) -> None:
    outcome = run("bench", *QUICK, "--image", photo, "--json")
    printed = json.loads(outcome.out)
    assert printed == json.loads(Path("maskwright-bench/bench.json").read_text())


def test_a_video(run: Run, fake_load: list[dict[str, Any]], photo: Path) -> None:
    Path("film").mkdir()
    for number in range(4):
        Image.open(photo).save(f"film/{number}.png")
    outcome = run("bench", "--seconds", "1", "--only", "video", "--objects", "2", "--video", "film", "--json")
    report = json.loads(outcome.out)
    assert report["models"][0]["film"] == "film, 128 x 96"
    assert report["figures"][0]["objects"] == 2


def test_earlier_results_stay(run: Run, fake_load: list[dict[str, Any]], photo: Path) -> None:
    Path("out").mkdir()
    Path("out/bench.md").write_text("mine")
    outcome = run("bench", *QUICK, "--image", photo, "-o", "out")
    assert outcome.code == 2
    assert "exists already" in outcome.err
    assert fake_load == []
    assert Path("out/bench.md").read_text() == "mine"
    assert run("bench", *QUICK, "--image", photo, "-o", "out", "--overwrite").code == 0
    assert Path("out/bench.md").read_text() != "mine"


def test_interrupted(run: Run, every_model: EveryModel, photo: Path) -> None:
    class Slow(Fake):
        """Ctrl-C comes while it follows an object."""

        def recall(self, *arguments: Any, **options: Any) -> Any:
            signal.raise_signal(signal.SIGINT)
            self.recall = super().recall  # type: ignore[method-assign]
            return super().recall(*arguments, **options)

    every_model(Slow)
    outcome = run("bench", *QUICK, "--image", photo, "-o", "out")
    assert outcome.code == 130
    report = json.loads(Path("out/bench.json").read_text())
    assert not report["finished"]
    assert [one["task"] for one in report["figures"]][:2] == ["embed", "prompt"]
    assert "ended early" in Path("out/bench.md").read_text()
    assert "ended early" in outcome.out


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--models", ","), "models are none"),
        (("--models", "sam9"), "sam9"),
        (("--objects", "many"), "write numbers with commas between"),
        (("--objects", "0"), "is not between 1 and 64"),
        (("--only", "everything"), "choose of image, video, automask, start"),
        (("--seconds", "0"), "is not between 1 and 86400"),
        (("--image", "nowhere.jpg"), "there is no nowhere.jpg"),
        (("--video", "nowhere.mp4"), "there is no nowhere.mp4"),
        (("--against-python", "nowhere/python"), "there is no nowhere/python"),
        (("--models", "sam2.1-tiny"), "--random-weights"),
        (("--device", "abacus"), "abacus"),
        (("--image-size", "100"), "image_size"),
    ],
)
def test_bad_input(run: Run, arguments: tuple[str, ...], complaint: str) -> None:
    outcome = run("bench", "--only", "image", "-o", "out", *arguments)
    assert (outcome.code, outcome.out) == (2, "")
    assert complaint in outcome.err
    assert outcome.err.count("\n") == 1
    assert not Path("out").exists()


def test_a_picture_that_is_none(run: Run, fake_load: list[dict[str, Any]], tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("no picture")
    outcome = run("bench", *QUICK, "--image", tmp_path / "text.jpg", "-o", "out")
    assert outcome.code == 2
    assert "text.jpg" in outcome.err
    assert not Path("out").exists()
