"""Other formats from the command line: ``segment --coco ...`` and ``export RESULT --coco ...``."""

from __future__ import annotations

import json
import re
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from annotated import ODD_LABELS, SIZE, disc
from exported import content, everything, of_coco, supervision
from following import NUM_FRAMES, OBJECTS, clip, pictures
from maskwright.cli import progress
from maskwright.cli.export.options import OFFERED
from maskwright.interop.annotations import AnnotatedPicture
from maskwright.interop.formats import FORMATS
from maskwright.interop.writing import Export
from maskwright.pixels import rle

if TYPE_CHECKING:
    from tests.apps.conftest import Run

pytestmark = [
    pytest.mark.usefixtures("fake_load"),
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),  # pycocotools, numpy 2
]
TWO = ("--box", "3:76,30,112,80", "--box", "5:14,22,58,66", "-o", "out")
FEW = ("--auto", "--points-per-side", "2", "-o", "out")


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """Three pictures of different sizes."""
    folder = tmp_path / "album"
    folder.mkdir()
    for number in range(3):
        size = (64 + 8 * number, 48)
        Image.new("RGB", size, (60 * number + 60, 90, 120)).save(folder / f"p{number}.png")
    return folder


def test_every_format_of_the_library_has_an_option() -> None:
    assert {one.format for one in OFFERED} == set(FORMATS)
    for one in OFFERED:
        known = FORMATS[one.format]
        assert set(re.findall(r"\.\w+", one.metavar)) == set(known.endings)
        assert ("DIR" in one.metavar) == (known.what != "file")


@pytest.mark.parametrize("command", ["segment", "track", "export"])
def test_every_command_has_the_same_options(run: Run, command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    said = run(command, "--help").out
    for flag in [*(one.flag for one in OFFERED), "--label", "--labels", "--tolerance", "--overwrite"]:
        assert re.search(rf"{flag}\s", said), flag


def test_objects_that_were_asked_for(run: Run, photo: Path, tmp_path: Path) -> None:
    outcome = run("segment", photo, *TWO, "--coco", "a.json", "--label", "5:disc: red", "--json")
    assert (outcome.code, outcome.err) == (0, "")
    report = json.loads(outcome.out)
    assert report["exports"] == {"coco": "a.json"}
    assert "exports" not in json.loads((tmp_path / "out/results.json").read_text())
    coco = of_coco(tmp_path / "a.json")
    assert [image["file_name"] for image in coco.imgs.values()] == ["scene.png"]
    assert [row["track_id"] for row in coco.anns.values()] == [3, 5]
    assert [coco.cats[row["category_id"]]["name"] for row in coco.anns.values()] == ["object", "disc: red"]
    for row, found in zip(coco.anns.values(), report["objects"], strict=True):
        with Image.open(tmp_path / "out" / found["file"]) as mask:
            assert np.array_equal(coco.annToMask(row), np.asarray(mask) > 0)


def test_all_formats_at_once_and_again_from_the_results(run: Run, photo: Path, tmp_path: Path) -> None:
    one = everything("one")
    outcome = run("segment", photo, *TWO, *one)
    assert (outcome.code, outcome.err) == (0, "")
    written = [f"{offered.format}: {path}" for offered, path in zip(OFFERED, one[1::2], strict=True)]
    assert outcome.out.splitlines()[-len(OFFERED) :] == written
    again = run("export", "out", *everything("two"))
    assert (again.code, again.err) == (0, "")
    assert again.out.splitlines()[0] == "2 masks in 1 picture: 2 'object'"
    assert content(tmp_path / "one") == content(tmp_path / "two")
    assert run("export", "out/results.json", "--coco", "three.json").code == 0
    assert (tmp_path / "three.json").read_bytes() == (tmp_path / "one/coco.json").read_bytes()


def test_of_three_candidates_the_best(run: Run, photo: Path, tmp_path: Path) -> None:
    assert (
        run("segment", photo, "--box", "76,30,112,80", "-o", "out", "--multimask", "--coco", "a.json").code
        == 0
    )
    report = json.loads((tmp_path / "out/results.json").read_text())
    best = max(report["objects"], key=lambda row: row["score"])
    (row,) = of_coco(tmp_path / "a.json").anns.values()
    assert row["segmentation"] == best["segmentation"]


def test_everything_in_a_photo(run: Run, photo: Path, tmp_path: Path) -> None:
    report = json.loads(run("segment", photo, *FEW, "--coco", "a.json", "--geojson", "g", "--json").out)
    assert report["exports"] == {"coco": "a.json", "geojson": "g"}
    coco = of_coco(tmp_path / "a.json")
    assert len(coco.anns) == len(report["objects"]) > 0
    shapes = json.loads((tmp_path / "g/scene.geojson").read_text())["features"]
    assert [shape["properties"]["area"] for shape in shapes] == [row["area"] for row in report["objects"]]


def test_a_folder_of_pictures_of_several_sizes(run: Run, album: Path, tmp_path: Path) -> None:
    (album / "broken.png").write_bytes(b"nonsense")
    outcome = run("segment", "album", *FEW, "--coco", "a.json", "--yolo", "y")
    assert outcome.code == 2
    assert "and the same command without --coco and --yolo" in outcome.err
    coco = of_coco(tmp_path / "a.json")
    assert [(image["file_name"], image["width"]) for image in coco.imgs.values()] == [
        ("p0.png", 64),
        ("p1.png", 72),
        ("p2.png", 80),
    ]
    for number in range(3):
        report = json.loads((tmp_path / f"out/p{number}.json").read_text())
        rows = coco.imgToAnns[number + 1]
        assert [row["segmentation"] for row in rows] == [row["segmentation"] for row in report["objects"]]
    (album / "broken.png").unlink()
    labels = supervision().DetectionDataset.from_yolo("album", "y/labels", "y/data.yaml", force_masks=True)
    assert labels.classes == ["object"]
    assert sorted(len(found) for _, _, found in labels) == sorted(
        len(rows) for rows in coco.imgToAnns.values()
    )
    again = run("export", "out", "--coco", "b.json", "--json")
    assert (tmp_path / "b.json").read_bytes() == (tmp_path / "a.json").read_bytes()
    assert json.loads(again.out) == {
        "results": str(Path("out/log.jsonl")),
        "kind": "folder",
        "pictures": 3,
        "masks": len(coco.anns),
        "objects": {},
        "labels": {"object": len(coco.anns)},
        "exports": {"coco": "b.json"},
    }


def test_a_finished_folder_is_exported_without_searching_again(
    run: Run, album: Path, tmp_path: Path, fake_load: list[dict[str, Any]]
) -> None:
    assert run("segment", "album", *FEW).code == 0
    assert run("segment", "album", *FEW, "--coco", "a.json").code == 0  # goes on where nothing is left
    log = (tmp_path / "out/log.jsonl").read_bytes()
    calls = len(fake_load)
    outcome = run("segment", "album", *FEW, "--coco", "a.json")
    assert "a.json exists already; maskwright export out --overwrite replaces it" in outcome.err
    assert run("export", "out", "--overwrite", "--coco", "a.json", "--cutouts", "cut").code == 0
    assert len(fake_load) == calls
    assert (tmp_path / "out/log.jsonl").read_bytes() == log
    with Image.open(tmp_path / "cut/p1-1.png") as cut:
        assert (cut.mode, cut.size) == ("RGBA", (72, 48))


@pytest.mark.parametrize("how", [FEW[:3], ("--box", "76,30,112,80")])
def test_huge_pictures(run: Run, photo: Path, tmp_path: Path, how: tuple[str, ...]) -> None:
    pytest.importorskip("rasterio")
    common = ("segment", photo, *how, "--tiles", "--tile-size", "256", "-o", "out")
    outcome = run(*common, "--png", "p")
    assert outcome.code == 2
    assert "--png draws the whole picture, and --tiles never holds it whole" in outcome.err
    assert not (tmp_path / "out").exists()
    outcome = run(*common, "--coco", "a.json", "--svg", "a.svg", "--json")
    assert outcome.code == 0, outcome.err
    report = json.loads(outcome.out)
    assert report["exports"] == {"coco": "a.json", "svg": "a.svg"}
    rows = of_coco(tmp_path / "a.json").anns.values()
    assert [row["area"] for row in rows] == [row["area"] for row in report["objects"]]


def test_names_with_odd_characters(run: Run, photo: Path, tmp_path: Path) -> None:
    """One by one, and from a file; all formats take them, and COCO keeps them as they are."""
    names = {number: name.strip() for number, name in enumerate(ODD_LABELS, start=3)}
    (tmp_path / "names.json").write_text(json.dumps({str(number): name for number, name in names.items()}))
    boxes = [text for number in names for text in ("--box", f"{number}:76,30,112,80")]
    single = [text for number, name in names.items() for text in ("--label", f"{number}:{name}")]
    assert run("segment", photo, *boxes, "-o", "out", "--coco", "a.json", *single).code == 0
    assert run("export", "out", *everything("all"), "--labels", "names.json").code == 0
    coco = of_coco(tmp_path / "a.json")
    found = {row["track_id"]: coco.cats[row["category_id"]]["name"] for row in coco.anns.values()}
    assert found == names
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "all/coco.json").read_bytes()


def test_one_name_for_all_others(run: Run, photo: Path, tmp_path: Path) -> None:
    options = ("--coco", "a.json", "--label", "9 a.m.", "--label", "3:bird")
    outcome = run("segment", photo, *TWO, *options)
    assert (outcome.code, "warning" in outcome.err) == (0, False)
    coco = of_coco(tmp_path / "a.json")
    names = {row["track_id"]: coco.cats[row["category_id"]]["name"] for row in coco.anns.values()}
    assert names == {3: "bird", 5: "9 a.m."}
    outcome = run("export", "out", "--coco", "b.json", *options[2:], "--json")
    assert json.loads(outcome.out)["labels"] == {"bird": 1, "9 a.m.": 1}
    assert (tmp_path / "b.json").read_bytes() == (tmp_path / "a.json").read_bytes()


def test_a_file_of_names(run: Run, photo: Path, tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text(
        "\ufeff# of the yard\n\n5: a dog: small\n 3:cat \n77: not here\n", "utf-8"
    )
    assert run("segment", photo, *TWO).code == 0
    outcome = run("export", "out", "--coco", "a.json", "--labels", "names.txt", "--label", "3:bird", "--json")
    assert (outcome.code, outcome.err) == (0, "")
    assert json.loads(outcome.out)["labels"] == {"bird": 1, "a dog: small": 1}
    assert [row["name"] for row in of_coco(tmp_path / "a.json").cats.values()] == [
        "a dog: small",
        "bird",
        "not here",
    ]


def test_tolerance_makes_polygons_coarser(run: Run, photo: Path, tmp_path: Path) -> None:
    result = {
        "image": {"file": "a.jpg", "height": SIZE[0], "width": SIZE[1]},
        "objects": [{"id": 1, "score": 0.5, "segmentation": rle.encode(disc(70, 60, 50)[None])[0]}],
    }
    (tmp_path / "out.json").write_text(json.dumps(result))
    for tolerance in (0, 2):
        to = ("--coco-polygons", f"{tolerance}.json", "--tolerance", tolerance)
        assert run("export", "out.json", *to).code == 0
    fine, coarse = (of_coco(tmp_path / f"{tolerance}.json").anns[1] for tolerance in (0, 2))
    assert len(fine["segmentation"][0]) > 2 * len(coarse["segmentation"][0])


def test_nothing_found(run: Run, tmp_path: Path) -> None:
    pictures(tmp_path / "black", [0, 0])
    outcome = run("segment", "black", *FEW, "--min-score", "0.95", *everything("all"))
    assert outcome.code == 0
    assert "warning: there is no object in 2 pictures; the exports have none" in outcome.err
    coco = of_coco(tmp_path / "all/coco.json")
    assert (len(coco.imgs), len(coco.anns)) == (2, 0)


def test_the_pictures_go_through_one_by_one(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a video of any length no more than the frame at hand is kept."""
    assert run("track", clip(tmp_path), *OBJECTS, "--log", "a.jsonl").code == 0
    alive: weakref.WeakSet[AnnotatedPicture] = weakref.WeakSet()
    most = 0
    add = Export.add

    def counting(self: Export, picture: AnnotatedPicture) -> None:
        nonlocal most
        alive.add(picture)
        most = max(most, len(alive))
        add(self, picture)

    monkeypatch.setattr(AnnotatedPicture, "__hash__", object.__hash__)
    monkeypatch.setattr(Export, "add", counting)
    assert run("export", "a.jsonl", "--source", "clip.mp4", *everything("all")).code == 0
    assert most <= 2


def test_progress_says_how_far_and_how_long(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("track", clip(tmp_path), *OBJECTS, "--log", "a.jsonl").code == 0
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.0)
    lines = run("export", "a.jsonl", "--coco", "a.json").err.splitlines()
    assert len(lines) == NUM_FRAMES
    assert re.fullmatch(r"exporting: frame 3 of 16, [\d.]+ frames/s, \d+:\d\d left", lines[2])
