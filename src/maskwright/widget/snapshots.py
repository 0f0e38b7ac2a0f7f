"""Where following stood every few frames, on disk, so that a correction need not begin at the first frame."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from weakref import finalize

from maskwright.errors import OutputError
from maskwright.track.session import Session
from maskwright.types import Prompt
from maskwright.widget.sheet import ByFrame
from maskwright.widget.trails import Trails, up_to

SPACING = 16
"""Frames from one snapshot to the next at first."""
MOST = 8
"""Snapshots of one film; before there are more, every other one goes, and they come half as often."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Snapshot:
    """A session that has just seen a frame."""

    frame: int
    path: Path
    prompts: Mapping[int, Mapping[int, Prompt]]
    """What it had been told until then, by object and frame."""

    def serves(self, wanted: Mapping[int, ByFrame], trails: Trails) -> bool:
        """Whether these objects can be followed on from here: it was told the same, and masks are there."""
        return any(up_to(prompts, self.frame) for prompts in wanted.values()) and all(
            up_to(prompts, self.frame) == self.prompts.get(number, {})
            and (not up_to(prompts, self.frame) or self.frame in trails[number].found)
            for number, prompts in wanted.items()
        )


class Snapshots:
    """At most :data:`MOST` of them, in a temporary folder that goes when this is closed or forgotten."""

    def __init__(self) -> None:
        self._folder: Path | None = None
        self._taken: list[Snapshot] = []
        self._count = 0
        self._thinned = 0
        """How often every other one went."""

    def take(self, frame: int, session: Session, prompts: Mapping[int, ByFrame]) -> None:
        """Write one if it is time to. A full disk costs speed later on, and nothing else."""
        spacing = SPACING << self._thinned
        if frame % spacing or not session.ids:
            return
        told = {number: up_to(prompts[number], frame) for number in session.ids}
        self._count += 1
        try:
            path = session.save(self._where() / f"{self._count}.safetensors")
        except OutputError as error:
            _log.warning("no snapshot of frame %d: %s", frame, error)
            return
        self._taken.append(Snapshot(frame, path, told))
        self._thin()

    def latest(self, wanted: Mapping[int, ByFrame], trails: Trails) -> Snapshot | None:
        """The last one from which these objects can be followed on."""
        serving = [one for one in self._taken if one.serves(wanted, trails)]
        return max(serving, key=lambda one: one.frame, default=None)

    def close(self) -> None:
        """Delete all files."""
        self._taken.clear()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def _thin(self) -> None:
        while len(self._taken) > MOST:
            self._thinned += 1
            spacing = SPACING << self._thinned
            going = [one for one in self._taken if one.frame % spacing] or self._taken[:1]
            self._taken = [one for one in self._taken if one not in going]
            for one in going:
                one.path.unlink(missing_ok=True)

    def _where(self) -> Path:
        if self._folder is None:
            self._folder = Path(mkdtemp(prefix="maskwright-widget-"))
            finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        return self._folder
