"""Going backwards through what can only be made forwards: a chunk is held in memory, or on disk if large."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from maskwright.errors import OutputError
from maskwright.frames import Frame
from maskwright.io.files import output_error
from maskwright.io.sources.protocol import Closing

MIB = 2**20
HOLD = 256 * MIB
"""Bytes of frames that going backwards holds in memory."""
SPILL_LIMIT = 8 * 1024 * MIB
"""Bytes of frames that going backwards may put on disk, unless the caller says otherwise."""


class _Record(NamedTuple):
    number: int
    time: float | None
    shape: tuple[int, ...]
    offset: int


class SpillCache(Closing):
    """Frames as uncompressed uint8 in one temporary file, last in, first out.

    The file has no name where the system allows that (Linux, macOS), so it is gone with the process, however
    that ends; elsewhere closing removes it.
    """

    def __init__(self, limit: int = SPILL_LIMIT, *, folder: str | os.PathLike[str] | None = None) -> None:
        """``limit`` in bytes; ``folder`` is the system's for temporary files unless given."""
        self._limit = limit
        self._folder = os.fspath(folder) if folder is not None else tempfile.gettempdir()
        self._place = f"temporary frames in {self._folder}"
        self._records: list[_Record] = []
        self._end = 0
        try:
            self._file = tempfile.TemporaryFile(  # noqa: SIM115  # it stays open as long as the cache
                dir=self._folder, prefix="maskwright-", buffering=0
            )
        except OSError as error:
            raise output_error(self._place, error) from error

    def __len__(self) -> int:
        return len(self._records)

    def push(self, frame: Frame) -> None:
        """Append a frame.

        Raises:
            OutputError: the limit is reached or the disk is full. What is in the cache can still be read.
        """
        size = frame.image.nbytes
        if self._end + size > self._limit:
            raise OutputError(
                f"the temporary frames in {self._folder} reached their limit of {self._limit / MIB:.0f} MiB; "
                "raise spill_limit, or go through a shorter range of frames"
            )
        try:
            self._file.seek(self._end)
            rest = np.ascontiguousarray(frame.image).data.cast("B")
            while rest:
                rest = rest[self._file.write(rest) or 0 :]
        except OSError as error:
            raise output_error(self._place, error) from error
        self._records.append(_Record(frame.index, frame.time, frame.image.shape, self._end))
        self._end += size

    def pop(self) -> Frame:
        """Take back the frame that was pushed last; its space on disk is released."""
        record = self._records.pop()
        image = np.empty(record.shape, np.uint8)
        self._file.seek(record.offset)
        rest = image.data.cast("B")
        try:
            while rest:
                got = self._file.readinto(rest)
                if not got:
                    raise OSError(errno.EIO, "the temporary file ends early")
                rest = rest[got:]
            self._file.truncate(record.offset)
        except OSError as error:
            raise output_error(self._place, error) from error
        self._end = record.offset
        return Frame(record.number, image, record.time)

    def close(self) -> None:
        """Remove the file; may be called more than once."""
        self._records.clear()
        self._file.close()


def reversed_frames(
    frames: Iterator[Frame], *, hold: int = HOLD, limit: int = SPILL_LIMIT
) -> Iterator[Frame]:
    """The frames of a finite iterator, last first, with at most ``hold`` bytes of them in memory.

    More than that goes into a :class:`SpillCache` of ``limit`` bytes, which is removed when the last
    frame was taken, after an error, and when the caller stops early.

    Raises:
        OutputError: the limit is reached or the disk is full.
    """
    held: list[Frame] = []
    used = 0
    cache: SpillCache | None = None
    try:
        for frame in frames:
            used += frame.image.nbytes
            if cache is None and used > hold:
                cache = SpillCache(limit)
                for earlier in held:
                    cache.push(earlier)
                held.clear()
            if cache is None:
                held.append(frame)
            else:
                cache.push(frame)
        while held:
            yield held.pop()
        while cache:
            yield cache.pop()
    finally:
        if cache is not None:
            cache.close()
