"""The examples do what they say, on the pictures that they say."""

from __future__ import annotations

import csv
import itertools
import re
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import maskwright as mw

ROOT = Path(__file__).resolve().parents[2]


def test_fine_tuning_on_a_handful_of_pictures_makes_held_out_ones_better(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    example = runpy.run_path(str(ROOT / "examples" / "finetune.py"))
    assert example["main"](["--out", str(tmp_path), "--steps", "40", "--size", "224"]) == 0
    with (tmp_path / "run" / "scores.csv").open(newline="", encoding="utf-8") as lines:
        before, *_, after = csv.DictReader(lines)
    assert float(after["box"]) > float(before["box"]) + 0.02
    assert "before" in capsys.readouterr().out
    with Image.open(tmp_path / "before-after.png") as sheet:
        assert sheet.width > 500
    model = mw.load(tmp_path / "run" / "model.safetensors")
    embedding = model.embed(tmp_path / "letters" / "val-1.png")
    assert embedding.segment(mw.Box(60, 20, 100, 60)).bitmaps.shape == (1, 144, 216)


class TestFolder:
    """A table of boxes and a folder of photos."""

    @pytest.fixture
    def folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nano_file: Path) -> Any:
        monkeypatch.chdir(tmp_path)
        return runpy.run_path(str(ROOT / "examples" / "folder.py"))["main"]

    def test_every_object_gets_its_mask(self, folder: Any, capsys: pytest.CaptureFixture[str]) -> None:
        folder([])
        made = sorted(path.relative_to("cut").as_posix() for path in Path("cut").glob("*/*"))
        assert made == [
            "astronaut/astronaut_0.png",
            "astronaut/shuttle_0.png",
            "chelsea/cat_0.png",
            "coffee/cup_0.png",
            "coffee/spoon_0.png",
        ]
        (cup,) = re.findall(r"cup (\d+), spoon \d+ pixels", capsys.readouterr().out)
        assert 30_000 < int(cup) < 60_000
        with Image.open("folder.jpg") as sheet:
            assert sheet.height == 300

        Path("cut/chelsea.jpg").unlink()
        folder(["photos"])  # as after an interruption
        printed = capsys.readouterr().out
        assert "3 photos, 2 of them done already" in printed
        assert printed.count("pixels") == 1


class TestLiveCamera:
    """Frames come from an iterator instead of a camera."""

    @pytest.fixture
    def live(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nano_file: Path) -> dict[str, Any]:
        monkeypatch.chdir(tmp_path)
        return runpy.run_path(str(ROOT / "examples" / "live_camera.py"))

    def test_objects_join_while_it_runs(self, live: dict[str, Any]) -> None:
        frames = itertools.islice(live["pretended"](), live["JOINS"] + 2)
        *_, before, joins, after = live["follow"](frames, mw.load())
        assert (before.ids, joins.ids, after.ids) == ((6,), (6, 2), (6, 2))
        assert joins.prompted == {2}
        assert after.visible.all()
        assert after[6].area > 5 * after[2].area > 5 * 1000

    def test_a_film_of_it(self, live: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
        live["main"](["--pretend", "--frames", "10"])
        assert "10 frames" in capsys.readouterr().out
        with Image.open("live.jpg") as sheet:
            assert sheet.size == (3 * 400, 300)
        assert 0 < len(list(live["camera"]("live.mp4"))) <= 10

    def test_ctrl_c_keeps_the_film(self, live: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
        def interrupted() -> Iterator[np.ndarray]:
            yield from itertools.islice(live["pretended"](), 3)
            raise KeyboardInterrupt

        live["main"].__globals__["pretended"] = interrupted
        live["main"](["--pretend"])
        assert "stopped" in capsys.readouterr().out
        assert Path("live.mp4").stat().st_size > 1000


class TestFormats:
    """Masks in other tools' files, read again."""

    def test_what_comes_back_is_what_was_written(
        self,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        nano_file: Path,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        monkeypatch.chdir(tmp_path)
        runpy.run_path(str(ROOT / "examples" / "formats.py"))["main"](["--out", "set"])
        lines = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
        assert lines.keys() == {"coco", "yolo", "labelme"}
        for name, lowest in (("coco", 1.0), ("yolo", 0.98), ("labelme", 0.98)):
            kept = dict(pair.rsplit(" ", 1) for pair in lines[name].split(", "))
            assert kept.keys() == {"astronaut", "shuttle", "cup", "spoon"}
            assert min(map(float, kept.values())) >= lowest
        pictures = sorted(path.name for path in Path("set/yolo/images").iterdir())
        assert pictures == ["astronaut.png", "coffee.png"]
        with Image.open("formats.jpg") as sheet:
            assert sheet.height == 300
