"""Figures of an evaluation: means over objects, as a table and as JSON."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import NamedTuple

from maskwright.io.files import write_text


class Answer(NamedTuple):
    """How one object came out for one kind of prompt."""

    picture: str
    source: str
    prompt: str
    """``box``, ``1 click`` or ``5 clicks``."""
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
class Report:
    """The result of ``evaluate_images``."""

    model: str
    image_size: int
    data: str
    pictures: int
    seconds: float
    means: Sequence[Mean]
    """For all sources together first, then source by source."""
    notes: dict[str, str] = field(default_factory=dict)
    """Versions and the like."""

    def mean(self, prompt: str, source: str = "all") -> Mean:
        """One row; KeyError when nothing was asked in that way."""
        for row in self.means:
            if (row.prompt, row.source) == (prompt, source):
                return row
        raise KeyError(f"no {prompt!r} for {source!r} in this report")

    def to_json(self) -> str:
        """Everything, readable."""
        return json.dumps(asdict(self), indent=2)

    def save(self, path: Path) -> Path:
        """Write the JSON file, whole or not at all; OutputError when that fails."""
        return write_text(path, self.to_json())

    def table(self) -> str:
        """Means as aligned text: one line per source and prompt."""
        lines = [f"{'source':<14} {'prompt':<9} {'objects':>7} {'picked':>7} {'best of 3':>9}"]
        lines += [
            f"{row.source:<14} {row.prompt:<9} {row.objects:>7} {row.picked:>7.3f} {row.best:>9.3f}"
            for row in self.means
        ]
        return "\n".join(lines)


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
