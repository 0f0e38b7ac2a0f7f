"""What the tests of exports from the command line share."""

from __future__ import annotations

import contextlib
import io
import warnings
from pathlib import Path
from typing import Any

import pytest

from maskwright.cli.export.options import OFFERED


def everything(folder: str, *, pixels: bool = True) -> list[str]:
    """Options for all formats, into a folder that is made.

    Args:
        folder: Its name.
        pixels: Also those that need the pictures themselves.
    """
    Path(folder).mkdir()
    options = []
    for one in OFFERED:
        if pixels or one.format not in ("cutout", "pictures"):
            ending = one.metavar.removeprefix("FILE").partition("|")[0] if one.metavar[0] == "F" else ""
            options += [one.flag, str(Path(folder) / f"{one.format}{ending}")]
    return options


def content(folder: Path) -> dict[str, bytes]:
    """Every file below a folder; of archives, which hold the time, what is in them."""
    return {
        path.relative_to(folder).as_posix(): _content(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def of_coco(path: Path) -> Any:
    """A COCO file as pycocotools reads it."""
    from pycocotools.coco import COCO

    with contextlib.redirect_stdout(io.StringIO()):
        return COCO(str(path))


def supervision() -> Any:
    """The package; it warns where OpenCV is missing, which it can do without."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("supervision")


def _content(path: Path) -> bytes:
    if path.suffix != ".npz":
        return path.read_bytes()
    import numpy as np

    with np.load(path) as arrays:
        return b"".join(name.encode() + arrays[name].tobytes() for name in sorted(arrays))
