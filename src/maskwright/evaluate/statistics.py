"""Figures of one object over the frames of a sequence, as DAVIS 2017 sums them up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_PARTS = 4
_GOOD = 0.5


@dataclass(frozen=True)
class Statistics:
    """J or F of one object over frames, or the means of these over objects."""

    mean: float
    recall: float
    """Share of frames above 0.5."""
    decay: float
    """Mean of the first quarter of the frames minus that of the last: what is lost on the way."""

    @classmethod
    def of(cls, values: Sequence[float]) -> Statistics:
        """Over the frames of one object, at least one; ``db_statistics`` of ``davis2017-evaluation``.

        Neighbouring quarters share the frame between them, as they do there.
        """
        by_frame = np.asarray(values, np.float64)
        edges = np.round(np.linspace(1, len(by_frame), _PARTS + 1) + 1e-10).astype(int) - 1
        first, last = by_frame[: edges[1] + 1], by_frame[edges[-2] :]
        return cls(
            float(by_frame.mean()), float((by_frame > _GOOD).mean()), float(first.mean() - last.mean())
        )

    @classmethod
    def over(cls, several: Sequence[Statistics]) -> Statistics:
        """Means over objects, at least one."""
        mean, recall, decay = np.mean([(one.mean, one.recall, one.decay) for one in several], axis=0)
        return cls(float(mean), float(recall), float(decay))
