"""``maskwright segment FOLDER --auto``: results, files that fail, and going on after whatever ended a run."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from maskwright.automask.search import Search
from maskwright.cli import progress
from maskwright.io.sinks.lines import LineFile
from maskwright.runtime.fake import Fake

if TYPE_CHECKING:
    from tests.apps.conftest import EveryModel, Outcome, Run

FEW = ("--auto", "--points-per-side", "2", "-o", "out")
NAMES = ("p1.png", "p2.png", "p10.png", "p11.jpg")
"""The pictures of the album, in natural order."""

RUNNER = """
import os, signal, sys
from maskwright import facade
from maskwright.cli import main
from maskwright.cli.auto import folder, log
from maskwright.io import files
from maskwright.runtime.fake import Fake

calls = 0

def die_in(place, name):
    real = getattr(place, name)
    def dying(*arguments, **options):
        global calls
        if calls == {calls}:
            os.kill(os.getpid(), signal.SIGKILL)
        calls += 1
        return real(*arguments, **options)
    setattr(place, name, dying)

die_in({where})
facade.load = lambda name, **options: facade.MaskModel(Fake())
sys.exit(main(sys.argv[1:]))
"""
"""A program that is killed when it calls a function for the ``calls``-th time, counted from 0."""


@pytest.fixture
def fakes(every_model: EveryModel) -> list[Fake]:
    """Makes every model a fake one; the list fills with them, so that pictures can be counted."""
    return every_model(Fake)


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """A folder of four small pictures, of different shades and sizes."""
    folder = tmp_path / "album"
    folder.mkdir()
    for number, name in enumerate(NAMES):
        Image.new("RGB", (64, 48 + number), (60 * number, 90, 120)).save(folder / name)
    (folder / "notes.txt").write_text("no picture")
    return folder


def content(folder: Path) -> dict[str, Any]:
    """Every file of the results, and what the log says at the end about each picture but the time it took."""
    found: dict[str, Any] = {
        path.name: path.read_bytes() for path in folder.iterdir() if path.name != "log.jsonl"
    }
    found["log"] = {row["file"]: {**row, "seconds": 0} for row in lines(folder)}
    return found


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()[1:]]


def uninterrupted(run: Run, folder: Path) -> dict[str, Any]:
    """What a run that nothing ends gives; nothing of it is left."""
    outcome = run("segment", "album", *FEW)
    assert outcome.code == 0, outcome.err
    found = content(folder / "out")
    shutil.rmtree(folder / "out")
    return found


def complaint(outcome: Outcome) -> str:
    """The last line on stderr of a run that failed."""
    assert outcome.code == 2
    line = outcome.err.splitlines()[-1]
    assert line.startswith("error: ")
    return line


@pytest.mark.usefixtures("fakes", "album")
def test_three_files_for_each_picture_and_a_log(run: Run, tmp_path: Path) -> None:
    outcome = run("segment", "album", *FEW)
    assert outcome.code == 0
    assert outcome.err == ""
    out = tmp_path / "out"
    expected = [f"{Path(name).stem}{end}" for name in NAMES for end in (".json", ".png", "-overlay.jpg")]
    assert sorted(path.name for path in out.iterdir()) == sorted([*expected, "log.jsonl"])
    rows = lines(out)
    assert [row["file"] for row in rows] == list(NAMES)
    report = json.loads((out / "p11.json").read_text())
    assert report["image"] == {"file": str(Path("album/p11.jpg")), "height": 51, "width": 64}
    assert rows[3]["objects"] == len(report["objects"]) > 0
    with Image.open(out / "p11.png") as numbers, Image.open(out / "p11-overlay.jpg") as overlay:
        assert overlay.size == numbers.size == (64, 51)
        assert set(np.unique(np.asarray(numbers))) <= {0, *(row["id"] for row in report["objects"])}
    total = sum(row["objects"] for row in rows)
    assert outcome.out.splitlines()[0].startswith(f"{total} objects in 4 pictures, ")


@pytest.mark.usefixtures("fakes", "album")
def test_the_default_folder_and_json(run: Run, tmp_path: Path) -> None:
    outcome = run("segment", "album", "--auto", "--points-per-side", 2, "--json")
    assert outcome.err == ""
    report = json.loads(outcome.out)
    assert (report["out"], report["finished"], report["failed"]) == ("album-masks", True, [])
    assert [row["file"] for row in report["pictures"]] == list(NAMES)
    assert (tmp_path / "album-masks/p1.json").is_file()


def test_files_that_fail_are_told_and_tried_again(
    run: Run, album: Path, tmp_path: Path, fakes: list[Fake]
) -> None:
    (album / "p3.png").write_bytes((album / "p2.png").read_bytes()[:60])
    (album / "p4.jpg").write_bytes(b"")
    Image.new("RGB", (1, 2)).save(album / "p5.png")  # smaller than the grid of clicks
    outcome = run("segment", "album", *FEW)
    assert "3 of 7 pictures failed" in complaint(outcome)
    header, *failed, totals, _, _ = outcome.out.splitlines()
    assert header.split() == ["failed", "reason"]
    reasons = {"p3.png": "damaged", "p4.jpg": "empty", "p5.png": "points_per_side"}
    assert [line.split()[0] for line in failed] == list(reasons)
    assert all(word in line for word, line in zip(reasons.values(), failed, strict=True))
    assert totals.endswith("; 3 failed")
    assert sorted(path.name for path in (tmp_path / "out").glob("p3*")) == []
    assert len(lines(tmp_path / "out")) == 7

    shutil.copy(album / "p2.png", album / "p3.png")  # one is mended, the others fail again
    outcome = run("segment", "album", *FEW, "--json")
    assert "2 of 7 pictures failed" in complaint(outcome)
    assert "4 of 7 pictures are done already" in outcome.err
    assert fakes[-1].encoded == 1
    assert len(lines(tmp_path / "out")) == 8
    assert [row["file"] for row in json.loads(outcome.out)["failed"]] == ["p4.jpg", "p5.png"]


@pytest.mark.parametrize(
    ("where", "calls"),
    [
        ('Fake, "encode_image"', 0),
        ('log.RunLog, "write"', 1),
        ('files, "write_text"', 3),
    ],
    ids=["first", "between files and log", "between files"],
)
@pytest.mark.usefixtures("album")
def test_kill_and_resume(run: Run, tmp_path: Path, fakes: list[Fake], where: str, calls: int) -> None:
    expected = uninterrupted(run, tmp_path)
    command = [sys.executable, "-c", RUNNER.format(where=where, calls=calls), "segment", "album", *FEW]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == -signal.SIGKILL, done.stderr
    rows = lines(tmp_path / "out")
    assert len(rows) == calls
    outcome = run("segment", "album", *FEW)
    assert outcome.code == 0, outcome.err
    assert (f"{calls} of 4 pictures are done already" in outcome.err) == (calls > 0)
    assert fakes[-1].encoded == 4 - calls
    assert content(tmp_path / "out") == expected
    assert len(lines(tmp_path / "out")) == 4


@pytest.mark.usefixtures("album")
def test_a_torn_line_and_lost_files_are_made_again(run: Run, tmp_path: Path, fakes: list[Fake]) -> None:
    assert run("segment", "album", *FEW).code == 0
    out = tmp_path / "out"
    expected = content(out)
    log = out / "log.jsonl"
    log.write_bytes(log.read_bytes()[:-20])
    (out / "p2-overlay.jpg").unlink()
    (out / ".p1.json.0123456789ab.part").write_bytes(b"half a file")
    assert run("segment", "album", *FEW).code == 0
    assert fakes[-1].encoded == 2
    assert content(out) == expected
    log.write_bytes(log.read_bytes()[:30])  # killed while the first line was written
    assert run("segment", "album", *FEW).code == 0
    assert fakes[-1].encoded == 4
    assert content(out) == expected


def test_new_and_changed_pictures_are_searched(
    run: Run, album: Path, tmp_path: Path, fakes: list[Fake]
) -> None:
    assert run("segment", "album", *FEW).code == 0
    before = content(tmp_path / "out")
    Image.new("RGB", (80, 40), (9, 99, 199)).save(album / "p2.png")
    Image.new("RGB", (40, 40), (9, 99, 199)).save(album / "p1.bmp")  # its stem is taken
    assert run("segment", "album", *FEW).code == 0
    assert fakes[-1].encoded == 2
    after = content(tmp_path / "out")
    assert json.loads(after["p2.json"])["image"]["width"] == 80
    assert json.loads(after["p1.bmp.json"])["image"]["width"] == 40
    assert {name: after[name] for name in before if name.startswith(("p1.", "p10.", "p11."))} == {
        name: before[name] for name in before if name.startswith(("p1.", "p10.", "p11."))
    }


@pytest.mark.usefixtures("fakes")
def test_names_that_differ_in_the_ending_or_in_case_only(run: Run, album: Path, tmp_path: Path) -> None:
    for name, width in (("P1.bmp", 30), ("p1.jpg", 40)):
        Image.new("RGB", (width, 40), (9, 99, 199)).save(album / name)
    assert run("segment", "album", *FEW).code == 0
    for name, width in (("p1.png", 64), ("P1.bmp", 30), ("p1.jpg", 40), ("p2", 64)):
        with Image.open(tmp_path / "out" / f"{name}.png") as numbers:
            assert numbers.width == width
    assert len(list((tmp_path / "out").iterdir())) == 6 * 3 + 1


@pytest.mark.usefixtures("fakes", "album")
def test_a_pattern_of_several_folders(run: Run, tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    Image.new("RGB", (30, 40)).save(tmp_path / "more/p1.png")
    assert run("segment", "*/p1*.png", *FEW).code == 0
    assert [row["file"] for row in lines(tmp_path / "out")] == [
        "album/p1.png",
        "album/p10.png",
        "more/p1.png",
    ]
    report = json.loads((tmp_path / "out/p1.png.json").read_text())
    other = json.loads((tmp_path / "out/p1.png-2.json").read_text())
    assert (report["image"]["width"], other["image"]["width"]) == (64, 30)
    before = content(tmp_path / "out")
    outcome = run("segment", "*/p1*.png", *FEW)  # which the results match now
    assert outcome.err == "3 of 3 pictures are done already; --overwrite starts over\n"
    assert content(tmp_path / "out") == before
    assert run("segment", "album/p1?.png", "--auto", "--points-per-side", 2).code == 0
    assert (tmp_path / "album-masks/p10.json").is_file()


@pytest.mark.usefixtures("fakes")
def test_another_run_is_refused(run: Run, album: Path, tmp_path: Path) -> None:
    assert run("segment", "album", *FEW).code == 0
    before = content(tmp_path / "out")
    line = complaint(run("segment", "album", *FEW, "--min-score", "0.3"))
    assert "min_score was 0.5 and is 0.3 now" in line
    assert "--overwrite" in line
    shutil.copytree(album, tmp_path / "elsewhere/album")
    assert "source was" in complaint(run("segment", "elsewhere/album", *FEW))
    assert content(tmp_path / "out") == before
    outcome = run("segment", "album", *FEW, "--min-score", "0.3", "--overwrite")
    assert outcome.code == 0, outcome.err
    assert json.loads((tmp_path / "out/p1.json").read_text())["settings"]["min_score"] == 0.3
    assert len(lines(tmp_path / "out")) == 4


@pytest.mark.usefixtures("fakes", "album")
def test_files_in_the_way_stay(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "p10.json").write_text("mine")
    assert f"{Path('out/p10.json')} exists already" in complaint(run("segment", "album", *FEW))
    assert [path.name for path in out.iterdir()] == ["p10.json"]
    (out / "log.jsonl").write_text("another log\n")
    assert "no log of automatic masks" in complaint(run("segment", "album", *FEW))
    assert ((out / "p10.json").read_text(), (out / "log.jsonl").read_text()) == ("mine", "another log\n")


@pytest.mark.usefixtures("fakes", "album")
def test_two_runs_at_once_are_refused(run: Run, tmp_path: Path) -> None:
    pytest.importorskip("fcntl")
    assert run("segment", "album", *FEW).code == 0
    before = content(tmp_path / "out")
    with LineFile(tmp_path / "out/log.jsonl", "log", sync_seconds=None, exclusive=False):
        for more in ((), ("--overwrite",)):
            assert "another process is writing" in complaint(run("segment", "album", *FEW, *more))
    assert content(tmp_path / "out") == before


@pytest.mark.usefixtures("fakes", "album")
def test_progress_says_how_far_and_how_long(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.0)
    lines = run("segment", "album", *FEW).err.splitlines()
    form = (
        r"searching: picture (\d) of 4, [0-9.]+ pictures/(?:s|min), \d:\d\d left(?:, (p\S+): 4 of 4 clicks)?"
    )
    found = [match.groups() for line in lines if (match := re.fullmatch(form, line))]
    assert len(found) == len(lines)
    assert found[:3] == [("0", "p1.png"), ("1", None), ("1", "p2.png")]
    assert found[-1] == ("4", None)


@pytest.mark.usefixtures("album")
def test_a_damaged_log_is_refused(run: Run, tmp_path: Path, fakes: list[Fake]) -> None:
    assert run("segment", "album", *FEW).code == 0
    log = tmp_path / "out/log.jsonl"
    rows = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join([rows[0], b'{"file": "p1.png"}\n', *rows[2:]]))
    assert "line 2 of" in complaint(run("segment", "album", *FEW))
    assert fakes[-1].encoded == 0


@pytest.mark.usefixtures("fakes", "album")
def test_bad_places(run: Run, tmp_path: Path) -> None:
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare/notes.txt").write_text("no picture")
    assert "bare has no pictures" in complaint(run("segment", "bare", "--auto"))
    assert "matches no picture" in complaint(run("segment", "bare/*.jpg", "--auto"))
    assert "no such picture: nowhere" in complaint(run("segment", "nowhere", "--auto"))
    assert "folder of the pictures" in complaint(run("segment", "album", "--auto", "-o", "album"))
    (tmp_path / "file").write_text("in the way")
    assert "file, not a folder" in complaint(run("segment", "album", "--auto", "-o", "file"))
    assert "'quick'" in complaint(run("segment", "album", "--auto", "--preset", "quick", "-o", "out"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["album", "bare", "file"]


@pytest.mark.usefixtures("album")
def test_disk_full_in_the_middle(
    run: Run, tmp_path: Path, fakes: list[Fake], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = uninterrupted(run, tmp_path)
    waited = 0
    real = os.fsync

    def full(descriptor: int) -> None:
        nonlocal waited
        waited += 1
        if waited > 6:  # the log's first line, three files and a line of p1.png, one file of p2.png
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        line = complaint(run("segment", "album", *FEW))
    assert "disk is full" in line
    assert "1 of 4 pictures are done, and the same command goes on from there" in line
    assert run("segment", "album", *FEW).code == 0
    assert fakes[-1].encoded == 3
    assert content(tmp_path / "out") == expected


@pytest.mark.usefixtures("album")
def test_ctrl_c_and_resume(
    run: Run, tmp_path: Path, fakes: list[Fake], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = uninterrupted(run, tmp_path)
    step = Search.__next__

    def pressed(search: Search) -> Any:
        if search.size == (49, 64):  # the second picture
            signal.raise_signal(signal.SIGINT)
        return step(search)

    with monkeypatch.context() as patch:
        patch.setattr(Search, "__next__", pressed)
        outcome = run("segment", "album", *FEW)
    assert outcome.code == 130
    assert outcome.err.splitlines() == [
        "interrupted after 1 of 4 pictures; the same command goes on from there"
    ]
    assert "not finished" in outcome.out
    assert run("segment", "album", *FEW).code == 0
    assert fakes[-1].encoded == 3
    assert content(tmp_path / "out") == expected


@pytest.mark.usefixtures("fakes", "album")
def test_pictures_without_objects_are_told(run: Run, tmp_path: Path) -> None:
    outcome = run("segment", "album", *FEW, "--min-score", 0.95)
    assert outcome.code == 0
    first, totals, *_ = outcome.out.splitlines()
    assert first == (
        f"no object in {', '.join(NAMES)}: kept 0 of 48 masks: 48 not above min_score; "
        "lower --min-score (it is 0.95)"
    )
    assert totals.startswith("0 objects in 4 pictures")
    assert json.loads((tmp_path / "out/p1.json").read_text())["objects"] == []


def test_a_part_of_a_picture_counts_until_it_is_done() -> None:
    stage = progress.Stage("searching", 4, 1, "picture")
    assert stage.left is None
    stage.part = 0.5
    assert stage.left is not None
    stage.advance()
    assert (stage.done, stage.part) == (2, 0.0)
