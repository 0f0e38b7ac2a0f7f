"""Masks.save: formats by ending and by name, and PNGs as ever."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from annotated import SIZE, disc, pixels, ring
from maskwright.automask.found import FoundMasks
from maskwright.errors import InputError, MissingExtraError, OutputError
from maskwright.interop import (
    from_masks,
    read_coco,
    read_cvat,
    read_geojson,
    read_labelme,
    read_npz,
    read_yolo,
    to_masks,
)
from maskwright.masks import Masks
from maskwright.pixels import rle
from tracked import tracked

BITMAPS = np.stack([ring(), disc(140, 100, 12)])


def made(candidates: bool = False) -> Masks:
    bitmaps = np.stack([~BITMAPS, BITMAPS, ~BITMAPS], axis=1) if candidates else BITMAPS
    leading = bitmaps.shape[:-2]
    scores = np.full(leading, 0.5, np.float32)
    if candidates:
        scores[:, 1] = 0.9
    return Masks(bitmaps, scores, np.zeros((*leading, 4, 4), np.float32), np.ones(2, np.float32), pixels())


def found() -> FoundMasks:
    none = FoundMasks.none(SIZE, pixels())
    runs = tuple(rle.expand(code) for code in rle.encode(BITMAPS))
    boxes, areas = rle.measured(runs, SIZE)
    twice = np.zeros(2, np.float32)
    return FoundMasks(
        SIZE, runs, twice, twice, boxes.astype(np.float32), areas, np.zeros((2, 2), np.float32),
        np.zeros((2, 4), np.int64), none.image,
    )  # fmt: skip


READERS = {
    ".json": lambda path: next(iter(read_coco(path))),
    ".geojson": lambda path: next(iter(read_geojson(path))),
    ".xml": lambda path: next(iter(read_cvat(path))),
    ".npz": read_npz,
}


@pytest.mark.parametrize("make", [made, lambda: made(candidates=True), found])
@pytest.mark.parametrize("ending", READERS)
def test_the_ending_chooses(tmp_path, ending, make):
    path = tmp_path / f"truck{ending}"
    assert make().save(path, tolerance=0) == [path]
    one = READERS[ending](path)
    assert one.name == "truck.jpg"
    assert [item.id for item in one.annotations] == [1, 2]
    assert np.array_equal([item.bitmap() for item in one.annotations], BITMAPS)


def test_names_labels_and_numbers(tmp_path):
    made().save(tmp_path / "a.json", name="photos/truck.png", labels={7: "dog"}, ids=[4, 7])
    (one,) = read_coco(tmp_path / "a.json")
    assert (one.name, [(item.id, item.label) for item in one.annotations]) == (
        "photos/truck.png",
        [(4, "object"), (7, "dog")],
    )


def test_formats_by_name(tmp_path):
    made().save(tmp_path / "a.json", format="labelme", tolerance=0)
    (one,) = read_labelme(tmp_path / "a.json")
    assert np.array_equal([item.bitmap() for item in one.annotations], BITMAPS)
    made().save(tmp_path / "yolo", format="yolo", name="truck.png")
    Image.fromarray(pixels()).save(tmp_path / "yolo/truck.png")
    assert len(next(iter(read_yolo(tmp_path / "yolo"))).annotations) == 2
    made().save(tmp_path / "cut.png", format="cutout")
    assert np.array_equal(np.asarray(Image.open(tmp_path / "cut.png"))[..., 3] > 0, BITMAPS.any(0))
    made().save(tmp_path / "numbers.png")
    assert np.array_equal(np.asarray(Image.open(tmp_path / "numbers.png")), BITMAPS[0] + 2 * BITMAPS[1])
    with pytest.raises(InputError, match="no format 'pdf'"):
        made().save(tmp_path / "a", format="pdf")


def test_a_frame_of_a_video(tmp_path):
    frame = tracked(12, {3: BITMAPS[0], 9: np.zeros(SIZE, bool), 5: BITMAPS[1]}, size=SIZE)
    assert frame.save(tmp_path / "a.json", labels={3: "ring"}) == tmp_path / "a.json"
    (one,) = read_coco(tmp_path / "a.json")
    assert (one.name, one.frame) == ("00012.jpg", 12)
    assert [(item.id, item.label) for item in one.annotations] == [(3, "ring"), (5, "object")]
    assert np.array_equal([item.bitmap() for item in one.annotations], BITMAPS)
    with pytest.raises(OutputError, match="exists already"):
        frame.save(tmp_path / "a.json")
    frame.save(tmp_path / "masks")
    assert sorted(path.name for path in (tmp_path / "masks").iterdir()) == ["00012-3.png", "00012-5.png"]
    frame.save(tmp_path / "yolo", format="yolo", name="street/12.png")
    assert (tmp_path / "yolo/labels/street/12.txt").is_file()


def test_as_masks_again(tmp_path):
    masks = made()
    picture = from_masks(masks, "truck.jpg", {1: "ring"})
    again = to_masks(picture)
    assert np.array_equal(again.bitmaps, BITMAPS)
    assert again.scores.tolist() == [0.5, 0.5]
    assert np.array_equal(again.overlay(), masks.overlay())
    nothing = to_masks(from_masks(FoundMasks.none(SIZE), "truck.jpg"))
    assert (len(nothing), nothing.size, nothing.image) == (0, SIZE, None)
    masks.save(tmp_path / "a.json")
    (one,) = read_coco(tmp_path / "a.json")
    assert to_masks(one).boxes.tolist() == masks.boxes.tolist()


def test_existing_files(tmp_path):
    path = tmp_path / "a.json"
    path.write_text("mine")
    with pytest.raises(OutputError, match="exists already"):
        made().save(path)
    assert path.read_text() == "mine"
    made().save(path, overwrite=True)
    assert len(list(read_coco(path))) == 1


@pytest.mark.parametrize("make", [made, found])
def test_without_a_format_it_is_a_folder_as_ever(tmp_path, make):
    (tmp_path / "old.json").mkdir()
    for folder in (tmp_path / "masks", tmp_path / "v1.2", tmp_path / "old.json"):
        paths = make().save(folder, stem="cat")
        assert [path.name for path in paths] == ["cat_0.png", "cat_1.png"]
        assert sorted(folder.iterdir()) == paths
    for options in ({"labels": {1: "dog"}}, {"ids": [1, 2]}, {"name": "a.jpg"}):
        with pytest.raises(InputError, match="name, labels and ids are for formats"):
            make().save(tmp_path / "new", **options)
    assert not (tmp_path / "new").exists()


def test_nothing_found(tmp_path):
    FoundMasks.none(SIZE).save(tmp_path / "a.json")
    (one,) = read_coco(tmp_path / "a.json")
    assert (one.size, one.annotations) == (SIZE, ())


@pytest.mark.parametrize("package", ["shapely", "rasterio"])
def test_without_the_extra(tmp_path, monkeypatch, package):
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setitem(sys.modules, "rasterio.features", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'maskwright\[export\]'"):
        made().save(tmp_path / "a.svg")
    assert not list(tmp_path.iterdir())
    made().save(tmp_path / "a.json")  # run lengths need no more than maskwright itself


def test_importing_it_loads_nothing_heavy():
    code = (
        "import sys, maskwright.interop; "
        "sys.exit(bool({'torch', 'shapely', 'rasterio', 'yaml', 'pycocotools'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
