"""What the tests of ``maskwright track`` share: a clip, the command, and what it left behind."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from clips import make_clip
from tracked import decoded

OBJECTS = ("--object", "1:point=20,20", "--object", "2:box=30,10,50,40@5")
"""Two objects, the second of which comes later."""
ALL = ("-o", "out.mp4", "--masks", "masks", "--log", "out.jsonl")
"""Every result whose content is compared."""
NUM_FRAMES = 16

RUNNER = """
import os, signal, sys
from maskwright import facade
from maskwright.cli import main
from maskwright.cli.track import snapshots
from maskwright.runtime.fake import Fake

class Dying(Fake):
    def encode_image(self, pixels):
        if self.encoded == {frames}:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().encode_image(pixels)

snapshots.SECONDS, snapshots.SHARE = {seconds}, 1e9
facade.load = lambda name, **options: facade.MaskModel(Dying())
sys.exit(main(sys.argv[1:]))
"""
"""A program that is killed while it tracks its frame number ``frames``, or never."""


def runner(*, frames: int = -1, seconds: float = 1e9) -> list[str]:
    """The command line as a program of its own; a snapshot every so many ``seconds``."""
    return [sys.executable, "-c", RUNNER.format(frames=frames, seconds=seconds)]


def clip(folder: Path, name: str = "clip.mp4", **how: Any) -> Path:
    """A video of 64 x 48 pixels at 25 frames per second."""
    return make_clip(folder / name, how.pop("num_frames", NUM_FRAMES), **how)


def pictures(folder: Path, shades: list[int], size: tuple[int, int] = (64, 48)) -> Path:
    """A folder of grey pictures, one of each shade; the fake model sees no object in black ones."""
    folder.mkdir()
    for number, shade in enumerate(shades):
        Image.new("RGB", size, (shade,) * 3).save(folder / f"{number}.png")
    return folder


def lines(log: Path) -> list[dict[str, Any]]:
    """The frames of a log as they are written."""
    return [json.loads(line) for line in log.read_text().splitlines()[1:]]


def visited(log: Path) -> list[int]:
    """Numbers of the frames of a log, in its order."""
    return [line["frame"] for line in lines(log)]


def content(folder: Path) -> dict[str, Any]:
    """The results of :data:`ALL`: bytes of log and PNGs, decoded frames and their times of the video."""
    frames, times = decoded(folder / "out.mp4")
    masks = {path.name: path.read_bytes() for path in sorted((folder / "masks").iterdir())}
    return {
        "log": (folder / "out.jsonl").read_bytes(),
        "masks": masks,
        "video": np.array(frames).tobytes(),
        "times": times,
    }


def files(folder: Path) -> list[str]:
    """Names of everything in a folder but videos that tests made to be read, and their caches."""
    return sorted(path.name for path in folder.iterdir() if path.name not in ("clip.mp4", "cache"))
