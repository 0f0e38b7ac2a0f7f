"""Keeping the state of a running session on disk, often enough and not too often."""

from __future__ import annotations

import contextlib
import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING

from maskwright.errors import InputError, OutputError

if TYPE_CHECKING:
    from collections.abc import Container

    from maskwright.mask_model import MaskModel
    from maskwright.track.options import TrackOptions
    from maskwright.track.session import Session

SECONDS = 10.0
"""Between two snapshots at least: so much work, and no more, is done again after a crash ..."""
SHARE = 0.05
"""... unless writing them would take more than this share of the time."""
_log = logging.getLogger(__name__)


class Snapshots:
    """Snapshots of a session in one file, each replacing the one before, whole or not at all.

    They only save time: a run without one is tracked again from its beginning, with the same result. So one
    that cannot be written is a warning.
    """

    def __init__(self, path: Path, *, enabled: bool) -> None:
        self.path = path
        self._enabled = enabled
        self._wait = SECONDS
        self._last = time.monotonic()

    def after_frame(self, session: Session) -> None:
        """Write one if it is time."""
        if time.monotonic() - self._last >= self._wait:
            self.save(session)

    def save(self, session: Session) -> None:
        """Write one now."""
        if not self._enabled:
            return
        started = time.monotonic()
        try:
            session.save(self.path)
        except OutputError as error:
            _log.warning("no snapshot to resume from: %s", error)
            self._enabled = False
        self._last = time.monotonic()
        self._wait = max(SECONDS, (self._last - started) / SHARE)

    def load(self, model: MaskModel, options: TrackOptions, done: Container[int]) -> Session | None:
        """The session as it was, or None if there is nothing that tracking can go on from.

        Args:
            model: The same as before.
            options: The same as before.
            done: Frames in the log. A snapshot that is ahead of it, as after a loss of power, is of no use.
        """
        if not self.path.is_file():
            return None
        try:
            session = model.load_session(self.path, options)
        except InputError as error:
            _log.warning("tracking starts over: %s", error)
            return None
        if session.addressable and session.addressable[-1] in done:
            return session
        session.close()
        return None

    def remove(self) -> None:
        """Remove the snapshot, if there is one."""
        with contextlib.suppress(OSError):
            self.path.unlink()
