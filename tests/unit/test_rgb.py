"""Arrays of every kind to one picture format."""

from __future__ import annotations

import numpy as np
import pytest

from maskwright.errors import ImageError
from maskwright.pixels.rgb import to_rgb, to_uint8

GREY = np.arange(12, dtype=np.uint8).reshape(3, 4)


@pytest.mark.parametrize("array", [GREY, GREY[..., None]])
def test_grey_becomes_three_equal_channels(array):
    rgb = to_rgb(array)
    assert rgb.shape == (3, 4, 3)
    assert rgb.dtype == np.uint8
    assert all(np.array_equal(rgb[..., channel], GREY) for channel in range(3))


def test_rgb_is_passed_through_and_alpha_is_dropped():
    rgba = np.arange(48, dtype=np.uint8).reshape(3, 4, 4)
    assert np.array_equal(to_rgb(rgba), rgba[..., :3])
    rgb = rgba[..., :3].copy()
    assert np.shares_memory(to_rgb(rgb), rgb)


@pytest.mark.parametrize("dtype", ["<u2", ">u2"])
def test_sixteen_bits_become_floats(dtype):
    rgb = to_rgb(np.array([[0, 32768, 65535]], dtype=dtype))
    assert rgb.dtype == np.float32
    assert rgb[0, :, 0].tolist() == pytest.approx([0, 32768 / 65535, 1], abs=1e-7)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floats_stay(dtype):
    rgb = to_rgb(np.array([[0, 0.25, 1]], dtype=dtype))
    assert rgb.dtype == np.float32
    assert rgb[0, :, 2].tolist() == [0, 0.25, 1]


def test_rounding_just_outside_the_range_is_clipped():
    assert to_rgb(np.array([[-1e-4, 1.0001]]))[0, :, 0].tolist() == [0, 1]


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((0, 4, 3), np.uint8), "empty"),
        (np.zeros((4, 0), np.uint8), "empty"),
        (np.zeros(4, np.uint8), r"shape \(4,\)"),
        (np.zeros((4, 4, 2), np.uint8), r"shape \(4, 4, 2\)"),
        (np.zeros((3, 40, 50), np.uint8), r"channels first; pass array.transpose\(1, 2, 0\)"),
        (np.zeros((1, 4, 4, 3), np.uint8), "a batch"),
        (np.zeros((4, 4), np.int64), r"int64; use .astype\(np.uint8\)"),
        (np.zeros((4, 4), bool), "bool; multiply it by 255"),
        (np.zeros((4, 4), np.uint32), "uint32"),
        (np.zeros((4, 4), complex), "complex128"),
        (np.array([["a"]]), "<U1"),
        (np.array([[0.5, np.nan]]), "NaN"),
        (np.array([[0.5, np.inf]]), "infinity"),
        (np.array([[-np.inf, 0.5]]), "infinity"),
        (np.array([[0.0, 255.0]]), r"spans 0..255; divide by 255"),
        (np.array([[-1.0, 1.0]]), "spans -1..1; rescale"),
        (np.array([[0.0, 4000.0]]), "rescale"),
    ],
)
def test_refused(array, words):
    with pytest.raises(ImageError, match=words):
        to_rgb(array)


def test_to_uint8_rounds():
    image = np.array([0, 0.5 / 255, 0.6 / 255, 254.6 / 255, 1], np.float32).reshape(1, 5, 1).repeat(3, 2)
    assert to_uint8(image)[0, :, 0].tolist() == [0, 0, 1, 255, 255]
    same = np.full((2, 2, 3), 7, np.uint8)
    assert to_uint8(same) is same
