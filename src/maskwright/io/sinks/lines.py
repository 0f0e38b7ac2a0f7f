"""A file that grows by whole lines and survives ``kill -9``: a line is in it as soon as it was appended."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path

from maskwright.errors import OutputError
from maskwright.io.files import output_error

_FLAGS = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


class LineFile:
    """Appends lines, each in one piece or not at all, while no other process may do so.

    Args:
        file: The regular file, links followed. What is in it stays; see :meth:`cut`.
        path: The same as the caller named it, for messages.
        sync_seconds: How often the disk itself is waited for, which protects from loss of power: at most so
            many seconds are lost. 0 waits after every line, None only at the end.
        exclusive: Whether a file that exists is an error.

    Raises:
        OutputError: the file exists, cannot be written, or another process is writing it.
    """

    def __init__(
        self, file: Path, path: str | os.PathLike[str], *, sync_seconds: float | None, exclusive: bool
    ) -> None:
        self._path = path
        self._sync_seconds = sync_seconds
        self._synced = time.monotonic()
        self._size = 0
        self._descriptor: int | None = None
        try:
            self._descriptor = os.open(file, _FLAGS | (os.O_EXCL if exclusive else 0), 0o666)
            _lock(self._descriptor, path)
        except OSError as error:
            self.abandon()
            if isinstance(error, OutputError):
                raise
            raise output_error(path, error) from error

    def __enter__(self) -> LineFile:
        return self

    def __exit__(self, *error: object) -> None:
        self.abandon()

    @property
    def closed(self) -> bool:
        """Whether nothing can be appended any more."""
        return self._descriptor is None

    def append(self, line: bytes) -> None:
        """Write a whole line, newline included, or nothing: what a full disk left of it is cut off again."""
        descriptor = self._descriptor
        assert descriptor is not None
        try:
            rest = memoryview(line)
            while rest:  # the second round only tells why the first one fell short
                rest = rest[os.write(descriptor, rest) :]
            self._size += len(line)
            now = time.monotonic()
            if self._sync_seconds is not None and now - self._synced >= self._sync_seconds:
                os.fsync(descriptor)
                self._synced = now
        except OSError as error:
            self.cut(self._size)
            raise output_error(self._path, error) from error

    def cut(self, size: int) -> None:
        """Keep the first ``size`` bytes, after which the next line goes."""
        assert self._descriptor is not None
        try:
            os.ftruncate(self._descriptor, size)
        except OSError as error:
            raise output_error(self._path, error) from error
        self._size = size

    def close(self) -> None:
        """Wait for the disk and close the file."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            try:
                os.fsync(descriptor)
            except OSError as error:
                raise output_error(self._path, error) from error
            finally:
                os.close(descriptor)

    def abandon(self) -> None:
        """Close the file as it is: every line is in it already."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


def _lock(descriptor: int, path: str | os.PathLike[str]) -> None:
    """Keep other processes from writing the same file, where the system can."""
    try:
        import fcntl
    except ImportError:
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            failure = OutputError(f"another process is writing {os.fspath(path)}; wait for it or stop it")
            failure.errno = error.errno
            raise failure from error
