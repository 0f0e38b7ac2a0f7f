"""What was measured: plain values that become JSON as they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

FORMAT = "maskwright-bench-1"
"""Stands in the JSON; its number counts incompatible changes."""
LEVELS = ("model", "pipeline", "end_to_end")
"""Tensors on the device to tensors on the device; decoded RGB in host memory to masks in host memory; file to
masks in a file."""
TASKS = {
    "embed": "encode a picture",
    "prompt": "one click",
    "frame": "tracked frame",
    "automask": "automatic masks",
    "start": "first mask, fresh process",
}
STAGES = ("read", "resize", "encode", "recall", "decode", "remember", "upscale", "write", "other")
"""Where the time goes: ``read`` files and their compression; ``resize`` to the network's input and bring it
to the device; the four verbs; ``upscale`` from low-resolution logits to masks, with choosing, cleaning and
filters; ``write`` masks to a file; ``other`` between those."""


@dataclass(frozen=True)
class Timing:
    """One time, measured several times."""

    samples_ms: Sequence[float]
    """At least one."""

    @property
    def p50(self) -> float:
        """Median in milliseconds."""
        return float(np.percentile(self.samples_ms, 50))

    @property
    def p95(self) -> float:
        """95th percentile in milliseconds."""
        return float(np.percentile(self.samples_ms, 95))

    @property
    def per_second(self) -> float:
        """By the median."""
        return 1e3 / max(self.p50, 1e-9)

    def plain(self) -> dict[str, Any]:
        samples = [round(value, 4) for value in self.samples_ms]
        return {"p50_ms": self.p50, "p95_ms": self.p95, "per_second": self.per_second, "samples_ms": samples}


@dataclass(frozen=True)
class Parity:
    """How near the masks are to those of a reference; masks without a counterpart count as IoU 0."""

    reference: str
    """Whose masks they are compared with."""
    masks: int
    """Pairs that were compared."""
    mean_iou: float
    first_percentile_iou: float
    worst_iou: float
    empty: int = 0
    """Of the pairs, those in which both masks are empty: they count as IoU 1, and say little."""
    logit_error: float | None = None
    """Largest difference of mask logits, as a share of the largest logit; None where there are none."""


@dataclass(frozen=True)
class Figure:
    """One task, done by one implementation."""

    model: str
    """Label of the model: its name, and ``random weights`` where it has such."""
    task: str
    """A key of :data:`TASKS`."""
    who: str
    """The implementation and its version."""
    ours: bool
    objects: int
    """Objects that were clicked on or followed, or masks that were found."""
    times: Mapping[str, Timing]
    """By some of :data:`LEVELS`."""
    stages_ms: Mapping[str, float] = field(default_factory=dict)
    """Mean milliseconds by :data:`STAGES`."""
    peak_mib: float | None = None
    """Peak memory of the process, libraries and model included, or with a GPU what is allocated there."""
    parity: Parity | None = None
    notes: Sequence[str] = ()

    @property
    def title(self) -> str:
        """The task in words."""
        followed = f", {self.objects} object{'s' * (self.objects > 1)}"
        return TASKS[self.task] + followed * (self.task == "frame")

    def plain(self) -> dict[str, Any]:
        times = {level: timing.plain() for level, timing in self.times.items()}
        return {**asdict(self), "times": times, "stages_ms": dict(self.stages_ms), "notes": list(self.notes)}


@dataclass(frozen=True)
class Subject:
    """A model that was measured, and what it ran on."""

    name: str
    random_weights: bool
    image_size: int
    video_size: int
    device: str
    dtype: str
    photo: str
    """What is looked at, and its size."""
    film: str

    @property
    def label(self) -> str:
        return f"{self.name} (random weights)" if self.random_weights else self.name


@dataclass
class Report:
    """Everything of a run; grows while it goes on."""

    about: dict[str, Any]
    """Machine, versions, pictures, settings."""
    subjects: list[Subject] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """What could not be measured, and why."""
    finished: bool = False

    def plain(self) -> dict[str, Any]:
        """In values that JSON holds."""
        return {
            "format": FORMAT,
            "finished": self.finished,
            "about": self.about,
            "models": [{**asdict(one), "label": one.label} for one in self.subjects],
            "figures": [figure.plain() for figure in self.figures],
            "notes": self.notes,
        }
