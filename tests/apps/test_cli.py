"""The command line on good input: files, tables, JSON, exit codes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from maskwright import __version__, models
from maskwright.runtime.processor import described
from maskwright.runtime.threads import Allowance

if TYPE_CHECKING:
    from tests.apps.conftest import Run


def mask_of(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture) > 0


def test_version(run: Run) -> None:
    assert run("--version").out == f"maskwright {__version__}\n"


def test_help_is_shown_without_a_command(run: Run) -> None:
    outcome = run()
    assert outcome.code == 0
    assert "segment" in outcome.out


@pytest.mark.usefixtures("fake_load")
def test_segment_writes_masks_overlay_and_results(run: Run, photo: Path, tmp_path: Path) -> None:
    outcome = run("segment", photo, "--box", "76,30,112,80", "--box", "14,22,58,66", "-o", "out")
    assert outcome.code == 0
    assert outcome.err == ""
    out = tmp_path / "out"
    assert sorted(path.name for path in out.iterdir()) == [
        "object-1.png",
        "object-2.png",
        "overlay.png",
        "results.json",
    ]
    expected = np.zeros((96, 128), bool)
    expected[30:80, 76:112] = True
    overlap = mask_of(out / "object-1.png")
    assert (overlap & expected).sum() / (overlap | expected).sum() > 0.9
    with Image.open(out / "overlay.png") as overlay:
        assert overlay.size == (128, 96)


@pytest.mark.usefixtures("fake_load")
def test_segment_prints_one_line_per_object(run: Run, photo: Path) -> None:
    outcome = run("segment", photo, "--box", "76,30,112,80", "--box", "14,22,58,66", "-o", "out")
    header, first, second, overlay = outcome.out.splitlines()
    assert header.split() == ["object", "score", "area", "box", "file"]
    assert first.split()[0] == "1"
    assert first.split()[-1] == str(Path("out/object-1.png"))
    assert second.split()[0] == "2"
    assert overlay == f"overlay: {Path('out/overlay.png')}"


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools, numpy 2
@pytest.mark.usefixtures("fake_load")
def test_results_agree_with_the_masks(run: Run, photo: Path, tmp_path: Path) -> None:
    from pycocotools import mask as coco

    assert run("segment", photo, "--point", "3:36,44", "--point", "5:90,50", "-o", "out").code == 0
    report = json.loads((tmp_path / "out/results.json").read_text())
    assert report["image"] == {"file": str(photo), "height": 96, "width": 128}
    assert [row["id"] for row in report["objects"]] == [3, 5]
    for row in report["objects"]:
        mask = mask_of(tmp_path / "out" / row["file"])
        assert row["file"] == f"object-{row['id']}.png"
        assert row["area"] == mask.sum()
        assert row["segmentation"]["size"] == [96, 128]
        assert np.array_equal(coco.decode(row["segmentation"]), mask)
        ys, xs = np.nonzero(mask)
        assert row["bbox"] == [
            xs.min(),
            ys.min(),
            xs.max() + 1 - xs.min(),
            ys.max() + 1 - ys.min(),
        ]
        assert 0 < row["score"] <= 1


@pytest.mark.usefixtures("fake_load")
def test_json_is_all_that_is_printed(run: Run, photo: Path, tmp_path: Path) -> None:
    outcome = run("segment", photo, "--point", "36,44", "--json")
    assert outcome.err == ""
    assert json.loads(outcome.out) == json.loads((tmp_path / "scene-masks/results.json").read_text())


@pytest.mark.usefixtures("fake_load")
def test_multimask_keeps_three_candidates(run: Run, photo: Path, tmp_path: Path) -> None:
    assert run("segment", photo, "--point", "36,44", "--multimask", "-o", "out").code == 0
    report = json.loads((tmp_path / "out/results.json").read_text())
    assert [row["file"] for row in report["objects"]] == [f"object-1-{letter}.png" for letter in "abc"]
    assert len({row["area"] for row in report["objects"]}) == 3


@pytest.mark.usefixtures("fake_load")
def test_refine_draws_every_object_again(run: Run, photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    redrawn: list[int] = []
    monkeypatch.setattr("maskwright.segmenter.draw_again", lambda masks, *_, **__: redrawn.append(len(masks)))
    prompts = ("--box", "10,10,110,90", "--box", "20,30,40,50")
    assert run("segment", photo, *prompts).code == 0
    assert redrawn == []
    assert run("segment", photo, *prompts, "--refine").code == 0
    assert redrawn == [2]


@pytest.mark.usefixtures("fake_load")
def test_clean_fills_holes(run: Run, photo: Path, tmp_path: Path) -> None:
    prompts = ("--box", "10,10,110,90", "--point", "60,50,0", "-o", "out")
    assert run("segment", photo, *prompts).code == 0
    assert not mask_of(tmp_path / "out/object-1.png")[50, 60]
    assert run("segment", photo, *prompts, "--clean", 100).code == 0
    assert mask_of(tmp_path / "out/object-1.png")[50, 60]


def test_options_reach_the_model(run: Run, photo: Path, fake_load: list[dict[str, Any]]) -> None:
    options = ("--model", "sam2.1-tiny", "--device", "cpu", "--dtype", "float32", "--image-size", "512")
    assert run("segment", photo, "--point", "36,44", *options).code == 0
    assert fake_load == [
        {"name": "sam2.1-tiny", "device": "cpu", "dtype": "float32", "image_size": 512, "runtime": None}
    ]


@pytest.mark.usefixtures("fake_load")
def test_a_second_run_replaces_the_first(run: Run, photo: Path, tmp_path: Path) -> None:
    assert run("segment", photo, "--point", "36,44", "-o", "out").code == 0
    before = mask_of(tmp_path / "out/object-1.png")
    assert run("segment", photo, "--point", "90,50", "-o", "out").code == 0
    assert not np.array_equal(before, mask_of(tmp_path / "out/object-1.png"))


@pytest.mark.usefixtures("nano_file")
def test_segment_with_the_bundled_model(run: Run, photo: Path, tmp_path: Path) -> None:
    outcome = run("segment", photo, "--box", "14,22,58,66", "-o", "out")
    assert outcome.code == 0, outcome.err
    y, x = np.mgrid[:96, :128]
    disc = (x - 36) ** 2 + (y - 44) ** 2 <= 22**2
    mask = mask_of(tmp_path / "out/object-1.png")
    assert (mask & disc).sum() / (mask | disc).sum() > 0.6


def test_models_are_listed(run: Run) -> None:
    outcome = run("models")
    assert outcome.code == 0
    assert [line.split()[0] for line in outcome.out.splitlines()] == ["name", *models()]


def test_models_as_json(run: Run, tmp_path: Path) -> None:
    rows = {row["name"]: row for row in json.loads(run("models", "--json").out)}
    tiny = rows["sam2.1-tiny"]
    assert tiny["path"] is None
    assert Path(tiny["destination"]).is_relative_to(tmp_path / "cache")
    assert tiny["parameters"] == 38_962_498


def test_models_notice_a_file_that_was_put_in_place(run: Run) -> None:
    destination = Path(json.loads(run("models", "--json").out)[5]["destination"])
    destination.parent.mkdir(parents=True)
    destination.write_bytes(b"12345")
    row = json.loads(run("models", "--json").out)[5]
    assert (row["path"], row["bytes"]) == (str(destination), 5)


@pytest.fixture
def unlimited(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without a limit of processors, whatever the tests run in."""
    monkeypatch.setattr("maskwright.runtime.threads.allowance", lambda: Allowance(1024, None))


@pytest.mark.usefixtures("unlimited")
def test_doctor_reports(run: Run, nano_file: Path, tmp_path: Path) -> None:
    outcome = run("doctor", "--json")
    findings = {row["subject"]: row for row in json.loads(outcome.out)}
    assert outcome.code == 0
    assert "torch 2." in findings["packages"]["detail"]
    assert findings["nano"]["detail"] == str(nano_file)
    assert findings["dtype"]["detail"].startswith("float32, exact; with --dtype fast it is ")
    assert findings["extras"]["detail"].startswith("video: ")
    assert findings["processor"]["detail"] == described()
    assert "1024 processors" in findings["threads"]["detail"]
    assert str(tmp_path / "cache") in findings["cache"]["detail"]
    assert not (tmp_path / "cache").exists()
    assert list(tmp_path.iterdir()) == []


def test_doctor_notices_threads_that_cannot_all_run(
    run: Run, nano_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("maskwright.runtime.threads.allowance", lambda: Allowance(64, 2.0))
    monkeypatch.setattr("torch.get_num_threads", lambda: 32)
    monkeypatch.setenv("OMP_NUM_THREADS", "")
    outcome = run("doctor", "--json")
    findings = {row["subject"]: row for row in json.loads(outcome.out)}
    assert outcome.code == 1
    assert "set OMP_NUM_THREADS=2" in findings["threads"]["detail"]


@pytest.mark.usefixtures("unlimited")
def test_doctor_notices_an_unusable_cache(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("MASKWRIGHT_CACHE", str(tmp_path / "file"))
    outcome = run("doctor")
    assert outcome.code == 1
    assert any(line.startswith("!!  cache") for line in outcome.out.splitlines())
