"""The bundled model on tiles: objects across seams come back whole."""

from __future__ import annotations

import numpy as np
import pytest

import maskwright as mw


@pytest.mark.usefixtures("nano_file")
def test_the_bundled_model_finds_objects_across_seams(picture: np.ndarray) -> None:
    large = picture.repeat(8, axis=0).repeat(8, axis=1)  # (768, 1024): disc and rectangle over two tiles each
    model = mw.load(image_size=256)
    tiled = model.tiled(large, mw.TileOptions(size=640))
    found = tiled.automask("fast", points_per_side=5)
    red, blue = (np.all(large == shade, axis=-1) for shade in ((200, 30, 40), (30, 60, 190)))
    for part in (red, blue):
        assert max((mask & part).sum() / (mask | part).sum() for mask in found.bitmaps) > 0.9
    disc = tiled.segment(mw.Points((290, 350)))
    assert (disc.bitmaps[0] & red).sum() / (disc.bitmaps[0] | red).sum() > 0.9
