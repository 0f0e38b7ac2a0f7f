"""Exports from the command line on bad input: one line that says what to do, and nothing half-written."""

from __future__ import annotations

import errno
import json
import shutil
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from exported import content, of_coco
from following import NUM_FRAMES, OBJECTS, clip, pictures
from maskwright.interop.coco import CocoWriter
from maskwright.interop.yolo import YoloWriter
from maskwright.io.files import output_error

if TYPE_CHECKING:
    from tests.apps.conftest import Outcome, Run

pytestmark = pytest.mark.usefixtures("fake_load")
BOX = ("--box", "3:76,30,112,80")
FEW = ("--auto", "--points-per-side", "2")


@pytest.fixture
def log(run: Run, tmp_path: Path) -> Path:
    """The log of a clip; the clip is there as well."""
    assert run("track", clip(tmp_path), *OBJECTS, "--log", "a.jsonl").code == 0
    return tmp_path / "a.jsonl"


def complaint(outcome: Outcome) -> str:
    """The last line on stderr of a run that failed."""
    assert outcome.code == 2, outcome
    line = outcome.err.splitlines()[-1]
    assert line.startswith("error: ")
    return line


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), "no format: name at least one, such as --coco FILE.json"),
        (("--coco", "a.json", "--coco", "b.json"), "--coco is given 2 times"),
        (("--coco", "a.json", "--coco-polygons", "a.json"), "a.json is for --coco already"),
        (("--coco", "a.txt"), "end a.txt in .json"),
        (("--coco", "no/a.json"), "its folder does not exist; create it first"),
        (("--coco", "a.jsonl"), "a.jsonl is for the results themselves"),
        (("--yolo", "clip.mp4"), "cannot write into clip.mp4: it is a file"),
        (("--yolo", "clip.mp4/y"), "a part of the path is a file"),
        (("--coco", "clip.mp4/a.json"), "a part of the path is a file"),
        (("--coco", "."), "end . in .json"),
        (("--svg", "a.svg"), "such a file is for one picture; name a folder"),
        (("--cutouts", "c"), "name the video, picture or folder with --source"),
        (("--cutouts", "c", "--source", "no.mp4"), "no.mp4"),
        (("--tolerance", "2"), "--tolerance is for other formats"),
        (("--label", "1:dog"), "--label is for other formats"),
        (("--coco", "a.json", "--tolerance", "-1"), "pass 0 or more pixels"),
        (("--coco", "a.json", "--tolerance", "nan"), "pass 0 or more pixels"),
        (("--coco", "a.json", "--label", "dog", "--label", "cat"), "are called 'dog' and 'cat'; choose one"),
        (("--coco", "a.json", "--label", "7"), "'7' is no name; write ID:NAME, such as 1:dog, or NAME"),
        (("--coco", "a.json", "--label", " "), "'' is no name"),
        (("--coco", "a.json", "--label", "\udcff"), "the name of all other objects is no valid text"),
        (("--coco", "a.json", "--label", "0:dog"), "'0' is no object's number"),
        (("--coco", "a.json", "--label", "x:dog"), "'x' is no object's number"),
        (("--coco", "a.json", "--label", "1: \n"), "object 1 has no name"),
        (("--coco", "a.json", "--label", "1:\udcff"), "no valid text"),
        (("--coco", "a.json", "--label", "1:a", "--label", "1:b"), "object 1 is called 'a' and 'b'"),
        (("--coco", "a.json", "--labels", "no.txt"), "cannot read the names in no.txt"),
        (("--coco", "a.json", "--labels", "clip.mp4"), "clip.mp4 is no text in UTF-8"),
    ],
)
def test_options_that_make_no_sense(
    run: Run, log: Path, tmp_path: Path, options: tuple[str, ...], words: str
) -> None:
    before = content(tmp_path)
    assert words in complaint(run("export", "a.jsonl", *options))
    assert content(tmp_path) == before
    assert not any(path.is_dir() for path in tmp_path.iterdir())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"1": "a", "1": "b"}', "object 1 is called 'a' and 'b'"),
        ('{"1": ""}', "object 1 has no name"),
        ('{"one": "a"}', "'one' is no object's number"),
        ('{"1": 2}', 'write {"1": "dog", "2": "cat"}'),
        ('["dog"]', 'write {"1": "dog", "2": "cat"}'),
        ("{", "names.json is no JSON"),
    ],
)
def test_files_of_names_that_make_no_sense(
    run: Run, log: Path, tmp_path: Path, text: str, words: str
) -> None:
    (tmp_path / "names.json").write_text(text)
    assert words in complaint(run("export", log, "--coco", "a.json", "--labels", "names.json"))


def test_results_that_cannot_be_read(run: Run, log: Path, tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text("{}")
    (tmp_path / "text").write_text("hello")
    (tmp_path / "none").mkdir()
    for name in ("other.json", "text", "none", "missing", "clip.mp4"):
        assert name in complaint(run("export", name, "--coco", "b.json", "--voc", "v"))
    assert not (tmp_path / "v").exists()


def test_a_damaged_line(run: Run, log: Path, tmp_path: Path) -> None:
    rows = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join([*rows[:6], b'{"frame": 5}\n', *rows[7:]]))
    line = complaint(run("export", log, "--coco", "b.json", "--yolo", "deep/y", "--npz", "n"))
    assert "line 7 of the log" in line
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.jsonl", "clip.mp4"]


def test_a_log_that_was_cut_off(run: Run, log: Path, tmp_path: Path) -> None:
    rows = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join(rows[:6]) + rows[6][:20])
    (tmp_path / "a.jsonl.session").touch()
    outcome = run("export", log, "--coco", "b.json")
    assert outcome.code == 0
    assert "the last line of" in outcome.err
    assert "has not come to its end; track --resume goes on" in outcome.err
    assert len(of_coco(tmp_path / "b.json").imgs) == 5
    log.write_bytes(b"")
    assert complaint(run("export", log, "--coco", "c.json"))
    log.write_bytes(rows[0])
    assert "there is no object in 0 pictures" in run("export", log, "--coco", "c.json").err


def test_what_exists_stays_without_overwrite(run: Run, log: Path, tmp_path: Path) -> None:
    (tmp_path / "b.json").write_text("mine")
    (tmp_path / "y/labels").mkdir(parents=True)
    (tmp_path / "y/labels/mine.txt").write_text("mine")
    for options in (("--coco", "b.json"), ("--yolo", "y")):
        assert "exists already; --overwrite replaces it" in complaint(
            run("export", log, "--voc", "v", *options)
        )
    assert not (tmp_path / "v").exists()
    assert (tmp_path / "b.json").read_text() == "mine"
    assert run("export", log, "--coco", "b.json", "--yolo", "y", "--overwrite").code == 0
    assert len(of_coco(tmp_path / "b.json").imgs) == NUM_FRAMES
    assert (tmp_path / "y/labels/mine.txt").read_text() == "mine"


@pytest.mark.parametrize("writer", [CocoWriter, YoloWriter])
def test_ctrl_c_leaves_what_was_there(
    run: Run, log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writer: Any
) -> None:
    (tmp_path / "b.json").write_text("mine")
    before = content(tmp_path)
    write = writer.write

    def pressed(self: Any, picture: Any) -> None:
        if picture.frame == 9:
            signal.raise_signal(signal.SIGINT)
        write(self, picture)

    monkeypatch.setattr(writer, "write", pressed)
    outcome = run("export", log, "--coco", "b.json", "--yolo", "deep/y", "--npz", "n", "--overwrite")
    assert (outcome.code, outcome.out) == (130, "")
    assert outcome.err == "interrupted; nothing was left half-written\n"
    assert content(tmp_path) == before
    assert not (tmp_path / "n").exists()


def test_before_any_work(run: Run, photo: Path, tmp_path: Path, fake_load: list[Any]) -> None:
    """What stands in the way of an export is told before a model is loaded."""
    clip(tmp_path)
    (tmp_path / "b.json").write_text("mine")
    (tmp_path / "album").mkdir()
    Image.new("RGB", (64, 48)).save(tmp_path / "album/a.png")
    coco = ("--coco", "b.json")
    for command in (
        ("segment", photo, *BOX),
        ("segment", photo, *FEW),
        ("segment", "album", *FEW),
        ("track", "clip.mp4", *OBJECTS),
    ):
        assert "b.json exists already; --overwrite replaces it" in complaint(run(*command, *coco))
    assert "there is no object 1, only 3" in complaint(
        run("segment", photo, *BOX, "--yolo", "y", "--label", "1:a")
    )
    assert "there is no object 3, only 1, 2" in complaint(
        run("track", "clip.mp4", *OBJECTS, "--yolo", "y", "--label", "3:a")
    )
    assert "such a file is for one picture" in complaint(run("segment", "album", *FEW, "--npz", "a.npz"))
    assert "255" in complaint(run("track", "clip.mp4", "--object", "256:point=9,9", "--indexed", "i"))
    assert "is for the results themselves" in complaint(run("segment", photo, *BOX, "--png", "scene-masks"))
    assert "pictures are read from album" in complaint(run("segment", "album", *FEW, "--png", "album"))
    assert "is for the results themselves" in complaint(
        run("track", "clip.mp4", *OBJECTS, "--masks", "m", "--indexed", "m")
    )
    assert fake_load == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["album", "b.json", "clip.mp4", "scene.png"]


def test_an_export_that_fails_after_the_work(
    run: Run, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The results are there, and the message says how to go on."""

    def full(self: CocoWriter) -> None:
        raise output_error(Path("a.json"), OSError(errno.ENOSPC, "full"))

    with monkeypatch.context() as patch:
        patch.setattr(CocoWriter, "finish", full)
        line = complaint(run("segment", photo, *BOX, "-o", "out", "--coco", "a.json", "--voc", "v"))
    assert "a.json: the disk is full" in line
    assert "the results are done, and `maskwright export out/results.json`" in line
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "scene.png"]
    assert run("export", "out/results.json", "--coco", "a.json", "--voc", "v").code == 0


def test_names_of_objects_that_come_to_nothing(run: Run, tmp_path: Path) -> None:
    """Where objects are found, their numbers are known at the end only."""
    pictures(tmp_path / "grey", [120] * 3)
    (tmp_path / "names.txt").write_text("8:cat\n")
    to = ("--coco", "a.json", "--label", "77:dog", "--labels", "names.txt")
    outcome = run("track", "grey", "--discover", *to)
    assert outcome.code == 0, outcome.err
    assert "warning: --label 77:dog: object 77 is seen in no picture" in outcome.err
    assert "cat" not in outcome.err


def test_pictures_that_went_away_or_changed(run: Run, tmp_path: Path) -> None:
    (tmp_path / "album").mkdir()
    for name in ("a.png", "b.png"):
        Image.new("RGB", (64, 48), (120, 120, 120)).save(tmp_path / "album" / name)
    assert run("segment", "album", *FEW, "-o", "out").code == 0
    assert run("export", "out", "--cutouts", "c").code == 0
    shutil.rmtree(tmp_path / "c")
    Image.new("RGB", (32, 48)).save(tmp_path / "album/b.png")
    assert "b.png is (48, 32, 3) now" in complaint(run("export", "out", "--cutouts", "c", "--coco", "a.json"))
    (tmp_path / "album/b.png").unlink()
    assert "the pixels of b.png are not at hand" in complaint(run("export", "out", "--cutouts", "c"))
    (tmp_path / "out/b.json").write_text(json.dumps({"image": {}, "objects": []}))
    assert "b.json is damaged" in complaint(run("export", "out", "--coco", "a.json"))
    assert not (tmp_path / "c").exists()
    assert not (tmp_path / "a.json").exists()
