"""One measurement of one implementation, and what every implementation is asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from maskwright.types import BoolArray, FloatArray


class Failure(Exception):
    """An implementation could not do what it was asked for. Becomes a note; never leaves this package."""


class Answer(NamedTuple):
    """Masks on the host, for comparing."""

    masks: BoolArray
    """(N, h, w)."""
    logits: FloatArray | None
    """(N, m, m) or (N, h, w), or None."""


@dataclass(frozen=True)
class Shot:
    """Seconds of one piece of work."""

    times: Mapping[str, float]
    """By some of ``results.LEVELS``."""
    stages: Mapping[str, float] = field(default_factory=dict)
    answer: Answer | None = None
    """Of those that are compared."""


Click = tuple[float, float]
Corners = tuple[float, float, float, float]


class Contestant(Protocol):
    """An implementation of SAM 2 with a model loaded, a picture and a film."""

    who: str
    """Name and version."""
    ours: bool

    def embed(self) -> Shot: ...

    def prompt(self, click: Click) -> Shot:
        """Three candidate masks for a click in the picture that was embedded last."""
        ...

    def begin(self, boxes: Sequence[Corners], *, full: bool = False) -> Shot:
        """Open the film and prompt its first frame, an object for each box.

        Args:
            boxes: Of the objects.
            full: Fill the memories with copies of what is remembered of that frame. Only asked of ours.
        """
        ...

    def next(self) -> Shot:
        """Follow them into the next frame."""
        ...

    def automask(self) -> Shot: ...

    def fresh(self, click: Click) -> Shot:
        """A fresh process, from its start to the first mask."""
        ...

    def peak_mib(self, *, restart: bool = False) -> float | None:
        """Peak memory since the last restart."""
        ...

    def close(self) -> None: ...
