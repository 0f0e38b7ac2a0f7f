"""Prompts that training gives."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from maskwright.io.labelled import Labelled
from maskwright.model.prompt_encoder import (
    BOX_END,
    BOX_START,
    NEGATIVE,
    NO_POINT,
    PADDING,
    POSITIVE,
    PromptTensors,
)
from maskwright.train.cache import find_objects
from maskwright.train.prompts import (
    correction_prompts,
    cover,
    first_prompt,
    jitter_box,
    pick_objects,
    picture_weights,
)
from maskwright.train.settings import TrainConfig

CONFIG = TrainConfig(steps=1, size=64)


@pytest.fixture
def labels() -> np.ndarray:
    found = np.zeros((64, 64), np.uint16)
    found[10:40, 8:30] = 1
    found[20:24, 12:16] = 0
    found[44:60, 40:60] = 7
    found[0, 0] = 3
    return found


def test_objects_are_found_with_box_and_centre(labels):
    objects = find_objects(labels, min_pixels=10)
    assert objects.ids.tolist() == [1, 7]
    assert objects.boxes.tolist() == [[8, 10, 30, 40], [40, 44, 60, 60]]
    assert all(labels[y, x] == number for number, (x, y) in zip(objects.ids, objects.centres, strict=True))


def test_mirrored_objects_match_the_mirrored_labels(labels):
    mirrored, again = find_objects(labels, 10).mirrored(64), find_objects(labels[:, ::-1], 10)
    np.testing.assert_array_equal(mirrored.boxes, again.boxes)
    for number, (x, y) in zip(mirrored.ids, mirrored.centres, strict=True):
        assert labels[:, ::-1][y, x] == number


def test_clicks_lie_on_the_object_and_kinds_come_in_their_shares(labels):
    objects, rng, kinds = find_objects(labels, 10), np.random.default_rng(0), Counter()
    mask = labels == 1
    for _ in range(2000):
        points, point_labels = first_prompt(mask, objects.boxes[0], objects.centres[0], CONFIG, rng)
        assert point_labels[3] == NO_POINT
        has_box, has_click = point_labels[0] == BOX_START, point_labels[2] == POSITIVE
        assert has_box == (point_labels[1] == BOX_END)
        kinds[has_box, has_click] += 1
        if has_click:
            x, y = points[2].astype(int)
            assert mask[y, x]
    assert kinds[False, False] == 0
    assert kinds[True, False] / 2000 == pytest.approx(CONFIG.box_share, abs=0.04)
    assert kinds[True, True] / 2000 == pytest.approx(CONFIG.both_share, abs=0.03)


def test_jittered_boxes_stay_inside_and_upright():
    rng, boxes = np.random.default_rng(0), []
    for _ in range(500):
        corners = jitter_box(np.array([0, 5, 64, 9]), CONFIG, rng)
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
    samples = [Labelled(str(n), Path(), Path(), source) for n, source in enumerate("aaaaaaaab")]
    usable = np.array([True] * 9)
    by_source = picture_weights(samples, usable, 0.0)
    assert by_source[8] == pytest.approx(0.5)
    assert picture_weights(samples, usable, 1.0)[8] == pytest.approx(1 / 9)
    usable[0] = False
    assert picture_weights(samples, usable, 1.0)[0] == 0


def test_cover_is_the_share_of_each_cell():
    mask = np.zeros((8, 8), bool)
    mask[:2, :4] = True
    assert cover(mask).tolist() == [[0.5, 0.0], [0.0, 0.0]]


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
