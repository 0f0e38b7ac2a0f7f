"""What has to be kept up with: everything that can be chosen, in one frozen value."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from maskwright.errors import InputError
from maskwright.types import Size

Task = Literal["video", "photo"]
UNITS: dict[Task, str] = {"video": "frames/s", "photo": "photographs/s"}
MOST_OBJECTS = 64
RESERVE = 0.2
"""Share of the time that is kept free for reading, drawing and writing."""


@dataclass(frozen=True)
class Budget:
    """How fast a model has to be, for ``load(target_fps=...)``.

    Raises:
        InputError: a value outside its range.
    """

    per_second: float
    """Frames, or photographs, per second."""
    task: Task = "video"
    """``video``: a tracked frame with full memories; ``photo``: embedding one and answering one click."""
    objects: int = 1
    """How many are followed together."""
    size: Size = (720, 1280)
    """Height and width of the frames in pixels."""
    seconds: float = 10.0
    """About how long measuring may take, loading included; what is left untried then is not chosen."""
    measure: bool = False
    """Measure anew, instead of going by what was measured on this machine before."""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.per_second) and self.per_second > 0):
            raise InputError(f"target_fps is {self.per_second}; give frames per second, such as 25")
        if self.task not in UNITS:
            raise InputError(f"task is {self.task!r}; choose one of {', '.join(UNITS)}")
        if not 1 <= self.objects <= MOST_OBJECTS:
            raise InputError(f"objects is {self.objects}; it must be 1 to {MOST_OBJECTS}")
        if min(self.size) < 1:
            raise InputError(f"size is {self.size}; give height and width in pixels")
        if not self.seconds > 0:
            raise InputError(f"seconds is {self.seconds}; give more than 0")

    @classmethod
    def of(cls, value: float | Budget) -> Budget:
        """What ``target_fps`` may be."""
        return value if isinstance(value, Budget) else cls(float(value))

    @property
    def allowed(self) -> float:
        """Seconds that one frame may take, the reserve left free."""
        return (1 - RESERVE) / self.per_second

    @property
    def unit(self) -> str:
        """``frames/s`` or ``photographs/s``."""
        return UNITS[self.task]
