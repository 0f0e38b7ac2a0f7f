"""Formats that are pictures: palette PNGs, a PNG for each object, transparent cut-outs, and the frames."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from maskwright.errors import InputError
from maskwright.interop.annotations import AnnotatedPicture
from maskwright.interop.outputs import inner_path
from maskwright.io.sinks.cutout import cut_out
from maskwright.io.sinks.indexed import check_ids, palette_png
from maskwright.types import BoolArray, ByteArray, Size

PNG, _JPEG_QUALITY = ".png", 95


def indexed(picture: AnnotatedPicture) -> Iterator[tuple[str, bytes]]:
    """A palette PNG whose values are the objects' numbers, 1 to 255; 0 is the background.

    Where objects overlap, the smaller one is on top.
    """
    numbers = [item.id for item in picture.annotations]
    check_ids(numbers)
    yield PNG, palette_png(numbered(picture, numbers))


def masks(picture: AnnotatedPicture) -> Iterator[tuple[str, bytes]]:
    """A black-and-white PNG for each object."""
    for item in picture.annotations:
        yield f"-{item.id}{PNG}", png(item.bitmap().astype(np.uint8) * np.uint8(255))


def cut_outs(picture: AnnotatedPicture) -> Iterator[tuple[str, bytes]]:
    """A PNG for each object, alone on a transparent background, in the size of the picture."""
    pixels = picture.pixels() if picture.annotations else None
    for item in picture.annotations:
        assert pixels is not None
        yield f"-{item.id}{PNG}", png(cut_out(pixels, item.bitmap()))


def cut_out_together(picture: AnnotatedPicture) -> Iterator[tuple[str, bytes]]:
    """A PNG of all objects on a transparent background."""
    covered = np.zeros(picture.size, np.bool_)
    for item in picture.annotations:
        covered |= item.bitmap()
    yield PNG, png(cut_out(picture.pixels(), covered))


def itself(picture: AnnotatedPicture) -> Iterator[tuple[str, bytes]]:
    """The picture under its own name, JPEG or PNG: for frames of a video, which are no files yet."""
    ending = inner_path(picture.name).suffix
    if ending.lower() == PNG:
        yield ending, png(picture.pixels())
    elif ending.lower() in (".jpg", ".jpeg"):
        encoded = io.BytesIO()
        Image.fromarray(picture.pixels()).save(encoded, "JPEG", quality=_JPEG_QUALITY)
        yield ending, encoded.getvalue()
    else:
        raise InputError(f"{picture.name} is written as no other file than .jpg, .jpeg and .png; copy it")


def numbered(picture: AnnotatedPicture, values: list[int]) -> ByteArray:
    """(h, w) uint8: the value of the smallest object at each pixel, 0 where there is none.

    One mask at a time, so that many objects of a large picture fit into memory.
    """
    labels = np.zeros(picture.size, np.uint8)
    rows = sorted(zip(picture.annotations, values, strict=True), key=lambda row: -row[0].area)
    for item, value in rows:
        labels[item.bitmap()] = value
    return labels


def png(samples: ByteArray) -> bytes:
    """A PNG of grey, RGB or RGBA."""
    encoded = io.BytesIO()
    Image.fromarray(samples).save(encoded, "PNG", compress_level=4)
    return encoded.getvalue()


def bitmap_of_png(data: bytes) -> BoolArray:
    """The pixels of a picture file that are not black."""
    with Image.open(io.BytesIO(data)) as image:
        seen: BoolArray = np.asarray(image.convert("L")) > 0
    return seen


def size_of(path: Path) -> Size:
    """Height and width of a picture file, upright, from its head alone.

    Raises:
        InputError: it cannot be read.
    """
    from maskwright.io.images import orientation_of

    try:
        with Image.open(path) as image:
            w, h = image.size
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read the size of {path}: {error}") from error
    return (w, h) if orientation_of(path) > 4 else (h, w)
