"""Draw training questions: which pictures, which objects, and boxes and clicks that a person might give.

Everything here is numpy and depends only on the random generator that is passed in.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, from_numpy

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
from maskwright.train.cache import FeatureCache
from maskwright.train.settings import TrainConfig

NUM_POINTS = 4
"""Slots of a first prompt: two box corners, one click, the padding point of the official code."""


@dataclass(frozen=True)
class Batch:
    """One training step's pictures and questions, at the network's input size."""

    levels: list[Tensor]
    """Trunk levels, each (B, C, side, side) fp16."""
    targets_BPHW: Tensor
    """Share of every mask-grid cell that the object covers, fp32 in 0..1."""
    prompts: PromptTensors
    """First prompts, ``NUM_POINTS`` slots each."""


def picture_weights(samples: Sequence[Labelled], usable: np.ndarray, power: float) -> np.ndarray:
    """Probability of each picture: a source of n usable pictures gets a share in proportion to n ** power."""
    counts = Counter(sample.source for sample, use in zip(samples, usable, strict=True) if use)
    weights = np.array(
        [counts[s.source] ** (power - 1) if use else 0.0 for s, use in zip(samples, usable, strict=True)]
    )
    return np.asarray(weights / weights.sum())


class BatchDrawer:
    """Draws batch number ``step`` from a cache: the same one whenever it is asked for it."""

    def __init__(self, cache: FeatureCache, config: TrainConfig) -> None:
        self.cache, self.config = cache, config
        cache.index_objects(int(config.min_area * config.size**2))
        usable = np.array([len(cache.objects(index, 0).ids) > 0 for index in range(len(cache))])
        self.weights = picture_weights(cache.samples, usable, config.source_power)

    def draw(self, step: int) -> Batch:
        """Pictures, objects and prompts of one step."""
        config = self.config
        rng = np.random.default_rng((config.seed, step))
        chosen = rng.choice(len(self.weights), size=config.pictures, replace=False, p=self.weights)
        picks = [(int(index), int(rng.integers(2))) for index in chosen]
        targets, points, labels = [], [], []
        for index, view in picks:
            objects = self.cache.objects(index, view)
            label_map = self.cache.labels(index, view)
            for which in pick_objects(len(objects.ids), config.prompts, rng):
                mask = label_map == objects.ids[which]
                xy, kinds = first_prompt(mask, objects.boxes[which], objects.centres[which], config, rng)
                targets.append(cover(mask))
                points.append(xy)
                labels.append(kinds)
        shape = (config.pictures, config.prompts)
        return Batch(
            self.cache.levels(picks),
            from_numpy(np.stack(targets)).unflatten(0, shape),
            PromptTensors(
                from_numpy(np.stack(points)).unflatten(0, shape),
                from_numpy(np.stack(labels)).unflatten(0, shape),
            ),
        )


def pick_objects(available: int, wanted: int, rng: np.random.Generator) -> np.ndarray:
    """``wanted`` object numbers, each as often as any other or once more than it, in random order."""
    rounds = [rng.permutation(available) for _ in range(-(-wanted // available))]
    return np.concatenate(rounds)[:wanted]


def cover(mask: np.ndarray) -> np.ndarray:
    """Share of each 4x4 block that is set: (h, w) bool to (h/4, w/4) fp32."""
    height, width = mask.shape
    blocks = mask.reshape(height // 4, 4, width // 4, 4)
    return np.asarray(blocks.mean(axis=(1, 3), dtype=np.float32))


def first_prompt(
    mask: np.ndarray, box: np.ndarray, centre: np.ndarray, config: TrainConfig, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """A box, a click or both for one object: points (4, 2) fp32 in input pixels, labels (4,) int64."""
    points = np.zeros((NUM_POINTS, 2), np.float32)
    labels = np.array([PADDING, PADDING, PADDING, NO_POINT], np.int64)
    kind = rng.random()
    if kind < config.box_share + config.both_share:
        points[:2] = jitter_box(box, config, rng)
        labels[:2] = BOX_START, BOX_END
    if kind >= config.box_share:
        points[2] = inner_point(mask, box, centre, config.centre_share, rng)
        labels[2] = POSITIVE
    return points, labels


def jitter_box(box: np.ndarray, config: TrainConfig, rng: np.random.Generator) -> np.ndarray:
    """The box's two corners (2, 2) with every edge moved a little, inside the picture and never inverted.

    A third of the boxes stay exact, since annotators and detectors often give tight ones.
    """
    corners = box.reshape(2, 2).astype(np.float32)
    if rng.random() < 1 / 3:
        return corners
    sides = corners[1] - corners[0]
    noise = np.clip(rng.normal(0, config.box_jitter, (2, 2)), -0.2, 0.2)
    moved = np.clip(corners + noise * sides, 0, config.size)
    return np.asarray(moved, np.float32)


def inner_point(
    mask: np.ndarray, box: np.ndarray, centre: np.ndarray, centre_share: float, rng: np.random.Generator
) -> np.ndarray:
    """A click (2,) on the object: near its centre, or anywhere on it."""
    x0, y0, x1, y1 = (int(edge) for edge in box)
    if rng.random() < centre_share:
        spread = 0.08 * np.array((x1 - x0, y1 - y0))
        x, y = np.clip(np.rint(centre + rng.normal(0, 1, 2) * spread), 0, mask.shape[0] - 1).astype(int)
        return np.array((x, y) if mask[y, x] else centre, np.float32)
    inside = np.flatnonzero(mask[y0:y1, x0:x1])
    row, column = divmod(int(rng.choice(inside)), x1 - x0)
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
