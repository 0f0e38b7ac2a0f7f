"""20,000 x 20,000 pixels: drawn into a file, and searched by a process that watches its memory."""

from __future__ import annotations

import json
import resource
import sys
import warnings
from pathlib import Path

import numpy as np

SIDE, STRIPE = 20_000, 500
LEVELS = {"disc": 120, "bar": 160, "hook": 200, "dot": 240}
"""The grey of each shape; the ground is striped, so that no tile is of one grey."""


def shape(name: str, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Which pixels belong to a shape: bool, of columns x and rows y, broadcast."""
    if name == "disc":  # lies over nine tiles
        return (x - 6000) ** 2 + (y - 4500) ** 2 < 2300**2
    if name == "bar":  # over all tiles from left to right
        return (y >= 9700) & (y < 10500) & (x >= 300) & (x < 19_600)
    if name == "hook":  # down, and then to the right
        return (x >= 12_000) & (x < 18_000) & (y >= 12_000) & (y < 18_500) & ((x < 13_000) | (y >= 17_500))
    return (x - 4000) ** 2 + (y - 15_000) ** 2 < 450**2


def draw(path: Path) -> None:
    """Write it as a BigTIFF, tiled and compressed, a stripe at a time."""
    import rasterio
    from rasterio.windows import Window

    layout = {"tiled": True, "blockxsize": 512, "blockysize": 512, "compress": "lzw", "BIGTIFF": "YES"}
    size = {"width": SIDE, "height": SIDE, "count": 1, "dtype": "uint8"}
    x = np.arange(SIDE)[None]
    with rasterio.open(path, "w", driver="GTiff", **size, **layout) as file:
        for top in range(0, SIDE, 512):
            y = np.arange(top, min(top + 512, SIDE))[:, None]
            stripe = np.where(x // STRIPE % 2, 62, 66).astype(np.uint8).repeat(len(y), axis=0)
            for name, level in LEVELS.items():
                stripe[shape(name, x, y)] = level
            file.write(stripe, 1, window=Window(0, top, SIDE, len(y)))


def search(path: Path, tile: int) -> dict[str, object]:
    """Search it; what was found, and by how many MiB the memory grew over that of a loaded model."""
    import maskwright as mw
    from maskwright.mask_model import MaskModel
    from painted import Painted

    model = MaskModel(Painted())
    model.tiled(np.eye(300, dtype=bool)).automask(points_per_side=4)
    before = peak()
    with model.tiled(path, mw.TileOptions(size=tile)) as picture:
        search = picture.search(points_per_side=4)
        for _ in search:
            pass
        found = search.result()
        searched = peak() - before
        picture.save_overlay(path.with_suffix(".jpg"), found)
        picture.save_numbers(path.with_name("numbers.tif"), found)
    small = found.reduced(SIDE // 10)
    return {
        "tiles": len(search.tiles),
        "searched": searched,
        "written": peak() - before,
        "areas": found.areas.tolist(),
        "boxes": found.boxes.tolist(),
        "small": small.rle(),
    }


def peak() -> float:
    """Most memory that this process has held so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    draw(Path(sys.argv[1])) if sys.argv[2] == "draw" else print(
        json.dumps(search(Path(sys.argv[1]), int(sys.argv[2])))
    )
