"""GeoJSON, SVG, CVAT, PNGs, cut-outs and NumPy files: parsed, drawn again and compared."""

from __future__ import annotations

import errno
import json
import re
import sys
import xml.etree.ElementTree as ET
import zipfile

import numpy as np
import pytest
import shapely
from PIL import Image

from annotated import ODD_LABELS, SHAPES, SIZE, disc, iou, picture, pixels, ring, same
from maskwright.errors import InputError, OutputError
from maskwright.interop import (
    FORMATS,
    AnnotatedPicture,
    export,
    open_export,
    read_cvat,
    read_geojson,
    read_npz,
)
from maskwright.interop.formats import is_file
from maskwright.interop.polygons import draw, from_rings

HOLED, SMALL = ring(), disc(140, 100, 12)
VIDEO = [
    picture(HOLED, SMALL, name="street/00000.jpg", labels=("dog", "cat"), frame=0),
    picture(HOLED, name="street/00002.jpg", labels=("dog",), frame=2),
    picture(name="street/00004.jpg", frame=4),
    picture(HOLED, SMALL, name="street/00006.jpg", labels=("dog", "cat"), frame=6),
]


def files(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("tolerance", [0, 1.0])
def test_geojson_opened_by_shapely(tmp_path, tolerance):
    before = [picture(bitmap, name=f"{name}.png") for name, bitmap in SHAPES.items()]
    before.append(picture(HOLED, SMALL, name="large.png"))
    export(before, tmp_path / "a.geojson", tolerance=tolerance)
    content = json.loads((tmp_path / "a.geojson").read_text())
    by_name = {one.name: one for one in before}
    for row in content["features"]:
        geometry = shapely.geometry.shape(row["geometry"])
        assert geometry.is_valid
        assert geometry.geom_type == ("Polygon" if len(shapely.get_parts(geometry)) == 1 else "MultiPolygon")
        assert all(part.exterior.is_ccw for part in shapely.get_parts(geometry))
        one = by_name[row["properties"]["picture"]]
        bitmap = one.annotations[row["properties"]["id"] - 1].bitmap()
        assert iou(draw([geometry], one.size), bitmap) >= (0.98 if tolerance else 1)
    assert len(content["features"]) == len(SHAPES) + 1
    for one, after in zip(before, read_geojson(tmp_path / "a.geojson"), strict=True):
        assert after.name == one.name
        if one.annotations[0].area:
            same(one, after, least=0.98 if tolerance else 1)


def test_geojson_of_a_video_and_of_a_folder(tmp_path):
    export(VIDEO, tmp_path / "v.geojson", labels={1: "hound"})
    after = list(read_geojson(tmp_path / "v.geojson"))
    assert [(one.name, one.frame, one.time_s) for one in after] == [
        (one.name, one.frame, one.time_s) for one in VIDEO
    ]
    assert [(item.id, item.label, item.score) for item in after[3].annotations] == [
        (1, "hound", 0.75),
        (2, "cat", 0.75),
    ]
    export(VIDEO, tmp_path / "v", format="geojson")
    assert files(tmp_path / "v") == [f"street/0000{index}.geojson" for index in (0, 2, 4, 6)]
    (one,) = read_geojson(tmp_path / "v/street/00000.geojson")
    same(VIDEO[0], one, least=0.98)


def test_geojson_of_others(tmp_path):
    path = tmp_path / "a.geojson"
    square = {"type": "Polygon", "coordinates": [[[1, 1], [5, 1], [5, 4], [1, 4], [1, 1]]]}
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [{"geometry": square}]}))
    (found,) = read_geojson(path, (10, 12), "x.png")
    assert (found.name, found.annotations[0].area, found.annotations[0].label) == ("x.png", 12, "object")
    with pytest.raises(InputError, match="does not say how large"):
        read_geojson(path)
    for features in ([{}], [{"geometry": {"type": "Polygon"}}], [{"geometry": None}]):
        path.write_text(json.dumps({"features": features}))
        with pytest.raises(InputError, match="correct or remove it"):
            list(read_geojson(path, (10, 12)))
    path.write_text("[]")
    with pytest.raises(InputError, match="no FeatureCollection"):
        read_geojson(path)


def corners(path):
    """Rings of an SVG path of straight lines."""
    lines = re.findall(r"M([^MZ]*)Z", path)
    return [np.array([pair.split() for pair in line.split("L")], float) for line in lines]


@pytest.mark.parametrize("tolerance", [0, 1.0])
def test_svg_drawn_again(tmp_path, tolerance):
    before = [picture(bitmap, name=f"{name}.png") for name, bitmap in SHAPES.items()]
    before.append(picture(HOLED, SMALL, name="large.png"))
    export(before, tmp_path, format="svg", tolerance=tolerance)
    for one in before:
        root = ET.parse(tmp_path / f"{one.name.removesuffix('.png')}.svg").getroot()
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        assert root.get("viewBox") == f"0 0 {one.size[1]} {one.size[0]}"
        paths = root.findall("{*}path")
        assert len(paths) == sum(item.area > 0 for item in one.annotations)
        for path in paths:
            assert path.get("fill-rule") == "evenodd"
            bitmap = one.annotations[int(path.get("data-id")) - 1].bitmap()
            again = draw([from_rings(corners(path.get("d")))], one.size)
            assert iou(again, bitmap) >= (0.98 if tolerance else 1)


def test_a_file_holds_one_picture(tmp_path):
    for kind, name in (("svg", "a.svg"), ("npz", "a.npz"), ("indexed", "a.png"), ("labelme", "a.json")):
        with open_export(kind, tmp_path / name) as target:
            target.add(VIDEO[0])
            with pytest.raises(InputError, match=r"holds one picture, street/00000\.jpg; for several"):
                target.add(VIDEO[1])
        assert (tmp_path / name).is_file()
        with pytest.raises(OutputError, match="exists already"):
            open_export(kind, tmp_path / name)
        export(VIDEO[:1], tmp_path / name, format=kind, overwrite=True)
        with pytest.raises(OutputError, match="its folder does not exist"):
            open_export(kind, tmp_path / "none" / name)


def test_odd_labels_in_xml_and_arrays(tmp_path):
    bitmaps = [disc(10 + 15 * row, 50, 6) for row in range(len(ODD_LABELS))]
    before = picture(*bitmaps, labels=tuple(ODD_LABELS), name="a<b>\x02.png")
    expected = [label.replace("\x01", "\ufffd") for label in ODD_LABELS]
    for name in ("a.svg", "a.xml", "a.npz", "a.geojson"):
        export([before], tmp_path / name)
    root = ET.parse(tmp_path / "a.svg").getroot()
    assert sorted(path.get("data-label") for path in root.findall("{*}path")) == sorted(expected)
    assert root.findtext("{*}title") == "a<b>\ufffd.png"
    (found,) = read_cvat(tmp_path / "a.xml")
    assert [item.label for item in found.annotations] == expected
    meta = ET.parse(tmp_path / "a.xml").getroot()
    assert [name.text for name in meta.findall("meta/task/labels/label/name")] == expected
    assert [item.label for item in read_npz(tmp_path / "a.npz").annotations] == ODD_LABELS
    (found,) = read_geojson(tmp_path / "a.geojson")
    assert [item.label for item in found.annotations] == ODD_LABELS


def test_cvat_pictures(tmp_path):
    before = [picture(bitmap, name=f"{name}.png") for name, bitmap in SHAPES.items() if bitmap.any()]
    before += [picture(HOLED, SMALL, name="large.png"), AnnotatedPicture("none.png", SIZE)]
    export(before, tmp_path / "a.xml", tolerance=0)
    root = ET.parse(tmp_path / "a.xml").getroot()
    assert root.findtext("version") == "1.1"
    assert root.findtext("meta/task/mode") == "annotation"
    assert int(root.findtext("meta/task/size")) == len(before)
    images = root.findall("image")
    assert [int(image.get("id")) for image in images] == list(range(len(before)))
    kinds = [shape.tag for shape in images[-2]]
    assert kinds == ["mask", "polygon"]  # the one with a hole, the one without
    for one, after in zip(before, read_cvat(tmp_path / "a.xml"), strict=True):
        assert after.name == one.name
        same(one, after)
    mask = images[-2].find("mask")
    runs = [int(run) for run in mask.get("rle").split(",")]
    assert sum(runs) == int(mask.get("width")) * int(mask.get("height"))
    assert sum(runs[1::2]) == HOLED.sum()


def test_cvat_tracks(tmp_path):
    export(reversed(VIDEO), tmp_path / "v.xml", labels={9: "never seen"}, tolerance=0)
    root = ET.parse(tmp_path / "v.xml").getroot()
    assert root.findtext("meta/task/mode") == "interpolation"
    assert root.findtext("meta/task/original_size/width") == "160"
    labels = [name.text for name in root.findall("meta/task/labels/label/name")]
    assert labels == ["never seen", "dog", "cat"]
    tracks = {int(track.get("id")): track for track in root.findall("track")}
    assert sorted(tracks) == [1, 2]
    frames = {
        number: [(int(shape.get("frame")), int(shape.get("outside"))) for shape in track.findall("polygon")]
        for number, track in tracks.items()
    }
    assert frames == {1: [(0, 0), (2, 0), (4, 1), (6, 0)], 2: [(0, 0), (2, 1), (6, 0)]}
    after = list(read_cvat(tmp_path / "v.xml"))
    assert [(one.name, one.frame) for one in after] == [(f"street/0000{n}.jpg", n) for n in (0, 2, 6)]
    for before, one in zip([VIDEO[0], VIDEO[1], VIDEO[3]], after, strict=True):
        same(before, one)
        assert [(item.id, item.label) for item in one.annotations] == [
            (item.id, item.label) for item in before.annotations
        ]


def test_cvat_refuses_what_it_cannot_hold(tmp_path):
    with pytest.raises(InputError, match="do not go together"):
        export([VIDEO[0], picture(HOLED)], tmp_path / "a.xml")
    with pytest.raises(InputError, match="of another size"):
        export([VIDEO[0], picture(SHAPES["hole"], name="b", frame=7)], tmp_path / "a.xml")
    with pytest.raises(InputError, match="second frame 0; CVAT holds one video"):
        export([VIDEO[0], picture(HOLED, name="other/00000.jpg", frame=0)], tmp_path / "a.xml")
    assert files(tmp_path) == []
    export([], tmp_path / "a.xml")
    assert list(read_cvat(tmp_path / "a.xml")) == []


@pytest.mark.parametrize(
    ("inside", "words"),
    [
        ("<image/>", "<image> lacks height="),
        ('<image name="a" height="4" width="4"><polygon points="1,1;2"/></image>', "corners"),
        (
            '<image name="a" height="4" width="4">'
            '<mask rle="1, 2" left="3" top="0" width="3" height="1"/></image>',
            "do not fit",
        ),
        ('<track><box frame="1"/></track>', "original_size"),
    ],
)
def test_cvat_files_that_make_no_sense(tmp_path, inside, words):
    (tmp_path / "a.xml").write_text(f"<annotations>{inside}</annotations>")
    with pytest.raises(InputError, match=words):
        list(read_cvat(tmp_path / "a.xml"))
    (tmp_path / "a.xml").write_text("<a/>")
    with pytest.raises(InputError, match="begins with <a>"):
        read_cvat(tmp_path / "a.xml")
    (tmp_path / "a.xml").write_text("<a>")
    with pytest.raises(InputError, match="no XML"):
        read_cvat(tmp_path / "a.xml")


def test_pictures_of_masks(tmp_path):
    export(VIDEO, tmp_path / "png", format="png")
    assert files(tmp_path / "png") == [
        "street/00000-1.png",
        "street/00000-2.png",
        "street/00002-1.png",
        "street/00006-1.png",
        "street/00006-2.png",
    ]
    with Image.open(tmp_path / "png/street/00000-1.png") as image:
        assert np.array_equal(np.asarray(image), HOLED * np.uint8(255))
    export(VIDEO, tmp_path / "indexed", format="indexed")
    assert files(tmp_path / "indexed") == [f"street/0000{index}.png" for index in (0, 2, 4, 6)]
    with Image.open(tmp_path / "indexed/street/00000.png") as image:
        assert image.mode == "P"
        assert np.array_equal(np.asarray(image), HOLED * 1 + SMALL * 2)
    with pytest.raises(InputError, match="object 300 does not fit"):
        open_export("indexed", tmp_path / "new", labels={300: "dog"})


def test_cut_outs_and_frames(tmp_path):
    export(VIDEO[:1], tmp_path / "cut", format="cutout")
    assert files(tmp_path / "cut") == ["street/00000-1.png", "street/00000-2.png"]
    cut = np.asarray(Image.open(tmp_path / "cut/street/00000-1.png"))
    assert np.array_equal(cut[..., 3] > 0, HOLED)
    assert np.array_equal(cut[HOLED][:, :3], pixels()[HOLED])
    assert not cut[~HOLED].any()
    export(VIDEO[:1], tmp_path / "all.png", format="cutout")
    assert np.array_equal(np.asarray(Image.open(tmp_path / "all.png"))[..., 3] > 0, HOLED | SMALL)
    gone = AnnotatedPicture("a.png", SIZE, VIDEO[0].annotations)
    for kind in ("cutout", "pictures"):
        assert FORMATS[kind].needs_pixels
        with pytest.raises(InputError, match=r"pixels of a\.png are not at hand"):
            export([gone], tmp_path / kind, format=kind)
    export([*VIDEO[:2], picture(HOLED, name="b.png")], tmp_path / "frames", format="pictures")
    assert files(tmp_path / "frames") == ["b.png", "street/00000.jpg", "street/00002.jpg"]
    assert np.array_equal(np.asarray(Image.open(tmp_path / "frames/b.png")), pixels())
    with pytest.raises(InputError, match="copy it"):
        export([picture(HOLED, name="b.tif")], tmp_path / "tif", format="pictures")


def test_arrays(tmp_path):
    export(VIDEO[:1], tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz", allow_pickle=False) as arrays:
        assert arrays["masks"].dtype == bool
        assert np.array_equal(arrays["masks"], [HOLED, SMALL])
        assert arrays["ids"].tolist() == [1, 2]
        assert arrays["labels"].tolist() == ["dog", "cat"]
        assert arrays["areas"].tolist() == [HOLED.sum(), SMALL.sum()]
        assert arrays["boxes"].tolist() == [list(item.box) for item in VIDEO[0].annotations]
        assert arrays["scores"].tolist() == [0.75, 0.75]
    assert read_npz(tmp_path / "a.npz") == VIDEO[0]
    export(VIDEO, tmp_path / "v", format="npz")
    assert files(tmp_path / "v") == [f"street/0000{index}.npz" for index in (0, 2, 4, 6)]
    assert read_npz(tmp_path / "v/street/00004.npz") == VIDEO[2]
    (tmp_path / "b.npz").write_bytes(b"no")
    with pytest.raises(InputError, match="no file of masks"):
        read_npz(tmp_path / "b.npz")
    with zipfile.ZipFile(tmp_path / "c.npz", "w"):
        pass
    with pytest.raises(InputError, match="no file of masks"):
        read_npz(tmp_path / "c.npz")
    with pytest.raises(InputError, match="cannot read"):
        read_npz(tmp_path / "missing.npz")


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_keeps_what_was_there_and_leaves_nothing_after_an_error(tmp_path, kind):
    known = FORMATS[kind]
    path = tmp_path / ("out" + known.endings[0] if known.what == "file" else "out")
    assert is_file(kind, path) == (known.what == "file")

    def failing():
        raise RuntimeError("a failure in the middle")
        yield

    with pytest.raises(RuntimeError):
        export(failing(), path, format=kind)
    assert files(tmp_path) == []
    assert not path.exists()
    export(VIDEO[:1], path, format=kind)
    before = {name: (tmp_path / name).read_bytes() for name in files(tmp_path)}
    assert before
    with pytest.raises(OutputError, match="exists already"):
        open_export(kind, path)
    with pytest.raises(RuntimeError):
        export(failing(), path, format=kind, overwrite=True)
    assert {name: (tmp_path / name).read_bytes() for name in files(tmp_path)} == before
    export(VIDEO[:1], path, format=kind, overwrite=True)
    assert {name: (tmp_path / name).read_bytes() for name in files(tmp_path)} == before


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc, where even root cannot write")
@pytest.mark.parametrize("kind", FORMATS)
def test_places_that_cannot_be_written_are_known_at_once(tmp_path, kind):
    known = FORMATS[kind]
    (tmp_path / "file").write_text("")
    if known.what != "file":
        with pytest.raises(OutputError, match="it is a file, not a folder"):
            open_export(kind, tmp_path / "file", overwrite=True)
        with pytest.raises(OutputError, match="cannot write into"):
            open_export(kind, "/proc/maskwright")
    for ending in known.endings:
        with pytest.raises(OutputError, match="its folder does not exist"):
            open_export(kind, tmp_path / "none" / f"a{ending}")
        with pytest.raises(OutputError, match="cannot write"):
            open_export(kind, f"/proc/a{ending}")
    assert files(tmp_path) == ["file"]


def test_a_full_disk(tmp_path, monkeypatch):
    """What is written then is no file; a folder has no half of one."""
    monkeypatch.setattr("os.fsync", full)
    for kind, name in (
        ("coco", "a.json"),
        ("cvat", "a.xml"),
        ("svg", "svg"),
        ("npz", "npz"),
        ("yolo", "yolo"),
    ):
        with pytest.raises(OutputError, match="the disk is full"):
            export(VIDEO, tmp_path / name, format=kind)
    assert files(tmp_path) == []


def full(_):
    raise OSError(errno.ENOSPC, "No space left on device")
