"""``maskwright eval``: nano on tiny data sets, tables, files, progress, and input that is no use."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from maskwright.cli import progress

if TYPE_CHECKING:
    from tests.apps.conftest import Run

SMALL = ("--device", "cpu", "--image-size", "128")
NUM_FRAMES = 5


def draw(labels: np.ndarray) -> np.ndarray:
    """A picture (h, w, 3) of a label map: bright things on a dark gradient."""
    h, w = labels.shape
    picture = np.stack([np.broadcast_to(np.linspace(20, 80, w), (h, w))] * 3, axis=-1).astype(np.uint8)
    for label, colour in ((1, (230, 60, 50)), (2, (70, 210, 90))):
        picture[labels == label] = colour
    return picture


def save(folder: Path, name: str, labels: np.ndarray, picture: str, truth: str) -> None:
    for place, array, ending in ((picture, draw(labels), "jpg"), (truth, labels, "png")):
        path = folder / place / f"{name}.{ending}"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(array).save(path)


@pytest.fixture
def davis(tmp_path: Path) -> Path:
    """Two sequences: one disc that moves, and a disc and a square that move past each other."""
    y, x = np.mgrid[:90, :120]
    for number in range(NUM_FRAMES):
        labels = np.zeros((90, 120), np.uint8)
        labels[(x - 40 - 5 * number) ** 2 + (y - 45) ** 2 < 18**2] = 1
        save(tmp_path / "davis", f"{number:05}", labels, "JPEGImages/one", "Annotations/one")
        labels[55:85, 80 - 6 * number : 105 - 6 * number] = 2
        save(tmp_path / "davis", f"{number:05}", labels, "JPEGImages/two", "Annotations/two")
    return tmp_path / "davis"


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Three labelled pictures of two collections, one of them for training."""
    rows = ["name\tsource\tlicence\ttier\tkind\tnum_masks\tsplit"]
    for number, (name, split) in enumerate((("cat_1", "val"), ("dog_1", "val"), ("dog_2", "train"))):
        labels = np.zeros((90, 120), np.uint8)
        labels[20:60, 20 + 9 * number : 60] = 1
        labels[40:80, 75:110] = 2
        save(tmp_path / "photos", name, labels, "images", "labels")
        rows.append(f"{name}\ts\tl\tA\tinstance\t2\t{split}")
    (tmp_path / "photos/sources.tsv").write_text("\n".join(rows) + "\n")
    return tmp_path / "photos"


def complaint(run: Run, *arguments: object) -> str:
    """The one line on stderr of a command that must fail."""
    outcome = run("eval", *arguments)
    assert (outcome.code, outcome.out) == (2, ""), outcome
    (line,) = outcome.err.splitlines()
    assert line.startswith("error: ")
    return line


def table(out: str) -> list[list[str]]:
    return [line.split() for line in out.splitlines()]


@pytest.mark.usefixtures("nano_file")
def test_davis_prints_sequences_and_writes_objects(run: Run, davis: Path) -> None:
    outcome = run("eval", "davis", davis, *SMALL, "--csv", "a.csv", "--json", "out/a.json")
    assert (outcome.code, outcome.err) == (0, "")
    lines = table(outcome.out)
    assert "nano at 128 px by memory on davis, each object shown by mask" in outcome.out
    assert lines[1] == ["sequence", "objects", "frames", "J", "F", "J&F"]
    assert [line[:3] for line in lines[2:5]] == [["one", "1", "3"], ["two", "2", "6"], ["all", "3", "9"]]
    assert lines[5][:2] == ["J", "recall"]
    assert lines[6:] == [["csv:", "a.csv"], ["json:", "out/a.json"]]
    rows = list(csv.DictReader(Path("a.csv").read_text().splitlines()))
    assert [(row["sequence"], row["object"]) for row in rows] == [("one", "1"), ("two", "1"), ("two", "2")]
    found = json.loads(Path("out/a.json").read_text())
    assert found["J"]["mean"] == pytest.approx(np.mean([float(row["J"]) for row in rows]), abs=1e-6)
    assert f"{found['J&F']:.3f}" == lines[4][-1]
    assert found["J"]["mean"] > 0.7  # plain shapes; a memory that is not used gives far less
    assert (found["model"], found["follow"], found["image_size"]) == ("nano", "memory", 128)


@pytest.mark.usefixtures("nano_file")
@pytest.mark.parametrize("follow", ["memory", "last-mask", "still"])
def test_davis_other_ways(run: Run, davis: Path, follow: str) -> None:
    outcome = run(
        *("eval", "davis", davis, *SMALL, "--follow", follow, "--first-prompt", "box"),
        *("--sequences", "1", "--full", "--threads", "1"),
    )
    assert outcome.code == 0, outcome.err
    assert f"by {follow} on davis, each object shown by box" in outcome.out
    assert [line[:3] for line in table(outcome.out)[2:4]] == [["one", "1", "4"], ["all", "1", "4"]]


@pytest.mark.usefixtures("fake_load")
def test_the_default_part_is_what_the_data_set_validates_on(run: Run, davis: Path) -> None:
    lists = davis / "ImageSets/2017"
    lists.mkdir(parents=True)
    for split, name in (("train", "one"), ("val", "two")):
        (lists / f"{split}.txt").write_text(f"{name}\n")
    for options, names in (
        ((), ["two"]),
        (("--split", "train"), ["one"]),
        (("--split", "all"), ["one", "two"]),
    ):
        out = run("eval", "davis", davis, *options).out
        assert [line[0] for line in table(out)[2:-2]] == names


@pytest.mark.usefixtures("nano_file")
def test_clicks_prints_sources_and_writes_objects(run: Run, photos: Path) -> None:
    arguments = ("eval", "clicks", photos, *SMALL, "--clicks", "3", "--csv", "a.csv", "--json", "a.json")
    outcome = run(*arguments)
    assert (outcome.code, outcome.err) == (0, "")
    lines = table(outcome.out)
    assert outcome.out.startswith("nano at 128 px on photos (val): 2 pictures")
    assert lines[1] == ["source", "prompt", "objects", "picked", "best", "of", "3"]
    assert [line[:3] for line in lines[2:6]] == [
        *(["all", "box", "4"], ["all", "1", "click"], ["all", "2", "clicks"], ["all", "3", "clicks"])
    ]
    assert [" ".join(line[:3]) for line in lines[6:12]] == [
        *("cat box 2", "cat 1 click", "cat 3 clicks", "dog box 2", "dog 1 click", "dog 3 clicks")
    ]
    rows = list(csv.DictReader(Path("a.csv").read_text().splitlines()))
    assert len(rows) == 4 * 4
    assert rows[0].keys() == {"picture", "source", "object", "prompt", "iou_picked", "iou_best"}
    assert all(float(row["iou_picked"]) <= float(row["iou_best"]) for row in rows)
    boxes = [float(row["iou_picked"]) for row in rows if row["prompt"] == "box"]
    found = json.loads(Path("a.json").read_text())
    assert found["means"][0]["picked"] == pytest.approx(np.mean(boxes), abs=1e-4)
    assert np.mean(boxes) > 0.7
    assert (found["split"], found["clicks"]) == ("val", 3)


@pytest.mark.usefixtures("fake_load")
def test_clicks_on_videos_takes_their_first_frames(run: Run, davis: Path) -> None:
    outcome = run("eval", "clicks", davis, "--pictures", "1", "--max-objects", "1", "--clicks", "1")
    assert [line[:2] for line in table(outcome.out)[2:]] == [
        *(["all", "box"], ["all", "1"], ["one", "box"], ["one", "1"])
    ]


@pytest.mark.usefixtures("nano_file")
def test_show_draws_before_and_after(run: Run, photos: Path, photo: Path) -> None:
    again = shutil.copy(
        Path(__file__).parents[2] / "src/maskwright/weights/nano.safetensors", "after.safetensors"
    )
    outcome = run(
        *("eval", "show", photos, f"{photo}@36,44", f"{photo}@76,30,112,80", *SMALL, "--width", "120"),
        *("--against", again, "--pictures", "5", "-o", "sheet.png"),
    )
    assert (outcome.code, outcome.out, outcome.err) == (0, "sheet: sheet.png\n", "")
    sheet = np.asarray(Image.open("sheet.png"))
    assert sheet.shape[1] == 3 * 126 + 6
    assert sheet.shape[0] == 6 + 4 * (26 + 90 + 6)
    before, after = sheet[:, 132:252], sheet[:, 258:378]
    assert np.array_equal(before[32:122], after[32:122])
    assert not np.array_equal(sheet[32:122, 6:126], before[32:122])
    assert "exists already" in complaint(run, "show", f"{photo}@36,44", "-o", "sheet.png")


@pytest.mark.usefixtures("fake_load")
def test_progress_is_on_stderr(run: Run, davis: Path, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.0)
    lines = run("eval", "davis", davis).err.splitlines()
    assert len(lines) == 2 * NUM_FRAMES
    assert lines[0].startswith("following: frame 1 of 10, ")
    assert lines[-2].endswith("left")
    assert "asking: picture 2 of 2, " in run("eval", "clicks", photos).err


@pytest.mark.usefixtures("fake_load")
@pytest.mark.parametrize("command", ["davis", "clicks"])
def test_files_that_exist_stay(run: Run, davis: Path, command: str) -> None:
    Path("a.csv").write_text("mine")
    line = complaint(run, command, davis, "--csv", "a.csv")
    assert "a.csv exists already" in line
    assert Path("a.csv").read_text() == "mine"
    assert run("eval", command, davis, "--csv", "a.csv", "--overwrite").code == 0
    assert Path("a.csv").read_text() != "mine"
    assert "give two names" in complaint(run, command, davis, "--csv", "b", "--json", "b")
    assert "is a folder" in complaint(run, command, davis, "--json", davis)


@pytest.mark.usefixtures("fake_load")
@pytest.mark.parametrize("command", ["davis", "clicks"])
def test_a_failure_on_the_way_leaves_no_file(run: Run, davis: Path, command: str) -> None:
    for name in ("00000", "00003"):
        Image.new("L", (60, 90)).save(davis / f"Annotations/two/{name}.png")
    line = complaint(run, command, davis, "--csv", "a.csv", "--json", "a.json")
    assert "Annotations/two/0000" in line
    assert "60 x 90" in line
    assert not Path("a.csv").exists()
    assert not Path("a.json").exists()


@pytest.mark.usefixtures("fake_load")
def test_bad_data(run: Run, davis: Path, photos: Path, tmp_path: Path) -> None:
    for command in ("davis", "clicks"):
        assert "nowhere" in complaint(run, command, "nowhere")
        (tmp_path / "empty").mkdir(exist_ok=True)
        assert "empty is no data set" in complaint(run, command, tmp_path / "empty")
        (tmp_path / "bare/Annotations").mkdir(parents=True, exist_ok=True)
        (tmp_path / "bare/JPEGImages").mkdir(exist_ok=True)
        assert "no sequences" in complaint(run, command, tmp_path / "bare")
        assert "test" in complaint(run, command, davis, "--split", "test")
    assert "use maskwright eval clicks" in complaint(run, "davis", photos)


@pytest.mark.usefixtures("fake_load")
@pytest.mark.parametrize(
    ("options", "word"),
    [
        (("--follow", "memmory"), "memory, last-mask or still"),
        (("--first-prompt", "finger"), "mask, box or click"),
        (("--sequences", "0"), "--sequences"),
        (("--threads", "0"), "--threads"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_bad_options(run: Run, davis: Path, options: Any, word: str) -> None:
    assert word in complaint(run, "davis", davis, *options)


def test_unknown_models(run: Run, davis: Path, photo: Path) -> None:
    for arguments in (("davis", davis), ("clicks", davis), ("show", davis), ("show", f"{photo}@36,44")):
        assert "did you mean 'nano'?" in complaint(run, *arguments, "--model", "nanno")
    assert not Path("sheet.png").exists()


@pytest.mark.usefixtures("fake_load")
def test_bad_exhibits(run: Run, photo: Path, davis: Path) -> None:
    assert "write photo.jpg@X,Y" in complaint(run, "show", photo)
    assert "write photo.jpg@X,Y" in complaint(run, "show", f"{photo}@1,2,3")
    assert "outside" in complaint(run, "show", f"{photo}@500,2")
    assert "inverted" in complaint(run, "show", f"{photo}@50,2,20,40")
    assert "missing.jpg" in complaint(run, "show", "missing.jpg@1,2")
    assert "ends in .png" in complaint(run, "show", f"{photo}@36,44", "-o", "sheet.pdf")
    assert "box or click" in complaint(run, "show", davis, "--first-prompt", "mask")


def test_a_coco_file_may_name_pictures_that_lie_elsewhere(run: Run, davis: Path) -> None:
    outline = {"id": 1, "image_id": 1, "category_id": 1, "iscrowd": 0, "area": 1300, "bbox": [20, 25, 40, 40]}
    outline["segmentation"] = [[22, 27, 58, 27, 58, 63, 22, 63]]
    picture = {"id": 1, "file_name": "00000.jpg", "height": 90, "width": 120}
    data = {"images": [picture], "annotations": [outline], "categories": [{"id": 1, "name": "disc"}]}
    Path("far").mkdir()
    Path("far/discs.json").write_text(json.dumps(data))
    here = ("--images", davis / "JPEGImages/one")
    assert run("eval", "clicks", "far/discs.json", *here, *SMALL, "--clicks", "1").code == 0
    assert run("eval", "show", "far/discs.json", *here, *SMALL, "-o", "sheet.png").code == 0
    assert "00000.jpg" in complaint(run, "clicks", Path("far/discs.json"))
