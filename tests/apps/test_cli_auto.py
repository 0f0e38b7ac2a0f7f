"""``maskwright segment PHOTO --auto``: files, table, JSON, settings that find nothing or make no sense."""

from __future__ import annotations

import errno
import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from maskwright.automask.search import Search
from maskwright.cli import progress

if TYPE_CHECKING:
    from tests.apps.conftest import Outcome, Run

FEW = ("--auto", "--points-per-side", "4")
"""16 clicks: the fake model draws three discs around each."""


def complaint(outcome: Outcome) -> str:
    """The one line on stderr of a run that failed."""
    assert outcome.code == 2
    assert outcome.out == ""
    (line,) = outcome.err.splitlines()
    assert line.startswith("error: ")
    return line


def bitmap(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture)


@pytest.mark.usefixtures("nano_file")
def test_the_bundled_model_finds_both_shapes(
    run: Run, photo: Path, tmp_path: Path, picture: np.ndarray
) -> None:
    outcome = run("segment", photo, *FEW, "--image-size", 256, "-o", "out")
    assert outcome.code == 0, outcome.err
    assert outcome.err == ""
    out = tmp_path / "out"
    masks = [bitmap(path) > 0 for path in sorted((out / "masks").iterdir())]
    red, blue = (np.all(picture == shade, axis=-1) for shade in ((200, 30, 40), (30, 60, 190)))
    for shape in (red, blue):
        assert max((mask & shape).sum() / (mask | shape).sum() for mask in masks) > 0.8
    with Image.open(out / "overlay.png") as overlay:
        assert overlay.size == (128, 96)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools, numpy 2
@pytest.mark.usefixtures("fake_load")
def test_files_and_results_agree(run: Run, photo: Path, tmp_path: Path) -> None:
    from pycocotools import mask as coco

    outcome = run("segment", photo, *FEW, "-o", "out")
    assert outcome.code == 0, outcome.err
    out = tmp_path / "out"
    assert sorted(path.name for path in out.iterdir()) == [
        "masks",
        "numbers.png",
        "overlay.png",
        "results.json",
    ]
    report = json.loads((out / "results.json").read_text())
    assert report["image"] == {"file": str(photo), "height": 96, "width": 128}
    assert (report["model"], report["settings"]["points_per_side"]) == ("nano", 4)
    assert report["filters"]["decoded"] == 48
    rows = report["objects"]
    assert [row["id"] for row in rows] == list(range(1, len(rows) + 1))
    assert [row["area"] for row in rows] == sorted((row["area"] for row in rows), reverse=True)
    assert sorted(path.name for path in (out / "masks").iterdir()) == [Path(row["file"]).name for row in rows]
    numbers = np.zeros((96, 128), np.uint16)
    for row in rows:  # the largest first, so that smaller ones lie on top
        mask = bitmap(out / row["file"]) > 0
        assert np.array_equal(coco.decode(row["segmentation"]), mask)
        x, y, w, h = row["bbox"]
        assert (row["area"], mask[y : y + h, x : x + w].sum()) == (mask.sum(), mask.sum())
        numbers[mask] = row["id"]
    found = bitmap(out / "numbers.png")
    assert found.dtype == np.uint16
    assert np.array_equal(found, numbers)


@pytest.mark.usefixtures("fake_load")
def test_the_table_has_the_largest_and_counts_the_rest(run: Run, photo: Path) -> None:
    outcome = run("segment", photo, *FEW, "--max-overlap", 1, "-o", "out")
    header, *rows, more, overlay, numbers, results = outcome.out.splitlines()
    assert header.split() == ["object", "score", "stability", "area", "box", "file"]
    assert [row.split()[0] for row in rows] == [str(number) for number in range(1, 13)]
    assert more.startswith("and 36 more, from ")
    assert [line.split(": ")[1] for line in (overlay, numbers, results)] == [
        str(Path("out") / name) for name in ("overlay.png", "numbers.png", "results.json")
    ]


@pytest.mark.usefixtures("fake_load")
def test_progress_says_how_far_and_how_long(run: Run, photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.0)
    lines = run("segment", photo, *FEW, "-o", "out").err.splitlines()
    form = r"searching: click (\d+) of 16, [0-9.]+ clicks/(?:s|min), 0:\d\d left, (\d+) masks so far"
    found = [match.groups() for line in lines[:4] if (match := re.fullmatch(form, line))]
    assert found == [("4", "12"), ("8", "24"), ("12", "36"), ("16", "48")]
    assert all(line.startswith("writing: mask ") for line in lines[4:])


@pytest.mark.usefixtures("fake_load")
def test_json_is_all_that_is_printed(run: Run, photo: Path, tmp_path: Path) -> None:
    outcome = run("segment", photo, *FEW, "--json")
    assert outcome.err == ""
    assert json.loads(outcome.out) == json.loads((tmp_path / "scene-masks/results.json").read_text())


@pytest.mark.usefixtures("fake_load")
def test_a_second_run_leaves_no_mask_of_the_first(run: Run, photo: Path, tmp_path: Path) -> None:
    assert run("segment", photo, *FEW, "--max-overlap", 1, "-o", "out").code == 0
    (tmp_path / "out/masks/mine.png").write_bytes(b"not ours")
    assert run("segment", photo, "--auto", "--points-per-side", 1, "-o", "out").code == 0
    rows = json.loads((tmp_path / "out/results.json").read_text())["objects"]
    left = sorted(path.name for path in (tmp_path / "out/masks").iterdir())
    assert left == ["mine.png", *(Path(row["file"]).name for row in rows)]


def test_settings_reach_the_search(
    run: Run, photo: Path, tmp_path: Path, fake_load: list[dict[str, Any]]
) -> None:
    settings = ("--preset", "dense", "--points-per-side", 4, "--min-score", 0.3, "--min-stability", 0.6)
    more = ("--max-overlap", 0.5, "--crop-layers", 0, "--clean", 7, "--model", "sam2.1-tiny")
    assert run("segment", photo, "--auto", *settings, *more, "-o", "out").code == 0
    assert fake_load[0]["name"] == "sam2.1-tiny"
    found = json.loads((tmp_path / "out/results.json").read_text())["settings"]
    expected = {"points_per_side": 4, "min_score": 0.3, "min_stability": 0.6, "max_overlap": 0.5}
    expected |= {"crop_layers": 0, "max_hole_area": 7, "max_speck_area": 7, "second_look": True}
    assert {name: found[name] for name in expected} == expected


def test_masks_drawn_again(run: Run, tmp_path: Path, fake_load: list[dict[str, Any]]) -> None:
    Image.new("RGB", (640, 480), "grey").save(tmp_path / "large.png")
    plain = run("segment", tmp_path / "large.png", *FEW, "-o", "plain")
    refined = run("segment", tmp_path / "large.png", *FEW, "--refine", "-o", "refined")
    assert (plain.code, refined.code) == (0, 0), plain.err + refined.err
    first, second = (
        json.loads((tmp_path / name / "results.json").read_text()) for name in ("plain", "refined")
    )
    assert (first["settings"]["refine"], second["settings"]["refine"]) == (False, True)
    assert {row["area"] for row in first["objects"]} != {row["area"] for row in second["objects"]}
    for row in second["objects"]:
        assert (bitmap(tmp_path / "refined" / row["file"]) > 0).sum() == row["area"]


@pytest.mark.usefixtures("fake_load")
def test_nothing_found_says_why_and_what_to_change(run: Run, photo: Path, tmp_path: Path) -> None:
    outcome = run("segment", photo, *FEW, "--min-score", 0.95, "-o", "out")
    assert outcome.code == 0
    assert outcome.err.splitlines() == [
        "warning: no masks were found: kept 0 of 48 masks: 48 not above min_score; "
        "lower --min-score (it is 0.95)"
    ]
    assert outcome.out.splitlines()[0] == f"overlay: {Path('out/overlay.png')}"
    assert json.loads((tmp_path / "out/results.json").read_text())["objects"] == []
    assert list((tmp_path / "out/masks").iterdir()) == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--auto", "--point", "3,4"), ("--auto", "--point")),
        (("--auto", "--box", "1,2,30,40"), ("--auto", "--box")),
        (("--auto", "--multimask"), ("--auto", "--multimask")),
        (("--point", "3,4", "--refine", "--multimask"), ("--refine", "--multimask")),
        (("--preset", "fast"), ("--preset is for --auto",)),
        (("--point", "3,4", "--min-score", "0"), ("--min-score is for --auto",)),
        (("--point", "3,4", "--overwrite"), ("--overwrite is for --auto",)),
        (("--auto", "--preset", "quick"), ("'quick'", "fast, balanced, dense")),
        (("--auto", "--points-per-side", "0"), ("points_per_side",)),
        (("--auto", "--min-score", "1"), ("min_score",)),
        (("--auto", "--min-stability", "nan"), ("min_stability",)),
        (("--auto", "--crop-layers", "-1"), ("crop_layers",)),
        (("--auto", "--clean", "-1"), ("max_hole_area",)),
        (("--auto", "--points-per-side", "200"), ("points_per_side",)),
    ],
    ids=lambda value: " ".join(value),
)
def test_settings_that_make_no_sense(
    run: Run,
    photo: Path,
    tmp_path: Path,
    fake_load: list[dict[str, Any]],
    options: tuple[str, ...],
    words: tuple[str, ...],
) -> None:
    line = complaint(run("segment", photo, *options))
    assert all(word in line for word in words)
    assert fake_load == []  # nothing heavy was done
    assert [path.name for path in tmp_path.iterdir()] == ["scene.png"]


def test_unreadable_photos(run: Run, photo: Path, tmp_path: Path) -> None:
    assert "no such picture: nowhere.jpg" in complaint(run("segment", "nowhere.jpg", "--auto"))
    (tmp_path / "bad.png").write_bytes(photo.read_bytes()[:200])
    assert "damaged" in complaint(run("segment", "bad.png", "--auto"))
    (tmp_path / "out").write_text("in the way")
    assert "out" in complaint(run("segment", photo, "--auto", "-o", "out"))


@pytest.mark.usefixtures("fake_load")
def test_disk_full_keeps_earlier_results(
    run: Run, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    assert run("segment", photo, *FEW, "-o", "out").code == 0
    before = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*.*")}
    monkeypatch.setattr("os.fsync", full)
    assert "disk is full" in complaint(run("segment", photo, *FEW, "--max-overlap", 1, "-o", "out"))
    assert {path: path.read_bytes() for path in (tmp_path / "out").rglob("*.*")} == before
    assert "disk is full" in complaint(run("segment", photo, *FEW, "-o", "other"))
    assert not (tmp_path / "other").exists()


@pytest.mark.usefixtures("fake_load")
def test_ctrl_c_leaves_nothing(
    run: Run, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = Search.__next__

    def pressed(search: Search) -> Any:
        if search.finished:
            raise KeyboardInterrupt  # a signal would be ignored in a shell's background
        return step(search)

    monkeypatch.setattr(Search, "__next__", pressed)
    outcome = run("segment", photo, *FEW, "-o", "out")
    assert outcome.code == 130
    assert outcome.err == "interrupted; nothing was left half-written\n"
    assert [path.name for path in tmp_path.iterdir()] == ["scene.png"]


def test_a_folder_without_auto_says_so(run: Run, tmp_path: Path) -> None:
    (tmp_path / "album").mkdir()
    line = complaint(run("segment", "album", "--point", "3,4"))
    assert "album is a folder" in line
    assert "--auto" in line
    assert "--auto" in complaint(run("segment", "album"))
