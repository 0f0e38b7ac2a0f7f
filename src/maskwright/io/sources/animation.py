"""Animated GIF, PNG and WebP, and TIFF files of many pages, through Pillow.

Memory: one frame and what Pillow needs to make the next one; going backwards as in :mod:`spill`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image

from maskwright.errors import ImageError, SourceError
from maskwright.frames import Frame
from maskwright.io.sources.protocol import (
    Closing,
    Corrupt,
    check_backward,
    check_corrupt,
    check_open,
    check_range,
    no_such_frame,
)
from maskwright.io.sources.spill import HOLD, SPILL_LIMIT, reversed_frames
from maskwright.io.sources.stills import read_frame
from maskwright.types import Size

_ANIMATED = frozenset({"AVIF", "FLI", "GIF", "PNG", "TIFF", "WEBP"})
"""Formats whose further pictures are frames; those of others, such as MPO, are something else."""
_UNSTATED = 100.0
"""Milliseconds that viewers show a frame that says 0."""
_log = logging.getLogger(__name__)


class AnimationSource(Closing):
    """A file with several pictures. Times are the sums of the frames' durations; a TIFF has none."""

    live = False
    exact_length = True

    def __init__(
        self, path: Path, *, corrupt: Corrupt = "skip", spill_limit: int = SPILL_LIMIT, hold: int = HOLD
    ) -> None:
        """Open the file and read its first frame.

        Raises:
            ImageError: it cannot be read.
        """
        check_corrupt(corrupt)
        self.name, self._path = path.name, path
        self._corrupt, self._spill_limit, self._hold = corrupt, spill_limit, hold
        self._closed = False
        self._skipped: set[int] = set()
        with _opened(path) as picture:
            self._timed = picture.format != "TIFF"
            self._first = int(bool(picture.info.get("default_image")))  # a PNG's stand-in for old viewers
            self.num_frames = _num_pictures(picture) - self._first
            picture.seek(self._first)
            first = read_frame(picture)
            duration = _milliseconds(picture)
        self.size: Size | None = (first.shape[0], first.shape[1])
        self.fps = 1000 / duration if self._timed else None
        """By the duration of the first frame."""

    @property
    def num_skipped(self) -> int:
        """Damaged frames left out so far."""
        return len(self._skipped)

    def frames(self, start: int = 0, stop: int | None = None, step: int = 1) -> Iterator[Frame]:
        """See :class:`Source`. All but TIFF build each frame on the one before, from the beginning."""
        check_range(start, stop, step)
        check_open(self.name, self._closed)
        return self._walk(start, self.num_frames if stop is None else min(stop, self.num_frames), start, step)

    def backward(self, start: int, stop: int = 0, step: int = 1) -> Iterator[Frame]:
        """See :class:`Source`. Goes through the file once forwards, holding frames or putting them on disk.

        Raises:
            OutputError: while iterating: ``spill_limit`` is reached or the disk is full.
        """
        check_backward(start, stop, step)
        check_open(self.name, self._closed)
        if start >= self.num_frames:
            raise no_such_frame(self.name, start, self.num_frames)
        frames = self._walk(stop, start + 1, start, step)
        return reversed_frames(frames, hold=self._hold, limit=self._spill_limit)

    def count(self) -> int:
        """The number of frames."""
        return self.num_frames

    def close(self) -> None:
        """Every pass over the file closes it itself; afterwards nothing more can be read."""
        self._closed = True

    def _walk(self, start: int, stop: int, phase: int, step: int) -> Iterator[Frame]:
        milliseconds = 0.0
        with _opened(self._path) as picture:
            for number in range(0 if self._timed else start, stop):
                check_open(self.name, self._closed)
                wanted = number >= start and (number - phase) % step == 0
                if not wanted and not self._timed:
                    continue
                try:
                    picture.seek(number + self._first)
                    picture.load()  # durations of WebP are known only then
                    image = read_frame(picture) if wanted else None
                except (ImageError, EOFError, OSError, SyntaxError, ValueError) as error:
                    self._damaged(number, error)
                    continue
                if image is not None:
                    yield Frame(number, image, milliseconds / 1000 if self._timed else None)
                milliseconds += _milliseconds(picture)

    def _damaged(self, number: int, error: Exception) -> None:
        if self._corrupt == "stop":
            raise ImageError(f"{self.name}: frame {number} is damaged: {error}") from error
        if not self._skipped:
            _log.warning(
                "%s: frame %d is damaged and left out, more are only counted: %s", self.name, number, error
            )
        self._skipped.add(number)


def is_animation(path: Path) -> bool:
    """Whether the file is a picture with several frames. A file that cannot be opened is none."""
    try:
        with Image.open(path) as picture:
            return picture.format in _ANIMATED and getattr(picture, "n_frames", 1) > 1
    except Exception:  # decoders raise whatever they stumble over; reading it as a picture says what it is
        return False


def _opened(path: Path) -> Image.Image:
    try:
        return Image.open(path)
    except Exception as error:  # decoders raise whatever they stumble over
        raise SourceError(f"cannot open {path}: {error}") from error


def _num_pictures(picture: Image.Image) -> int:
    count: Any = getattr(picture, "n_frames", 1)
    return int(count)


def _milliseconds(picture: Image.Image) -> float:
    return float(picture.info.get("duration") or _UNSTATED)
