"""Settings that may be chosen, the most accurate first, and how much arithmetic each of them takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maskwright.budget.accuracy import PUBLISHED, cost, figure, sizes, standing
from maskwright.budget.options import Budget, Task
from maskwright.config import HieraConfig, ModelConfig
from maskwright.runtime.select import EAGER

_ENCODER = {96: {7: 292.0, 11: 360.0}, 112: {16: 647.0}, 144: {36: 1823.0}}
"""GFLOP of the official image encoders at 1024 px, by width and blocks of the third stage."""
_FULL = 1024
_CROSS, _REST = 370.0, 46.0
"""GFLOP of memory attention at 1024 px: what grows with the fourth power of the side, and with the square."""


@dataclass(frozen=True)
class Known:
    """A model that is on this machine, or that was named."""

    source: str | Path
    """A catalogue name, whose file is here, or a file."""
    config: ModelConfig
    """At its own size."""

    @property
    def is_named(self) -> bool:
        """Whether it was asked for."""
        return isinstance(self.source, Path)

    def own_size(self, task: Task) -> int:
        """Input side in pixels that the model has for a task, if nobody chooses."""
        return (self.config.for_video if task == "video" else self.config).image_size


@dataclass(frozen=True)
class Candidate:
    """A model at an input size in a dtype, on a runtime."""

    model: Known
    task: Task
    side: int
    """Input side in pixels."""
    dtype: str
    """``float32``, ``bfloat16`` or ``float16``."""
    runtime: str = EAGER
    """What executes it, as ``runtime.select`` names it."""

    @property
    def is_own_size(self) -> bool:
        return self.side == self.model.own_size(self.task)

    @property
    def options(self) -> dict[str, Any]:
        """What ``load`` is given besides the model."""
        side = None if self.is_own_size else self.side
        return {"image_size": side, "dtype": self.dtype, "runtime": self.runtime}

    @property
    def title(self) -> str:
        """For people; the runtime only where it is not the default."""
        where = "" if self.runtime == EAGER else f" on {self.runtime}"
        return f"{self.model.config.name} at {self.side} px in {self.dtype}{where}"

    @property
    def cost(self) -> str:
        """What it gives up against the model's own size in float32."""
        return cost(self.model.config.name, self.side, self.model.own_size(self.task), self.dtype, self.task)

    @property
    def standing(self) -> str:
        """What is known of the model."""
        return standing(self.model.config.name, self.model.own_size(self.task), self.task)

    def least_gflop(self, budget: Budget) -> float:
        """Arithmetic of one frame that no kernel gets around; 0 where it is not known."""
        encoder = encoder_gflop(self.model.config, self.side)
        if budget.task == "photo" or not encoder:
            return encoder
        share = (self.side / _FULL) ** 2
        return encoder + budget.objects * (_CROSS * share**2 + _REST * share)


def encoder_gflop(config: ModelConfig, side: int) -> float:
    """Of the image encoder of an official network; 0 for others."""
    trunk = config.trunk
    if not isinstance(trunk, HieraConfig):
        return 0.0
    whole = _ENCODER.get(trunk.width, {}).get(trunk.depths[2], 0.0)
    # blocks that attend to the whole picture: products of queries with keys, and of these with values
    tokens, channels = (_FULL // 16) ** 2, trunk.channels[2]
    everywhere = min(whole, len(trunk.global_blocks) * 4e-9 * tokens**2 * channels)
    share = (side / _FULL) ** 2
    return (whole - everywhere) * share + everywhere * share**2


def ordered(
    models: Sequence[Known],
    task: Task,
    dtypes: Sequence[str],
    side: int | None,
    runtimes: Sequence[str] = (EAGER,),
) -> list[Candidate]:
    """Everything that may be chosen, the most accurate first.

    Official models at their own size by published accuracy, then at smaller sizes, of which nothing is known
    but that the size matters more than the model; then nano by measured accuracy. Runtimes compute the same.

    Args:
        models: Those that may be chosen.
        task: What has to be kept up with.
        dtypes: Compute dtypes, the exact one first.
        side: An input size that was asked for; None leaves it open.
        runtimes: What may execute them, in the order in which each setting is tried on them.
    """
    found = []
    for one in sorted(
        models, key=lambda one: (one.config.name == "nano", -PUBLISHED.get(one.config.name, 0.0))
    ):
        own = one.own_size(task)
        tried = sizes(one.config.name, own, task) if side is None else [side]
        found += [
            Candidate(one, task, size, dtype, runtime)
            for size in tried
            for dtype in dtypes
            for runtime in runtimes
        ]
    return sorted(found, key=_rank)


def _rank(one: Candidate) -> tuple[bool, float]:
    """Sorting by it keeps the order of models, of dtypes that are equally good, and of runtimes."""
    if one.model.config.name == "nano":
        return True, -figure(one.side, one.dtype, one.task)
    return False, 0.0 if one.is_own_size else 1 / one.side
