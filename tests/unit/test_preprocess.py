"""The network's input against numbers of the official image path, and against the definition."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from maskwright.pixels.preprocess import preprocess

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
NEUTRAL = ((0, 0, 0), (1, 1, 1))

# SAM2Transforms(size, 0.0)(PICTURE) of sam2 1.1.0 on torch 2.13.0 CPU: samples, sum, sum of squares
OFFICIAL = {
    32: (
        [-1.966301, 0.3114762, -0.5313228, -0.0925591, 0.0081927, 0.6409016],
        361.24770753764733,
        2784.8761582669804,
    ),
    96: (
        [-2.1179039, -1.7844157, -0.4101088, -1.4343405, 0.0577403, -1.089601],
        3115.244068099135,
        34394.287800885984,
    ),
}


def busy_picture() -> np.ndarray:
    """(41, 67, 3) uint8 with every frequency in it."""
    y, x = np.mgrid[:41, :67]
    return np.stack([(x * 7 + y * 13) % 256, (x * x + 3 * y) % 256, (x * y) % 256], axis=-1).astype(np.uint8)


@pytest.mark.parametrize("size", OFFICIAL)
def test_official_numbers(size):
    samples, total, squares = OFFICIAL[size]
    pixels = preprocess(busy_picture(), size, MEAN, STD)
    assert pixels.shape == (3, size, size)
    assert pixels.dtype == torch.float32
    at = [(0, 0, 0), (1, 3, 5), (2, -1, -1), (0, size // 2, 7), (1, size - 2, 0), (2, 5, size // 3)]
    assert [pixels[index].item() for index in at] == pytest.approx(samples, abs=1e-5)
    assert pixels.double().sum().item() == pytest.approx(total, abs=1e-2)
    assert pixels.double().square().sum().item() == pytest.approx(squares, abs=1e-1)


def triangle_filter(source: int, target: int) -> np.ndarray:
    """(target, source) weights of the antialiased bilinear filter, from its definition, in float64."""
    scale = source / target
    reach = max(scale, 1.0)
    centres = (np.arange(target) + 0.5) * scale
    distance = np.abs(np.arange(source) + 0.5 - centres[:, None]) / reach
    weights = np.clip(1 - distance, 0, None)
    return weights / weights.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("size", [32, 64, 96])
def test_against_the_definition_of_the_filter(size):
    picture = busy_picture()
    down, across = triangle_filter(41, size), triangle_filter(67, size)
    expected = np.einsum("ih,hwc,jw->cij", down, picture / 255, across)
    assert np.abs(preprocess(picture, size, *NEUTRAL).numpy() - expected).max() < 1e-5


def test_a_picture_of_the_right_size_is_only_scaled():
    picture = busy_picture()[:41, :41]
    pixels = preprocess(picture, 41, *NEUTRAL).numpy()
    assert np.array_equal(pixels, (picture.astype(np.float32) / np.float32(255)).transpose(2, 0, 1))


def test_the_same_picture_in_every_format_gives_the_same_numbers():
    picture = busy_picture()
    expected = preprocess(picture, 64, MEAN, STD)
    as_float = picture.astype(np.float32) / np.float32(255)
    as_wide = picture.astype(np.uint16) * 257
    flipped_twice = picture[:, ::-1].copy()[:, ::-1]
    for same in (as_float, as_wide, np.asfortranarray(picture), flipped_twice):
        assert torch.allclose(preprocess(same, 64, MEAN, STD), expected, atol=1e-6)


def test_the_caller_keeps_the_picture():
    picture = (busy_picture() / 255).astype(np.float32)
    picture.setflags(write=False)
    before = picture.copy()
    preprocess(picture, 41, MEAN, STD)
    assert np.array_equal(picture, before)


def test_one_pixel_fills_the_input():
    pixels = preprocess(np.full((1, 1, 3), 255, np.uint8), 32, *NEUTRAL)
    assert torch.equal(pixels, torch.ones(3, 32, 32))


def test_bands_of_rows_give_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = [preprocess(busy_picture(), size, *NEUTRAL) for size in (32, 41, 67, 96)]
    for most in (1, 300, 67 * 40):
        monkeypatch.setattr("maskwright.pixels.preprocess.BAND_PIXELS", most)
        for wanted in whole:
            assert torch.equal(preprocess(busy_picture(), wanted.shape[-1], *NEUTRAL), wanted)
