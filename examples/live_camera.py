"""Follow objects through a live camera: frames are pushed to a session, and objects may join at any time.

    python examples/live_camera.py                      # the first camera, and what is in the middle of it
    python examples/live_camera.py --camera rtsp://...  # or another one, or a video
    python examples/live_camera.py --pretend            # no camera: a view that wanders over a photograph

Ctrl-C stops it. It writes live.mp4 and, from its beginning, live.jpg. It needs
pip install "maskwright[demo]".
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Iterable, Iterator

import numpy as np
from PIL import Image

import maskwright as mw
from maskwright.io.sinks import OverlayVideo
from maskwright.io.sources import Latest, open_source
from maskwright.pixels.draw import overlay
from maskwright.pixels.palette import colour

MIDDLE = 6
"""Number of the object that is in the middle of the first frame; any whole number will do."""
SECOND = 2
"""Number of the one that joins later."""
JOINS = 12
"""Frame in which it does."""
SHOWN = range(0, 24, 4)
"""Frames in live.jpg."""


def camera(name: str) -> Iterator[mw.Frame]:
    """Always the newest frame of a camera: those that come while one is worked on are dropped."""
    where = int(name) if name.isdecimal() else name
    with open_source(where) as source, Latest(source.frames()) as newest:
        yield from newest


def pretended() -> Iterator[np.ndarray]:
    """A camera that nobody has to plug in."""
    from skimage import data

    photo = Image.fromarray(data.coffee())
    for number in itertools.count():
        left, top = 80 + 60 * np.cos(number / 9), 20 + 15 * np.sin(number / 5)
        yield np.asarray(photo.resize((400, 300), box=(left, top, left + 400, top + 300)))


def follow(frames: Iterable[mw.Frame | np.ndarray], model: mw.MaskModel) -> Iterator[mw.TrackedFrame]:
    """Follow what is in the middle, and from frame ``JOINS`` on a second object as well.

    In a program of yours the prompts would come from clicks on the live picture.
    """
    with model.session() as session:
        for number, picture in enumerate(frames):
            tracked = session.push(picture)
            h, w = tracked.size
            if number == 0:
                tracked = session.prompt(MIDDLE, mw.Box(w * 0.06, 0, w * 0.68, h * 0.98))
            elif number == JOINS:
                tracked = session.prompt(SECOND, mw.Points([(w * 0.69, h * 0.87)]))
            yield tracked


def drawn(tracked: mw.TrackedFrame) -> np.ndarray:
    """The frame with its objects, each in the colour of its number."""
    assert tracked.image is not None
    return overlay(tracked.image, tracked.bitmaps, colours=[colour(number) for number in tracked.ids])


def sheet(pictures: list[np.ndarray], across: int = 3) -> Image.Image:
    """Pictures of one size, side by side."""
    rows = [np.hstack(pictures[start : start + across]) for start in range(0, len(pictures), across)]
    return Image.fromarray(np.vstack([row for row in rows if row.shape == rows[0].shape]))


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Follow objects through a live camera.")
    parser.add_argument("--camera", default="0", help="number or address of the camera, default 0")
    parser.add_argument("--pretend", action="store_true", help="no camera: a view over a photograph")
    parser.add_argument("--frames", type=int, help="stop after so many frames; default: go on until Ctrl-C")
    asked = parser.parse_args(arguments)
    frames = pretended() if asked.pretend else camera(asked.camera)
    shown: list[np.ndarray] = []
    started, count = time.perf_counter(), 0
    with OverlayVideo("live.mp4", fps=10) as film:
        try:
            for tracked in itertools.islice(follow(frames, mw.load()), asked.frames):
                film.write(tracked)
                if count in SHOWN:
                    shown.append(drawn(tracked))
                count += 1
                if count % 10 == 0:
                    rate = count / (time.perf_counter() - started)
                    seen = [one.id for one in tracked if one.visible]
                    print(f"{count} frames, {rate:.1f} a second; objects in sight: {seen}")
        except KeyboardInterrupt:
            print("stopped")
    if shown:
        sheet(shown).save("live.jpg")


if __name__ == "__main__":
    main()
