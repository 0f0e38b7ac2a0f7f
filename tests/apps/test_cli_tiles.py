"""``maskwright segment PHOTO --tiles``: huge pictures, everything in them or what is asked for."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from maskwright.cli import progress
from maskwright.pixels import rle
from maskwright.tiles.search import TiledSearch

if TYPE_CHECKING:
    from tests.apps.conftest import Outcome, Run

rasterio = pytest.importorskip("rasterio")
pytestmark = pytest.mark.filterwarnings("ignore:Dataset has no geotransform")

AUTO = ("--auto", "--tiles", "--tile-size", 64, "--points-per-side", 3)


@pytest.fixture(autouse=True)
def painted(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Makes every model one that sees colours; the list fills with what each was asked for."""
    from maskwright.mask_model import MaskModel
    from painted import Painted

    calls: list[dict[str, Any]] = []

    def load(name: str, **options: Any) -> MaskModel:
        calls.append({"name": name, **options})
        return MaskModel(Painted())

    monkeypatch.setattr("maskwright.facade.load", load)
    return calls


@pytest.fixture
def slide(picture: np.ndarray, tmp_path: Path) -> Path:
    """The scene on grey ground as a TIFF of 16 bits and five channels, of which 4, 3 and 2 are RGB."""
    scene = picture.astype(np.uint16)
    scene[(picture > 180).all(axis=2)] = 64
    scene[70:90, 5:120] = (30, 200, 60)
    samples = np.zeros((5, 96, 128), np.uint16)
    samples[3], samples[2], samples[1] = scene.transpose(2, 0, 1) * 16
    path = tmp_path / "slide.tif"
    layout = {"tiled": True, "blockxsize": 32, "blockysize": 32, "BIGTIFF": "YES"}
    with rasterio.open(
        path, "w", driver="GTiff", width=128, height=96, count=5, dtype="uint16", **layout
    ) as file:
        file.write(samples)
    return path


BANDS = ("--channels", "4,3,2", "--value-range", "0,4080")


def complaint(outcome: Outcome) -> str:
    """The one line on stderr of a run that failed."""
    assert outcome.code == 2, outcome.out
    assert outcome.out == ""
    (line,) = outcome.err.splitlines()
    assert line.startswith("error: ")
    return line


class TestEverything:
    def test_files_and_results_agree(self, run: Run, slide: Path, tmp_path: Path) -> None:
        outcome = run("segment", slide, *AUTO, *BANDS)
        assert (outcome.code, outcome.err) == (0, "")
        out = tmp_path / "slide-masks"
        assert sorted(path.name for path in out.iterdir()) == ["numbers.tif", "overlay.png", "results.json"]
        report = json.loads((out / "results.json").read_text())
        assert report["image"] == {"file": str(slide), "height": 96, "width": 128}
        assert report["tiles"] == {"size": 64, "halo": 8, "number": 6, "searched": 6}
        rows = report["objects"]
        assert [row["id"] for row in rows] == [1, 2, 3]
        numbers = np.zeros((96, 128), np.uint16)
        for row, mask in zip(rows, rle.decode([row["segmentation"] for row in rows]), strict=True):
            x, y, w, h = row["bbox"]
            assert row["area"] == mask.sum() == mask[y : y + h, x : x + w].sum()
            assert "file" not in row
            numbers[mask] = row["id"]
        with rasterio.open(out / "numbers.tif") as file:
            np.testing.assert_array_equal(file.read(1), numbers)
        with Image.open(out / "overlay.png") as overlay:
            assert overlay.size == (128, 96)
        header, *table, first, second, third = outcome.out.splitlines()
        assert header.split() == ["object", "score", "stability", "area", "box"]
        assert len(table) == 3
        assert [line.split(": ")[0] for line in (first, second, third)] == ["overlay", "numbers", "results"]
        assert second.endswith("numbers.tif")

    def test_progress_names_clicks_and_tiles(
        self, run: Run, slide: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(progress, "LINE_SECONDS", 0.0)
        lines = run("segment", slide, *AUTO, *BANDS).err.splitlines()
        speed = r"[0-9.]+ clicks/(?:s|min), 0:\d\d left"
        form = rf"searching: click (\d+) of 63, {speed}, tile (\d) of 6, \d+ masks so far"
        found = [match.groups() for line in lines if (match := re.fullmatch(form, line))]
        assert len(found) == len(lines) == 21
        assert (found[0], found[-1]) == (("4", "1"), ("63", "6"))

    def test_ctrl_c_keeps_what_was_found(
        self, run: Run, slide: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        step = TiledSearch.__next__

        def interrupted(search: TiledSearch) -> Any:
            if search.tiles_done == 4:
                monkeypatch.setattr(progress.Watch, "stopping", True, raising=False)
            return step(search)

        monkeypatch.setattr(TiledSearch, "__next__", interrupted)
        stopping = progress.Watch.__init__

        def quiet(watch: progress.Watch) -> None:
            stopping(watch)
            del watch.stopping  # so that the class's counts

        monkeypatch.setattr(progress.Watch, "__init__", quiet)
        monkeypatch.setattr(progress.Watch, "stopping", False, raising=False)
        outcome = run("segment", slide, *AUTO, *BANDS)
        assert outcome.code == 130
        assert "interrupted after 4 of 6 tiles; the results have what was found until then" in outcome.err
        report = json.loads((tmp_path / "slide-masks/results.json").read_text())
        assert report["tiles"]["searched"] == 4
        assert report["objects"]

    def test_nothing_found_says_why(self, run: Run, slide: Path) -> None:
        outcome = run("segment", slide, *AUTO, "--min-score", 0.95)
        assert outcome.code == 0
        assert "warning: no masks were found" in outcome.err
        assert "lower --min-score (it is 0.95)" in outcome.err

    def test_json_is_all_that_is_printed(self, run: Run, photo: Path, tmp_path: Path) -> None:
        outcome = run("segment", photo, *AUTO, "--json", "-o", "out")
        assert outcome.err == ""
        assert json.loads(outcome.out) == json.loads((tmp_path / "out/results.json").read_text())


class TestAsked:
    def test_files_and_results_agree(self, run: Run, slide: Path, tmp_path: Path) -> None:
        prompts = ("--box", "7:74,28,114,82", "--point", "2:36,44")
        outcome = run("segment", slide, *prompts, "--tiles", "--tile-size", 64, *BANDS)
        assert (outcome.code, outcome.err) == (0, "")
        out = tmp_path / "slide-masks"
        names = ["numbers.tif", "object-2-window.png", "object-7-window.png", "overlay.png", "results.json"]
        assert sorted(path.name for path in out.iterdir()) == names
        rows = json.loads((out / "results.json").read_text())["objects"]
        assert [row["id"] for row in rows] == [2, 7]
        assert [row["file"] for row in rows] == names[1:3]
        assert rows[0]["window"] == [4, 12, 64, 64]
        with rasterio.open(out / "numbers.tif") as file:
            numbers = file.read(1)
        assert np.unique(numbers).tolist() == [0, 2, 7]
        for row, mask in zip(rows, rle.decode([row["segmentation"] for row in rows]), strict=True):
            assert row["area"] == mask.sum() == (numbers == row["id"]).sum()
        with Image.open(out / names[1]) as window:
            assert window.size == (64, 64)
        assert [line.split()[0] for line in outcome.out.splitlines()] == ["object", "2", "7", "overlay:"]

    def test_prompts_are_judged_before_a_model_is_loaded(
        self, run: Run, slide: Path, painted: list[dict[str, Any]]
    ) -> None:
        assert "outside the picture" in complaint(run("segment", slide, "--tiles", "--point", "500,5"))
        assert "no prompt" in complaint(run("segment", slide, "--tiles"))
        assert painted == []


class TestBadInput:
    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (("--auto", "--tile-size", 64), "--tile-size is for --tiles; add --tiles"),
            (("--auto", "--channels", "1"), "--channels is for --tiles"),
            (("--point", "5,5", "--value-range", "0,9"), "--value-range is for --tiles"),
            (("--point", "5,5", "--tiles", "--refine"), "--refine needs the whole picture"),
            (("--point", "5,5", "--tiles", "--multimask"), "--multimask needs the whole picture"),
            (("--auto", "--tiles", "--point", "5,5"), "--auto finds every object by itself"),
            ((*AUTO, "--halo", 33), "tiles of 64 pixels may share at most half, 32"),
            ((*AUTO, "--tile-size", 9), "size is 9; it must be a whole number from 32"),
            ((*AUTO, "--points-per-side", 65), "the tiles are only 64 x 64 pixels"),
            ((*AUTO, "--channels", "1,2"), "--channels '1,2' cannot be read; write three numbers"),
            ((*AUTO, "--channels", "rgb"), "--channels 'rgb' cannot be read"),
            ((*AUTO, "--channels", "1,2,9"), "has no channel 9; its channels are 1 to 5"),
            ((*AUTO, "--value-range", "9,1"), "the lower one first"),
            ((*AUTO, "--value-range", "9"), "--value-range '9' cannot be read"),
        ],
    )
    def test_settings_that_make_no_sense(
        self,
        run: Run,
        slide: Path,
        tmp_path: Path,
        painted: list[dict[str, Any]],
        arguments: tuple[object, ...],
        words: str,
    ) -> None:
        assert words in complaint(run("segment", slide, *arguments))
        assert painted == []
        assert not (tmp_path / "slide-masks").exists()

    def test_a_folder(self, run: Run, slide: Path) -> None:
        assert "--tiles takes one picture at a time" in complaint(run("segment", slide.parent, *AUTO))
        assert "is a folder" in complaint(run("segment", slide.parent, "--tiles", "--point", "5,5"))

    def test_a_file_that_breaks_off_leaves_nothing(self, run: Run, slide: Path, tmp_path: Path) -> None:
        os.truncate(slide, slide.stat().st_size * 2 // 3)
        assert "slide.tif is damaged" in complaint(run("segment", slide, *AUTO))
        assert not (tmp_path / "slide-masks").exists()

    def test_too_large_without_tiles(self, run: Run, photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MASKWRIGHT_MAX_PIXELS", "12000")
        assert "cut it into tiles (--tiles" in complaint(run("segment", photo, "--auto"))
        assert run("segment", photo, *AUTO).code == 0

    def test_too_little_memory(
        self, run: Run, slide: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(*arguments: object, **options: object) -> None:
            raise MemoryError

        monkeypatch.setattr("maskwright.tiles.search.Search", full)
        line = complaint(run("segment", slide, *AUTO, *BANDS))
        assert "not enough memory for tiles of 64 pixels; use a smaller --tile-size" in line
        assert not (tmp_path / "slide-masks").exists()
