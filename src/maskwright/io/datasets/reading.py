"""Reading the files that data sets are made of, with errors that name the file and say what to do."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from maskwright.errors import ImageError, InputError
from maskwright.io.images import read_image
from maskwright.io.sources.stills import natural_order
from maskwright.pixels.rgb import to_uint8
from maskwright.types import ByteArray, Size

PICTURES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"})
"""Endings of picture files, in lower case."""


def read_picture(path: Path) -> ByteArray:
    """A picture (h, w, 3) uint8, upright; ImageError when it is missing or damaged."""
    return to_uint8(read_image(path))


def check_size(picture: Path, size: Size, annotated: Size, annotation: str) -> None:
    """ImageError unless a picture has the size that its annotation is for."""
    if size == annotated:
        return
    (h, w), (wanted_h, wanted_w) = size, annotated
    turned = (h, w) == (wanted_w, wanted_h)
    advice = (
        "the picture may be turned by its EXIF orientation, which the annotation ignores; save it upright"
        if turned
        else "annotate it anew, or put the picture in place that was annotated"
    )
    raise ImageError(f"{picture} is {w} x {h}, but {annotation} is for {wanted_w} x {wanted_h}; {advice}")


def read_json(path: Path) -> Any:
    """What a JSON file holds; InputError when it is missing or broken."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise InputError(f"no such file: {path}; check the path") from error
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read {path}: {error}") from error
    try:
        return json.loads(text)
    except ValueError as error:
        raise InputError(f"{path} is no valid JSON ({error}); it may be cut short, copy it again") from error


def folders_in(folder: Path) -> list[Path]:
    """The folders in a folder, by name, without hidden ones; none if it does not exist."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def pictures_in(folder: Path) -> dict[str, Path]:
    """Picture files of a folder by name without ending, in natural order; empty if it does not exist."""
    found = (path for path in _files(folder) if path.suffix.lower() in PICTURES)
    return {path.stem: path for path in sorted(found, key=natural_order)}


def _files(folder: Path) -> Iterator[Path]:
    if folder.is_dir():
        yield from (path for path in folder.iterdir() if not path.name.startswith("."))
