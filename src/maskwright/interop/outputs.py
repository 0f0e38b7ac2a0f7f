"""Where formats write: a file that grows, a temporary one, a folder of files, and the file of one picture."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from maskwright.errors import InputError, OutputError
from maskwright.io.files import atomic_write, checked_target, output_error, writable_folder, write_bytes

_PIECE = 1 << 16
"""Characters that are copied at once."""


class _Discarded(Exception):
    """Ends the writing of a file that is not wanted any more."""


class OutputFile:
    """A text file in UTF-8 that grows piece by piece and has its name only when it is complete.

    Args:
        path: Its folder must exist.
        overwrite: Replace an older file.

    Raises:
        OutputError: it cannot be written, or it exists.
    """

    def __init__(self, path: Path, *, overwrite: bool) -> None:
        self.path = path
        self._context = atomic_write(path, overwrite=overwrite)
        self._file = self._context.__enter__()

    def write(self, text: str) -> None:
        """Append; what is no valid text, as in some file names, becomes a question mark."""
        try:
            self._file.write(text.encode("utf-8", "replace"))
        except OSError as error:
            raise output_error(self.path, error) from error

    def finish(self) -> None:
        """Give the file its name."""
        self._context.__exit__(None, None, None)

    def discard(self) -> None:
        """Remove what was written; an older file stays."""
        with contextlib.suppress(Exception):
            self._context.__exit__(_Discarded, _Discarded(), None)


class Spool:
    """Text that has to wait until the end, in a temporary file without a name, which goes with the process.

    Args:
        folder: The disk that it is on.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        try:
            self._file = tempfile.TemporaryFile("w+b", dir=folder)  # noqa: SIM115, closed by close
        except OSError as error:
            raise output_error(folder, error) from error

    def write(self, text: str) -> tuple[int, int]:
        """Append; where the text begins and how many bytes it has."""
        data = text.encode("utf-8", "replace")
        try:
            place = self._file.seek(0, os.SEEK_END)
            self._file.write(data)
        except OSError as error:
            raise output_error(self._folder, error) from error
        return place, len(data)

    def read(self, place: int, length: int) -> str:
        """A piece of the text."""
        self._file.seek(place)
        return self._file.read(length).decode("utf-8")

    def all(self) -> Iterator[str]:
        """All of it, piece by piece."""
        self._file.seek(0)
        reader = io.TextIOWrapper(self._file, encoding="utf-8")
        while text := reader.read(_PIECE):
            yield text
        reader.detach()

    def close(self) -> None:
        """Give the room back."""
        with contextlib.suppress(OSError):
            self._file.close()


class OutputFolder:
    """A folder of results, a few files for each picture, each written whole or not at all.

    Args:
        path: Is created if it is missing, and removed again by :meth:`discard` if nothing came into it.
        results: Patterns of the files that an earlier run would have left.
        overwrite: Replace such files. Those that are not written anew stay as they are.

    Raises:
        OutputError: it cannot be written into, or has such files and ``overwrite`` is off.
    """

    def __init__(self, path: Path, results: Sequence[str], *, overwrite: bool) -> None:
        self.path = path
        self._overwrite = overwrite
        self._taken: set[str] = set()
        found = None if overwrite or not path.is_dir() else _first(path, results)
        if found is not None:
            raise OutputError(f"{found} exists already; allow overwriting or choose another folder")
        self._made = [place for place in (path, *path.parents) if not place.exists()]
        writable_folder(path)

    def place(self, name: str, ending: str, *, inside: str = "", exact: bool = False) -> Path:
        """Where a file for a picture goes: its name with another ending, in the folder.

        Args:
            name: Of the picture.
            ending: Of the file.
            inside: A folder in the folder.
            exact: Where two pictures differ only in their endings, that is an error; otherwise the second one
                keeps its own: ``a.png.json``.

        Raises:
            InputError: the name of the picture leads out of the folder, or leads to a file that is written.
        """
        relative = inner_path(name)
        for base in (without_ending(relative), relative.name):
            found = PurePosixPath(inside) / relative.with_name(base + ending)
            if str(found).casefold() not in self._taken:
                self._taken.add(str(found).casefold())
                return self.path / found
            if exact:
                break
        raise InputError(
            f"{found} is written already, for another picture than {name}; rename one of the two"
        )

    def write(self, path: Path, data: bytes) -> None:
        """Write a file in the folder, or in one below, which is made if need be.

        Raises:
            OutputError: it cannot be written, or exists and ``overwrite`` is off.
        """
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise output_error(path, error) from error
        write_bytes(path, data, overwrite=self._overwrite)

    def discard(self) -> None:
        """Remove the folders that were made and that nothing came into."""
        for folder in self._made:
            with contextlib.suppress(OSError):
                folder.rmdir()


class SingleFile:
    """What :class:`OutputFolder` is for many pictures, for a file that holds one of them.

    Raises:
        OutputError: it cannot be written, or exists and ``overwrite`` is off.
    """

    def __init__(self, path: Path, *, overwrite: bool) -> None:
        self.path = path
        self._overwrite = overwrite
        self._picture = ""
        checked_target(path, overwrite=overwrite)
        if not path.parent.is_dir():
            raise output_error(path, FileNotFoundError(errno.ENOENT, ""))
        writable_folder(path.parent)

    def place(self, name: str, ending: str, *, inside: str = "", exact: bool = False) -> Path:
        """The file, for the first picture.

        Raises:
            InputError: there was one before.
        """
        if self._picture:
            raise InputError(f"{self.path} holds one picture, {self._picture}; for several name a folder")
        self._picture = name
        return self.path

    def write(self, path: Path, data: bytes) -> None:
        """Write the file.

        Raises:
            OutputError: it cannot be written.
        """
        write_bytes(path, data, overwrite=self._overwrite)

    def discard(self) -> None:
        """Nothing is left half-written."""


def file_or_folder(path: Path, ending: str, *, overwrite: bool) -> OutputFolder | SingleFile:
    """A file for one picture if the path has the ending and is no folder, else a folder for many."""
    if path.suffix.lower() == ending and not path.is_dir():
        return SingleFile(path, overwrite=overwrite)
    return OutputFolder(path, [f"**/*{ending}"], overwrite=overwrite)


def separated(number: int) -> str:
    """What stands before entry ``number``, from 1 on, of a list in JSON."""
    return "\n" if number == 1 else ",\n"


def inner_path(name: str) -> PurePosixPath:
    """The name of a picture as a path that stays inside whatever folder it is put into.

    Raises:
        InputError: it does not.
    """
    path = PurePosixPath(name.replace(os.sep, "/"))
    if path.is_absolute() or not path.name or ".." in path.parts or "\0" in name:
        raise InputError(
            f"the picture is called {name!r}, which is no file inside a folder; give a relative name"
        )
    return path


def without_ending(path: PurePosixPath) -> str:
    """The file's name without the ending, if it is that of a picture."""
    from maskwright.io.sources.stills import picture_endings

    return path.stem if path.suffix.lower() in picture_endings() else path.name


def _first(folder: Path, patterns: Sequence[str]) -> Path | None:
    return next((path for pattern in patterns for path in folder.glob(pattern)), None)
