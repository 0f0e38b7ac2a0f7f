"""COCO files, opened by pycocotools, and what all exports have in common."""

from __future__ import annotations

import contextlib
import io
import json
import sys
import tracemalloc
import warnings

import numpy as np
import pytest
from PIL import Image

from annotated import ODD_LABELS, SHAPES, SIZE, annotation, disc, drawn, iou, picture, pixels, ring
from maskwright.errors import InputError, OutputError, StateError
from maskwright.interop import (
    AnnotatedPicture,
    Annotation,
    export,
    from_frame,
    from_frames,
    from_masks,
    open_export,
    read_coco,
)
from maskwright.interop.formats import format_of
from maskwright.io.datasets.coco import CocoPictures
from maskwright.masks import Masks
from tracked import tracked

VIDEO = [
    picture(ring(), disc(20, 20, 9), name="street/00000.jpg", frame=0),
    picture(name="street/00001.jpg", frame=1),
    picture(ring(80), name="street/00002.jpg", frame=2),
]


def opened(path):
    """The file as pycocotools reads it."""
    from pycocotools.coco import COCO

    with contextlib.redirect_stdout(io.StringIO()):
        return COCO(str(path))


def mask_of(coco, row):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # pycocotools under numpy 2
        return coco.annToMask(row).astype(bool)


@pytest.mark.parametrize("kind", ["coco", "coco-polygons"])
def test_every_shape_is_the_same_to_pycocotools(tmp_path, kind):
    pictures = [picture(bitmap, name=f"{name}.png") for name, bitmap in SHAPES.items()]
    assert export(pictures, tmp_path / "all.json", format=kind, tolerance=0) == len(SHAPES)
    coco = opened(tmp_path / "all.json")
    files = {row["file_name"].removesuffix(".png"): row["id"] for row in coco.dataset["images"]}
    assert list(files) == list(SHAPES)
    for name, bitmap in SHAPES.items():
        rows = coco.loadAnns(coco.getAnnIds(imgIds=[files[name]]))
        assert len(rows) == bitmap.any()
        for row in rows:
            assert np.array_equal(mask_of(coco, row), bitmap)
            assert row["area"] == bitmap.sum()
            x, y, w, h = row["bbox"]
            assert bitmap[y : y + h, x : x + w].sum() == bitmap.sum()
    kinds = {type(row["segmentation"]) for row in coco.dataset["annotations"]}
    assert kinds == ({dict} if kind == "coco" else {dict, list})


def test_polygons_with_a_tolerance_are_close_and_holes_are_run_lengths(tmp_path):
    export([picture(ring(), disc(20, 20, 9))], tmp_path / "a.json", format="coco-polygons")
    coco = opened(tmp_path / "a.json")
    holed, solid = coco.loadAnns(coco.getAnnIds())
    assert isinstance(holed["segmentation"], dict)
    assert isinstance(solid["segmentation"], list)
    assert iou(mask_of(coco, holed), ring()) == 1
    assert iou(mask_of(coco, solid), disc(20, 20, 9)) >= 0.97


def test_a_video_has_one_track_id_per_object_and_unique_annotations(tmp_path):
    export(VIDEO, tmp_path / "v.json", labels={2: "dog", 1: "cat", 9: "never seen"})
    coco = opened(tmp_path / "v.json")
    rows = coco.dataset["annotations"]
    assert [row["id"] for row in rows] == [1, 2, 3]
    assert [row["track_id"] for row in rows] == [1, 2, 1]
    assert [coco.cats[row["category_id"]]["name"] for row in rows] == ["cat", "dog", "cat"]
    assert [row["name"] for row in coco.loadCats(coco.getCatIds())] == ["dog", "cat", "never seen"]
    assert [row["frame_id"] for row in coco.dataset["images"]] == [0, 1, 2]
    assert coco.dataset["videos"] == [{"id": 1, "name": "street"}]
    assert rows[0]["score"] == 0.75
    again = list(read_coco(tmp_path / "v.json"))
    assert [(one.name, one.size, one.frame, one.time_s) for one in again] == [
        (one.name, one.size, one.frame, one.time_s) for one in VIDEO
    ]
    assert [item.label for item in again[0].annotations] == ["cat", "dog"]
    for before, after in zip(VIDEO, again, strict=True):
        assert [item.rle for item in before.annotations] == [item.rle for item in after.annotations]


def test_odd_labels_and_names_survive(tmp_path):
    bitmaps = [disc(10 + 15 * row, 50, 6) for row in range(len(ODD_LABELS))]
    name = 'odd "name"\n<é>.jpg'
    export([picture(*bitmaps, labels=tuple(ODD_LABELS), name=name)], tmp_path / "a.json")
    again = next(read_coco(tmp_path / "a.json"))
    assert [item.label for item in again.annotations] == ODD_LABELS
    assert again.name == name


def test_nothing_at_all_is_a_valid_file(tmp_path):
    assert export([], tmp_path / "a.json") == 0
    coco = opened(tmp_path / "a.json")
    assert (coco.dataset["images"], coco.dataset["annotations"], coco.dataset["categories"]) == ([], [], [])
    assert list(read_coco(tmp_path / "a.json")) == []


@pytest.mark.parametrize("label", ["", " \n"])
def test_blank_labels_are_refused(tmp_path, label):
    with pytest.raises(InputError, match="object 3 has a blank label"):
        annotation(ring(), 3, label)
    with pytest.raises(InputError, match="object 3 has a blank label"):
        open_export("coco", tmp_path / "a.json", labels={3: label})
    assert list(tmp_path.iterdir()) == []


def test_an_existing_file_stays_unless_overwriting_is_allowed(tmp_path):
    path = tmp_path / "a.json"
    path.write_text("mine")
    with pytest.raises(OutputError, match="exists already"):
        open_export("coco", path)
    with pytest.raises(RuntimeError), open_export("coco", path, overwrite=True) as target:
        target.add(VIDEO[0])
        raise RuntimeError
    assert path.read_text() == "mine"
    export(VIDEO, path, overwrite=True)
    assert json.loads(path.read_text())["images"]
    assert [one.name for one in tmp_path.iterdir()] == ["a.json"]


def test_an_error_leaves_nothing_behind(tmp_path):
    with pytest.raises(InputError, match="was added before"):
        export([VIDEO[0], VIDEO[0]], tmp_path / "a.json")
    assert list(tmp_path.iterdir()) == []
    target = open_export("coco", tmp_path / "b.json")
    target.abandon()
    target.close()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(StateError, match="closed"):
        target.add(VIDEO[0])


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc, where even root cannot write")
def test_places_that_cannot_be_written(tmp_path):
    with pytest.raises(OutputError, match="its folder does not exist"):
        open_export("coco", tmp_path / "no" / "a.json")
    with pytest.raises(OutputError, match="cannot write"):
        open_export("coco", "/proc/a.json")
    with pytest.raises(InputError, match=r"end .* in \.json"):
        open_export("coco", tmp_path / "folder")
    with pytest.raises(OutputError, match="it is a folder"):
        (tmp_path / "d.json").mkdir()
        open_export("coco", tmp_path / "d.json", overwrite=True)


def test_asking_for_what_there_is_not(tmp_path):
    with pytest.raises(InputError, match="no format 'caca'; choose one of coco, "):
        open_export("caca", tmp_path / "a.json")
    for tolerance in (-1, float("nan"), float("inf")):
        with pytest.raises(InputError, match="tolerance"):
            open_export("coco", tmp_path / "a.json", tolerance=tolerance)
    with pytest.raises(InputError, match="cannot tell the format of x.doc"):
        format_of("x.doc")
    assert format_of("X.JSON") == "coco"


def test_pictures_that_do_not_add_up():
    with pytest.raises(InputError, match=r"object 1 is 120 x 160 .* truck.jpg 100 x 160"):
        AnnotatedPicture("truck.jpg", (100, 160), (annotation(ring()),))
    with pytest.raises(InputError, match="two objects 4"):
        AnnotatedPicture("truck.jpg", SIZE, (annotation(ring(), 4), annotation(ring(), 4)))
    with pytest.raises(InputError, match="not at hand"):
        AnnotatedPicture("truck.jpg", SIZE).pixels()
    with pytest.raises(InputError, match="has it changed"):
        AnnotatedPicture("truck.jpg", SIZE, read=lambda: np.zeros((4, 4, 3), np.uint8)).pixels()


def test_masks_of_a_picture():
    bitmaps = np.stack([ring(), np.zeros(SIZE, bool), disc(20, 20, 9)])
    masks = Masks(
        bitmaps,
        np.array([0.9, 0.1, np.nan], np.float32),
        np.zeros((3, 4, 4), np.float32),
        np.ones(3, np.float32),
    )
    made = from_masks(masks, "truck.jpg", {2: "dog"})
    assert [(item.id, item.label, item.area) for item in made.annotations] == [
        (1, "object", ring().sum()),
        (2, "dog", 0),
        (3, "object", disc(20, 20, 9).sum()),
    ]
    assert [item.score for item in made.annotations] == [0.9, 0.1, None]
    assert np.array_equal(made.annotations[0].bitmap(), ring())
    assert [item.id for item in from_masks(masks, "a", ids=[7, 8, 9]).annotations] == [7, 8, 9]
    with pytest.raises(InputError, match="2 ids for 3 objects"):
        from_masks(masks, "a", ids=[7, 8])


def test_frames_of_a_video():
    frame = tracked(7, {3: disc(20, 20, 9, (48, 64)), 5: np.zeros((48, 64), bool)}, time=0.28)
    made = from_frame(frame, "street/00007.jpg", {3: "cat"})
    assert [(item.id, item.label, item.score) for item in made.annotations] == [
        (3, "cat", pytest.approx(0.893))
    ]
    assert (made.frame, made.time_s, made.size) == (7, 0.28, (48, 64))
    assert np.array_equal(made.pixels(), frame.image)
    assert [one.name for one in from_frames([frame], "street")] == ["street/00007.jpg"]
    x0, y0, x1, y1 = made.annotations[0].box
    assert np.array_equal(made.annotations[0].window(), frame.bitmaps[0][y0:y1, x0:x1])


def test_memory_does_not_grow_with_the_video(tmp_path):
    def long(frames):
        code = annotation(drawn("####", "#..#", "####")).rle
        for index in range(frames):
            yield AnnotatedPicture(f"v/{index:05}.jpg", (3, 4), (Annotation(1, code),), index)

    def peak(frames):
        """The smallest of some: another thread of the process may hold something meanwhile."""
        found = []
        for attempt in range(3):
            tracemalloc.start()
            export(long(frames), tmp_path / f"{frames}-{attempt}.json")
            found.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
        return min(found)

    few, many = peak(200), peak(2000)
    assert len(opened(tmp_path / "2000-0.json").dataset["annotations"]) == 2000
    assert many - few < 500_000  # names, and the part of the list that is kept before it is a file


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("[]", "no COCO file"),
        ("{", "no valid JSON"),
        ('{"images": [3], "annotations": []}', "images are not all JSON objects"),
        ('{"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": []}', "a.jpg: it lacks 'height'"),
        (
            '{"images": [{"id": 1, "file_name": "a.jpg", "height": 4, "width": 4}], "annotations": '
            '[{"image_id": 1, "segmentation": {"size": [5, 4], "counts": "P"}}]}',
            "a.jpg: its RLE is of size",
        ),
    ],
)
def test_files_that_are_no_coco(tmp_path, content, words):
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(InputError, match=words):
        list(read_coco(tmp_path / "a.json"))
    with pytest.raises(InputError, match="no such file"):
        read_coco(tmp_path / "b.json")


def test_foreign_coco(tmp_path):
    content = {
        "images": [{"id": "x", "file_name": "a.jpg", "height": 10, "width": 12}],
        "categories": [{"id": 5, "name": ""}],
        "annotations": [
            {"image_id": "x", "category_id": 5, "segmentation": [[2, 2, 8, 2, 8, 6, 2, 6]]},
            {"image_id": "x", "bbox": [1, 1, 2, 2]},
            {"image_id": "x", "iscrowd": 1, "segmentation": {"size": [10, 12], "counts": [120]}},
            {"image_id": "x", "category_id": 6, "segmentation": {"size": [10, 12], "counts": [3, 4, 113]}},
        ],
    }
    (tmp_path / "a.json").write_text(json.dumps(content))
    (found,) = read_coco(tmp_path / "a.json", images=tmp_path)
    assert [(item.id, item.label, item.area) for item in found.annotations] == [
        (1, "object", 24),
        (2, "object", 4),
    ]
    with pytest.raises(InputError, match="a.jpg"):
        found.pixels()


@pytest.mark.parametrize("kind", ["coco", "coco-polygons"])
def test_opened_by_supervision(tmp_path, kind):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        supervision = pytest.importorskip("supervision")
    bitmaps = (ring(), disc(20, 20, 14), disc(20, 90, 14) | disc(140, 20, 14))
    export([picture(*bitmaps, name="a.png", labels=("b", "a", "a"))], tmp_path / "a.json", format=kind)
    Image.fromarray(pixels()).save(tmp_path / "a.png")
    data = supervision.DetectionDataset.from_coco(str(tmp_path), str(tmp_path / "a.json"), force_masks=True)
    ((_, _, found),) = data
    assert [data.classes[number] for number in found.class_id] == ["b", "a", "a"]
    for mask, bitmap in zip(found.mask, bitmaps, strict=True):
        assert iou(mask, bitmap) >= (1 if kind == "coco" or bitmap is bitmaps[0] else 0.9)


@pytest.mark.parametrize("kind", ["coco", "coco-polygons"])
def test_it_is_a_data_set_to_train_on(tmp_path, kind):
    export([picture(ring(), disc(20, 20, 14), name="a.png")], tmp_path / "a.json", format=kind, tolerance=0)
    Image.fromarray(pixels()).save(tmp_path / "a.png")
    scene = CocoPictures(tmp_path / "a.json").read(0)
    masks = [scene.mask(number) for number in range(2)]
    assert np.array_equal(masks, [ring(), disc(20, 20, 14)])
