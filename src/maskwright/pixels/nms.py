"""Non-maximum suppression: of boxes that overlap much, only the one with the highest score stays."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from maskwright.types import FloatArray, IntArray


def nms(boxes: npt.ArrayLike, scores: npt.ArrayLike, max_overlap: float) -> IntArray:
    """Indices of the boxes that stay, best first.

    Greedy, as ``torchvision.ops.nms``: from the highest score down, every box removes those after it whose
    IoU with it is above ``max_overlap``; equal scores keep their order. Float32 arithmetic in the same order,
    so that the same boxes stay. A box without an area neither removes nor is removed.

    Args:
        boxes: (N, 4) ``xyxy``, numbers.
        scores: (N,).
        max_overlap: IoU above which two boxes are the same thing; 1 or more keeps all.

    Returns:
        (n,) int64, in descending order of score.
    """
    values: FloatArray = np.asarray(scores, dtype=np.float32)
    left: IntArray = np.argsort(-values, kind="stable")
    if max_overlap >= 1:
        return left
    x0, y0, x1, y1 = np.asarray(boxes, dtype=np.float32).reshape(-1, 4).T
    areas = (x1 - x0) * (y1 - y0)
    kept = []
    while len(left):
        best, left = left[0], left[1:]
        kept.append(best)
        wide = np.minimum(x1[best], x1[left]) - np.maximum(x0[best], x0[left])
        high = np.minimum(y1[best], y1[left]) - np.maximum(y0[best], y0[left])
        shared = np.maximum(wide, 0) * np.maximum(high, 0)
        union = areas[best] + areas[left] - shared
        overlap = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
        left = left[overlap.astype(np.float64) <= max_overlap]
    return np.array(kept, dtype=np.int64)
