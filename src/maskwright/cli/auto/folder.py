"""Everything in all pictures of a folder, and going on where an earlier run was ended.

The log is what counts: a picture is done when its line is there, which comes after its files.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from maskwright.cli.auto.listing import Picture, apart_from, identity, name_of, names_of, pictures_of
from maskwright.cli.auto.log import NAME, Row, RunLog
from maskwright.cli.auto.report import numbers_png, results, settings_of
from maskwright.cli.auto.request import Request
from maskwright.cli.export.write import write_exports
from maskwright.cli.progress import Stage, Watch
from maskwright.cli.staging import results_folder
from maskwright.errors import ImageError, InputError, OutputError

if TYPE_CHECKING:
    from maskwright.automask.options import AutomaskOptions
    from maskwright.automask.search import Search
    from maskwright.mask_model import MaskModel
    from maskwright.types import ImageArray

_AHEAD = 1
"""Pictures that wait, decoded, while one is searched; another one is being decoded."""
_JPEG_SIDE = 65_535
"""Longest side of a JPEG in pixels."""


class Loaded(NamedTuple):
    """A picture from the thread that decodes."""

    picture: Picture
    row: Row
    """What its line in the log begins with."""
    image: ImageArray | None
    error: str
    """Why there is no image."""


def find_in_folder(request: Request) -> bool:
    """Find everything in all pictures, write three files for each, and print what failed and how it went.

    Returns:
        False if Ctrl-C ended it early; the pictures that were done by then stay.

    Raises:
        MaskwrightError: wrong input, an unusable model, results that cannot be written; and at the end, when
            all others are done, if a picture failed.
    """
    from maskwright.cli.auto.summary import show, summary

    request.options()
    request.exports.check_many()
    out = request.out if request.out is not None else Path(f"{name_of(request.source)}-masks")
    pictures = apart_from(out, pictures_of(request.source), ours=(out / NAME).exists())
    watch = Watch()
    with results_folder(out) as folder, watch.warnings():
        again = f"maskwright export {folder} --overwrite" if (folder / NAME).exists() else "--overwrite"
        request.exports.check(own=[folder, folder / NAME], read=request.source, again=again)
        model = request.load()
        options = request.options(model.name)
        with _opened(request, folder, model, options, pictures) as log, watch.interrupts():
            run = Run(request.model, model, options, folder, log, watch)
            request.exports.sweep()
            finished = run.whole(pictures)
        written = write_exports(request.exports, log.path, watch) if finished else {}
    report = summary(request.source, folder, log, pictures, options, rate=run.rate, finished=finished)
    report |= written
    show(report, as_json=request.as_json)
    done, failed = len(report["pictures"]), len(report["failed"])
    if not finished:
        watch.say(
            f"interrupted after {done} of {len(pictures)} pictures; the same command goes on from there"
        )
    elif failed:
        raise InputError(
            f"{failed} of {len(pictures)} pictures failed, the others are done; the reasons are in "
            f"{log.path}, and the same command{_without(request)} tries these again"
        )
    return finished


class Run:
    """Searches pictures one after the other while the next ones are decoded on a thread."""

    def __init__(
        self,
        model_name: str,
        model: MaskModel,
        options: AutomaskOptions,
        folder: Path,
        log: RunLog,
        watch: Watch,
    ) -> None:
        self._model_name, self._model, self._options = model_name, model, options
        self._folder, self._log, self._watch = folder, log, watch
        self._searched_now = 0
        self._began = time.monotonic()

    @property
    def rate(self) -> float | None:
        """Pictures per second, if any was searched."""
        seconds = time.monotonic() - self._began
        return self._searched_now / max(seconds, 1e-9) if self._searched_now else None

    def whole(self, pictures: Sequence[Picture]) -> bool:
        """Do all that is left to do; False if Ctrl-C ended it.

        Raises:
            OutputError: a result cannot be written; the message says how many are done.
        """
        _sweep(self._folder)
        left = [picture for picture in pictures if not self._is_done(picture)]
        done = len(pictures) - len(left)
        if done:
            self._watch.say(f"{done} of {len(pictures)} pictures are done already; --overwrite starts over")
        names = names_of(pictures, {key: row["name"] for key, row in self._log.rows.items() if "name" in row})
        with self._watch.stage("searching", len(pictures), done, unit="picture") as stage:
            try:
                return self._all(left, names, stage)
            except OutputError as error:
                failure = OutputError(
                    f"{error}; {stage.done} of {len(pictures)} pictures are done, "
                    "and the same command goes on from there"
                )
                failure.errno = error.errno
                raise failure from error

    def _all(self, left: Sequence[Picture], names: Mapping[str, str], stage: Stage) -> bool:
        from maskwright.io.sources.prefetch import prefetch

        with closing(prefetch(_decoded(left), _AHEAD)) as ahead:
            for loaded in ahead:
                if self._watch.stopping or not self._one(loaded, names[loaded.picture.key], stage):
                    return False
                stage.advance()
        return True

    def _one(self, loaded: Loaded, name: str, stage: Stage) -> bool:
        """Search a picture, write its files and then its line; False if Ctrl-C came before it was done."""
        row, error = dict(loaded.row), loaded.error
        if loaded.image is not None:
            began = time.monotonic()
            try:
                search = self._searched(loaded.image, loaded.picture.path.name, stage)
                if search is None:
                    return False
                row |= self._written(search, loaded.picture, name)
                row["seconds"] = round(time.monotonic() - began, 2)
                self._searched_now += 1
            except (InputError, MemoryError) as failure:
                error = str(failure) or "there is not enough memory for it"
        if error:
            row["error"] = " ".join(error.split())
        if row != self._log.rows.get(row["file"]):  # what failed before may have failed again
            self._log.write(row)
        return True

    def _searched(self, image: ImageArray, name: str, stage: Stage) -> Search | None:
        """The search, done; None if Ctrl-C was pressed."""
        with self._model.search(image, options=self._options) as search:
            for step in search:
                stage.part = step.done / step.total
                stage.show(f"{name}: {step.done} of {step.total} clicks")
                if self._watch.stopping:
                    return None
        return search

    def _written(self, search: Search, picture: Picture, name: str) -> Row:
        """Write a picture's files, the JSON last; the rest of its line in the log."""
        from maskwright.io.files import write_bytes, write_text

        found = search.result()
        report = results(str(picture.path), self._model_name, self._options, found, search.sieve)
        write_bytes(self._folder / f"{name}.png", numbers_png(found))
        found.save_overlay(self._folder / overlay_name(name, found.size))
        write_text(self._folder / f"{name}.json", json.dumps(report, indent=1) + "\n")
        return {
            "name": name,
            "size": list(found.size),
            "objects": len(found),
            "filters": report["filters"],
        }

    def _is_done(self, picture: Picture) -> bool:
        """Whether the log has the picture as it is now, and its files are there."""
        row = self._log.rows.get(picture.key)
        if row is None or "error" in row or row | _stamp(picture) != row:
            return False
        return all((self._folder / file).is_file() for file in files_of(row["name"], row["size"]))


def files_of(name: str, size: Sequence[int]) -> list[str]:
    """The files of one picture's results: masks and scores, numbers, overlay."""
    return [f"{name}.json", f"{name}.png", overlay_name(name, size)]


def overlay_name(name: str, size: Sequence[int]) -> str:
    """A JPEG, unless the picture is longer than a JPEG may be."""
    return f"{name}-overlay{'.jpg' if max(size) <= _JPEG_SIDE else '.png'}"


def _opened(
    request: Request, folder: Path, model: MaskModel, options: AutomaskOptions, pictures: Sequence[Picture]
) -> RunLog:
    """The log; where it is new, nothing may be in the way of the results."""
    if not request.overwrite and not (folder / NAME).exists():
        for name in names_of(pictures, {}).values():
            for file in files_of(name, (1, 1)):
                if (folder / file).exists():
                    raise OutputError(
                        f"{folder / file} exists already; --overwrite replaces it, "
                        "or choose another folder with -o"
                    )
    job = {
        "source": identity(request.source),
        "model": model.name,
        "fingerprint": model.runtime.fingerprint(),
        "image_size": model.config.image_size,
        "dtype": model.dtype_name,
        "settings": settings_of(options),
    }
    return RunLog(folder, job, overwrite=request.overwrite)


def _without(request: Request) -> str:
    """What to leave out of a command that goes on, as the exports are there now."""
    flags = " and ".join(request.exports.flags.values())
    return flags and f" without {flags} (`maskwright export` takes these)"


def _decoded(pictures: Sequence[Picture]) -> Iterator[Loaded]:
    """Read pictures one by one; a picture that cannot be read is no reason to stop."""
    from maskwright.io.images import read_image

    for picture in pictures:
        row = {"file": picture.key, **_stamp(picture)}
        try:
            yield Loaded(picture, row, read_image(picture.path), "")
        except ImageError as error:
            yield Loaded(picture, row, None, str(error))


def _stamp(picture: Picture) -> Row:
    """What changes when the file does."""
    try:
        found = picture.path.stat()
    except OSError:  # it went away; reading it tells why
        return {"bytes": 0, "changed": 0}
    return {"bytes": found.st_size, "changed": found.st_mtime_ns}


def _sweep(folder: Path) -> None:
    """Remove what a run that was killed left behind: hidden files that never got their names."""
    for part in folder.glob(".*.part"):
        with contextlib.suppress(OSError):
            part.unlink()
