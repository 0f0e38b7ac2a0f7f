"""Questions to learn from: which pictures, which objects, and boxes and clicks that a person might give.

Everything here is numpy and depends only on the random generator that is passed in.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import from_numpy

from maskwright.model.prompt_encoder import (
    BOX_END,
    BOX_START,
    NEGATIVE,
    NO_POINT,
    PADDING,
    POSITIVE,
    PromptTensors,
)
from maskwright.pixels.clicks import centre
from maskwright.types import BoolArray

NUM_POINTS = 4
"""Slots of a first prompt: two box corners, one click, the padding point of the official code."""


@dataclass(frozen=True)
class PromptConfig:
    """How objects are asked for, and how wrong answers are corrected."""

    box: float = 0.45
    """Share of first prompts that are a box alone, 0..1."""
    both: float = 0.1
    """Share of first prompts that are a box and one click; the rest are clicks alone."""
    centre: float = 0.5
    """Share of first clicks near the object's centre; the others fall anywhere on it."""
    jitter: float = 0.06
    """Standard deviation of each box edge, as a share of the box's side."""
    correct: float = 0.35
    """Share of steps that go on with corrective clicks."""
    clicks: int = 2
    """Most corrective clicks in such a step; SAM 2's own training gives seven."""
    mask: float = 0.85
    """Share of these steps in which the previous logits come back as mask prompt."""


def picture_weights(sources: Sequence[str], power: float) -> np.ndarray:
    """Probability of each picture: a source of n pictures gets a share in proportion to n ** power."""
    counts = Counter(sources)
    weights = np.array([counts[source] ** (power - 1) for source in sources])
    return np.asarray(weights / weights.sum())


def pick_objects(available: int, wanted: int, rng: np.random.Generator) -> np.ndarray:
    """``wanted`` object numbers, each as often as any other or once more than it, in random order."""
    rounds = [rng.permutation(available) for _ in range(-(-wanted // available))]
    return np.concatenate(rounds)[:wanted]


def first_prompt(
    mask: BoolArray, box: np.ndarray, config: PromptConfig, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """A box, a click or both for one object: points (4, 2) fp32 in input pixels, labels (4,) int64.

    ``mask`` is (h, w) at the network's input size, ``box`` its tight box, half-open xyxy.
    """
    points = np.zeros((NUM_POINTS, 2), np.float32)
    labels = np.array([PADDING, PADDING, PADDING, NO_POINT], np.int64)
    kind = rng.random()
    if kind < config.box + config.both:
        points[:2] = jitter_box(box, config.jitter, mask.shape, rng)
        labels[:2] = BOX_START, BOX_END
    if kind >= config.box:
        points[2] = inner_point(mask, box, config.centre, rng)
        labels[2] = POSITIVE
    return points, labels


def jitter_box(
    box: np.ndarray, jitter: float, shape: tuple[int, ...], rng: np.random.Generator
) -> np.ndarray:
    """The box's two corners (2, 2) with every edge moved a little, inside the picture and never inverted.

    A third of the boxes stay exact, since annotators and detectors often give tight ones.
    """
    corners = box.reshape(2, 2).astype(np.float32)
    if rng.random() < 1 / 3:
        return corners
    sides = corners[1] - corners[0]
    noise = np.clip(rng.normal(0, jitter, (2, 2)), -0.2, 0.2)
    return np.asarray(np.clip(corners + noise * sides, 0, shape[::-1]), np.float32)


def inner_point(
    mask: BoolArray, box: np.ndarray, centre_share: float, rng: np.random.Generator
) -> np.ndarray:
    """A click (2,) on the object: near its centre, or anywhere on it."""
    x0, y0, x1, y1 = (int(edge) for edge in box)
    inside = mask[y0:y1, x0:x1]
    if rng.random() < centre_share:
        middle = np.add(centre(inside), (x0, y0))
        spread = 0.08 * np.array((x1 - x0, y1 - y0))
        x, y = np.clip(np.rint(middle + rng.normal(0, 1, 2) * spread), (x0, y0), (x1 - 1, y1 - 1)).astype(int)
        return np.array((x, y) if mask[y, x] else middle, np.float32)
    row, column = divmod(int(rng.choice(np.flatnonzero(inside))), x1 - x0)
    return np.array((x0 + column, y0 + row), np.float32)


def correction_prompts(
    prompts: PromptTensors, given_BPHW: np.ndarray, targets_BPHW: np.ndarray, rng: np.random.Generator
) -> PromptTensors:
    """Add one click per object where the given mask is wrong: positive if it misses, negative if it spills.

    ``given_BPHW`` is bool on the mask grid. Where nothing is wrong the slot stays padding.
    """
    wanted_BPHW = targets_BPHW > 0.5
    wrong = (wanted_BPHW != given_BPHW).reshape(-1, given_BPHW.shape[-2] * given_BPHW.shape[-1])
    wanted = wanted_BPHW.reshape(wrong.shape)
    points = np.zeros((len(wrong), 1, 2), np.float32)
    labels = np.full((len(wrong), 1), PADDING, np.int64)
    for number, cells in enumerate(wrong):
        candidates = np.flatnonzero(cells)
        if len(candidates):
            cell = int(_deepest(cells.reshape(given_BPHW.shape[-2:]), candidates, rng))
            row, column = divmod(cell, given_BPHW.shape[-1])
            points[number] = (column * 4 + 1.5, row * 4 + 1.5)
            labels[number] = POSITIVE if wanted[number, cell] else NEGATIVE
    shape = prompts.labels_BPK.shape[:2]
    new_points, new_labels = from_numpy(points).unflatten(0, shape), from_numpy(labels).unflatten(0, shape)
    return prompts._replace(
        points_BPK2=torch.cat((prompts.points_BPK2, new_points), dim=2),
        labels_BPK=torch.cat((prompts.labels_BPK, new_labels), dim=2),
    )


def _deepest(wrong: np.ndarray, candidates: np.ndarray, rng: np.random.Generator) -> int:
    """Of six random wrong cells, the one with the most wrong cells in the 5x5 around it."""
    drawn = rng.choice(candidates, size=6)
    rows, columns = np.divmod(drawn, wrong.shape[1])
    padded = np.pad(wrong, 2)
    counts = [padded[r : r + 5, c : c + 5].sum() for r, c in zip(rows, columns, strict=True)]
    return int(drawn[int(np.argmax(counts))])
