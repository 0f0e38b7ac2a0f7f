"""Results of an evaluation: one row per object, means over objects, as CSV and as JSON."""

from __future__ import annotations

import csv
import io
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from maskwright.evaluate.statistics import Statistics


class Answer(NamedTuple):
    """How one object came out for one kind of prompt."""

    picture: str
    source: str
    object: int
    """The data set's number of it."""
    prompt: str
    """``box``, ``1 click``, ``2 clicks`` ..."""
    picked: float
    """IoU of the mask with the highest predicted IoU."""
    best: float
    """IoU of the best of the three candidates."""


@dataclass(frozen=True)
class Mean:
    """Mean IoU over some objects."""

    source: str
    """A collection, or ``all``."""
    prompt: str
    objects: int
    picked: float
    best: float


@dataclass(frozen=True)
class ClickReport:
    """The result of ``evaluate_images``."""

    answers: Sequence[Answer]
    means: Sequence[Mean]
    """For all sources together first, then source by source."""
    pictures: int
    seconds: float

    def mean(self, prompt: str, source: str = "all") -> Mean:
        """One row; KeyError when nothing was asked in that way."""
        for row in self.means:
            if (row.prompt, row.source) == (prompt, source):
                return row
        raise KeyError(f"no {prompt!r} for {source!r} in this report")

    def to_csv(self) -> str:
        """A line per object and prompt."""
        columns = ("picture", "source", "object", "prompt", "iou_picked", "iou_best")
        rows = [(*one[:4], round(one.picked, 6), round(one.best, 6)) for one in self.answers]
        return _csv(columns, rows)

    def to_json(self, about: Mapping[str, Any]) -> str:
        """The means, after what the caller has to say about the run."""
        means = [asdict(row) for row in self.means]
        return _json({**about, "pictures": self.pictures, "seconds": self.seconds, "means": means})


@dataclass(frozen=True)
class Followed:
    """How one object of one sequence was followed."""

    video: str
    object: int
    """The data set's number of it."""
    frames: int
    """Frames that count."""
    region: Statistics
    """J: intersection over union."""
    boundary: Statistics
    """F: agreement of the outlines."""

    @property
    def both(self) -> float:
        """J&F, their mean."""
        return (self.region.mean + self.boundary.mean) / 2


@dataclass(frozen=True)
class VideoReport:
    """The result of ``evaluate_videos``; means are over objects, not over sequences."""

    rows: Sequence[Followed]
    """At least one."""
    seconds: float

    @property
    def region(self) -> Statistics:
        """J."""
        return Statistics.over([row.region for row in self.rows])

    @property
    def boundary(self) -> Statistics:
        """F."""
        return Statistics.over([row.boundary for row in self.rows])

    @property
    def both(self) -> float:
        """J&F."""
        return (self.region.mean + self.boundary.mean) / 2

    @property
    def frames(self) -> int:
        """Masks that count: frames of each object."""
        return sum(row.frames for row in self.rows)

    def by_video(self) -> dict[str, VideoReport]:
        """The rows of each sequence, in the order of measuring."""
        groups: dict[str, list[Followed]] = defaultdict(list)
        for row in self.rows:
            groups[row.video].append(row)
        return {name: VideoReport(rows, 0.0) for name, rows in groups.items()}

    def to_csv(self) -> str:
        """A line per object."""
        figures = ("J&F", "J", "J recall", "J decay", "F", "F recall", "F decay")
        rows = [
            (row.video, row.object, row.frames, *(round(value, 6) for value in _values(row)))
            for row in self.rows
        ]
        return _csv(("sequence", "object", "frames", *figures), rows)

    def to_json(self, about: Mapping[str, Any]) -> str:
        """The means and a row per object, after what the caller has to say about the run."""
        means = {"J&F": self.both, "J": asdict(self.region), "F": asdict(self.boundary)}
        objects = [
            {
                "sequence": row.video,
                "object": row.object,
                "frames": row.frames,
                "J&F": row.both,
                "J": asdict(row.region),
                "F": asdict(row.boundary),
            }
            for row in self.rows
        ]
        return _json({**about, "seconds": self.seconds, **means, "objects": objects})


def summarise(answers: Iterable[Answer]) -> list[Mean]:
    """Means over objects: all sources together, then each by name; prompts in the order of asking."""
    groups: dict[tuple[str, str], list[Answer]] = defaultdict(list)
    for answer in answers:
        for source in ("all", answer.source):
            groups[source, answer.prompt].append(answer)
    rows = [
        Mean(
            source,
            prompt,
            len(members),
            round(sum(one.picked for one in members) / len(members), 4),
            round(sum(one.best for one in members) / len(members), 4),
        )
        for (source, prompt), members in groups.items()
    ]
    return sorted(rows, key=lambda row: (row.source != "all", row.source))


def _values(row: Followed) -> tuple[float, ...]:
    region, boundary = row.region, row.boundary
    return (
        row.both,
        *(region.mean, region.recall, region.decay),
        *(boundary.mean, boundary.recall, boundary.decay),
    )


def _csv(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return text.getvalue()


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, indent=1) + "\n"
