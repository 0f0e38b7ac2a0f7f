"""Writing finished results in other formats, one picture at a time, and all outputs at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maskwright.cli.export.request import Exports
from maskwright.cli.progress import Watch
from maskwright.cli.staging import results_folder, staged
from maskwright.errors import InputError, MaskwrightError

if TYPE_CHECKING:
    from maskwright.interop.annotations import AnnotatedPicture
    from maskwright.interop.finished import Finished
    from maskwright.interop.writing import Export

_UNITS = {"track": "frame"}


@dataclass
class Tally:
    """What went into the exports."""

    pictures: int = 0
    masks: int = 0
    seen: Counter[int] = field(default_factory=Counter)
    """In how many pictures each object has a pixel, by number."""
    labels: Counter[str] = field(default_factory=Counter)
    """How many masks are called so."""

    def see(self, picture: AnnotatedPicture) -> None:
        """The next picture."""
        self.pictures += 1
        for annotation in picture.annotations:
            if annotation.area:
                self.masks += 1
                self.seen[annotation.id] += 1
                self.labels[annotation.label] += 1


def write_exports(
    exports: Exports, results: Path, watch: Watch, *, source: str | Path | None = None
) -> dict[str, Any]:
    """Write results of the command at hand, which are finished, in the formats asked for, if any.

    Args:
        exports: Formats and places.
        results: A log of tracking, ``results.json``, or ``log.jsonl`` of a folder.
        watch: Shows progress and warnings.
        source: What the results are about.

    Returns:
        What a report says of it: ``exports``, where everything is, by format; nothing if none was asked for.

    Raises:
        MaskwrightError: the results cannot be read, or an export not be written; none is there then.
        KeyboardInterrupt: so it was, and none is there.
    """
    from maskwright.interop.finished import read_finished

    if not exports:
        return {}
    try:
        write_finished(exports, read_finished(results, source), watch)
    except MaskwrightError as error:
        raise type(error)(
            f"{error}; the results are done, and `maskwright export {results}` tries other formats again"
        ) from error
    return {"exports": exports.places}


def show_exports(report: dict[str, Any]) -> None:
    """Print where the exports of a report are, if it has any."""
    from maskwright.cli.terminal import print_line

    for format, path in report.get("exports", {}).items():
        print_line(f"{format}: {path}")


def write_finished(exports: Exports, finished: Finished, watch: Watch) -> Tally:
    """Write finished results in all formats, going through them once; see :func:`write_exports`."""
    tally = Tally()
    stage = watch.stage("exporting", finished.total, unit=_UNITS.get(finished.kind, "picture"))
    with watch.interrupts(), _opened(exports) as targets, stage as progress:
        for picture in map(exports.renamed, finished):
            for flag, target in targets.items():
                _add(flag, target, picture)
            tally.see(picture)
            progress.advance()
            if watch.stopping:
                raise KeyboardInterrupt
    for line in _doubts(exports, tally):
        watch.say(f"warning: {line}")
    return tally


def _add(flag: str, target: Export, picture: AnnotatedPicture) -> None:
    try:
        target.add(picture)
    except InputError as error:
        raise InputError(f"{flag}: {error}") from error


@contextmanager
def _opened(exports: Exports) -> Iterator[dict[str, Export]]:
    """All outputs by option; they get their names when this ends, or after an error none does.

    Folders are filled in a hidden place first, as a part of them is as useless as a part of a file.
    """
    from maskwright.interop.formats import is_file

    files = {format: path for format, path in exports.paths.items() if is_file(format, path)}
    folders = {format: path for format, path in exports.paths.items() if format not in files}
    for format, path in folders.items():
        exports.open(format, path).abandon()  # is anything in the way?
    with ExitStack() as stack:  # what is entered last is complete first; folders are moved after all that
        stages = {format: stack.enter_context(_stage(path)) for format, path in folders.items()}
        targets = {}
        for format, path in files.items():
            targets[exports.flags[format]] = stack.enter_context(exports.open(format, path))
        for format, path in stages.items():
            target = exports.open(format, path, overwrite=True)
            targets[exports.flags[format]] = stack.enter_context(target)
        yield targets


@contextmanager
def _stage(path: Path) -> Iterator[Path]:
    """A hidden folder in another one, whose files move there at the end."""
    with results_folder(path) as folder, staged(folder) as stage:
        yield stage


def _doubts(exports: Exports, tally: Tally) -> Iterator[str]:
    """What may not be what was meant."""
    if not tally.masks:
        yield f"there is no object in {tally.pictures} pictures; the exports have none"
        return
    for number in sorted(exports.named):
        if number not in tally.seen:
            yield f"--label {number}:{exports.labels[number]}: object {number} is seen in no picture"
