"""COCO JSON: masks are those of pycocotools, and what is wrong in a file is named."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as coco

from dataset_files import HEIGHT, WIDTH, photo, rectangle, run_lengths, write_json
from maskwright.errors import ImageError, InputError
from maskwright.io.datasets.choosing import split_of
from maskwright.io.datasets.coco import CocoPictures, mask_of
from maskwright.io.datasets.opening import open_dataset
from maskwright.io.datasets.protocol import Pictures

SIZE = (HEIGHT, WIDTH)
POLYGONS = [[5.5, 4.2, 31.0, 6.1, 22.7, 30.3, 8.0, 25.0], [40, 10, 55.5, 12, 50, 20]]


def reference(segmentation) -> np.ndarray:
    """pycocotools' own bitmap."""
    code = segmentation
    if isinstance(segmentation, list):
        code = coco.merge(coco.frPyObjects(segmentation, *SIZE))
    elif isinstance(segmentation["counts"], list):
        code = coco.frPyObjects(segmentation, *SIZE)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # it warns under numpy 2
        return coco.decode(code).astype(bool)


def compressed(mask: np.ndarray) -> dict:
    code = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": list(code["size"]), "counts": code["counts"].decode()}


def uncompressed(mask: np.ndarray) -> dict:
    return {"size": [HEIGHT, WIDTH], "counts": run_lengths(mask)}


def content(*annotations, images=("a.png",)) -> dict:
    entries = [
        {"id": n, "file_name": name, "width": WIDTH, "height": HEIGHT} for n, name in enumerate(images, 1)
    ]
    filled = [
        {"id": 100 + n, "image_id": 1, "category_id": 1, "iscrowd": 0, **given}
        for n, given in enumerate(annotations)
    ]
    return {"images": entries, "annotations": filled, "categories": [{"id": 1, "name": "thing"}]}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    photo(tmp_path / "a.png")
    return tmp_path


@pytest.mark.parametrize(
    "segmentation",
    [
        POLYGONS,
        [[-5, -5, 100, -5, 100, 100]],
        compressed(rectangle(3, 0, 40, 9)),
        uncompressed(rectangle(0, 0, 8, 9)),
    ],
    ids=["polygons", "beyond", "compressed", "uncompressed"],
)
def test_masks_are_those_of_pycocotools(segmentation):
    expected = reference(segmentation)
    assert expected.any()
    np.testing.assert_array_equal(mask_of(segmentation, SIZE), expected)


def test_every_kind_of_outline_is_read_and_crowds_and_boxes_are_not(folder: Path):
    over, crowd = rectangle(2, 2, 30, 30), rectangle(0, 0, 5, 5)
    annotations = (
        {"segmentation": POLYGONS},
        {"segmentation": compressed(over)},
        {"segmentation": compressed(crowd), "iscrowd": 1},
        {"segmentation": [], "bbox": [1, 2, 3, 4]},
        {"segmentation": uncompressed(over)},
    )
    data = open_dataset(write_json(folder / "set.json", content(*annotations)))
    assert isinstance(data, Pictures)
    scene = data.read(0)
    assert scene.ids == (100, 101, 104)
    np.testing.assert_array_equal(scene.picture, photo(folder / "again.png"))
    np.testing.assert_array_equal(scene.masks, [reference(POLYGONS), over, over])
    assert (list(data.names), list(data.sources)) == (["a.png"], ["set"])


def test_pictures_without_masks_are_left_out_and_splits_share_the_rest(folder: Path):
    names = [f"{number}.png" for number in range(40)]
    for name in names:
        photo(folder / name)
    annotations = [{"image_id": number, "segmentation": POLYGONS} for number in range(1, 40)]
    path = write_json(folder / "set.json", content(*annotations, images=names))
    parts = [set(open_dataset(path, split=split).names) for split in ("train", "val")]
    assert all(parts)
    assert parts[0] | parts[1] == set(names[:-1])
    assert not parts[0] & parts[1]


@pytest.mark.parametrize(
    ("place", "file"),
    [
        ("images/a.png", "set.json"),
        ("train2017/a.png", "annotations/instances_train2017.json"),
        ("set/a.png", "set.json"),
        ("images/a.png", "annotations/set.json"),
    ],
)
def test_pictures_are_found_where_coco_and_its_kin_put_them(tmp_path: Path, place: str, file: str):
    photo(tmp_path / place)
    path = write_json(tmp_path / file, content({"segmentation": POLYGONS}))
    assert len(open_dataset(path).read(0)) == 1
    assert len(open_dataset(tmp_path)) == 1  # the folder does as well


def test_the_folder_of_pictures_can_be_given(tmp_path: Path):
    photo(tmp_path / "elsewhere/a.png")
    path = write_json(tmp_path / "deep/down/set.json", content({"segmentation": POLYGONS}))
    assert len(open_dataset(path, images=tmp_path / "elsewhere").read(0)) == 1
    with pytest.raises(InputError, match=r"a\.png is neither beside it"):
        open_dataset(path)
    with pytest.raises(InputError, match="no such folder"):
        open_dataset(path, images=tmp_path / "nowhere")


def test_a_folder_with_several_files_wants_one_named_or_a_split(folder: Path):
    for part in ("train", "val"):
        write_json(folder / f"annotations/instances_{part}.json", content({"segmentation": POLYGONS}))
    write_json(folder / "annotations/captions_train.json", {})
    assert list(open_dataset(folder, split="val").sources) == ["instances_val"]
    with pytest.raises(InputError, match="several annotation files"):
        open_dataset(folder)


@pytest.mark.parametrize(
    ("annotation", "message"),
    [
        ({"segmentation": {"size": [HEIGHT, WIDTH + 1], "counts": [HEIGHT * (WIDTH + 1)]}}, "RLE is of size"),
        ({"segmentation": {"size": [HEIGHT, WIDTH], "counts": [7, 9]}}, "do not add up"),
        ({"segmentation": {"size": [HEIGHT, WIDTH], "counts": "0\x7f"}}, "not a COCO RLE"),
        ({"segmentation": {"counts": [7, 9]}}, "size"),
        ({"segmentation": [["x", 1, 2, 3, 4, 5]]}, "no list of polygons"),
        ({"segmentation": [[1, 2, 3, 4, 5, 6, 7]]}, "odd number"),
        ({"segmentation": [[1, 2, 3, 4, 5, float("nan")]]}, "NaN"),
        ({"segmentation": "outline"}, "no list of polygons"),
    ],
)
def test_a_bad_mask_is_named(folder: Path, annotation: dict, message: str):
    path = write_json(folder / "set.json", content(annotation))
    with pytest.raises(ImageError, match=message) as raised:
        open_dataset(path).read(0)
    assert "set.json" in str(raised.value)
    assert "annotation 100 of a.png" in str(raised.value)


def test_polygons_of_two_corners_cover_nothing(folder: Path):
    path = write_json(folder / "set.json", content({"segmentation": [[1, 2, 3, 4], [1, 2]]}))
    assert open_dataset(path).read(0).areas.tolist() == [0]


def test_a_picture_of_another_size_is_named(folder: Path):
    photo(folder / "a.png", size=(WIDTH, HEIGHT))
    path = write_json(folder / "set.json", content({"segmentation": POLYGONS}))
    with pytest.raises(ImageError, match=r"a\.png is 40 x 60, but .* is for 60 x 40; .*EXIF"):
        open_dataset(path).read(0)
    photo(folder / "a.png", size=(5, 5))
    with pytest.raises(ImageError, match="annotate it anew"):
        open_dataset(path).read(0)


def test_a_missing_picture_is_named(folder: Path):
    path = write_json(
        folder / "set.json",
        content(
            {"segmentation": POLYGONS}, {"image_id": 2, "segmentation": POLYGONS}, images=("a.png", "b.png")
        ),
    )
    with pytest.raises(ImageError, match=r"no such picture: .*b\.png"):
        open_dataset(path).read(1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"images": [', "no valid JSON"),
        ('{"images": []}', "neither COCO"),
        ("[1, 2]", "neither COCO"),
        ('{"images": [], "annotations": []}', "has no masks"),
        ('{"images": [{"id": 1}], "annotations": []}', "lacks id or file_name"),
        ('{"images": [], "annotations": [{"segmentation": [[1]]}]}', "lacks image_id"),
        (
            '{"images": [{"id": 1, "file_name": "a.png"}], '
            '"annotations": [{"id": 5, "image_id": 9, "segmentation": [[1]]}]}',
            "annotation 5 belongs to picture 9",
        ),
        (
            '{"images": [{"id": 1, "file_name": "a.png", "width": "wide", "height": 3}], '
            '"annotations": [{"id": 5, "image_id": 1, "segmentation": [[1]]}]}',
            "no numbers",
        ),
    ],
)
def test_a_broken_file_is_refused_when_it_is_opened(folder: Path, text: str, message: str):
    path = folder / "set.json"
    path.write_text(text)
    with pytest.raises(InputError, match=message) as raised:
        open_dataset(path)
    assert "set.json" in str(raised.value)


def test_one_picture_is_in_one_split_only(folder: Path):
    path = write_json(folder / "set.json", content({"segmentation": POLYGONS}))
    here = split_of("a.png")
    assert len(CocoPictures(path, here)) == 1
    with pytest.raises(InputError, match="no picture in split"):
        CocoPictures(path, "train" if here == "val" else "val")
