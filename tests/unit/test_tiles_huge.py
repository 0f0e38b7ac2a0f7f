"""20,000 x 20,000 pixels within the memory that the documentation states."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

import huge
from maskwright.pixels import rle

TILE = 3000
BOUND_MIB = 64 + 24 * TILE**2 / 2**20 + 32
"""As stated in docs/huge-images.md: GDAL's cache, 24 bytes per pixel of a tile, and what is found."""


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a process of its own found in the picture."""
    pytest.importorskip("rasterio")
    path = tmp_path_factory.mktemp("huge") / "huge.tif"
    one_thread = os.environ | {"OMP_NUM_THREADS": "1"}  # threads would have memory of their own
    for what in ("draw", str(TILE)):
        done = subprocess.run(
            [sys.executable, huge.__file__, str(path), what],
            capture_output=True,
            text=True,
            check=False,
            env=one_thread,
        )
        assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_memory_stays_within_the_bound(searched: dict[str, Any]) -> None:
    assert searched["tiles"] == 64
    assert BOUND_MIB < huge.SIDE**2 / 2**20  # one byte per pixel of the picture
    assert searched["searched"] < BOUND_MIB
    assert searched["written"] < BOUND_MIB


def test_shapes_across_many_tiles_come_back_whole(searched: dict[str, Any]) -> None:
    x, y = np.arange(5, huge.SIDE, 10)[None], np.arange(5, huge.SIDE, 10)[:, None]
    masks = rle.decode(searched["small"])
    assert len(masks) == len(huge.LEVELS)
    for name in huge.LEVELS:
        truth = huge.shape(name, x, y)
        index = int((masks & truth).sum((1, 2)).argmax())
        assert (masks[index] & truth).sum() / (masks[index] | truth).sum() > 0.93
        assert searched["areas"][index] == pytest.approx(truth.sum() * 100, rel=0.05)
