"""YOLO, Pascal VOC and LabelMe: opened by the readers that people use, and read back."""

from __future__ import annotations

import base64
import io
import json
import warnings

import numpy as np
import pytest
from PIL import Image, ImageDraw

from annotated import ODD_LABELS, SHAPES, annotation, disc, iou, picture, pixels, ring, same
from maskwright.errors import InputError, OutputError
from maskwright.interop import (
    AnnotatedPicture,
    export,
    open_export,
    read_labelme,
    read_voc,
    read_yolo,
)

LARGE = (480, 640)
HOLED = disc(300, 240, 200, LARGE) & ~disc(330, 200, 70, LARGE)
PARTS = disc(90, 90, 80, LARGE) | disc(520, 350, 100, LARGE)
CORNER = disc(620, 20, 60, LARGE)
LEAST = 0.99
"""IoU of these masks, which are large, after simplifying by a pixel."""


@pytest.fixture(scope="module")
def supervision():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("supervision")


def two_pictures():
    one = picture(HOLED, CORNER, name="a.png", labels=("dog", "cat"))
    return [one, picture(PARTS, name="b.png", labels=("cat",)), AnnotatedPicture("c.png", LARGE)]


def save_pictures(folder, names=("a", "b", "c"), size=LARGE):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        Image.fromarray(pixels(size)).save(folder / f"{name}.png")


def files(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("tolerance", [0, 1.0])
def test_yolo_opened_by_supervision(tmp_path, supervision, tolerance):
    export(two_pictures(), tmp_path, format="yolo", tolerance=tolerance)
    assert files(tmp_path) == ["data.yaml", "labels/a.txt", "labels/b.txt", "labels/c.txt"]
    save_pictures(tmp_path / "images")
    data = supervision.DetectionDataset.from_yolo(
        str(tmp_path / "images"), str(tmp_path / "labels"), str(tmp_path / "data.yaml"), force_masks=True
    )
    assert data.classes == ["dog", "cat"]
    found = {path.rpartition("/")[2]: detections for path, _, detections in data}
    assert found["a.png"].class_id.tolist() == [0, 1]
    assert found["b.png"].class_id.tolist() == [1]  # two parts are one object
    assert len(found["c.png"]) == 0
    masks = [*found["a.png"].mask, *found["b.png"].mask]
    for mask, bitmap in zip(masks, (HOLED, CORNER), strict=False):
        assert iou(mask, bitmap) >= (LEAST if tolerance else 1)
    assert iou(masks[2], PARTS) >= LEAST  # it paints the bridge between the parts, too
    assert not masks[0][200, 330]  # the hole


def test_yolo_comes_back_exactly(tmp_path):
    before = [picture(bitmap, name=f"{name}.png") for name, bitmap in SHAPES.items()]
    export(before, tmp_path, format="yolo", tolerance=0)
    for one in before:
        save_pictures(tmp_path / "images", [one.name.removesuffix(".png")], one.size)
    after = {one.name: one for one in read_yolo(tmp_path)}
    for one in before:
        if one.annotations[0].area:
            same(one, after[one.name])
    assert after["empty.png"].annotations == ()
    assert after["whole.png"].pixels().shape == (5, 7, 3)


def test_yolo_lines_of_others(tmp_path):
    save_pictures(tmp_path / "elsewhere", ["a"], (100, 200))
    (tmp_path / "labels").mkdir()
    (tmp_path / "data.yaml").write_text("names: [cat, '']\n")
    path = tmp_path / "labels/a.txt"
    path.write_text("0 0.5 0.5 0.1 0.2\n\n1 0.1 0.1 0.2 0.1 0.2 0.2 0.1 0.2 0.99\n5 0 0 1 0 1 1\n")
    (found,) = read_yolo(tmp_path / "data.yaml", tmp_path / "elsewhere")
    assert [(item.label, item.area) for item in found.annotations][:2] == [("cat", 400), ("object", 21 * 11)]
    for line in ("0 0.5", "x 1 2 3 4", "0 1 2 nan 4"):
        path.write_text(f"0 0.5 0.5 0.1 0.2\n{line}\n")
        with pytest.raises(InputError, match=r"line 2 of .*a\.txt makes no sense"):
            list(read_yolo(tmp_path, tmp_path / "elsewhere"))
    with pytest.raises(InputError, match="no picture a in"):
        list(read_yolo(tmp_path))
    for text, words in (("names: [", "no YAML"), ("names: 3", "names is neither")):
        (tmp_path / "data.yaml").write_text(text)
        with pytest.raises(InputError, match=words):
            read_yolo(tmp_path)
    with pytest.raises(InputError, match=r"cannot read .*data\.yaml"):
        read_yolo(tmp_path / "labels")


def test_two_pictures_with_one_label_file(tmp_path):
    with pytest.raises(
        InputError, match=r"labels/a\.txt is written already, for another picture than a\.jpg"
    ):
        export([picture(ring(), name="a.png"), picture(ring(), name="a.jpg")], tmp_path, format="yolo")
    export([picture(ring(), name="a.png"), picture(ring(), name="A.jpg")], tmp_path / "l", format="labelme")
    assert files(tmp_path / "l") == ["A.jpg.json", "a.json"]


@pytest.mark.parametrize("tolerance", [0, 1.0])
def test_voc_opened_by_supervision(tmp_path, supervision, tolerance):
    export(two_pictures(), tmp_path, format="voc", tolerance=tolerance)
    save_pictures(tmp_path / "JPEGImages")
    data = supervision.DetectionDataset.from_pascal_voc(
        str(tmp_path / "JPEGImages"), str(tmp_path / "Annotations"), force_masks=True
    )
    found = {path.rpartition("/")[2]: detections for path, _, detections in data}
    names = [[data.classes[number] for number in found[f"{name}.png"].class_id] for name in "abc"]
    assert names == [["dog", "cat"], ["cat"], []]
    masks = [*found["a.png"].mask, *found["b.png"].mask]
    for mask, bitmap in zip(masks, (HOLED, CORNER, PARTS), strict=True):
        assert iou(mask, bitmap) >= (LEAST if tolerance else 1)
    assert found["a.png"].xyxy.tolist() == [list(item.box) for item in two_pictures()[0].annotations]


def test_voc_pictures(tmp_path):
    export(two_pictures(), tmp_path, format="voc", labels={5: "never seen"})
    assert (tmp_path / "labels.txt").read_text().split("\n") == ["background", "never seen", "dog", "cat", ""]
    with Image.open(tmp_path / "SegmentationObject/a.png") as image:
        assert image.mode == "P"
        objects = np.asarray(image)
    with Image.open(tmp_path / "SegmentationClass/a.png") as image:
        classes = np.asarray(image)
    assert np.array_equal(objects == 2, CORNER)
    assert np.array_equal(objects == 1, HOLED & ~CORNER)
    assert np.array_equal(classes, np.array([0, 2, 3])[objects])
    after = list(read_voc(tmp_path))
    for before, one in zip(two_pictures(), after, strict=True):
        same(before, one, least=0.999)
        assert [(item.id, item.label, item.score) for item in one.annotations] == [
            (item.id, item.label, item.score) for item in before.annotations
        ]
    for path in (tmp_path / "SegmentationObject").iterdir():
        path.unlink()
    for before, one in zip(two_pictures(), read_voc(tmp_path), strict=True):
        same(before, one, least=0.98)  # from the polygons


def test_more_objects_than_a_byte_counts(tmp_path):
    dots = np.zeros((300, 4, 100), bool)
    for row in range(300):
        dots[row, row // 100, row % 100] = True
    many = AnnotatedPicture(
        "a.png", (4, 100), tuple(annotation(dot, row + 1) for row, dot in enumerate(dots))
    )
    for kind in ("voc", "indexed"):
        with pytest.raises(InputError, match="25[45]"):
            export([many], tmp_path / kind, format=kind)
        assert not (tmp_path / kind).exists()


REQUIRED = {"version", "flags", "shapes", "imagePath", "imageData", "imageHeight", "imageWidth"}
"""What LabelMe asks of a file; and of a shape:"""
OF_SHAPES = {"label": str, "points": list, "group_id": int, "shape_type": str, "flags": dict}


@pytest.mark.parametrize("tolerance", [0, 1.0])
def test_labelme_has_what_labelme_wants(tmp_path, supervision, tolerance):
    before = [*two_pictures(), picture(HOLED, name="deep/d.png")]
    export(before, tmp_path, format="labelme", tolerance=tolerance)
    assert files(tmp_path) == ["a.json", "b.json", "c.json", "deep/d.json"]
    for name in ("a", "b", "c", "deep/d"):
        content = json.loads((tmp_path / f"{name}.json").read_text())
        assert set(content) == REQUIRED
        assert (content["imagePath"], content["imageData"]) == (f"{name[-1]}.png", None)
        assert (content["imageHeight"], content["imageWidth"]) == LARGE
        for shape in content["shapes"]:
            assert all(isinstance(shape[key], kind) for key, kind in OF_SHAPES.items())
            assert shape["shape_type"] == "polygon"
            assert len(shape["points"]) >= 3
            assert np.array(shape["points"]).shape[1] == 2
    assert len(json.loads((tmp_path / "b.json").read_text())["shapes"]) == 2  # two parts, one group
    assert json.loads((tmp_path / "c.json").read_text())["shapes"] == []
    drawn = Image.new("1", LARGE[::-1])  # as LabelMe does
    shape = json.loads((tmp_path / "a.json").read_text())["shapes"][0]
    ImageDraw.Draw(drawn).polygon([tuple(point) for point in shape["points"]], outline=1, fill=1)
    assert iou(np.asarray(drawn), HOLED) >= (LEAST if tolerance else 1)
    save_pictures(tmp_path)
    data = supervision.DetectionDataset.from_labelme(str(tmp_path), str(tmp_path), force_masks=True)
    found = {path.rpartition("/")[2]: detections for path, _, detections in data}
    masks = [*found["a.png"].mask, *found["b.png"].mask]
    for mask, bitmap in zip(masks, (HOLED, CORNER, PARTS), strict=True):
        assert iou(mask, bitmap) >= (LEAST if tolerance else 1)


def test_labelme_comes_back_exactly(tmp_path):
    before = [picture(bitmap, name=f"{name}.png") for name, bitmap in SHAPES.items() if bitmap.any()]
    export(before, tmp_path, format="labelme", tolerance=0)
    after = {one.name: one for one in read_labelme(tmp_path)}
    for one in before:
        same(one, after[one.name])
    (single,) = read_labelme(tmp_path / "whole.json")
    assert single.name == "whole.png"


def test_labelme_files_of_others(tmp_path):
    encoded = io.BytesIO()
    Image.fromarray(np.full((3, 4), 255, np.uint8)).save(encoded, "PNG")
    mask = base64.b64encode(encoded.getvalue()).decode()
    shapes = [
        {"label": "a", "points": [[2, 3], [8, 9]], "shape_type": "rectangle", "group_id": None},
        {"label": "b", "points": [[20, 20], [25, 20]], "shape_type": "circle"},
        {"label": "c", "points": [[38, 1], [42, 4]], "shape_type": "mask", "mask": mask},
        {"label": "d", "points": [[1, 1]], "shape_type": "point"},
    ]
    content = {"shapes": shapes, "imagePath": "..\\pictures\\x.jpg", "imageHeight": 30, "imageWidth": 40}
    path = tmp_path / "x.json"
    path.write_text(json.dumps(content))
    (found,) = read_labelme(path)
    assert [(item.id, item.label) for item in found.annotations] == [(1, "a"), (2, "b"), (3, "c")]
    assert [item.area for item in found.annotations] == [36, pytest.approx(np.pi * 25, rel=0.1), 6]
    assert found.name == "x.jpg"
    for changes, words in (
        ({"points": [[1, 2]]}, "has 1 points, not 2"),
        ({"points": "x"}, "no pairs"),
        ({"shape_type": "mask", "mask": "!"}, "no picture in base64"),
    ):
        path.write_text(json.dumps(content | {"shapes": [shapes[0] | changes]}))
        with pytest.raises(InputError, match=words):
            list(read_labelme(path))
    path.write_text("{}")
    with pytest.raises(InputError, match="no LabelMe file: it lacks 'imageHeight'"):
        list(read_labelme(path))
    path.unlink()
    with pytest.raises(InputError, match="no JSON files"):
        read_labelme(tmp_path)


@pytest.mark.parametrize("kind", ["yolo", "voc", "labelme"])
def test_odd_labels_survive_as_far_as_the_format_can(tmp_path, kind):
    bitmaps = [disc(10 + 15 * row, 50, 6) for row in range(len(ODD_LABELS))]
    export([picture(*bitmaps, labels=tuple(ODD_LABELS), name="a.png")], tmp_path, format=kind)
    save_pictures(tmp_path / "images", "a", (120, 160))
    reader = {"yolo": read_yolo, "voc": read_voc, "labelme": read_labelme}[kind]
    (found,) = reader(tmp_path)
    expected = [name.replace("\x01", "\ufffd") for name in ODD_LABELS] if kind == "voc" else ODD_LABELS
    assert [item.label for item in found.annotations] == expected


@pytest.mark.parametrize("kind", ["yolo", "voc", "labelme"])
def test_folders_that_hold_results_already(tmp_path, kind):
    folder = tmp_path / "new" / "deep"
    export(two_pictures()[:1], folder, format=kind)
    before = {name: (folder / name).read_bytes() for name in files(folder)}
    with pytest.raises(OutputError, match="exists already; allow overwriting or choose another folder"):
        open_export(kind, folder)
    export(two_pictures()[:1], folder, format=kind, overwrite=True)
    assert {name: (folder / name).read_bytes() for name in files(folder)} == before
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="it is a file, not a folder"):
        open_export(kind, tmp_path / "file")


@pytest.mark.parametrize("name", ["/etc/passwd.jpg", "../a.jpg", "a/../../b.jpg", "", "."])
def test_names_that_lead_out_of_the_folder(tmp_path, name):
    for kind in ("yolo", "voc", "labelme", "png", "svg"):
        with pytest.raises(InputError, match="which is no file inside a folder"):
            export([picture(ring(), name=name)], tmp_path / kind, format=kind)
        assert files(tmp_path) == []


def test_nothing_at_all(tmp_path):
    for kind in ("yolo", "voc", "labelme"):
        assert export([], tmp_path / kind, format=kind) == 0
    assert files(tmp_path) == ["voc/labels.txt", "yolo/data.yaml"]
    (tmp_path / "yolo/labels").mkdir()
    assert list(read_yolo(tmp_path / "yolo")) == []
