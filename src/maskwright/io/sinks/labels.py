"""Number tags on the objects of a frame."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from maskwright.frames import TrackedFrame
from maskwright.pixels.palette import Colour, colour
from maskwright.types import ByteArray


def draw_labels(canvas: ByteArray, frame: TrackedFrame, *, scores: bool) -> None:
    """Mark every object that is seen with its number, in its colour, at the top left of its box, in place.

    Args:
        canvas: (h, w, 3) RGB.
        frame: What is in it.
        scores: Add the predicted IoU, two digits.
    """
    h, w = canvas.shape[:2]
    height = round(min(max(0.02 * max(h, w), 10), 48))
    for item in frame:
        if item.area:
            text = f"{item.id} {item.score:.2f}" if scores else str(item.id)
            tag = _tag(text, colour(item.id), height)[:h, :w]
            left, top = (int(side) for side in item.box[:2])
            x = min(max(left, 0), w - tag.shape[1])
            y = min(max(top - tag.shape[0], 0), h - tag.shape[0])
            canvas[y : y + tag.shape[0], x : x + tag.shape[1]] = tag


@lru_cache(maxsize=4)
def _font(height: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(height)


# Not cached: scores change all the time, and small lasting pieces between pictures scatter the heap.
def _tag(text: str, shade: Colour, height: int) -> ByteArray:
    """Text (h, w, 3) on a plate of that colour, black or white, whichever reads better."""
    font = _font(height)
    left, top, right, bottom = font.getbbox(text)
    margin = max(2, height // 5)
    size = (int(right - left) + 2 * margin, int(bottom - top) + 2 * margin)
    plate = Image.new("RGB", size, shade)
    red, green, blue = shade
    ink = "black" if 0.299 * red + 0.587 * green + 0.114 * blue > 140 else "white"
    ImageDraw.Draw(plate).text((margin - left, margin - top), text, font=font, fill=ink)
    drawn: ByteArray = np.asarray(plate)
    return drawn
