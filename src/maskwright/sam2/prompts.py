"""The prompt arguments of the official predictor, taken apart into objects.

Axes: P objects, K points per object, H W low-resolution mask.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from maskwright import coords
from maskwright.errors import PromptError
from maskwright.model.prompt_encoder import BOX_END, BOX_START
from maskwright.runtime.batching import ObjectPrompt, object_prompt
from maskwright.types import FloatArray, IntArray, Size

LABELS = (-1, 0, 1, 2, 3)
"""Padding, beside the object, on it, and the corners of a box: what the official prompt encoder knows."""


def split_objects(
    point_coords: npt.ArrayLike | None,
    point_labels: npt.ArrayLike | None,
    box: npt.ArrayLike | None,
    mask_input: npt.ArrayLike | None,
    *,
    size: Size,
    image_size: int,
    mask_size: int,
) -> list[ObjectPrompt]:
    """One entry per object, in pixels of the network's input.

    ``size`` is the picture's, or (1, 1) for coordinates in 0..1. Like the official predictor this takes
    points outside the picture, and no prompt at all (one object); unlike it, it refuses NaN.

    Raises:
        PromptError: wrong shapes, labels or counts, or numbers that are not finite.
    """
    points_PK2, labels_PK = _points(point_coords, point_labels)
    boxes_P22 = None if box is None else _boxes(box)
    masks_PHW = None if mask_input is None else _masks(mask_input, mask_size)
    num = _count(points_PK2, boxes_P22, masks_PHW)
    if points_PK2 is not None:
        points_PK2 = coords.picture_to_model(points_PK2, size, image_size)
    if boxes_P22 is not None:
        boxes_P22 = coords.picture_to_model(boxes_P22, size, image_size)
    if masks_PHW is not None and len(masks_PHW) == 1:
        masks_PHW = np.broadcast_to(masks_PHW, (num, mask_size, mask_size))
    parts = (points_PK2, labels_PK, boxes_P22, masks_PHW)
    return [object_prompt(*(None if part is None else part[row] for part in parts)) for row in range(num)]


def corners_and_clicks(
    points: npt.ArrayLike | None,
    labels: npt.ArrayLike | None,
    box: npt.ArrayLike | None,
    *,
    may_have_box: bool,
) -> tuple[FloatArray, IntArray]:
    """One object's prompt in a video frame: coordinates (K, 2) as given, box corners first, and labels (K,).

    Raises:
        PromptError: nothing given, points without labels, another count of them, a box that comes too late,
            or numbers that are not finite.
    """
    if (points is None) != (labels is None):
        raise PromptError("points and labels go together; pass both or neither")
    if points is None and box is None:
        raise PromptError("nothing to look for: pass points with labels, a box, or both")
    xy = np.zeros((0, 2), np.float32) if points is None else np.asarray(points, np.float32).reshape(-1, 2)
    marks = np.zeros(0, np.int64) if labels is None else np.asarray(labels, np.int64).reshape(-1)
    if len(xy) != len(marks):
        raise PromptError(f"{len(xy)} points with {len(marks)} labels; give one label per point")
    if box is not None:
        if not may_have_box:
            raise PromptError("a box comes before any clicks: pass it with clear_old_points=True")
        xy = np.concatenate((np.asarray(box, np.float32).reshape(2, 2), xy))
        marks = np.concatenate((np.array([BOX_START, BOX_END]), marks))
    if not np.isfinite(xy).all():
        raise PromptError("coordinates must be finite pixel numbers")
    return xy, marks


def _points(
    point_coords: npt.ArrayLike | None, point_labels: npt.ArrayLike | None
) -> tuple[FloatArray | None, IntArray | None]:
    if point_coords is None:
        return None, None
    if point_labels is None:
        raise PromptError("point_coords need point_labels: 1 for a point on the object, 0 for one beside it")
    points, labels = (
        _numbers(point_coords, "point_coords"),
        _numbers(point_labels, "point_labels").astype(np.int64),
    )
    if points.ndim not in (2, 3) or points.shape[-1] != 2:
        raise PromptError(f"point_coords have shape {points.shape}; expected (N, 2) or (B, N, 2)")
    if labels.shape != points.shape[:-1]:
        raise PromptError(
            f"point_labels have shape {labels.shape}; expected {points.shape[:-1]}, one per point"
        )
    if not np.isin(labels, LABELS).all():
        raise PromptError("point_labels must be 1 (on the object) or 0 (beside it)")
    return (points, labels) if points.ndim == 3 else (points[None], labels[None])


def _boxes(box: npt.ArrayLike) -> FloatArray:
    boxes = _numbers(box, "box")
    if boxes.size == 0 or boxes.size % 4 or boxes.shape[-1] not in (2, 4):
        raise PromptError(f"box has shape {boxes.shape}; expected (4,) or (B, 4)")
    return boxes.reshape(-1, 2, 2)


def _masks(mask_input: npt.ArrayLike, mask_size: int) -> FloatArray:
    masks = _numbers(mask_input, "mask_input")
    if masks.ndim not in (3, 4) or masks.shape[-3:] != (1, mask_size, mask_size) or not len(masks):
        expected = f"(1, {mask_size}, {mask_size}) or (B, 1, {mask_size}, {mask_size})"
        raise PromptError(f"mask_input has shape {masks.shape}; expected {expected}")
    return masks.reshape(-1, mask_size, mask_size)


def _count(points: FloatArray | None, boxes: FloatArray | None, masks: FloatArray | None) -> int:
    counts = {
        name: len(part) for name, part in (("point_coords", points), ("box", boxes)) if part is not None
    }
    if not counts:
        return 1 if masks is None else len(masks)
    if len(set(counts.values())) > 1:
        raise PromptError(
            f"point_coords are for {counts['point_coords']} objects, box for {counts['box']}; give as many"
        )
    num = next(iter(counts.values()))
    if masks is not None and len(masks) not in (1, num):
        raise PromptError(f"mask_input has {len(masks)} masks for {num} objects; give one, or one per object")
    return num


def _numbers(value: Any, name: str) -> FloatArray:
    """A float32 array; takes lists, arrays and tensors."""
    try:
        array = np.asarray(value.detach().cpu() if hasattr(value, "detach") else value, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise PromptError(f"{name} is not an array of numbers") from error
    if not np.isfinite(array).all():
        raise PromptError(f"{name} contains NaN or infinity; pass finite numbers")
    return array
