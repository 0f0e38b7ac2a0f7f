"""Many objects as one batch: padding their prompts to a common length, bounding what one call may hold.

Axes: P objects, K points per object, M masks per object, H W height and width.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from maskwright.model.mask_decoder import ImageFeatures
from maskwright.model.prompt_encoder import BOX_END, BOX_START, NO_POINT, PADDING, PromptTensors
from maskwright.model.sam2 import Decoded
from maskwright.pixels.postprocess import clean, upscale
from maskwright.runtime.protocol import Runtime
from maskwright.types import Size

OBJECTS_PER_CALL = 64
"""Objects that one decoder call takes; about 20 MiB each at 1024 px, so a call stays below 2 GiB."""
PIXELS_PER_CALL = 1 << 26
"""Full-size logits held at once (256 MiB); at least one mask."""
SMALLEST_BUCKET = 2
"""One click and the padding point; longer prompts are padded to the next power of two."""


class ObjectPrompt(NamedTuple):
    """Everything that is known of one object, in pixels of the network's input."""

    points_K2: np.ndarray
    """(x, y), float; the corners of a box come first."""
    labels_K: np.ndarray
    """One label of ``model.prompt_encoder`` per point."""
    mask_HW: np.ndarray | None = None
    """Low-resolution mask logits."""


def object_prompt(
    points_K2: np.ndarray | None,
    labels_K: np.ndarray | None,
    box_22: np.ndarray | None,
    mask_HW: np.ndarray | None,
) -> ObjectPrompt:
    """Order the parts of a prompt as the official ``SAM2ImagePredictor._predict`` does.

    The corners of a box go before the points, and one padding point (label -1) follows. It is always there
    with points or a box, and never with a mask alone: the decoder was trained that way.
    """
    points: list[np.ndarray] = []
    labels: list[np.ndarray] = []
    if box_22 is not None:
        points.append(np.reshape(box_22, (2, 2)))
        labels.append(np.array([BOX_START, BOX_END]))
    if points_K2 is not None and labels_K is not None:
        points.append(np.reshape(points_K2, (-1, 2)))
        labels.append(np.reshape(labels_K, -1))
    if not points:
        return ObjectPrompt(np.zeros((0, 2), np.float32), np.zeros(0, np.int64), mask_HW)
    points.append(np.zeros((1, 2)))
    labels.append(np.array([NO_POINT]))
    return ObjectPrompt(
        np.concatenate(points).astype(np.float32), np.concatenate(labels).astype(np.int64), mask_HW
    )


def pack(objects: Sequence[ObjectPrompt]) -> PromptTensors:
    """One picture's objects as tensors (B = 1): points padded to a bucket {2, 4, 8, ...}, masks marked."""
    bucket = max(SMALLEST_BUCKET, *(len(one.labels_K) for one in objects))
    bucket = 1 << (bucket - 1).bit_length()
    points_PK2 = np.zeros((len(objects), bucket, 2), np.float32)
    labels_PK = np.full((len(objects), bucket), PADDING, np.int64)
    for row, one in enumerate(objects):
        points_PK2[row, : len(one.labels_K)] = one.points_K2
        labels_PK[row, : len(one.labels_K)] = one.labels_K
    masks_PHW, given_P = _pack_masks([one.mask_HW for one in objects])
    return PromptTensors(
        torch.from_numpy(points_PK2)[None],
        torch.from_numpy(labels_PK)[None],
        None if masks_PHW is None else torch.from_numpy(masks_PHW)[None],
        None if given_P is None else torch.from_numpy(given_P)[None],
    )


def decode_chunks(
    runtime: Runtime, features: ImageFeatures, objects: Sequence[ObjectPrompt]
) -> Iterator[Decoded]:
    """Decode the objects of one picture, at most ``OBJECTS_PER_CALL`` at a time and in order.

    Every chunk has the bucket of its own longest prompt. Results stay on the runtime's device, B = 1.
    """
    for start in range(0, len(objects), OBJECTS_PER_CALL):
        yield runtime.decode(features, pack(objects[start : start + OBJECTS_PER_CALL]))


def full_size_chunks(
    logits_NHW: Tensor, size_hw: Size, *, max_hole_area: float, max_speck_area: float, threshold: float
) -> Iterator[tuple[slice, Tensor]]:
    """Clean low-resolution logits and stretch them onto the picture, a bounded number of masks at a time.

    Yields the rows of ``logits_NHW`` and their logits (n, h, w), float32 on the same device. Peak memory does
    not grow with the number of masks.
    """
    step = max(1, PIXELS_PER_CALL // (size_hw[0] * size_hw[1]))
    for start in range(0, len(logits_NHW), step):
        rows = slice(start, min(start + step, len(logits_NHW)))
        cleaned_NHW = clean(logits_NHW[rows], max_hole_area, max_speck_area, threshold)
        yield rows, upscale(cleaned_NHW, size_hw)


def _pack_masks(masks: Sequence[np.ndarray | None]) -> tuple[np.ndarray | None, np.ndarray | None]:
    given = [mask for mask in masks if mask is not None]
    if not given:
        return None, None
    masks_PHW = np.zeros((len(masks), *given[0].shape), np.float32)
    for row, mask in enumerate(masks):
        if mask is not None:
            masks_PHW[row] = mask
    if len(given) == len(masks):
        return masks_PHW, None
    return masks_PHW, np.array([mask is not None for mask in masks])
