"""The examples do what they say, on the pictures that they say."""

from __future__ import annotations

import csv
import runpy
from pathlib import Path

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
