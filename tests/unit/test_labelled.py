"""Labelled pictures on disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from maskwright.errors import ImageError, InputError
from maskwright.io.labelled import read_index, read_labels, resize_labels, spread


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
