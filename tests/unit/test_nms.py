from __future__ import annotations

import numpy as np
import pytest

from maskwright.pixels.nms import nms


def plain(boxes: np.ndarray, scores: np.ndarray, most: float) -> list[int]:
    """The definition, box by box."""
    kept: list[int] = []
    for index in sorted(range(len(boxes)), key=lambda i: (-scores[i], i)):
        x0, y0, x1, y1 = boxes[index]
        for other in kept:
            a0, b0, a1, b1 = boxes[other]
            shared = max(0.0, min(x1, a1) - max(x0, a0)) * max(0.0, min(y1, b1) - max(y0, b0))
            union = (x1 - x0) * (y1 - y0) + (a1 - a0) * (b1 - b0) - shared
            if union and shared / union > most:
                break
        else:
            kept.append(index)
    return kept


@pytest.mark.parametrize("most", [0.0, 0.3, 0.7, 0.99])
def test_it_is_the_greedy_definition(most: float) -> None:
    rng = np.random.default_rng(3)
    corners = rng.integers(0, 40, (200, 2))
    boxes = np.concatenate((corners, corners + rng.integers(0, 30, (200, 2))), axis=1)
    scores = rng.integers(0, 20, 200) / 20
    kept = nms(boxes, scores, most)
    assert kept.dtype == np.int64
    assert kept.tolist() == plain(boxes, scores, most)


def test_equal_scores_keep_their_order() -> None:
    boxes = [[0, 0, 4, 4], [10, 0, 14, 4], [0, 0, 4, 4], [20, 0, 24, 4]]
    assert nms(boxes, [0.5, 0.5, 0.5, 0.9], 0.7).tolist() == [3, 0, 1]


def test_the_limit_itself_is_kept() -> None:
    assert nms([[0, 0, 4, 4], [0, 0, 4, 2]], [1, 0.5], 0.5).tolist() == [0, 1]
    assert nms([[0, 0, 4, 4], [0, 0, 4, 2]], [1, 0.5], 0.49).tolist() == [0]


def test_boxes_without_area_and_no_boxes() -> None:
    assert nms([[3, 3, 3, 3], [3, 3, 3, 3], [0, 0, 9, 9]], [0.1, 0.2, 0.3], 0.5).tolist() == [2, 1, 0]
    assert nms(np.zeros((0, 4)), [], 0.5).tolist() == []


def test_one_or_more_keeps_all_in_order_of_score() -> None:
    assert nms([[0, 0, 4, 4]] * 3, [0.1, 0.3, 0.2], 1.01).tolist() == [1, 2, 0]
