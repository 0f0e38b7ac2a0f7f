"""Coordinate frames."""

from __future__ import annotations

import numpy as np
import pytest

from maskwright import coords
from maskwright.errors import InputError

SIZE = (1200, 1800)


def test_picture_corners_are_model_corners():
    corners = [(0, 0), (1800, 0), (0, 1200), (1800, 1200)]
    expected = [[0, 0], [1024, 0], [0, 1024], [1024, 1024]]
    assert coords.picture_to_model(corners, SIZE, 1024).tolist() == expected


def test_x_and_y_scale_by_their_own_side():
    assert coords.picture_to_model((900, 300), SIZE, 512).tolist() == [256, 128]
    assert coords.picture_to_cells((900, 300), SIZE, 128).tolist() == [64, 32]
    assert coords.cells_to_picture((0.5, 0.5), (100, 400), 100).tolist() == [2, 0.5]


def test_the_official_order_of_operations_in_float32():
    rng = np.random.default_rng(0)
    xy = (rng.random((500, 2)) * (1801, 1201)).astype(np.float32)
    expected = np.stack(
        [xy[:, 0] / np.float32(1801) * np.float32(1024), xy[:, 1] / np.float32(1201) * np.float32(1024)],
        axis=1,
    )
    model = coords.picture_to_model(xy, (1201, 1801), 1024)
    assert model.dtype == np.float32
    assert np.array_equal(model, expected)


@pytest.mark.parametrize(
    ("there", "back", "side"),
    [
        (coords.picture_to_model, coords.model_to_picture, 1024),
        (coords.picture_to_cells, coords.cells_to_picture, 256),
    ],
)
def test_there_and_back(there, back, side):
    rng = np.random.default_rng(1)
    for _ in range(50):
        size = tuple(rng.integers(1, 5000, 2).tolist())
        xy = rng.random((3, 4, 2)) * size[::-1]
        assert np.allclose(back(there(xy, size, side), size, side), xy, rtol=1e-5, atol=1e-3)


def test_bad_shapes_and_sizes():
    with pytest.raises(InputError, match="axis of 2"):
        coords.picture_to_model([1, 2, 3], SIZE, 1024)
    with pytest.raises(InputError, match="empty"):
        coords.picture_to_model([1, 2], (0, 5), 1024)
