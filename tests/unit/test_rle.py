"""COCO run-length encoding."""

from __future__ import annotations

import json

import numpy as np
import pytest
from pycocotools import mask as coco

from maskwright.errors import InputError
from maskwright.pixels import rle
from maskwright.pixels.boxes import boxes_of


def test_there_and_back():
    rng = np.random.default_rng(0)
    for density in (0, 0.02, 0.5, 1):
        bitmaps = rng.random((3, 31, 17)) < density
        codes = rle.encode(bitmaps)
        assert np.array_equal(rle.decode(codes), bitmaps)
        assert rle.decode(codes).dtype == np.bool_


def test_json_and_coco_tools_read_it():
    bitmap = np.zeros((4, 6), bool)
    bitmap[1:3, 2:5] = True
    (code,) = json.loads(json.dumps(rle.encode(bitmap)))
    assert code["size"] == [4, 6]
    assert isinstance(code["counts"], str)
    assert coco.area(code) == 6
    assert coco.toBbox(code).tolist() == [2, 1, 3, 2]


def test_leading_axes_are_flattened_in_order():
    bitmaps = np.random.default_rng(1).random((2, 3, 5, 4)) < 0.5
    assert np.array_equal(rle.decode(rle.encode(bitmaps)), bitmaps.reshape(6, 5, 4))
    assert rle.encode(np.zeros((0, 5, 4), bool)) == []


def test_long_runs_and_large_differences():
    bitmap = np.zeros((400, 300), bool)
    bitmap[:, 3:290] = True
    bitmap[7, 100] = False
    bitmap[::2, 200:203] = False
    (code,) = rle.encode(bitmap)
    assert np.array_equal(rle.decode([code])[0], bitmap)


def test_bytes_and_plain_run_lengths_are_read():
    expected = np.array([[[0, 1], [0, 1], [1, 1]]], bool)
    (code,) = rle.encode(expected)
    assert np.array_equal(rle.decode([{**code, "counts": code["counts"].encode()}]), expected)
    assert np.array_equal(rle.decode([{"size": [3, 2], "counts": [2, 4]}]), expected)


@pytest.mark.parametrize(
    ("codes", "words"),
    [
        ([], "no RLE"),
        ([{"size": [2, 2], "counts": [4]}, {"size": [2, 3], "counts": [6]}], "different sizes"),
        ([{"size": [2, 2]}], "counts"),
        ([{"counts": "04"}], "not a COCO RLE"),
        ([{"size": [2, 2], "counts": [5, 90]}], "not a COCO RLE"),
        ([{"size": [2], "counts": [4]}], "not a COCO RLE"),
        ([{"size": [-2, -2], "counts": [4]}], "not a COCO RLE"),
        ([{"size": [2, 2], "counts": "4~~"}], "does not belong"),
        ([{"size": [2, 2], "counts": "é4"}], "not a COCO RLE"),
        ([{"size": [2, 2], "counts": "4P"}], "middle of a number"),
        ([{"size": [2, 2], "counts": "5"}], "do not add up to 4 pixels"),
        ([{"size": [2, 2], "counts": [-1, 5]}], "do not add up"),
        ([{"size": [2, 2], "counts": "04" * 400000}], "do not add up"),
    ],
)
def test_refused(codes, words):
    with pytest.raises(InputError, match=words):
        rle.decode(codes)


def spans_of(bitmap):
    """Column, first row and the row after the last, of each span."""
    framed = np.pad(bitmap.T, ((0, 0), (1, 1)))
    column, row = np.nonzero(framed[:, 1:] != framed[:, :-1])
    return np.stack((column[::2], row[::2], row[1::2]))


@pytest.mark.parametrize("density", [0, 0.02, 0.5, 0.98, 1])
def test_runs_made_of_spans_are_those_of_coco(density):
    bitmaps = np.random.default_rng(2).random((4, 31, 17)) < density
    bitmaps[0, 0] = bitmaps[0, -1] = True  # so that spans go on in the next column
    for bitmap, code in zip(bitmaps, rle.encode(bitmaps), strict=True):
        runs = rle.run_lengths(spans_of(bitmap), (31, 17))
        assert rle.compress(runs, (31, 17)) == code
        assert np.array_equal(rle.bitmap(runs, (31, 17)), bitmap)
        assert (runs[1:] > 0).all()


@pytest.mark.parametrize("density", [0, 0.02, 0.5, 0.98, 1])
def test_spans_are_the_reverse_of_runs(density):
    bitmap = np.random.default_rng(3).random((31, 17)) < density
    bitmap[:, 4:7] = True  # one run over three columns
    assert np.array_equal(rle.spans(rle.run_lengths(spans_of(bitmap), (31, 17)), (31, 17)), spans_of(bitmap))


@pytest.mark.parametrize("density", [0, 0.4, 1])
def test_a_window(density):
    bitmap = np.random.default_rng(3).random((9, 20)) < density
    runs = rle.run_lengths(spans_of(bitmap), (9, 20))
    for x0, y0, x1, y1 in ((0, 0, 20, 9), (3, 2, 4, 9), (7, 1, 19, 6), (5, 5, 5, 5)):
        assert np.array_equal(rle.window(runs, (9, 20), x0, y0, x1, y1), bitmap[y0:y1, x0:x1])


def test_union_measures_and_reducing():
    bitmaps = np.random.default_rng(4).random((3, 40, 30)) < 0.1
    bitmaps[0, :, 11] = bitmaps[1, 5:20, 12] = True
    runs = [rle.run_lengths(spans_of(one), (40, 30)) for one in bitmaps]
    whole = rle.union(runs, (40, 30))
    assert np.array_equal(rle.bitmap(whole, (40, 30)), bitmaps.any(0))
    assert (whole[1:] > 0).all()
    boxes, areas = rle.measured([*runs, np.array([1200])], (40, 30))
    assert np.array_equal(areas, [*bitmaps.sum((1, 2)), 0])
    assert np.array_equal(boxes, [*boxes_of(bitmaps), np.zeros(4)])
    small = rle.reduced(whole, (40, 30), (2, 4, 26, 40), (9, 8))
    assert np.array_equal(rle.bitmap(small, (9, 8)), bitmaps.any(0)[6:40:4, 3:26:3])


def test_more_pixels_than_32_bits_count():
    size = (70_000, 70_000)
    runs = rle.run_lengths(np.array([[65_000], [10], [30]]), size)
    assert runs.dtype == np.int64
    assert runs.tolist() == [65_000 * 70_000 + 10, 20, 70_000**2 - 65_000 * 70_000 - 30]
    assert rle.window(runs, size, 64_999, 0, 65_001, 40).sum() == 20
    with pytest.raises(InputError, match="cut the picture into parts"):
        rle.compress(runs, size)
    assert rle.run_lengths(np.array([[3], [10], [30]]), (40_000, 40_000)).dtype == np.int32


def test_runs_of_a_bitmap():
    rng = np.random.default_rng(1)
    for density in (0, 0.1, 0.9, 1):
        bitmap = rng.random((13, 7)) < density
        runs = rle.placed(bitmap, (0, 0), (13, 7))
        assert runs.dtype == np.int32
        assert runs.sum() == bitmap.size
        np.testing.assert_array_equal(rle.bitmap(runs, (13, 7)), bitmap)
        assert rle.compress(runs, (13, 7)) == rle.encode(bitmap)[0]
