"""Agreement of masks."""

from __future__ import annotations

import numpy as np
import pytest

from maskwright.errors import InputError
from maskwright.pixels.metrics import iou


def test_known_overlap():
    a, b = np.zeros((4, 4), bool), np.zeros((4, 4), bool)
    a[:2], b[1:3] = True, True
    assert iou(a, b) == pytest.approx(4 / 12)
    assert iou(a, a) == 1
    assert iou(a, ~a) == 0


def test_two_empty_masks_agree():
    empty = np.zeros((3, 3), bool)
    assert iou(empty, empty) == 1
    assert iou(empty, ~empty) == 0


def test_pairs_and_broadcasting():
    rng = np.random.default_rng(0)
    a, b = rng.random((5, 6, 7)) < 0.5, rng.random((5, 6, 7)) < 0.5
    pairs = iou(a, b)
    assert pairs.shape == (5,)
    assert np.array_equal(pairs, iou(b, a))
    table = iou(a[:, None], b[None])
    assert table.shape == (5, 5)
    assert np.array_equal(np.diag(table), pairs)
    assert pairs[2] == (a[2] & b[2]).sum() / (a[2] | b[2]).sum()


def test_refused():
    with pytest.raises(InputError, match="bool"):
        iou(np.zeros((3, 3)), np.zeros((3, 3), bool))
    with pytest.raises(InputError, match="one size"):
        iou(np.zeros((3, 3), bool), np.zeros((3, 4), bool))
