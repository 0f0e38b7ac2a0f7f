"""From the answers for a frame's objects to what the caller sees.

Shapes: N objects, (h, w) the frame, m the side of the low-resolution masks.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
import torch
from torch import Tensor

from maskwright.frames import Frame, TrackedFrame
from maskwright.pixels.boxes import boxes_of
from maskwright.pixels.postprocess import VIDEO_FILL, clean, separate, upscale
from maskwright.runtime.batching import PIXELS_PER_CALL
from maskwright.runtime.kernels.masks import fetched
from maskwright.track.objects import ObjectId
from maskwright.track.options import TrackOptions
from maskwright.track.visited import Answer
from maskwright.types import BoolArray, Size


def cleaned(logits_NHW: Tensor, options: TrackOptions) -> Tensor:
    """Low-resolution logits with small holes filled and specks removed, as in the official video code."""
    return clean(logits_NHW, options.max_hole_area, options.max_speck_area, fill=VIDEO_FILL)


def present(
    frame: Frame,
    answers: Mapping[ObjectId, Answer],
    mask_size: int,
    options: TrackOptions,
    *,
    discovered: Collection[int] = (),
) -> TrackedFrame:
    """The objects of a frame, with masks at its size; nobody has prompted those ``discovered`` in it."""
    ids = tuple(answers)
    bitmaps = np.zeros((len(ids), *frame.size), np.bool_)
    logits = np.zeros((len(ids), mask_size, mask_size), np.float32)
    scores, object_scores = (np.zeros(len(ids), np.float32) for _ in range(2))
    if ids:
        shown_NHW = torch.stack([one.shown_HW for one in answers.values()])
        chosen = [one.chosen for one in answers.values()]
        bitmaps = _bitmaps(shown_NHW, frame.size, options)
        logits = shown_NHW.float().cpu().numpy()
        scores = torch.cat([one.iou_O for one in chosen]).float().cpu().numpy()
        object_scores = torch.cat([one.object_score_O for one in chosen]).float().cpu().numpy()
    return TrackedFrame(
        index=frame.index,
        ids=ids,
        bitmaps=bitmaps,
        scores=scores,
        object_scores=object_scores,
        boxes=boxes_of(bitmaps),
        areas=np.count_nonzero(bitmaps, axis=(1, 2)).astype(np.int64),
        logits=logits,
        time=frame.time,
        image=frame.picture,
        prompted=frozenset(number for number, one in answers.items() if one.prompted).difference(discovered),
        discovered=frozenset(discovered).intersection(answers),
    )


def _bitmaps(shown_NHW: Tensor, size: Size, options: TrackOptions) -> BoolArray:
    """(N, h, w): stretched a bounded number at a time, unless objects have to be compared pixel by pixel."""
    if options.non_overlapping:
        return fetched(separate(upscale(shown_NHW, size)) > 0)
    step = max(1, PIXELS_PER_CALL // (size[0] * size[1]))
    parts = [
        fetched(upscale(shown_NHW[start : start + step], size) > 0)
        for start in range(0, len(shown_NHW), step)
    ]
    bitmaps: BoolArray = np.concatenate(parts)
    return bitmaps
