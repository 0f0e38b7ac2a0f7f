"""The log of a folder: which pictures are done, and which failed and why, a line of JSON for each.

The first line says what job it is::

    {"format": "maskwright-automasks", "version": 1, "source": "/data/photos", "model": "nano",
     "fingerprint": "...", "image_size": 704, "dtype": "float32", "settings": {"min_score": 0.5, ...}}

and the others what became of each picture, in the order in which they were done. ``bytes`` and ``changed``
(nanoseconds) tell whether the file is still the same; of several lines of one file the last counts::

    {"file": "a.jpg", "bytes": 81230, "changed": 1700000000000000000, "name": "a", "size": [480, 640],
     "objects": 31, "filters": {"decoded": 768, ...}, "seconds": 9.31}
    {"file": "b.jpg", "bytes": 0, "changed": 1700000000000000000, "error": "b.jpg is empty ..."}
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from maskwright.errors import InputError

FORMAT, VERSION = "maskwright-automasks", 1
NAME = "log.jsonl"
Row = dict[str, Any]


class RunLog:
    """Holds a line for each picture that is done or failed; a line is there as soon as it was written."""

    def __init__(self, folder: Path, job: Mapping[str, Any], *, overwrite: bool) -> None:
        """Begin the log, or go on with the one there is.

        A torn last line is cut off. Until everything before it has proved sound and of the same job, nothing
        is changed.

        Args:
            folder: Where the results go.
            job: What makes two runs the same; all that JSON holds.
            overwrite: Start over.

        Raises:
            InputError: it is no such log, is damaged, or belongs to another job.
            OutputError: it cannot be written, or another process is writing it.
        """
        from maskwright.io.files import checked_target
        from maskwright.io.sinks.lines import LineFile

        self.path = folder / NAME
        self.rows: dict[str, Row] = {}
        """The last line of each file that has one."""
        header = _line({"format": FORMAT, "version": VERSION, **job})
        file = checked_target(self.path, overwrite=True)
        self._lines = LineFile(file, self.path, sync_seconds=0, exclusive=False)
        try:
            size = 0 if overwrite else self._survey(header)
            self._lines.cut(size)
            if not size:
                self._lines.append(header)
        except BaseException:
            self._lines.abandon()
            raise

    def write(self, row: Row) -> None:
        """Append what became of a picture; when this returns the disk has it.

        Raises:
            OutputError: the disk is full, or the like; the log ends with the picture before.
        """
        self._lines.append(_line(row))
        self.rows[row["file"]] = row

    def __enter__(self) -> RunLog:
        return self

    def __exit__(self, *error: object) -> None:
        self._lines.abandon()

    def _survey(self, header: bytes) -> int:
        """Read what there is; the size of its sound part."""
        size = 0
        with self.path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if not line.endswith(b"\n"):
                    if not size and not header.startswith(line):
                        raise self._strange()
                    break
                row = self._parsed(line, number)
                if not size:
                    self._compare(row, json.loads(header))
                else:
                    self.rows[row["file"]] = row
                size += len(line)
        return size

    def _parsed(self, line: bytes, number: int) -> Row:
        try:
            row = json.loads(line)
            sound = isinstance(row, dict) and (number == 1 or _is_sound(row))
        except (ValueError, RecursionError):
            sound = False
        if not sound:
            if number == 1:
                raise self._strange()
            raise InputError(
                f"line {number} of {self.path} is damaged; --overwrite starts over, or choose another folder"
            )
        return dict(row)

    def _strange(self) -> InputError:
        return InputError(f"{self.path} is no log of automatic masks; choose another folder with -o")

    def _compare(self, old: Row, new: Row) -> None:
        if old.get("format") != FORMAT:
            raise self._strange()
        before, now = ({**row, **row.get("settings", {})} for row in (old, new))
        name = next((name for name in now if name != "settings" and before.get(name) != now[name]), None)
        if name is not None:
            raise InputError(
                f"{self.path} is of another run: {name} was {before.get(name)!r} and is {now[name]!r} now; "
                "--overwrite starts over, or choose another folder with -o"
            )


def _line(row: Mapping[str, Any]) -> bytes:
    """ASCII, so that every name survives, even one that is no valid text."""
    return json.dumps(row, separators=(",", ":")).encode("ascii") + b"\n"


def _is_sound(row: Row) -> bool:
    """Whether a line tells about a picture what will be asked of it."""
    wanted: dict[str, type] = {"file": str, "bytes": int, "changed": int}
    wanted |= (
        {"error": str} if "error" in row else {"name": str, "size": list, "objects": int, "filters": dict}
    )
    return all(isinstance(row.get(name), kind) for name, kind in wanted.items())
