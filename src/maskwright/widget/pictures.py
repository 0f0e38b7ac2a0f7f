"""Pictures and masks as the page gets them: JPEG of limited size, and PNG of one bit around each object."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image

from maskwright.pixels.boxes import boxes_of
from maskwright.types import BoolArray, ByteArray, Size

SHOWN_SIDE = 1600
"""Longest side in pixels of a picture as it is sent; the page asks for the part that is zoomed into."""
PREVIEW_SIDE = 800
"""Longest side in pixels of a mask that is shown while the pointer moves."""
FALLBACK_SIDE = 480
"""Longest side of the picture that stands in the notebook for who cannot show the widget."""


@dataclass(frozen=True)
class Stencil:
    """A mask cut out around its object."""

    png: bytes
    """One bit per pixel: white on the object, transparent beside it. Empty bytes for an empty mask."""
    box: tuple[float, float, float, float]
    """Where it belongs, xyxy in pixels of the picture; the PNG may be coarser than these."""


def smaller(size: Size, side: int) -> Size:
    """``size`` (h, w) shrunk so that no side is longer than ``side``; at least one pixel."""
    share = min(1.0, side / max(size))
    return max(1, round(size[0] * share)), max(1, round(size[1] * share))


def shrunk(image: ByteArray, side: int) -> ByteArray:
    """The picture (h, w, 3) with no side longer than ``side``."""
    h, w = smaller((image.shape[0], image.shape[1]), side)
    if (h, w) == image.shape[:2]:
        return image
    return np.asarray(Image.fromarray(image).resize((w, h), Image.Resampling.BOX, reducing_gap=2.0))


def jpeg(image: ByteArray, side: int = SHOWN_SIDE) -> bytes:
    """The picture (h, w, 3) as a JPEG file with no side longer than ``side``."""
    encoded = io.BytesIO()
    Image.fromarray(shrunk(image, side)).save(encoded, format="JPEG", quality=88)
    return encoded.getvalue()


def png(image: ByteArray) -> bytes:
    """The picture (h, w, 3) as a PNG file."""
    encoded = io.BytesIO()
    Image.fromarray(image).save(encoded, format="PNG", optimize=True)
    return encoded.getvalue()


def stencil(bitmap: BoolArray, size: Size | None = None) -> Stencil:
    """The mask, cut out.

    Args:
        bitmap: (h, w) bool.
        size: Height and width of the picture, where the bitmap is coarser.
    """
    h, w = size or (bitmap.shape[0], bitmap.shape[1])
    x0, y0, x1, y1 = boxes_of(bitmap).astype(int).tolist()
    if x0 == x1:
        return Stencil(b"", (0.0, 0.0, 0.0, 0.0))
    encoded = io.BytesIO()
    part = np.ascontiguousarray(bitmap[y0:y1, x0:x1])
    Image.fromarray(part).save(encoded, format="PNG", transparency=0, compress_level=6)
    across, down = w / bitmap.shape[1], h / bitmap.shape[0]
    return Stencil(encoded.getvalue(), (x0 * across, y0 * down, x1 * across, y1 * down))


def window(image: ByteArray, box: tuple[float, float, float, float], side: int) -> tuple[bytes, list[int]]:
    """A part of the picture (h, w, 3) as JPEG, with no side longer than ``side``, and where it lies, xyxy."""
    h, w = image.shape[:2]
    x0, y0 = min(max(int(box[0]), 0), w - 1), min(max(int(box[1]), 0), h - 1)
    x1, y1 = min(max(int(np.ceil(box[2])), x0 + 1), w), min(max(int(np.ceil(box[3])), y0 + 1), h)
    return jpeg(np.ascontiguousarray(image[y0:y1, x0:x1]), side), [x0, y0, x1, y1]
