"""What the tests of ``target_fps`` share: a machine whose speeds are put in, and a clock."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from maskwright.budget.candidates import Candidate, Known, ordered
from maskwright.budget.choice import BudgetChoice
from maskwright.budget.options import Budget
from maskwright.budget.search import Trials, settle
from maskwright.budget.store import Speeds
from maskwright.budget.timing import Speed
from maskwright.config import PRESETS
from maskwright.errors import CheckpointError

NANO, TINY, LARGE = (Known(name, PRESETS[name]) for name in ("nano", "sam2.1-tiny", "sam2.1-large"))
CPU = torch.device("cpu")


class Clock:
    """Goes on when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Machine:
    """Times of frames by title of the candidate; loading takes a second."""

    seconds: Mapping[str, float]
    path: Path
    peak: float = 1e9
    """GFLOP per second; nothing is passed over for its arithmetic unless this is little."""
    clock: Clock = field(default_factory=Clock)
    loaded: list[str] = field(default_factory=list)
    timed: list[str] = field(default_factory=list)
    broken: tuple[str, ...] = ()
    busy: bool = False
    ready: Callable[[Candidate], bool] = lambda _candidate: True
    """Whether another runtime can be taken for a setting."""

    def settle(self, budget: Budget, candidates: list[Candidate]) -> tuple[Any, BudgetChoice]:
        speeds = Speeds(CPU, self.path)
        trials: Trials[Any] = Trials(
            self._load,
            budget,
            speeds,
            lambda _dtype: self.peak,
            self._speed,
            lambda: self.busy,
            self.ready,
            self.clock,
        )
        return settle(trials, candidates)

    def _load(self, candidate: Candidate) -> str:
        if candidate.model.config.name in self.broken:
            raise CheckpointError("the file is damaged")
        self.clock.now += 1
        self.loaded.append(candidate.title)
        return candidate.title

    def _speed(self, model: str, budget: Budget, end: float, clock: Callable[[], float]) -> Speed:
        self.timed.append(model)
        self.clock.now += 6 * self.seconds[model]
        return Speed(self.seconds[model], 5)


def candidates(
    *models: Known, dtypes: tuple[str, ...] = ("float32",), runtimes: tuple[str, ...] = ("eager",)
) -> list[Candidate]:
    return ordered(models, "video", dtypes, None, runtimes)


SPEEDS = {
    "sam2.1-large at 1024 px in float32": 1.0,
    "sam2.1-tiny at 1024 px in float32": 0.3,
    "sam2.1-large at 768 px in float32": 0.4,
    "sam2.1-tiny at 768 px in float32": 0.1,
    "sam2.1-large at 512 px in float32": 0.2,
    "sam2.1-tiny at 512 px in float32": 0.06,
    "nano at 640 px in float32": 0.09,
    "nano at 512 px in float32": 0.05,
    "nano at 448 px in float32": 0.04,
    "nano at 384 px in float32": 0.03,
    "nano at 320 px in float32": 0.025,
    "nano at 256 px in float32": 0.02,
}
