"""Draw objects again from windows of the full-size picture, where outlines are as sharp as the picture is.

The network sees a picture at its input size, and draws on a grid a quarter as fine. So each object's
surroundings are cut out of the picture, encoded by themselves and prompted with what is known already: the
caller's clicks and box, and the first mask. What comes back replaces the first mask inside the window.

Shapes: N objects, (h, w) the picture, m the side of the low-resolution masks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import torch
import torch.nn.functional as F

from maskwright.config import ModelConfig
from maskwright.masks import Masks
from maskwright.types import (
    BoolArray,
    Box,
    ByteArray,
    FloatArray,
    MaskPrompt,
    Points,
    Prompt,
    PromptLike,
    Size,
)

WINDOWS_PER_BATCH = 4
"""Windows that are encoded together, which bounds memory whatever the number of objects."""


@dataclass(frozen=True)
class RefineSettings:
    """Where windows lie and what is asked in them; the defaults are measured (``docs/refinement.md``)."""

    margin: float = 0.25
    """Room on each side of an object, as a share of its longer side."""
    pixels_per_cell: float = 2.5
    """A cell of a window's mask grid is at least this many pixels of the picture, where the picture is so
    large: drawing finer than that only magnifies blur."""
    min_magnification: float = 1.25
    """Objects that their window would show less enlarged than this, per side, stay as they are."""
    max_shared: float = 1.25
    """Objects share a window that is at most this many times as large, in area, as each would have alone."""
    fading: bool = True
    """The first mask's logits are divided by the magnification: it knows so much less of what is seen now."""
    boxed: bool = False
    """Objects that came without a box get that of their first mask."""

    @classmethod
    def suiting(cls, config: ModelConfig) -> RefineSettings:
        """Measured where prompts are drawn (nano). To the official networks a mask is a hint beside a box."""
        return cls() if config.draw_prompts else cls(fading=False, boxed=True)


class Window(NamedTuple):
    """A part of a picture: columns x0 to x1 and rows y0 to y1, exclusive."""

    x0: int
    y0: int
    x1: int
    y1: int

    @property
    def area(self) -> int:
        return (self.x1 - self.x0) * (self.y1 - self.y0)

    @property
    def part(self) -> tuple[slice, slice]:
        """Rows and columns, as an index of (h, w) arrays."""
        return slice(self.y0, self.y1), slice(self.x0, self.x1)

    def around(self, other: Window) -> Window:
        """The smallest window that covers both."""
        low, high = map(min, self[:2], other[:2]), map(max, self[2:], other[2:])
        return Window(*low, *high)

    def magnification(self, size_hw: Size) -> float:
        """How many times larger than in the whole picture things appear to the network, per side."""
        return math.sqrt(size_hw[0] * size_hw[1] / self.area)


class Look(NamedTuple):
    """One window and the objects that are drawn again in it."""

    window: Window
    objects: tuple[int, ...]
    """Their numbers."""
    smallest: int
    """Area of the smallest window that any of them would have alone."""


class Segmenter(Protocol):
    """What is needed of an embedded window."""

    def segment(
        self, *prompts: PromptLike, max_hole_area: float, max_speck_area: float, threshold: float
    ) -> Masks: ...


class Closer(NamedTuple):
    """What a window shows of one object."""

    number: int
    """Which object."""
    window: Window
    bitmap: BoolArray
    """(rows, columns) of the window; the object ends there."""
    score: float
    """Predicted IoU."""
    logits: FloatArray
    """(m, m): those of the window, of which a cell is smaller than one of the picture's."""


def draw_again(
    masks: Masks,
    prompts: Sequence[Prompt],
    picture: ByteArray,
    embed: Callable[[Sequence[ByteArray]], Sequence[Segmenter]],
    *,
    max_hole_area: float = 0,
    max_speck_area: float = 0,
    threshold: float = 0.0,
    settings: RefineSettings | None = None,
) -> None:
    """Replace masks by what windows of the picture show, where that enlarges the object.

    Afterwards ``bitmaps`` and ``scores`` are those of the windows, and ``logits`` the windows' averaged onto
    the grid of the whole picture, as a ``MaskPrompt`` for it needs them; ``object_scores`` stay.

    Args:
        masks: One first mask per object; changed in place, since full-size bitmaps are large.
        prompts: What each object was asked for with, in pixels of the picture.
        picture: This and the following as for :func:`look_closer`.
        embed: See there.
        max_hole_area: See there.
        max_speck_area: See there.
        threshold: See there.
        settings: See there.
    """
    for one in look_closer(
        masks.boxes,
        masks.logits.__getitem__,
        masks.logits.shape[-1],
        prompts,
        picture,
        embed,
        max_hole_area=max_hole_area,
        max_speck_area=max_speck_area,
        threshold=threshold,
        settings=settings,
    ):
        masks.bitmaps[one.number] = False
        masks.bitmaps[one.number][one.window.part] = one.bitmap
        masks.scores[one.number] = one.score
        masks.logits[one.number] = reduced(one.logits, one.window, masks.size)


def look_closer(
    boxes: FloatArray,
    logits_of: Callable[[int], FloatArray],
    mask_size: int,
    prompts: Sequence[Prompt],
    picture: ByteArray,
    embed: Callable[[Sequence[ByteArray]], Sequence[Segmenter]],
    *,
    max_hole_area: float = 0,
    max_speck_area: float = 0,
    threshold: float = 0.0,
    settings: RefineSettings | None = None,
) -> Iterator[Closer]:
    """What windows show of objects, where that enlarges them; those whose window shows nothing are left out.

    Args:
        boxes: (N, 4) xyxy around the first masks; zeros where a mask is empty.
        logits_of: Gives the logits (m, m) of a first mask, on the grid of the whole picture.
        mask_size: Side m of the low-resolution masks.
        prompts: What each object was asked for with, in pixels of the picture.
        picture: (h, w, 3) RGB.
        embed: Encodes parts of the picture; gets at most ``WINDOWS_PER_BATCH`` at a time.
        max_hole_area: In cells of the low-resolution mask of the whole picture, here as well.
        max_speck_area: In the same cells.
        threshold: Mask logit above which a pixel belongs to the object.
        settings: How to go about it.
    """
    settings = settings or RefineSettings()
    size: Size = (picture.shape[0], picture.shape[1])
    looks = plan(boxes, prompts, size, mask_size, settings)
    for start in range(0, len(looks), WINDOWS_PER_BATCH):
        batch = looks[start : start + WINDOWS_PER_BATCH]
        embedded = embed([picture[look.window.part] for look in batch])
        for (window, objects, _), segmenter in zip(batch, embedded, strict=True):
            cells = window.magnification(size) ** 2  # of its mask grid, in one of the picture's
            found = segmenter.segment(
                *(
                    _known(boxes[one], logits_of(one), prompts[one], window, size, settings)
                    for one in objects
                ),
                max_hole_area=max_hole_area * cells,
                max_speck_area=max_speck_area * cells,
                threshold=threshold,
            )
            for one, mask in zip(objects, found, strict=True):
                if mask.bitmaps.any():
                    yield Closer(one, window, mask.bitmaps[0], float(mask.scores[0]), mask.logits[0])


def plan(
    boxes: FloatArray, prompts: Sequence[Prompt], size_hw: Size, mask_size: int, settings: RefineSettings
) -> list[Look]:
    """Which windows to look through, and for which objects; those that gain nothing are in none.

    Args:
        boxes: (N, 4) xyxy around the first masks; zeros where a mask is empty.
        prompts: What each was asked for with.
        size_hw: Of the picture.
        mask_size: Side of the low-resolution masks.
        settings: Where windows lie.
    """
    min_side = settings.pixels_per_cell * mask_size
    looks: list[Look] = []
    for index, (box, prompt) in enumerate(zip(boxes, prompts, strict=True)):
        extent = _extent(box, prompt)
        if extent is None:
            continue
        window = window_around(extent, size_hw, settings.margin, min_side)
        if window.magnification(size_hw) >= settings.min_magnification:
            _join(looks, index, window, settings.max_shared)
    return looks


def window_around(extent: FloatArray, size_hw: Size, margin: float, min_side: float) -> Window:
    """The window for what lies within ``extent``, (4,) xyxy: as square as fits into the picture."""
    x0, y0, x1, y1 = extent.tolist()
    side = math.ceil(max(min_side, (1 + 2 * margin) * max(x1 - x0, y1 - y0)))
    left, right = _span(x0, x1, side, size_hw[1])
    top, bottom = _span(y0, y1, side, size_hw[0])
    return Window(left, top, right, bottom)


def _span(low: float, high: float, side: int, length: int) -> tuple[int, int]:
    """``side`` pixels around the middle of low and high, moved into 0 to ``length``."""
    width = min(length, side)
    start = min(max(0, round((low + high - width) / 2)), length - width)
    return start, start + width


def _extent(box: FloatArray, prompt: Prompt) -> FloatArray | None:
    """(4,) xyxy around an object: the caller's box, or else its first mask, and the clicks on it.

    None if no box was given and no mask found.
    """
    if prompt.box is None and _empty(box):
        return None
    corners = [box.reshape(2, 2) if prompt.box is None else prompt.box.corners]
    if prompt.points is not None:
        corners.append(prompt.points.coords[prompt.points.labels == 1])
    reached = np.concatenate(corners)
    return np.concatenate((reached.min(axis=0), reached.max(axis=0)))


def _join(looks: list[Look], index: int, window: Window, max_shared: float) -> None:
    """Add an object to the first look whose window it can share, or else as a look of its own."""
    for place, look in enumerate(looks):
        both, smallest = look.window.around(window), min(look.smallest, window.area)
        if both.area <= max_shared * smallest:
            looks[place] = Look(both, (*look.objects, index), smallest)
            return
    looks.append(Look(window, (index,), window.area))


def _known(
    box: FloatArray,
    logits: FloatArray,
    prompt: Prompt,
    window: Window,
    size_hw: Size,
    settings: RefineSettings,
) -> Prompt:
    """What is known of one object, in pixels of the window: its box, clicks in the window, its first mask."""
    x, y = window[:2]
    known: list[Points | Box | MaskPrompt] = []
    if prompt.box is not None:
        known.append(Box(prompt.box.x0 - x, prompt.box.y0 - y, prompt.box.x1 - x, prompt.box.y1 - y))
    elif settings.boxed:
        x0, y0, x1, y1 = box.tolist()
        known.append(Box(x0 - x, y0 - y, x1 - x, y1 - y))
    if prompt.points is not None:
        coords = prompt.points.coords - np.array((x, y), np.float32)
        near = ((coords >= 0) & (coords <= (window.x1 - x, window.y1 - y))).all(axis=1)
        if near.any():
            known.append(Points(coords[near], prompt.points.labels[near]))
    if not _empty(box):
        weight = 1 / window.magnification(size_hw) if settings.fading else 1.0
        known.append(MaskPrompt(weight * magnified(logits, window, size_hw)))
    return Prompt.of(known)


def _empty(box: FloatArray) -> bool:
    return bool(box[2] <= box[0])


def magnified(logits: FloatArray, window: Window, size_hw: Size) -> FloatArray:
    """Logits (m, m) of the picture on the grid (m, m) of a window of it, bilinear."""
    (h, w), side = size_hw, logits.shape[-1]
    across, down = (window.x1 - window.x0) / w, (window.y1 - window.y0) / h
    middle_x, middle_y = (window.x0 + window.x1) / w - 1, (window.y0 + window.y1) / h - 1
    place = torch.tensor([[[across, 0.0, middle_x], [0.0, down, middle_y]]])
    grid = F.affine_grid(place, [1, 1, side, side], align_corners=False)
    low = torch.from_numpy(np.ascontiguousarray(logits))[None, None]
    stretched: FloatArray = F.grid_sample(low, grid, padding_mode="border", align_corners=False)[0, 0].numpy()
    return stretched


def reduced(logits: FloatArray, window: Window, size_hw: Size) -> FloatArray:
    """Logits (m, m) of a window, averaged onto the picture's grid (m, m), and outside their lowest, or -1."""
    side = logits.shape[-1]
    down = shares(side, size_hw[0], window.y0, window.y1, side)
    across = shares(side, size_hw[1], window.x0, window.x1, side)
    covered = down.sum(axis=1)[:, None] * across.sum(axis=1)
    outside = min(float(logits.min()), -1.0)
    averaged: FloatArray = (down @ logits @ across.T + outside * (1 - covered)).astype(np.float32)
    return averaged


def shares(side: int, length: int, start: int, stop: int, cells: int) -> FloatArray:
    """Which cells of one grid cover how much of another's, along one axis.

    Returns:
        (side, cells) float32: of each of ``side`` cells of ``length`` pixels, the share that each of
        ``cells`` cells from pixel ``start`` to ``stop`` covers.
    """
    outer, inner = (
        np.arange(side + 1) * (length / side),
        start + np.arange(cells + 1) * ((stop - start) / cells),
    )
    low = np.maximum(outer[:-1, None], inner[:-1])
    high = np.minimum(outer[1:, None], inner[1:])
    covered: FloatArray = (np.maximum(high - low, 0) * (side / length)).astype(np.float32)
    return covered
