"""Boxes that other tools draw or detect, as box prompts that fit the picture."""

from __future__ import annotations

import math

from maskwright.errors import PromptError
from maskwright.types import Box, Size


def box_prompt(x0: float, y0: float, x1: float, y1: float, name: str, size: Size | None) -> Box:
    """A box prompt from two opposite corners, in any order.

    Args:
        x0: Left edge, in pixels, like the following ones.
        y0: Top edge.
        x1: Right edge.
        y1: Bottom edge.
        name: What to call the box in messages, such as ``"box 2 ('cat')"``.
        size: Height and width of the picture, which the box is clipped to; None clips nothing.

    Raises:
        PromptError: it has no area, is not finite, or lies outside the picture.
    """
    if not all(map(math.isfinite, (x0, y0, x1, y1))):
        raise PromptError(f"{name} is {(x0, y0, x1, y1)}; its edges must be finite pixel numbers")
    (left, right), (top, bottom) = sorted((x0, x1)), sorted((y0, y1))
    if left == right or top == bottom:
        raise PromptError(f"{name} has no area; delete it, or draw it again from corner to corner")
    if size is not None:
        h, w = size
        left, top, right, bottom = max(left, 0), max(top, 0), min(right, w), min(bottom, h)
        if left >= right or top >= bottom:
            raise PromptError(f"{name} lies outside the picture, which is {w} pixels wide and {h} high")
    return Box(left, top, right, bottom)
