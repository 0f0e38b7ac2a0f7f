"""Writing files so that a reader never sees half of one.

:func:`atomic_write` writes to a hidden temporary file in the same folder, flushes it to the disk and renames
it: under the final name there is either the old content or the whole new one. Every failure becomes an
:class:`OutputError`.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from maskwright.errors import OutputError

_REASONS = {
    errno.ENOSPC: "the disk is full; free some space or choose another folder",
    errno.EDQUOT: "the disk quota is used up; free some space or choose another folder",
    errno.EACCES: "permission denied; choose a folder you may write to",
    errno.EPERM: "permission denied; choose a folder you may write to",
    errno.EROFS: "the file system is read-only; choose another folder",
    errno.ENOENT: "its folder does not exist; create it first",
    errno.ENOTDIR: "a part of the path is a file, not a folder",
    errno.EEXIST: "a file of that name is in the way; choose another folder",
    errno.EISDIR: "it is a folder; give the name of a file",
    errno.ENAMETOOLONG: "the name is too long; choose a shorter one",
    errno.EFBIG: "the file would be larger than the file system allows",
}


def output_error(path: str | os.PathLike[str], error: OSError) -> OutputError:
    """The :class:`OutputError` for a failed write to ``path``: same ``errno``, one line, what to do."""
    reason = _REASONS.get(error.errno or 0) or error.strerror or str(error) or type(error).__name__
    message = f"cannot write {os.fspath(path)}: {reason}"
    failure = OutputError(message)
    failure.errno = error.errno
    return failure


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike[str], *, overwrite: bool = True) -> Iterator[BinaryIO]:
    """A binary file to write into; it appears under ``path`` when the ``with`` block ends without an error.

    ``file.name`` is the temporary name, for writers that want a path. A symbolic link is followed, so the
    link stays.

    Raises:
        OutputError: the file cannot be written (no such folder, no permission, disk full), ``path`` is not a
            regular file, or it exists and ``overwrite`` is False. Nothing is left behind, and an older file
            stays as it was.
    """
    final = checked_target(path, overwrite=overwrite)
    temporary = final.with_name(f".{final.name[:100]}.{secrets.token_hex(6)}.part")
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
        temporary.chmod(mode)  # a writer that goes by the name may have put a private file of its own there
        temporary.replace(final)
    except BaseException as error:
        _discard(temporary)
        if isinstance(error, OSError) and not isinstance(error, OutputError):
            raise output_error(path, error) from error
        raise


def checked_target(path: str | os.PathLike[str], *, overwrite: bool) -> Path:
    """The regular file that ``path`` names, links followed; no device, which renaming would replace.

    Raises:
        OutputError: it is a folder or a device, or it exists and ``overwrite`` is False.
    """
    name = os.fspath(path)
    try:
        final = Path(os.path.realpath(name))
        found = final.stat()
    except FileNotFoundError:
        return final
    except (OSError, ValueError) as error:
        cause = error if isinstance(error, OSError) else OSError(errno.EINVAL, str(error))
        raise output_error(path, cause) from error
    if stat.S_ISDIR(found.st_mode):
        raise OutputError(f"cannot write {name}: {_REASONS[errno.EISDIR]}")
    if not stat.S_ISREG(found.st_mode):
        raise OutputError(f"cannot write {name}: it is not a regular file; give the name of a file")
    if not overwrite:
        raise OutputError(f"{name} exists already; allow overwriting or choose another name")
    return final


def write_bytes(path: str | os.PathLike[str], data: bytes, *, overwrite: bool = True) -> Path:
    """Write ``data`` to ``path`` with :func:`atomic_write`; returns the path."""
    with atomic_write(path, overwrite=overwrite) as file:
        file.write(data)
    return Path(path)


def write_text(path: str | os.PathLike[str], text: str, *, overwrite: bool = True) -> Path:
    """Write ``text`` as UTF-8 to ``path`` with :func:`atomic_write`; returns the path."""
    return write_bytes(path, text.encode("utf-8"), overwrite=overwrite)


def writable_folder(path: str | os.PathLike[str]) -> Path:
    """Create the folder ``path`` (and its parents) if it is missing; make sure that it can be written into.

    Call it before long work, so that a wrong output folder is noticed at once. Asking the permission bits is
    not enough (read-only mounts, network drives, root), so an empty file is created and removed.

    Raises:
        OutputError: it is a file, cannot be created, or nothing can be written into it.
    """
    folder = Path(path)
    probe = folder / f".maskwright.{secrets.token_hex(6)}.probe"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.open("xb").close()
        probe.unlink()
    except OSError as error:
        if error.errno == errno.EEXIST:
            raise OutputError(f"cannot write into {folder}: it is a file, not a folder") from error
        reason = _REASONS.get(error.errno or 0) or error.strerror or str(error)
        raise OutputError(f"cannot write into the folder {folder}: {reason}") from error
    return folder


def _discard(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()
