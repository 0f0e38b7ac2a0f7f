"""Bitmaps <-> COCO run-length encoding, through pycocotools, so that every COCO tool reads it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

import numpy as np

from maskwright.errors import InputError
from maskwright.types import BoolArray


class Rle(TypedDict):
    """One bitmap: what COCO calls a compressed RLE, with text that JSON can hold."""

    size: list[int]
    """Height and width."""
    counts: str
    """Run lengths down the columns, in COCO's text code."""


def encode(bitmaps: BoolArray) -> list[Rle]:
    """One RLE for each of the bitmaps (..., h, w), in C order of the leading axes."""
    from pycocotools import mask as coco

    stack = bitmaps.reshape(-1, *bitmaps.shape[-2:])
    codes = (coco.encode(np.asfortranarray(bitmap, dtype=np.uint8)) for bitmap in stack)
    return [Rle(size=[int(s) for s in code["size"]], counts=code["counts"].decode("ascii")) for code in codes]


def decode(codes: Sequence[Mapping[str, Any]]) -> BoolArray:
    """Bitmaps (N, h, w) of N RLEs of one size, compressed (text or bytes) or as a list of run lengths.

    Raises:
        InputError: none given, of different sizes, or not an RLE of the size it says.
    """
    if not codes:
        raise InputError("no RLE given; pass at least one")
    sizes = {tuple(code.get("size", ())) for code in codes}
    if len(sizes) != 1:
        raise InputError(f"the RLEs are of different sizes, {sorted(sizes)}; decode them one at a time")
    return np.stack([_decode(code) for code in codes])


def _decode(code: Mapping[str, Any]) -> BoolArray:
    from pycocotools import mask as coco

    try:
        h, w = (int(side) for side in code["size"])
        counts = code["counts"]
        if isinstance(counts, (str, bytes)):
            packed = {"size": [h, w], "counts": counts}
        else:
            packed = coco.frPyObjects({"size": [h, w], "counts": [int(run) for run in counts]}, h, w)
        bitmap: BoolArray = coco.decode(packed).astype(np.bool_)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"not a COCO RLE of size {code.get('size')}: {error}") from error
    return bitmap
