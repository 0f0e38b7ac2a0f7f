"""Cutting out what is asked for: every object in a window of the huge picture around it.

A window is a tile's side at least, with the box, or else the first click on the object, in its middle; so
correction clicks find the window they correct, already encoded. It is twice as large, and twice as large
again, where other clicks lie outside, or where the object turns out to reach beyond it. What is larger than a
tile is read reduced to the size of one.
"""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from torch import Tensor

from maskwright.automask.found import FoundMasks
from maskwright.automask.options import AutomaskOptions
from maskwright.automask.places import Crop, touches_crop
from maskwright.errors import PromptError
from maskwright.io.rasters import Raster, reduced_size
from maskwright.pixels import rle, stretched
from maskwright.pixels.postprocess import clean
from maskwright.refine import Window, window_around
from maskwright.runtime.protocol import Runtime
from maskwright.segmenter import Embedding, check_cleaning, embed, objects_of
from maskwright.tiles.options import TileOptions
from maskwright.tiles.plan import edge_of
from maskwright.types import Box, FloatArray, Points, Prompt, PromptLike, Size

BOX_MARGIN = 0.25
"""Room on each side of a box, as a share of its longer side."""
CLICK_MARGIN = 1 / 16
"""Clicks are at least this share of a window's side away from its edge, if that is not the picture's."""


class Prompted:
    """Answers prompts anywhere in a huge picture."""

    def __init__(self, runtime: Runtime, raster: Raster, tiling: TileOptions) -> None:
        self._runtime, self._raster, self._tiling = runtime, raster, tiling
        self._kept: OrderedDict[Window, Embedding] = OrderedDict()
        self._lock = threading.Lock()

    def segment(
        self,
        prompts: Sequence[PromptLike],
        *,
        max_hole_area: float = 0,
        max_speck_area: float = 0,
        threshold: float = 0.0,
    ) -> FoundMasks:
        """One mask per prompt, in their order; see :meth:`maskwright.tiles.image.TiledImage.segment`."""
        check_cleaning(max_hole_area, max_speck_area, threshold)
        size = self._raster.size
        found = []
        for prompt in _checked(prompts, size):
            for window in windows(prompt, size, self._tiling.size):
                logits, score = self._embedded(window).answer(moved(prompt, window[:2]))
                mask = self._drawn(clean(logits[None], max_hole_area, max_speck_area), window, threshold)
                crop = Crop(*window, 0)
                edge = edge_of(crop, self._tiling, self._runtime.config.mask_size)
                if not touches_crop(mask.boxes.astype(np.int64), crop, size, edge)[0]:
                    break
            found.append(replace(mask, scores=np.array([score], np.float32), points=_anchor(prompt)[None]))
        return FoundMasks.joined(found)

    def _embedded(self, window: Window) -> Embedding:
        """A window as the model sees it; it says that it is as large as it is in the picture."""
        with self._lock:
            if window in self._kept:
                self._kept.move_to_end(window)
                return self._kept[window]
        size = (window.y1 - window.y0, window.x1 - window.x0)
        pixels = self._raster.read(*window, size=reduced_size(size, self._tiling.size))
        embedding = replace(embed(self._runtime, [pixels])[0], size=size, picture=None)
        with self._lock:
            self._kept[window] = embedding
            while len(self._kept) > self._tiling.embeddings:
                self._kept.popitem(last=False)
        return embedding

    def _drawn(self, logits_1HW: Tensor, window: Window, threshold: float) -> FoundMasks:
        """A mask in pixels of the whole picture; where its outline runs is all that is drawn."""
        size, part = self._raster.size, (window.y1 - window.y0, window.x1 - window.x0)
        offset = AutomaskOptions.preset(model=self._runtime.config.name).stability_offset
        full = stretched.measure(logits_1HW, part, threshold, offset)
        shift = np.array([[window.x0], [window.y0], [window.y0]])
        runs = [
            rle.run_lengths(spans + shift, size)
            for spans in stretched.spans(logits_1HW, part, threshold, full.boxes)
        ]
        with np.errstate(invalid="ignore"):
            stability = np.divide(full.small_areas, full.large_areas, dtype=np.float32)
        placed = np.where(full.areas[:, None] > 0, full.boxes + np.tile(window[:2], 2), 0)
        blank = np.zeros(1, np.float32)
        return FoundMasks(
            size,
            tuple(runs),
            blank,
            stability,
            placed.astype(np.float32),
            full.areas,
            blank,
            np.array([window]),
        )


def windows(prompt: Prompt, size_hw: Size, side: int) -> Iterator[Window]:
    """Windows to look for an object in, from the smallest to the whole picture.

    Args:
        prompt: Lies within the picture.
        size_hw: Of the picture.
        side: Of a tile.
    """
    h, w = size_hw
    whole = Window(0, 0, w, h)
    reached = [part.coords for part in (prompt.points,) if part] + [
        part.corners for part in (prompt.box,) if part
    ]
    low, high = np.concatenate(reached).min(axis=0), np.concatenate(reached).max(axis=0)
    middle = np.tile(_anchor(prompt), 2)
    if prompt.box:
        longest = max(prompt.box.x1 - prompt.box.x0, prompt.box.y1 - prompt.box.y0)
        side = max(side, math.ceil((1 + 2 * BOX_MARGIN) * longest))
    while True:
        window = window_around(middle, size_hw, 0, side)
        if window == whole:
            break
        room = CLICK_MARGIN * side
        inside = np.array(window[:2]) + room * (np.array(window[:2]) > 0) <= low
        beyond = np.array(window[2:]) - room * (np.array(window[2:]) < (w, h)) >= high
        if inside.all() and beyond.all():
            yield window
        side *= 2
    yield whole


def _checked(prompts: Sequence[PromptLike], size_hw: Size) -> list[Prompt]:
    """One prompt per object, each checked against the picture."""
    checked = objects_of(prompts)
    for one in checked:
        if one.mask is not None:
            raise PromptError(
                "a mask prompt is a grid over one whole picture, and a huge one is looked at by windows; "
                "give clicks or a box"
            )
        one.check_inside(size_hw)
    return checked


def _anchor(prompt: Prompt) -> FloatArray:
    """(2,) what a window has in its middle: that of the box, else the first click on the object, else any."""
    if prompt.box:
        centre: FloatArray = prompt.box.corners.mean(axis=0)
        return centre
    assert prompt.points is not None
    click: FloatArray = prompt.points.coords[int(prompt.points.labels.argmax())]
    return click


def moved(prompt: Prompt, corner: tuple[int, int], scale: tuple[float, float] = (1, 1)) -> Prompt:
    """A prompt of the picture in a window of it.

    Args:
        prompt: Clicks and a box.
        corner: x and y of the window's first pixel.
        scale: By how much the window is stretched along x and y.
    """
    low, by = np.array(corner, np.float32), np.array(scale, np.float32)
    box, points = prompt.box, prompt.points
    return Prompt(
        points and Points((points.coords - low) * by, points.labels),
        box and Box(*((box.corners - low) * by).ravel().tolist()),
    )
