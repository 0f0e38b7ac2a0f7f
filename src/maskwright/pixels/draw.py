"""Masks and prompts drawn on a picture, with smooth edges and in sizes that suit the picture."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from maskwright.errors import InputError
from maskwright.pixels.boxes import boxes_of
from maskwright.pixels.palette import Colour, colour, toned
from maskwright.pixels.rgb import to_uint8
from maskwright.types import BoolArray, Box, ByteArray, FloatArray, ImageArray, Points, Prompt, PromptLike

_ON: Colour = (24, 168, 70)
_OFF: Colour = (226, 43, 52)
_WHITE: Colour = (255, 255, 255)
_BLACK: Colour = (0, 0, 0)


def overlay(
    image: ImageArray,
    bitmaps: BoolArray,
    *,
    alpha: float = 0.5,
    colours: Sequence[Colour] | None = None,
    prompts: Sequence[PromptLike] = (),
) -> ByteArray:
    """A copy of the picture with every object tinted and outlined; smaller objects lie on top of larger ones.

    Args:
        image: (h, w, 3) RGB, uint8 or float32 in 0..1.
        bitmaps: (N, h, w) bool.
        alpha: Strength of the tint: 0 is none (outlines only), 1 hides the object.
        colours: One per object; by default :func:`maskwright.pixels.palette.colour` of its place.
        prompts: What the objects were asked for with, in the same order; their clicks and boxes are marked.

    Returns:
        (h, w, 3) uint8.

    Raises:
        InputError: sizes that do not match, or alpha outside 0..1.
    """
    if image.ndim != 3 or bitmaps.shape[1:] != image.shape[:2]:
        raise InputError(f"bitmaps {bitmaps.shape} do not fit a picture {image.shape}; expected (N, h, w)")
    if bitmaps.dtype != np.bool_:
        raise InputError(f"bitmaps are {bitmaps.dtype}; expected bool")
    if not 0 <= alpha <= 1:
        raise InputError(f"alpha is {alpha}; it must be in 0..1")
    count = max(len(bitmaps), len(prompts))
    shades = list(colours) if colours is not None else [colour(index) for index in range(count)]
    if len(shades) < count:
        raise InputError(f"{len(shades)} colours for {count} objects; give one for each")
    picture = to_uint8(image)
    canvas = picture.copy()
    width = line_width(image.shape[0], image.shape[1])
    areas = np.count_nonzero(bitmaps, axis=(1, 2))
    for index in np.argsort(-areas, kind="stable"):
        if areas[index]:
            paint(canvas, picture, bitmaps[index], shades[index], alpha, width)
    for prompt, shade in zip(prompts, shades, strict=False):
        _mark(canvas, Prompt.of(prompt), shade, width)
    return canvas


def line_width(h: int, w: int) -> float:
    """Width in pixels of an outline that looks alike when pictures of all sizes are shown equally large."""
    return min(max(0.0018 * max(h, w), 1.5), 16.0)


def margin_of(width: float) -> int:
    """Pixels around an object that an outline of this width may touch."""
    return math.ceil(4 * 0.75 * width + width) + 1


def paint(
    canvas: ByteArray, picture: ByteArray, bitmap: BoolArray, shade: Colour, alpha: float, width: float
) -> None:
    """Tint and outline one object in place; only the part of the canvas around it is touched.

    What was painted there before is taken back to the picture, so that the tints of overlapping objects do
    not mix. All three arrays are of one size: the picture's, or that of a window around the object with
    :func:`margin_of` the width to spare.
    """
    from scipy import ndimage

    canvas[bitmap] = picture[bitmap]
    sigma = 0.75 * width
    margin = margin_of(width)
    x0, y0, x1, y1 = boxes_of(bitmap).astype(int).tolist()
    part = np.s_[max(0, y0 - margin) : y1 + margin, max(0, x0 - margin) : x1 + margin]
    inside = bitmap[part].astype(np.float32)
    soft = ndimage.gaussian_filter(inside, sigma, mode="nearest", truncate=3.0)
    # Near a straight edge the blurred step is almost linear, which gives the distance to it in pixels;
    # it saturates at 1.25 sigma, which is beyond the line.
    distance = np.abs(soft - 0.5) * (sigma * math.sqrt(2 * math.pi))
    _blend(
        canvas[part],
        (inside * alpha, shade),
        (1.4 * soft * (1 - soft), toned(shade, -0.75)),
        (_stroke(distance, width), toned(shade, 0.35)),
    )


def _mark(canvas: ByteArray, prompt: Prompt, shade: Colour, width: float) -> None:
    if prompt.box:
        _mark_box(canvas, prompt.box, shade, width)
    if prompt.points:
        _mark_points(canvas, prompt.points, max(4 * width, 5.0))


def _mark_box(canvas: ByteArray, box: Box, shade: Colour, width: float) -> None:
    """A frame with a thin dark rim on both sides, drawn edge by edge so that a large box costs little."""
    reach = width / 2 + 2
    for x0, y0, x1, y1 in (
        (box.x0, box.y0, box.x1, box.y0),
        (box.x0, box.y1, box.x1, box.y1),
        (box.x0, box.y0, box.x0, box.y1),
        (box.x1, box.y0, box.x1, box.y1),
    ):
        part, x, y = _window(canvas, x0 - reach, y0 - reach, x1 + reach, y1 + reach)
        distance = np.abs(_outside(x, y, box))
        rim, frame = 0.4 * _stroke(distance, width + 2), _stroke(distance, width)
        _blend(canvas[part], (rim, _BLACK), (frame, toned(shade, 0.2)))


def _outside(x: FloatArray, y: FloatArray, box: Box) -> FloatArray:
    """Signed distance in pixels from the frame of ``box``, negative inside."""
    across = np.maximum(box.x0 - x, x - box.x1)
    down = np.maximum(box.y0 - y, y - box.y1)
    distance: FloatArray = np.maximum(across, down)
    return distance


def _mark_points(canvas: ByteArray, points: Points, radius: float) -> None:
    """Green discs with a plus, red discs with a minus, ringed in white."""
    reach = 1.5 * radius + 1
    for (px, py), on in zip(points.coords.tolist(), points.labels.tolist(), strict=True):
        part, x, y = _window(canvas, px - reach, py - reach, px + reach, py + reach)
        distance = np.hypot(x - px, y - py)
        shadow = 0.9 * (1.5 - distance / radius).clip(0, 0.5)
        arm, half = 0.42 * radius, max(0.11 * radius, 0.8)
        sign = _outside(x, y, Box(px - arm, py - half, px + arm, py + half))
        if on:
            sign = np.minimum(sign, _outside(x, y, Box(px - half, py - arm, px + half, py + arm)))
        _blend(
            canvas[part],
            (shadow, _BLACK),
            (_disc(distance, radius), _WHITE),
            (_disc(distance, 0.78 * radius), _ON if on else _OFF),
            (_disc(sign, 0.0), _WHITE),
        )


def _stroke(distance: FloatArray, width: float) -> FloatArray:
    """How much of each pixel a line covers, from the pixel's distance to its middle."""
    return _disc(distance, width / 2)


def _disc(distance: FloatArray, radius: float) -> FloatArray:
    """How much of each pixel lies within ``radius``: a ramp one pixel wide, which is antialiasing enough."""
    covered: FloatArray = (radius + 0.5 - distance).clip(0, 1)
    return covered


def _window(
    canvas: ByteArray, x0: float, y0: float, x1: float, y1: float
) -> tuple[tuple[slice, slice], FloatArray, FloatArray]:
    """The part of the picture between two corners, and the centres of its pixels: x (1, w), y (h, 1)."""
    h, w = canvas.shape[:2]
    left, right = (min(max(math.floor(x), 0), w) for x in (x0, x1 + 1))
    top, bottom = (min(max(math.floor(y), 0), h) for y in (y0, y1 + 1))
    x = np.arange(left, right, dtype=np.float32)[None] + np.float32(0.5)
    y = np.arange(top, bottom, dtype=np.float32)[:, None] + np.float32(0.5)
    return np.s_[top:bottom, left:right], x, y


def _blend(part: ByteArray, *layers: tuple[FloatArray, Colour]) -> None:
    """Paint layers over a part of the picture (h, w, 3) in place: coverages (h, w) in 0..1, and colours."""
    for channel in range(3):
        mixed = part[..., channel].astype(np.float32)
        for coverage, shade in layers:
            mixed += coverage * (shade[channel] - mixed)
        part[..., channel] = np.rint(mixed)
