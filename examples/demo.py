"""What `make demo` runs: objects cut out of three photographs by the bundled model, without the network.

The photographs come with scikit-image (pip install "maskwright[demo]").
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import maskwright as mw

OUTPUT = Path("demo-output")

SCENES = {
    "astronaut": {
        "astronaut, by click": mw.Points([(225, 100)]),
        "helmet, by box": mw.Box(275, 345, 512, 512),
    },
    "coffee": {
        "cup, by box": mw.Box(168, 10, 410, 310),
    },
    "chelsea": {
        "cat, by click": mw.Points([(190, 150)]),
    },
}
"""Photograph -> what to cut out -> how it is pointed at, in pixels."""

TIDY = 60
"""Holes and specks up to this many cells of the network's mask grid are mended."""


def photograph(name: str) -> Path:
    """The file of a photograph inside scikit-image."""
    try:
        import skimage
    except ImportError:
        sys.exit('the demo needs scikit-image for its photographs: pip install "maskwright[demo]"')
    folder = Path(skimage.__file__).parent / "data"
    return next(folder.glob(f"{name}.*"))


def main() -> None:
    started = time.perf_counter()
    model = mw.load()
    print(f"{model!r} loaded in {time.perf_counter() - started:.1f} s")
    OUTPUT.mkdir(exist_ok=True)
    for name, wanted in SCENES.items():
        started = time.perf_counter()
        image = model.embed(photograph(name))
        masks = image.segment(*wanted.values(), max_hole_area=TIDY, max_speck_area=TIDY)
        seconds = time.perf_counter() - started
        masks.save(OUTPUT / name)
        masks.save_overlay(OUTPUT / f"{name}.png", prompts=list(wanted.values()))
        print(
            f"\n{name}: {image.size[1]} x {image.size[0]} pixels, embedded and segmented in {seconds:.1f} s"
        )
        for label, score, area in zip(wanted, masks.scores, masks.areas, strict=True):
            print(f"  {label:26} predicted IoU {score:.2f}, {area:6d} pixels")
    print(f"\nNow look at the pictures in {OUTPUT.resolve()}:")
    for name in SCENES:
        print(f"  {OUTPUT / name}.png   and one mask per object in {OUTPUT / name}/")


if __name__ == "__main__":
    main()
