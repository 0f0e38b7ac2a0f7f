"""How near the masks of one implementation are to those of another."""

from __future__ import annotations

from typing import Any

import numpy as np

from maskwright.measure.results import Parity
from maskwright.measure.shots import Answer
from maskwright.pixels.metrics import iou
from maskwright.types import BoolArray


class Comparison:
    """Collects answers to the same questions, pair by pair."""

    def __init__(self, reference: str) -> None:
        self._reference = reference
        self._ious: list[float] = []
        self._empty = 0
        self._error: float | None = None

    def add(self, answer: Answer, wanted: Answer) -> None:
        """Masks in the same order."""
        self._ious += iou(answer.masks, wanted.masks).ravel().tolist()
        self._empty += int((~(answer.masks.any((1, 2)) | wanted.masks.any((1, 2)))).sum())
        if answer.logits is not None and wanted.logits is not None:
            scale = max(float(np.abs(wanted.logits).max(initial=0.0)), 1e-12)
            error = float(np.abs(answer.logits - wanted.logits).max(initial=0.0)) / scale
            self._error = max(error, self._error or 0.0)

    def add_unordered(self, answer: Answer, wanted: Answer) -> None:
        """Any masks of one picture, matched one to one, best pairs first; those left over count as 0."""
        self._ious += matched(answer.masks, wanted.masks)

    @property
    def parity(self) -> Parity | None:
        """None if nothing was compared."""
        if not self._ious:
            return None
        ious = np.array(self._ious)
        return Parity(
            self._reference,
            len(ious),
            float(ious.mean()),
            float(np.percentile(ious, 1)),
            float(ious.min()),
            self._empty,
            self._error,
        )


def matched(masks: BoolArray, wanted: BoolArray) -> list[float]:
    """IoU of each pair of masks (N, h, w) and (M, h, w), best pairs first, and 0 for each without a partner.

    Pairs below an IoU of 0.5 are none: with it, a mask has one partner at most.
    """
    most = max(len(masks), len(wanted))
    if not len(masks) or not len(wanted):
        return [0.0] * most
    from pycocotools import mask as coco

    table = np.asarray(coco.iou(_encoded(masks), _encoded(wanted), [0] * len(wanted)), np.float64)
    pairs: list[float] = []
    while table.max() >= 0.5:
        row, column = np.unravel_index(table.argmax(), table.shape)
        pairs.append(float(table[row, column]))
        table[row, :] = table[:, column] = -1.0
    return pairs + [0.0] * (most - len(pairs))


def _encoded(masks: BoolArray) -> Any:
    from pycocotools import mask as coco

    return [coco.encode(np.asfortranarray(one, dtype=np.uint8)) for one in masks]
