"""``maskwright track --discover``: objects that nobody asked for."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from following import files, lines
from maskwright.io.sinks import FrameLog
from seeing import Seeing, scene

if TYPE_CHECKING:
    from tests.apps.conftest import EveryModel, Run

LOG = ("--log", "out.jsonl")
NUM_FRAMES = 10
FIRST, SECOND = (8, 8, 32), (72, 64, 40)


@pytest.fixture(autouse=True)
def seeing(every_model: EveryModel) -> list[Seeing]:
    """Every model sees grey squares; the list fills with them."""
    return every_model(Seeing)


@pytest.fixture
def frames(tmp_path: Path) -> Path:
    """Pictures: a square, and from frame 3 on another one."""
    folder = tmp_path / "frames"
    folder.mkdir()
    for number in range(NUM_FRAMES):
        squares = {90: FIRST} | ({160: SECOND} if number >= 3 else {})
        Image.fromarray(scene(squares)).save(folder / f"{number}.png")
    return folder


def test_without_any_object(run: Run, frames: Path, tmp_path: Path) -> None:
    outcome = run("track", "frames", "--discover", "--every", 4, *LOG, "--masks", "masks")
    assert (outcome.code, outcome.err) == (0, "")
    head, first, second, *rest = outcome.out.splitlines()
    assert head.split()[:4] == ["object", "found", "in", "visible"]
    assert first.split()[:6] == ["1", "frame", "0", "10", "of", "10"]
    assert second.split()[:6] == ["2", "frame", "4", "6", "of", "6"]
    assert rest[0].startswith("frames 0 to 9: 10 done")
    written = lines(tmp_path / "out.jsonl")
    assert [[one["id"] for one in line["objects"]] for line in written] == [[1]] * 4 + [[1, 2]] * 6
    found = [(line["frame"], one["id"]) for line in written for one in line["objects"] if "discovered" in one]
    assert found == [(0, 1), (4, 2)]
    assert not any(one["prompted"] for line in written for one in line["objects"])
    with Image.open(tmp_path / "masks/00009.png") as labels:
        assert (labels.getpixel((20, 20)), labels.getpixel((90, 80)), labels.getpixel((60, 10))) == (1, 2, 0)


def test_beside_objects_that_are_asked_for(run: Run, frames: Path) -> None:
    options = ("--object", "5:point=90,80@6", "--discover", "--every", 4, "--json")
    report = json.loads(run("track", "frames", *options, *LOG).out)
    assert [(one["id"], one["discovered"], one["tracked"]) for one in report["objects"]] == [
        (5, None, 4),
        (6, 0, 10),
        (7, 4, 6),
    ]


def test_prompts_come_first(run: Run, frames: Path) -> None:
    report = json.loads(run("track", "frames", "--object", "5:point=20,20", "--discover", *LOG, "--json").out)
    assert [(one["id"], one["discovered"]) for one in report["objects"]] == [(5, None)]


def test_backward(run: Run, frames: Path) -> None:
    report = json.loads(run("track", "frames", "--discover", "--backward", *LOG, "--json").out)
    assert [(one["id"], one["discovered"]) for one in report["objects"]] == [(1, 9), (2, 9)]
    assert (report["frames"]["lowest"], report["frames"]["highest"]) == (0, 9)


def test_nothing_found(run: Run, frames: Path) -> None:
    outcome = run("track", "frames", "--discover", "--every", 2, "--min-score", 0.95, *LOG)
    assert outcome.code == 0
    assert outcome.out.startswith("no objects were followed\nframes 0 to 9: 10 done")
    (warning,) = outcome.err.splitlines()
    assert warning.startswith("warning: nothing was discovered in frame 0: kept 0 of 768 masks: ")
    assert warning.endswith("lower min_score")


@pytest.mark.parametrize("snapshot", [True, False])
def test_resume(run: Run, frames: Path, tmp_path: Path, snapshot: bool, seeing: list[Seeing]) -> None:
    """Ended after the frame before a search; with a snapshot, and with the log alone."""
    command = ("track", "frames", "--discover", "--every", 4, "--max-objects", 3, *LOG)
    assert run(*command).code == 0
    expected = (tmp_path / "out.jsonl").read_bytes()
    (tmp_path / "out.jsonl").unlink()
    write = FrameLog.write

    def pressed(log: FrameLog, tracked: Any) -> None:
        if tracked.index == 3:
            signal.raise_signal(signal.SIGINT)
        write(log, tracked)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FrameLog, "write", pressed)
        assert run(*command).code == 130
    if not snapshot:
        (tmp_path / "out.jsonl.session").unlink()
    other = run("track", "frames", "--discover", "--every", 5, "--max-objects", 3, *LOG, "--resume")
    assert other.code == 2
    assert "job.discover.every was 4 and is 5 now" in other.err
    outcome = run(*command, "--resume", "--json")
    assert outcome.code == 0, outcome.err
    assert (tmp_path / "out.jsonl").read_bytes() == expected
    assert [one["discovered"] for one in json.loads(outcome.out)["objects"]] == [0, 4]
    assert files(tmp_path) == ["frames", "out.jsonl"]


def test_progress_has_the_number_of_objects(run: Run, frames: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from maskwright.cli import progress

    monkeypatch.setattr(progress, "LINE_SECONDS", 0.0)
    told = run("track", "frames", "--discover", "--every", 4, *LOG).err.splitlines()
    assert sum(line.endswith("searching") for line in told) > 64
    shown = [line.rpartition("objects: ")[2] for line in told if "objects: " in line]
    assert shown == ["1"] * 4 + ["2"] * 6


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), "nothing to follow: say what with --object, .*; or find it with --discover"),
        (("--every", 3), "--every is for --discover; add --discover, or leave --every out"),
        (("--object", "1:point=9,9", "--max-objects", 3), "--max-objects is for --discover"),
        (("--object", "1:point=9,9", "--preset", "fast"), "--preset is for --discover"),
        (("--discover", "--every", 0), "every is 0; it must be a whole number from 1 on"),
        (("--discover", "--preset", "quick"), "no preset 'quick'"),
        (("--discover", "--min-score", 2), "min_score is 2.0"),
        (("--discover", "--min-area", 0.6), "min_area=0.6 is not below max_area=0.5"),
        (("--discover", "--forget-after", -1), "forget_after is -1"),
        (("--discover", "--both"), "--both goes both ways from a prompt"),
        (("--discover", "--max-objects", 1, "--object", "1:point=9,9"), "make it larger than 1"),
        (("--discover", "--masks", "m", "--object", "255:point=9,9"), "prompt objects by smaller numbers"),
    ],
)
def test_bad_options(
    run: Run, frames: Path, tmp_path: Path, seeing: list[Seeing], options: tuple[Any, ...], words: str
) -> None:
    import re

    outcome = run("track", "frames", *options, *LOG)
    assert outcome.code == 2
    assert len(outcome.err.splitlines()) == 1
    assert re.search(words, outcome.err), outcome.err
    assert not seeing
    assert files(tmp_path) == ["frames"]
