"""How well is an object followed through video? Region overlap J and boundary F, as DAVIS defines them.

A sequence starts with the true mask of its first frame; from there whoever follows it is on its own. The
first and the last frame do not count, as in the benchmark's own evaluation.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from maskwright.errors import ImageError, InputError
from maskwright.io.files import write_text
from maskwright.io.images import read_image
from maskwright.io.labelled import read_labels
from maskwright.pixels.metrics import boundary_f, iou
from maskwright.types import BoolArray, ImageArray

Follow = Callable[[Iterable[ImageArray], BoolArray], Iterable[BoolArray]]
"""Frames (h, w, 3) and the first one's mask (h, w) bool to the masks of all frames, the first too."""

Progress = Callable[[int, int], None]
"""Called with sequences done and sequences in all."""


@dataclass(frozen=True)
class LabelledVideo:
    """One sequence in DAVIS layout: a picture and a label map for every frame."""

    name: str
    images: Sequence[Path]
    labels: Sequence[Path]
    """Single-channel PNG of each frame: 0 is background, 1.. are objects."""


@dataclass(frozen=True)
class Followed:
    """How one object of one sequence was followed: means over frames."""

    video: str
    label: int
    frames: int
    """Frames that count."""
    region: float
    """J: intersection over union."""
    boundary: float
    """F: agreement of the outlines."""

    @property
    def both(self) -> float:
        """J&F, their mean."""
        return (self.region + self.boundary) / 2


@dataclass(frozen=True)
class VideoReport:
    """The result of ``evaluate_videos``."""

    rows: Sequence[Followed]
    seconds: float

    @property
    def region(self) -> float:
        """Mean J over objects."""
        return float(np.mean([row.region for row in self.rows]))

    @property
    def boundary(self) -> float:
        """Mean F over objects."""
        return float(np.mean([row.boundary for row in self.rows]))

    @property
    def both(self) -> float:
        """Mean J&F over objects."""
        return (self.region + self.boundary) / 2

    def save(self, path: Path) -> Path:
        """Write rows and means as JSON, whole or not at all; OutputError when that fails."""
        means = {"J": self.region, "F": self.boundary, "J&F": self.both, "seconds": self.seconds}
        return write_text(path, json.dumps({**means, "rows": [asdict(row) for row in self.rows]}, indent=2))

    def table(self) -> str:
        """Aligned text: one line per object, then the mean."""
        lines = [f"{'sequence':<20} {'object':>6} {'frames':>6} {'J':>6} {'F':>6} {'J&F':>6}"]
        lines += [
            f"{row.video:<20} {row.label:>6} {row.frames:>6} "
            f"{row.region:>6.3f} {row.boundary:>6.3f} {row.both:>6.3f}"
            for row in self.rows
        ]
        frames = sum(row.frames for row in self.rows)
        lines.append(
            f"{'all':<20} {len(self.rows):>6} {frames:>6} "
            f"{self.region:>6.3f} {self.boundary:>6.3f} {self.both:>6.3f}"
        )
        return "\n".join(lines)


def read_videos(folder: Path) -> list[LabelledVideo]:
    """Sequences of a folder in DAVIS layout (``JPEGImages/NAME/*.jpg``, ``Annotations/NAME/*.png``), by name.

    Raises:
        InputError: there is none, or a sequence has fewer than three frames or frames without annotation.
    """
    found = []
    for place in sorted(path for path in (folder / "Annotations").glob("*") if path.is_dir()):
        images = sorted((folder / "JPEGImages" / place.name).glob("*.jpg"))
        labels = [place / f"{image.stem}.png" for image in images]
        if len(images) < 3 or not all(path.is_file() for path in labels):
            raise InputError(f"{place} should annotate at least three frames, and each of JPEGImages")
        found.append(LabelledVideo(place.name, images, labels))
    if not found:
        raise InputError(
            f"{folder} has no sequences: expected Annotations/NAME/*.png and JPEGImages/NAME/*.jpg"
        )
    return found


def evaluate_videos(
    follow: Follow, videos: Sequence[LabelledVideo], progress: Progress | None = None
) -> VideoReport:
    """J and F of every object that the first frames show, each followed by itself.

    Raises:
        ImageError: a picture or label map cannot be read, or their sizes differ.
        InputError: no first frame shows an object, or ``follow`` gives another number of masks than frames.
    """
    started = time.monotonic()
    rows: list[Followed] = []
    for number, video in enumerate(videos):
        rows += measure(follow, video)
        if progress is not None:
            progress(number + 1, len(videos))
    if not rows:
        raise InputError("there is no object to follow in these sequences")
    return VideoReport(rows, round(time.monotonic() - started, 1))


def measure(follow: Follow, video: LabelledVideo) -> Iterator[Followed]:
    """Follow each object of one sequence."""
    truth = [read_labels(path) for path in video.labels]
    for label in (int(value) for value in np.unique(truth[0]) if value):
        masks = list(follow(_frames(video, truth), truth[0] == label))
        if len(masks) != len(truth):
            raise InputError(f"{video.name}: {len(masks)} masks for {len(truth)} frames")
        pairs = [(mask, labels == label) for mask, labels in zip(masks, truth, strict=True)][1:-1]
        yield Followed(
            video.name,
            label,
            len(pairs),
            float(np.mean([iou(mask, true) for mask, true in pairs])),
            float(np.mean([boundary_f(mask, true) for mask, true in pairs])),
        )


def _frames(video: LabelledVideo, truth: Sequence[np.ndarray]) -> Iterator[ImageArray]:
    for path, labels in zip(video.images, truth, strict=True):
        picture = read_image(path)
        if picture.shape[:2] != labels.shape:
            raise ImageError(f"{path} is {picture.shape[:2]}, its label map {labels.shape}; they must agree")
        yield picture
