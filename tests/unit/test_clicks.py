"""Where a person would click."""

from __future__ import annotations

import numpy as np

from maskwright.pixels.clicks import centre, correction


def disc(size: int, x: int, y: int, radius: int) -> np.ndarray:
    rows, columns = np.mgrid[:size, :size]
    return (columns - x) ** 2 + (rows - y) ** 2 <= radius**2


def test_centre_of_a_disc_is_its_middle():
    assert centre(disc(64, 40, 20, 9)) == (40, 20)


def test_centre_of_a_ring_is_on_the_ring():
    ring = disc(64, 32, 32, 20) & ~disc(64, 32, 32, 12)
    x, y = centre(ring)
    assert ring[y, x]


def test_the_border_counts_as_outside():
    half = np.zeros((20, 20), bool)
    half[:, :9] = True
    assert centre(half)[0] == 4


def test_the_larger_error_is_clicked_first():
    wanted = disc(64, 20, 20, 10)
    spilled = disc(64, 50, 50, 5)
    missing = correction(wanted, spilled)
    assert missing is not None
    assert missing == (20, 20, 1)
    surplus = correction(wanted, wanted | spilled)
    assert surplus == (50, 50, 0)


def test_nothing_to_correct():
    wanted = disc(64, 20, 20, 10)
    assert correction(wanted, wanted) is None
