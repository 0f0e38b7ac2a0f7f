"""Frames of a film in any order, as a scrubber asks for them."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import numpy as np

from maskwright.errors import InputError
from maskwright.frames import Frame
from maskwright.io.sources import open_source
from maskwright.io.sources.protocol import Source
from maskwright.types import ByteArray, Size
from maskwright.widget.answers import Recent

_NEAR = 12
"""Frames that are decoded and passed over rather than sought."""
_KEPT = 4
"""Frames that are kept as they are."""
_log = logging.getLogger(__name__)


class Reader:
    """A film that stays open. Not thread-safe."""

    def __init__(self, source: Any) -> None:
        """Open it and find out how long it is.

        Raises:
            SourceError: it cannot be opened.
            InputError: it cannot be read in any order: a camera, a stream or a generator.
        """
        if isinstance(source, Source):
            raise InputError(
                "pass the video itself, its path or its pictures: tracking opens it a second time, and "
                "a source that is open already can be read only once at a time"
            )
        self._source = open_source(source)
        length = None if self._source.live else self._source.count()
        if length is None:
            self._source.close()
            raise InputError(
                f"{self._source.name} cannot be read in any order, which a scrubber needs; "
                "pass a file, a folder, an array or a list of pictures"
            )
        self.num_frames: int = length
        self.fps = self._source.fps
        self._recent: Recent[ByteArray] = Recent(_KEPT)
        self._next = -_NEAR
        self._frames: Iterator[Frame] = iter(())
        self.size: Size = self._source.size or next(self._source.frames()).size

    @property
    def name(self) -> str:
        """Short, for messages."""
        return self._source.name

    def image(self, frame: int) -> ByteArray:
        """(h, w, 3) RGB; a damaged frame is grey, and following leaves it out.

        Raises:
            InputError: there is no such frame.
            SourceError: the film cannot be read any more.
        """
        if not 0 <= frame < self.num_frames:
            raise InputError(f"there is no frame {frame}; {self.name} has 0 to {self.num_frames - 1}")
        return self._recent.get(frame, lambda: self._read(frame))

    def close(self) -> None:
        """Release the file."""
        self._source.close()

    def _read(self, wanted: int) -> ByteArray:
        if not self._next <= wanted < self._next + _NEAR:
            self._frames = self._source.frames(wanted)
        for frame in self._frames:
            self._next = frame.index + 1
            if frame.index == wanted:
                return frame.image
            if frame.index > wanted:
                break
        self._next = -_NEAR
        _log.warning("frame %d of %s is damaged and shown grey", wanted, self.name)
        return np.full((*self.size, 3), 128, np.uint8)
