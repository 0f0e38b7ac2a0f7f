"""What a log of tracked frames is needed for besides being kept: finding its frames again, in any order."""

from __future__ import annotations

import json
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maskwright.errors import InputError, SourceError
from maskwright.frames import Frame, TrackedFrame

if TYPE_CHECKING:
    from maskwright.io.sinks import Sink
    from maskwright.io.sources import Source

_AHEAD = 4
"""Frames decoded ahead of the one that is drawn."""


class LogIndex:
    """Where each frame lies in a log that nobody is writing to; 16 bytes a frame.

    Raises:
        InputError: a line is damaged.
    """

    def __init__(self, path: Path) -> None:
        from maskwright.io.sinks.records import BrokenRecord, parse_index

        self._path = path
        found = []
        with path.open("rb") as file:
            place = len(file.readline())
            for line in file:
                try:
                    found.append((parse_index(line), place))
                except BrokenRecord as error:
                    raise InputError(f"the log {path} is damaged at byte {place}: {error}") from error
                place += len(line)
        found.sort()
        self.numbers = array("q", (number for number, _ in found))
        """Numbers of the frames, ascending."""
        self._places = array("q", (place for _, place in found))

    def __len__(self) -> int:
        return len(self.numbers)

    def __contains__(self, number: int) -> bool:
        at = bisect_left(self.numbers, number)
        return at < len(self.numbers) and self.numbers[at] == number

    def records(self, numbers: Iterable[int]) -> Iterator[dict[str, Any]]:
        """The lines of some frames as they are in the file, parsed; frames that it lacks are passed over."""
        for line in self._lines(numbers):
            yield json.loads(line)

    def frames(self, pictures: Iterable[Frame]) -> Iterator[TrackedFrame]:
        """For each picture the frame as it was tracked, with the picture."""
        from maskwright.io.sinks.records import parse_frame

        for picture in pictures:
            for line in self._lines([picture.index]):
                yield replace(parse_frame(line), image=picture.image)

    def _lines(self, numbers: Iterable[int]) -> Iterator[bytes]:
        with self._path.open("rb") as file:
            for number in numbers:
                if number in self:
                    file.seek(self._places[bisect_left(self.numbers, number)])
                    yield file.readline()


def replay(index: LogIndex, source: Source, step: int, sink: Sink, going_on: Callable[[int], bool]) -> bool:
    """Write all frames of a log to a sink again, in ascending order, with pictures read from the source.

    Args:
        index: The log.
        source: The video that it is about.
        step: Distance between its frames.
        sink: Takes the frames.
        going_on: Called with the number of each frame written; False stops.

    Returns:
        Whether all were written.

    Raises:
        SourceError: the source does not give a frame that it gave before.
    """
    from maskwright.io.sources import prefetch

    if not len(index):
        return True
    written = 0
    with closing(prefetch(source.frames(index.numbers[0], index.numbers[-1] + 1, step), _AHEAD)) as pictures:
        for frame in index.frames(pictures):
            sink.write(frame)
            written += 1
            if not going_on(frame.index) and written < len(index):
                return False
    if written < len(index):
        raise SourceError(
            f"{source.name} gives only {written} of the {len(index)} frames of the log; has it changed?"
        )
    return True
