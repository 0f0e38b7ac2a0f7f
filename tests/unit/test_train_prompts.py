"""Prompts that training gives."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch

from maskwright.model.prompt_encoder import (
    BOX_END,
    BOX_START,
    NEGATIVE,
    NO_POINT,
    PADDING,
    POSITIVE,
    PromptTensors,
)
from maskwright.pixels.boxes import boxes_of
from maskwright.train.prompts import (
    PromptConfig,
    correction_prompts,
    first_prompt,
    jitter_box,
    pick_objects,
    picture_weights,
)

CONFIG = PromptConfig()


@pytest.fixture
def mask() -> np.ndarray:
    """A plate with a hole in it."""
    found = np.zeros((64, 64), bool)
    found[10:40, 8:30] = True
    found[20:24, 12:16] = False
    return found


def test_clicks_lie_on_the_object_and_kinds_come_in_their_shares(mask):
    rng, kinds = np.random.default_rng(0), Counter()
    for _ in range(2000):
        points, point_labels = first_prompt(mask, boxes_of(mask), CONFIG, rng)
        assert point_labels[3] == NO_POINT
        has_box, has_click = point_labels[0] == BOX_START, point_labels[2] == POSITIVE
        assert has_box == (point_labels[1] == BOX_END)
        kinds[has_box, has_click] += 1
        if has_click:
            x, y = points[2].astype(int)
            assert mask[y, x]
    assert kinds[False, False] == 0
    assert kinds[True, False] / 2000 == pytest.approx(CONFIG.box, abs=0.04)
    assert kinds[True, True] / 2000 == pytest.approx(CONFIG.both, abs=0.03)


def test_jittered_boxes_stay_inside_and_upright():
    rng, boxes = np.random.default_rng(0), []
    for _ in range(500):
        corners = jitter_box(np.array([0, 5, 64, 9]), CONFIG.jitter, (64, 64), rng)
        assert corners.min() >= 0
        assert corners.max() <= 64
        assert (corners[1] > corners[0]).all()
        boxes.append(tuple(corners.ravel()))
    assert 100 < boxes.count((0, 5, 64, 9)) < 250


def test_objects_repeat_only_where_there_are_too_few():
    rng = np.random.default_rng(0)
    assert sorted(pick_objects(3, 8, rng).tolist()) in (
        [0, 0, 0, 1, 1, 1, 2, 2],
        [0, 0, 0, 1, 1, 2, 2, 2],
        [0, 0, 1, 1, 1, 2, 2, 2],
    )
    assert len(set(pick_objects(30, 8, rng).tolist())) == 8


def test_sources_are_balanced_by_the_power():
    sources = list("aaaaaaaab")
    assert picture_weights(sources, 0.0)[8] == pytest.approx(0.5)
    assert picture_weights(sources, 1.0)[8] == pytest.approx(1 / 9)


def test_correction_clicks_are_where_the_mask_is_wrong():
    targets = np.zeros((1, 3, 16, 16), np.float32)
    targets[0, :, 4:10, 4:10] = 1
    given = np.zeros((1, 3, 16, 16), bool)
    given[0, 1, 4:10, 4:14] = True
    given[0, 2, 4:10, 4:10] = True
    first = PromptTensors(torch.zeros(1, 3, 4, 2), torch.full((1, 3, 4), PADDING))
    prompts = correction_prompts(first, given, targets, np.random.default_rng(0))
    assert prompts.points_BPK2.shape == (1, 3, 5, 2)
    assert prompts.labels_BPK[0, :, 4].tolist() == [POSITIVE, NEGATIVE, PADDING]
    cells = (prompts.points_BPK2[0, :2, 4] / 4).long()
    assert targets[0, 0, cells[0, 1], cells[0, 0]] == 1
    assert given[0, 1, cells[1, 1], cells[1, 0]]
    assert targets[0, 1, cells[1, 1], cells[1, 0]] == 0
