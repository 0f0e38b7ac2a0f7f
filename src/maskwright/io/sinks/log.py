"""A log of everything that was found, a line of JSON for each frame, which survives ``kill -9``.

A frame is in the log as soon as :meth:`FrameLog.write` returns: its line goes to the system in one piece.
What a line holds is told in :mod:`maskwright.io.sinks.records`. Only a last line can be torn; readers leave
it out and :meth:`FrameLog.resume` cuts it off.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from maskwright.errors import InputError
from maskwright.frames import TrackedFrame
from maskwright.io.files import checked_target
from maskwright.io.sinks.lines import LineFile
from maskwright.io.sinks.protocol import Sink, check_open
from maskwright.io.sinks.records import (
    BrokenRecord,
    LogHeader,
    first_difference,
    frame_line,
    header_line,
    parse_frame,
    parse_header,
    parse_index,
)

_LONGEST_HEADER = 1 << 26
"""Bytes; a first line that goes on longer is taken for another kind of file."""


class FrameLog(Sink):
    """Appends a line for each frame, in any order of frames; pictures are not needed.

    Args:
        path: Its folder must exist. ``.jsonl`` is the usual ending.
        header: What the log is about.
        overwrite: Start over where there is a file; otherwise that is an error.
        sync_seconds: How often the disk itself is waited for, which protects from loss of power: at most so
            many seconds are lost. 0 waits after every frame, None only at the end.

    Raises:
        InputError: a header that JSON does not hold.
        OutputError: the file exists, cannot be written, or another process is writing it.
    """

    done: frozenset[int]
    """Numbers of the frames that were in the log when it was opened."""
    last: int | None
    """Number of the last of them, in the order of lines; None in a new log."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        header: LogHeader,
        *,
        overwrite: bool = False,
        sync_seconds: float | None = 5.0,
    ) -> None:
        line = header_line(header)
        self._open(path, sync_seconds, new=not overwrite)
        try:
            self._lines.cut(0)
            self._lines.append(line)
        except BaseException:
            self.abandon()
            raise

    @classmethod
    def resume(
        cls, path: str | os.PathLike[str], header: LogHeader, *, sync_seconds: float | None = 5.0
    ) -> FrameLog:
        """Continue a log, or begin it where there is none; :attr:`done` and :attr:`last` tell what it has.

        A torn last line is cut off. Until everything before it has proved sound and of the same job, nothing
        is changed.

        Raises:
            InputError: it is no log, is damaged, or belongs to another job; the message names the first
                difference.
            OutputError: it cannot be written, or another process is writing it.
        """
        line = header_line(header)
        log = cls.__new__(cls)
        file = log._open(path, sync_seconds, new=False)
        try:
            size, done, log.last = _survey(file, header, line)
            log.done = frozenset(done)
            log._lines.cut(size)
            if not size:
                log._lines.append(line)
        except BaseException:
            log.abandon()
            raise
        return log

    def write(self, frame: TrackedFrame) -> None:
        """Append one frame; when this returns the system has it.

        Raises:
            OutputError: the disk is full, or the like; the log ends with the frame before.
            StateError: the log is closed.
        """
        check_open(self._lines.closed, self._path)
        self._lines.append(frame_line(frame))

    def close(self) -> None:
        """Wait for the disk and close the file."""
        self._lines.close()

    def abandon(self) -> None:
        """Close the file as it is: every frame is in it already."""
        self._lines.abandon()

    def _open(self, path: str | os.PathLike[str], sync_seconds: float | None, *, new: bool) -> Path:
        """Take hold of the file; what is in it stays for now."""
        self.done, self.last = frozenset(), None
        self._path = path
        file = checked_target(path, overwrite=not new)
        self._lines = LineFile(file, path, sync_seconds=sync_seconds, exclusive=new)
        return file


def read_log(path: str | os.PathLike[str]) -> tuple[LogHeader, Iterator[TrackedFrame]]:
    """Read a log, also one that is still being written.

    Returns:
        The header, and the frames one by one in the order in which they were written, without pictures and
        logits. A torn last line is left out.

    Raises:
        InputError: the file is missing or no log; from the iterator: a line is damaged, and which.
    """
    try:
        file = Path(path).open("rb")  # noqa: SIM115, the iterator closes it
    except OSError as error:
        raise InputError(
            f"cannot read the log {os.fspath(path)}: {error.strerror}; check the path"
        ) from error
    try:
        line = file.readline(_LONGEST_HEADER)
        if not line.endswith(b"\n"):
            raise InputError(f"{os.fspath(path)} is no log of maskwright: it has no complete first line")
        header = _parsed_header(path, line)
    except BaseException:
        file.close()
        raise
    return header, _frames(path, file)


def _frames(path: str | os.PathLike[str], file: BinaryIO) -> Iterator[TrackedFrame]:
    with file:
        for number, line in enumerate(file, start=2):
            if line.endswith(b"\n"):
                try:
                    yield parse_frame(line)
                except BrokenRecord as error:
                    raise _damaged(path, number, error) from error


def _survey(path: Path, header: LogHeader, expected: bytes) -> tuple[int, set[int], int | None]:
    """Check a log that is to be continued: the size of its sound part, the frames in it, and the last one."""
    done: set[int] = set()
    last = None
    with path.open("rb") as file:
        line = file.readline(_LONGEST_HEADER)
        if not line.endswith(b"\n"):
            if not expected.startswith(line):
                raise InputError(f"{path} is no log of this job; choose another file")
            return 0, done, None
        difference = first_difference(_parsed_header(path, line), header)
        if difference:
            raise InputError(
                f"{path} belongs to another job: {difference}; choose another file, or start over"
            )
        size = len(line)
        for number, line in enumerate(file, start=2):
            if not line.endswith(b"\n"):
                break
            try:
                last = parse_index(line)
            except BrokenRecord as error:
                raise _damaged(path, number, error) from error
            done.add(last)
            size += len(line)
    return size, done, last


def _parsed_header(path: str | os.PathLike[str], line: bytes) -> LogHeader:
    try:
        return parse_header(line)
    except BrokenRecord as error:
        raise InputError(f"cannot use {os.fspath(path)} as a log: {error}") from error


def _damaged(path: str | os.PathLike[str], number: int, error: BrokenRecord) -> InputError:
    return InputError(f"line {number} of the log {os.fspath(path)} is damaged: {error}")
