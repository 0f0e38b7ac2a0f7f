"""Folders with a picture for each frame."""

from __future__ import annotations

from pathlib import Path

from maskwright.errors import OutputError


def frame_name(index: int) -> str:
    """The file of a frame, as DAVIS names it: ``00042.png``."""
    return f"{index:05}.png"


def check_no_frames(folder: Path) -> None:
    """An OutputError if frames of an earlier run lie in the folder."""
    found = next((path for path in folder.glob("*.png") if path.stem.isdecimal()), None)
    if found is not None:
        raise OutputError(f"{found} exists already; allow overwriting or choose another folder")
