"""Folders of label maps, and what is no data set at all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dataset_files import label_map, photo, rectangle
from maskwright.errors import ImageError, InputError
from maskwright.io.datasets.choosing import spread
from maskwright.io.datasets.labelled import read_index, read_labels, resize_labels
from maskwright.io.datasets.opening import open_dataset
from maskwright.io.datasets.protocol import Pictures


def test_a_davis_folder_gives_first_frames_even_beside_a_table(tmp_path: Path):
    folder = tmp_path / "Annotations" / "boat"
    folder.mkdir(parents=True)
    for name in ("00001", "00000"):
        Image.new("L", (4, 4)).save(folder / f"{name}.png")
    (tmp_path / "sources.tsv").write_text("sequence\tlicence\n")
    (sample,) = read_index(tmp_path, "val")
    assert sample.name == "boat"
    assert sample.labels.name == "00000.png"
    assert sample.image == tmp_path / "JPEGImages" / "boat" / "00000.jpg"


def test_splits_and_sources_come_from_the_table(tmp_path: Path):
    heading = "name\tsource\tlicence\ttier\tkind\tnum_masks\tsplit"
    rows = [
        "coco_2\ts\tl\tA\tinstance\t1\tval",
        "coco_1\ts\tl\tA\tinstance\t1\ttrain",
        "cat_a\ts\tl\tB\tx\t1\ttrain",
    ]
    (tmp_path / "sources.tsv").write_text("\n".join((heading, *rows)) + "\n")
    found = read_index(tmp_path, "train")
    assert [(one.name, one.source, one.tier) for one in found] == [
        ("cat_a", "cat", "B"),
        ("coco_1", "coco", "A"),
    ]
    with pytest.raises(InputError, match="no picture in split 'test'"):
        read_index(tmp_path, "test")


def test_another_folder_is_refused(tmp_path: Path):
    with pytest.raises(InputError, match="no data set"):
        read_index(tmp_path, "val")


def test_label_numbers_survive_the_palette(tmp_path: Path):
    labels = np.arange(12, dtype=np.uint8).reshape(3, 4)
    picture = Image.fromarray(labels, mode=None)
    picture.putpalette([value for number in range(256) for value in (255 - number, 0, number)])
    picture.save(tmp_path / "labels.png")
    np.testing.assert_array_equal(read_labels(tmp_path / "labels.png"), labels)


def test_a_photograph_is_no_label_map(tmp_path: Path):
    Image.new("RGB", (4, 4)).save(tmp_path / "photo.png")
    with pytest.raises(ImageError, match="one channel"):
        read_labels(tmp_path / "photo.png")
    (tmp_path / "broken.png").write_bytes(b"no picture")
    with pytest.raises(ImageError, match="cannot read the label map"):
        read_labels(tmp_path / "broken.png")


def test_resizing_keeps_centres_aligned():
    labels = np.zeros((2, 4), np.uint16)
    labels[:, 2:] = 300
    resized = resize_labels(labels, 8)
    assert resized.shape == (8, 8)
    assert (resized[:, :4] == 0).all()
    assert (resized[:, 4:] == 300).all()


def test_spread_reaches_both_ends():
    assert spread(3, 8) == [0, 1, 2]
    assert spread(100, 5)[0] == 0
    assert spread(100, 5)[-1] == 99
    assert len(set(spread(9, 8))) == 8
    assert spread(0, 8) == []


def test_pictures_and_label_maps_are_paired_up_without_a_table(tmp_path: Path):
    labels = rectangle(2, 2, 20, 30, value=7) + rectangle(25, 5, 30, 9, value=2)
    for number in range(30):
        photo(tmp_path / f"images/{number}.jpeg", seed=number)
        label_map(tmp_path / f"labels/{number}.png", labels)
    photo(tmp_path / "images/unlabelled.jpg")
    data = open_dataset(tmp_path)
    assert isinstance(data, Pictures)
    assert len(data) == 30
    scene = data.read(data.names.index("3"))
    assert scene.ids == (2, 7)
    np.testing.assert_array_equal(scene.masks, [labels == 2, labels == 7])
    np.testing.assert_array_equal(scene.picture, photo(tmp_path / "x.png", seed=3))
    parts = [open_dataset(tmp_path, split=split).names for split in ("train", "val")]
    assert sorted(parts[0] + parts[1]) == sorted(data.names)
    assert len(parts[1]) < len(parts[0])


def test_a_label_map_of_another_size_is_named(tmp_path: Path):
    photo(tmp_path / "images/a.jpg", size=(20, 20))
    label_map(tmp_path / "labels/a.png", rectangle(2, 2, 20, 30))
    with pytest.raises(ImageError, match=r"a\.jpg is 20 x 20, but its label map .*a\.png is for 60 x 40"):
        open_dataset(tmp_path).read(0)


def test_a_table_without_its_columns_is_refused(tmp_path: Path):
    (tmp_path / "labels").mkdir()
    (tmp_path / "sources.tsv").write_text("name,split\n")
    with pytest.raises(InputError, match="lacks the columns name, split, tier"):
        open_dataset(tmp_path)


def test_what_is_no_data_set_is_told_which_there_are(tmp_path: Path):
    with pytest.raises(InputError, match="no such data set"):
        open_dataset(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"no data set; known are a COCO JSON file; .*DAVIS.*SA-V"):
        open_dataset(tmp_path)
    (tmp_path / "notes.txt").write_text("nothing")
    with pytest.raises(InputError, match=r"notes\.txt is no data set"):
        open_dataset(tmp_path / "notes.txt")


def test_the_real_pictures_are_read(shared: Path):
    folder = shared / "data/train"
    if not folder.is_dir():
        pytest.skip("needs the pictures in ../shared/data/train")
    train, val, everything = (open_dataset(folder, split=split) for split in ("train", "val", ""))
    assert len(train) + len(val) == len(everything) == 2577
    assert not set(train.names) & set(val.names)
    assert {"coco", "facade", "mushroom"} <= set(train.sources)
    for index in spread(len(train), 8):
        scene = train.read(index)
        assert scene.layers.shape == (1, *scene.size)
        assert len(scene) == len(scene.masks) > 0
        assert (scene.masks.sum(axis=0) <= 1).all()
        assert (scene.areas > 0).all()
