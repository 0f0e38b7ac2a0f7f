"""What is to be measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from maskwright.errors import InputError

PARTS = ("image", "video", "automask", "start")
"""A picture and a click; tracked frames; everything in a picture; the first mask of a fresh process."""
MOST_OBJECTS = 64
LEAST_SECONDS = 1.0


@dataclass(frozen=True)
class Plan:
    """Everything that can be chosen.

    Raises:
        InputError: a value outside its range, or files that are missing.
    """

    models: Sequence[str] = ("nano",)
    """Catalogue names or model files."""
    image: Path | None = None
    """The photograph; without one a scene is drawn."""
    video: Path | None = None
    """A video file or a folder of pictures; without one the view moves over the photograph."""
    parts: Sequence[str] = PARTS
    """Some of :data:`PARTS`."""
    objects: Sequence[int] = (1, 4, 8)
    """How many are followed together, each number by itself."""
    grid: int = 16
    """Clicks along each side of the picture when everything in it is searched."""
    device: str | None = None
    dtype: str | None = None
    image_size: int | None = None
    runtime: str | None = None
    """As :func:`maskwright.load` takes them."""
    threads: int | None = None
    """Of a processor; None leaves what torch has."""
    seconds: float | None = None
    """About how long to measure each model, in all. The fewest rounds are kept, so slow models take longer.
    None: as long as it takes to fill the memories of a video, and for a good number of rounds."""
    random_weights: bool = False
    """Take random weights where a model's own are not on this machine, instead of fetching them."""
    against: bool = True
    """Measure other implementations too, where they are installed."""
    against_python: Path | None = None
    """Interpreter of an environment with other implementations."""

    def __post_init__(self) -> None:
        for name, listed in (("models", self.models), ("parts", self.parts), ("objects", self.objects)):
            if not listed or len(set(listed)) < len(listed):
                raise InputError(f"{name} are {', '.join(map(str, listed)) or 'none'}; name some, each once")
        for part in self.parts:
            if part not in PARTS:
                raise InputError(f"there is no part {part!r} to measure; choose of {', '.join(PARTS)}")
        for number in self.objects:
            _check_between("objects", number, 1, MOST_OBJECTS)
        _check_between("grid", self.grid, 1, 64)
        if self.threads is not None:
            _check_between("threads", self.threads, 1, 1024)
        if self.seconds is not None:
            _check_between("seconds", self.seconds, LEAST_SECONDS, 86400)
        for path in (self.image, self.video, self.against_python):
            if path is not None and not path.exists():
                raise InputError(f"there is no {path}")


def _check_between(name: str, value: float, least: float, most: float) -> None:
    if not least <= value <= most:
        raise InputError(f"{name}: {value:g} is not between {least:g} and {most:g}")
