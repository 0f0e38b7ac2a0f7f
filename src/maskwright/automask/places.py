"""Where to click: the grid of points, and the crops of a picture that are searched one by one."""

from __future__ import annotations

import math
from itertools import product
from typing import NamedTuple

import numpy as np

from maskwright.automask.options import AutomaskOptions
from maskwright.errors import InputError
from maskwright.types import BoolArray, FloatArray, IntArray, Size

EDGE = 20
"""Pixels from the edge of a crop within which a box counts as touching it, as in the official generator."""


class Crop(NamedTuple):
    """A part of a picture: columns x0 to x1 and rows y0 to y1, exclusive."""

    x0: int
    y0: int
    x1: int
    y1: int
    layer: int
    """0 is the whole picture, 1 are 2 x 2 crops, 2 are 4 x 4 ..."""

    @property
    def size(self) -> Size:
        return self.y1 - self.y0, self.x1 - self.x0

    @property
    def box(self) -> IntArray:
        """(4,) int64, xyxy."""
        return np.array(self[:4], dtype=np.int64)


def grid(per_side: int) -> np.ndarray:
    """(per_side ** 2, 2) float64: ``(x, y)`` in 0..1, row by row, in the middle of equal cells."""
    half = 1 / (2 * per_side)
    along = np.linspace(half, 1 - half, per_side)
    y, x = np.meshgrid(along, along, indexing="ij")
    return np.stack((x, y), axis=-1).reshape(-1, 2)


def points(options: AutomaskOptions, crop: Crop) -> FloatArray:
    """(n, 2) float32: where to click in a crop, in its own pixels."""
    if options.point_grids is None:
        shares = grid(options.points_in_layer(crop.layer))
    else:
        shares = np.asarray(options.point_grids[crop.layer], dtype=np.float64)
    h, w = crop.size
    placed: FloatArray = (shares * np.array([w, h])).astype(np.float32)
    return placed


def crops(size_hw: Size, options: AutomaskOptions) -> list[Crop]:
    """The picture, and then the crops of each layer from left to right (``generate_crop_boxes``)."""
    h, w = size_hw
    found = [Crop(0, 0, w, h, 0)]
    for layer in range(1, options.crop_layers + 1):
        num = 2**layer
        overlap = int(options.crop_overlap * min(h, w) * (2 / num))
        wide, high = (math.ceil((overlap * (num - 1) + length) / num) for length in (w, h))
        corners = product(range(num), range(num))
        at = [((wide - overlap) * column, (high - overlap) * row) for column, row in corners]
        found += [Crop(x, y, min(x + wide, w), min(y + high, h), layer) for x, y in at]
    return found


def check_size(size_hw: Size, options: AutomaskOptions, subject: str = "the picture is") -> None:
    """Make sure that every crop has a pixel for each click.

    Args:
        size_hw: Of the picture, or whatever is searched like one.
        options: How it is searched.
        subject: What to call it.

    Raises:
        InputError: the picture, or the smallest crop, is smaller than the grid.
    """
    for crop in crops(size_hw, options):
        h, w = crop.size
        what = subject if crop.layer == 0 else f"crops of layer {crop.layer} are"
        if min(h, w) < 1:
            raise InputError(f"{what} {w} x {h} pixels: use fewer crop_layers than {options.crop_layers}")
        per_side = 1 if options.points_per_side is None else options.points_in_layer(crop.layer)
        if min(h, w) < per_side:
            advice = "fewer crop_layers, or " if crop.layer else ""
            raise InputError(
                f"{what} only {w} x {h} pixels, smaller than the grid of {per_side} x {per_side} clicks: "
                f"use {advice}points_per_side={min(h, w) * options.crop_points_divisor**crop.layer} or less"
            )


def touches_crop(boxes: IntArray, crop: Crop, size_hw: Size, edge: float = EDGE) -> BoolArray:
    """(N,) bool: boxes that reach the edge of the crop where it is not the picture's edge as well.

    Such masks are likely to be cut off; another crop has them whole. ``is_box_near_crop_edge``.

    Args:
        boxes: (N, 4) int64 ``xyxy``, half-open, in pixels of the picture.
        crop: Where they were found.
        size_hw: Of the picture.
        edge: Pixels from the edge within which a box reaches it.
    """
    h, w = size_hw
    last = boxes - np.array(
        [0, 0, 1, 1]
    )  # the official boxes end with the last pixel, its crops one after it
    near_crop = np.abs(last - crop.box) <= edge
    near_picture = np.abs(last - np.array([0, 0, w, h])) <= edge
    return np.asarray((near_crop & ~near_picture).any(axis=1))
