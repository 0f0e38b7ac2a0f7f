"""What every format shares: :class:`Export`, the one face of all of them.

A format is a :class:`Writer`. It is handed sound pictures one by one and keeps none of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Protocol, TypeAlias

from maskwright.errors import InputError, StateError
from maskwright.interop.annotations import AnnotatedPicture, relabelled
from maskwright.interop.outputs import OutputFolder, SingleFile


@dataclass(frozen=True)
class ExportOptions:
    """What all formats can be told.

    Raises:
        InputError: a tolerance that is negative or no number.
    """

    labels: Mapping[int, str] = field(default_factory=dict)
    """Number of an object -> what it is. Also says which categories there are, and in which order."""
    tolerance: float = 1.0
    """How far, in pixels, a polygon may leave the edge of a mask; 0 follows the pixels exactly."""
    overwrite: bool = False
    """Replace what an earlier run wrote."""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.tolerance) and self.tolerance >= 0):
            raise InputError(f"tolerance={self.tolerance} is no distance; pass 0 or more pixels")
        blank = next((number for number, label in self.labels.items() if not label.strip()), None)
        if blank is not None:
            raise InputError(f"object {blank} has a blank label; give it a name, or leave the label out")


class Writer(Protocol):
    """One format. :class:`Export` calls it, in the right order and never after the end."""

    def write(self, picture: AnnotatedPicture) -> None:
        """Add a picture, none of whose masks is empty and whose name is new."""

    def finish(self) -> None:
        """Complete the output."""

    def discard(self) -> None:
        """Leave nothing unfinished under a final name. Never raises."""


Pages: TypeAlias = Callable[[AnnotatedPicture], Iterable[tuple[str, bytes]]]
"""The files of one picture: what comes after its name, such as ``.svg`` or ``-1.png``, and the content."""


class PageWriter:
    """A format that has files for each picture and nothing else.

    Args:
        output: Where they go.
        pages: Makes them.
    """

    def __init__(self, output: OutputFolder | SingleFile, pages: Pages) -> None:
        self._output = output
        self._pages = pages

    def write(self, picture: AnnotatedPicture) -> None:
        """Write the files of one picture."""
        for ending, content in self._pages(picture):
            self._output.write(self._output.place(picture.name, ending), content)

    def finish(self) -> None:
        """Every file is complete already."""

    def discard(self) -> None:
        """The files that are complete stay."""
        self._output.discard()


class Export:
    """An output that is being written, whatever its format; a context manager.

    Leaving it normally completes the output. Leaving it by an exception leaves nothing half-written: a file
    does not appear, or stays as it was; of a folder the files that are complete stay.
    """

    def __init__(self, writer: Writer, labels: Mapping[int, str]) -> None:
        self._writer = writer
        self._labels = labels
        self._names: set[str] = set()
        self._closed = False

    def add(self, picture: AnnotatedPicture) -> None:
        """Write one picture. Objects without a pixel are left out, with nothing said.

        Raises:
            InputError: its name is unusable or was added before, or the format cannot hold it.
            OutputError: it could not be written.
            StateError: the export is closed.
        """
        if self._closed:
            raise StateError("the export is closed already; open a new one to write more pictures")
        if picture.name in self._names:
            raise InputError(f"{picture.name} was added before; give each picture a name of its own")
        seen = tuple(item for item in picture.annotations if item.area)
        self._writer.write(relabelled(replace(picture, annotations=seen), self._labels))
        self._names.add(picture.name)

    def close(self) -> None:
        """Complete the output. A second call does nothing."""
        if not self._closed:
            self._closed = True
            try:
                self._writer.finish()
            except BaseException:
                self._writer.discard()
                raise

    def abandon(self) -> None:
        """Stop; nothing unfinished is left under a final name."""
        if not self._closed:
            self._closed = True
            self._writer.discard()

    def __enter__(self) -> Export:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abandon()
