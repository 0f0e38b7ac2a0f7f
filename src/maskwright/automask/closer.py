"""Drawing found masks again from windows of the full-size picture: ``AutomaskOptions.refine``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np

from maskwright.automask.found import FoundMasks
from maskwright.automask.options import AutomaskOptions
from maskwright.pixels import rle
from maskwright.pixels.nms import nms
from maskwright.pixels.rgb import to_uint8
from maskwright.refine import RefineSettings, look_closer, shares
from maskwright.runtime.protocol import Runtime
from maskwright.segmenter import embed
from maskwright.types import Box, FloatArray, ImageArray, Points, Prompt, Size

FIRMNESS = 10.0
"""Logit of a cell that a found mask covers; minus this where it does not, and in between where in part."""
_COLUMNS = 512
"""Columns of a mask that are drawn at a time, which bounds memory."""


def draw_closer(
    runtime: Runtime,
    picture: ImageArray,
    found: FoundMasks,
    options: AutomaskOptions,
    progress: Callable[[int], object] | None = None,
) -> FoundMasks:
    """Draw found masks again where a window of the picture enlarges them (``refine.look_closer``).

    Each is asked for by its box, the click that found it and its mask. Those that are duplicates afterwards
    are left out, the one with the higher score stays.

    Args:
        runtime: The model.
        picture: (h, w, 3) RGB that the masks were found in.
        found: The masks.
        options: What they were found with: ``threshold``, clean-up and ``max_overlap`` apply again.
        progress: Is called for every mask that was drawn again, with their number so far.

    Returns:
        The masks in the order of ``found``, with new runs, boxes, areas and scores; stabilities stay.
    """
    runs, scores = list(found.runs), found.scores.copy()
    closer = look_closer(
        found.boxes,
        partial(_logits, found, runtime.config.mask_size),
        runtime.config.mask_size,
        [_asked(box, point) for box, point in zip(found.boxes, found.points, strict=True)],
        to_uint8(picture),
        partial(embed, runtime),
        max_hole_area=options.max_hole_area,
        max_speck_area=options.max_speck_area,
        threshold=options.threshold,
        settings=RefineSettings.suiting(runtime.config),
    )
    for done, seen in enumerate(closer, start=1):
        runs[seen.number] = rle.placed(seen.bitmap, seen.window[:2], found.size)
        scores[seen.number] = seen.score
        if progress is not None:
            progress(done)
    redrawn = replace(found, scores=scores).redrawn(runs)
    return redrawn[np.sort(nms(redrawn.boxes, scores, options.max_overlap))]


def _asked(box: FloatArray, point: FloatArray) -> Prompt:
    return Prompt.of([Box(*box.tolist()), Points([point])])


def _logits(found: FoundMasks, side: int, index: int) -> FloatArray:
    """A found mask as logits (side, side) on the low-resolution grid of the whole picture."""
    shares_SS = _covered(found.runs[index], found.boxes[index], found.size, side)
    return np.asarray(FIRMNESS * (2 * shares_SS - 1), dtype=np.float32)


def _covered(runs: rle.RunLengths, box: FloatArray, size_hw: Size, side: int) -> FloatArray:
    """(side, side): the share of each cell of a picture that a mask covers."""
    (h, w), (x0, y0, x1, y1) = size_hw, box.astype(int).tolist()
    down = shares(side, h, y0, y1, y1 - y0)
    grid = np.zeros((side, side), np.float32)
    for first in range(x0, x1, _COLUMNS):
        last = min(first + _COLUMNS, x1)
        strip = rle.window(runs, size_hw, first, y0, last, y1).astype(np.float32)
        grid += down @ strip @ shares(side, w, first, last, last - first).T
    return grid
