"""What a run found, from its log: per object where it was seen, lost, and worth a second look.

Frames that want review are those in which an object

- is seen again after it was lost,
- is seen with a predicted IoU below 0.5, or with an empty mask, or
- has an area that differs from the neighbouring frame's by more than a factor of 2.5,

but for frames that it was prompted in, which somebody has looked at. Neighbours are those in the order of
tracking, so that what was followed backward is judged backward.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from maskwright.cli.track.log import LogIndex

DOUBTFUL = 0.5
"""Predicted IoU below which a mask wants review."""
JUMP = 2.5
"""Factor between the areas of neighbouring frames above which the larger change wants review."""
_SHOWN_FRAMES, _SHOWN_RANGES = 8, 3


@dataclass
class ObjectSummary:
    """One object through all frames."""

    id: int
    discovered: int | None = None
    """The frame that it was found in, if nobody asked for it."""
    tracked: int = 0
    """Frames that it was looked for in."""
    visible: int = 0
    lost: list[tuple[int, int]] = field(default_factory=list)
    """First and last frame of each stretch in which it was not seen, ascending."""
    review: list[int] = field(default_factory=list)
    """Frames that want review, ascending."""
    _total: float = 0.0
    _missing: list[int] = field(default_factory=list)
    _before: dict[str, Any] | None = None

    @property
    def mean_score(self) -> float | None:
        """Mean predicted IoU of the frames that it was seen in."""
        return self._total / self.visible if self.visible else None

    def see(self, frame: int, found: dict[str, Any], *, again: bool) -> None:
        """The next frame in the order of tracking; ``again`` if it was counted before."""
        if not again:
            self.tracked += 1
            if found.get("discovered"):
                self.discovered = frame
            if found["visible"]:
                self.visible += 1
                self._total += found["score"] or 0.0
            else:
                self._missing.append(frame)
            if self._wants_review(found):
                self.review.append(frame)
        self._before = found

    def turn(self) -> None:
        """What comes next is no neighbour of what came last."""
        self._before = None

    def finish(self, order: Sequence[int]) -> None:
        """Put frames in ascending order and join missing ones that follow each other in ``order``."""
        self.review.sort()
        place = {number: at for at, number in enumerate(order)}
        for frame in sorted(self._missing):
            if self.lost and place[frame] == place[self.lost[-1][1]] + 1:
                self.lost[-1] = (self.lost[-1][0], frame)
            else:
                self.lost.append((frame, frame))

    def _wants_review(self, found: dict[str, Any]) -> bool:
        if found["prompted"] or not found["visible"]:
            return False
        if (found["score"] or 0.0) < DOUBTFUL or not found["area"]:
            return True
        if self._before is None:
            return False
        if not self._before["visible"]:
            return True
        small, large = sorted((found["area"], self._before["area"]))
        return bool(large > JUMP * small)

    def as_json(self) -> dict[str, Any]:
        """Plain values; the score rounded to four digits."""
        score = self.mean_score
        return {
            "id": self.id,
            "discovered": self.discovered,
            "tracked": self.tracked,
            "visible": self.visible,
            "mean_score": None if score is None else round(score, 4),
            "lost": [list(pair) for pair in self.lost],
            "review": self.review,
        }


def summarise(index: LogIndex, *, first: int, direction: str) -> list[ObjectSummary]:
    """Every object of a log, in ascending order of its number.

    Args:
        index: The log.
        first: The frame that tracking began with.
        direction: ``forward``, ``backward`` or ``both``.
    """
    numbers = index.numbers
    walks: list[Iterable[int]] = [numbers if direction == "forward" else reversed(numbers)]
    if direction == "both":
        walks = [
            (number for number in numbers if number >= first),
            (number for number in reversed(numbers) if number <= first),
        ]
    objects: dict[int, ObjectSummary] = {}
    for turn, walk in enumerate(walks):
        for one in objects.values():
            one.turn()
        for record in index.records(walk):
            again = bool(turn) and record["frame"] == first
            for found in record["objects"]:
                one = objects.setdefault(found["id"], ObjectSummary(found["id"]))
                one.see(record["frame"], found, again=again)
    for one in objects.values():
        one.finish(numbers)
    return [objects[number] for number in sorted(objects)]


def show(report: dict[str, Any]) -> None:
    """Print a report: a line for each object, then what was written and how it went."""
    from rich.table import Table

    from maskwright.cli.terminal import print_line, print_table

    table = Table(box=None, pad_edge=False, header_style="bold")
    discovers = any(one["discovered"] is not None for one in report["objects"])
    for name in ("object", *(["found in"] if discovers else []), "visible", "mean score"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("lost", overflow="fold")
    table.add_column("wants review", overflow="fold")
    for one in report["objects"]:
        score = "-" if one["mean_score"] is None else f"{one['mean_score']:.3f}"
        seen = f"{one['visible']} of {one['tracked']}"
        came = [] if not discovers else ["-" if one["discovered"] is None else f"frame {one['discovered']}"]
        table.add_row(str(one["id"]), *came, seen, score, _ranges(one["lost"]), _some(one["review"]))
    if report["objects"]:
        print_table(table)
    else:
        print_line("no objects were followed")
    print_line(_counts(report))
    for kind, path in report["outputs"].items():
        print_line(f"{kind}: {path}")


def _ranges(lost: list[list[int]]) -> str:
    if not lost:
        return "never"
    shown = [str(a) if a == b else f"{a}-{b}" for a, b in lost[:_SHOWN_RANGES]]
    more = f" and {len(lost) - _SHOWN_RANGES} more" if len(lost) > _SHOWN_RANGES else ""
    return ", ".join(shown) + more


def _some(frames: list[int]) -> str:
    if not frames:
        return "none"
    shown = ", ".join(map(str, frames[:_SHOWN_FRAMES]))
    rest = " ..." if len(frames) > _SHOWN_FRAMES else ""
    return f"{len(frames)}: {shown}{rest}"


def _counts(report: dict[str, Any]) -> str:
    frames = report["frames"]
    if not frames["done"]:
        return "no frame was tracked"
    text = f"frames {frames['lowest']} to {frames['highest']}: {frames['done']} done"
    if frames["tracked_now"] != frames["done"]:
        text += f", {frames['tracked_now']} of them in this run"
    if report["frames_per_second"] is not None:
        text += f" at {report['frames_per_second']:.1f} frames/s"
    if frames["skipped"]:
        text += f"; {frames['skipped']} damaged, left out"
    if frames["dropped"]:
        text += f"; {frames['dropped']} dropped, as newer ones had come"
    return text if report["finished"] else f"{text}; not finished"
