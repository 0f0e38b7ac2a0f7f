"""Folders of results: one that goes again if nothing came into it, and results that appear together."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

RESULTS = "results.json"
"""What was found in one picture."""
STAGE = ".maskwright-"
"""What the names of hidden folders begin with whose files are not complete."""


@contextmanager
def results_folder(path: Path) -> Iterator[Path]:
    """The folder, made if it is missing (as are those it is in), and removed again if an error comes first.

    Raises:
        OutputError: it cannot be made or written into.
    """
    from maskwright.io.files import writable_folder

    made = [place for place in (path, *path.parents) if not place.exists()]
    folder = writable_folder(path)
    try:
        yield folder
    except BaseException:
        with suppress(OSError):  # one that something came into stays, and what it is in
            for place in made:
                place.rmdir()
        raise


@contextmanager
def staged(folder: Path) -> Iterator[Path]:
    """A hidden folder whose files, and those of folders in it, move to ``folder`` at the end; else none does.

    Files of the same names are replaced.

    Raises:
        OutputError: they cannot be written or moved.
    """
    from maskwright.errors import OutputError
    from maskwright.io.files import output_error

    stage = Path(tempfile.mkdtemp(prefix=STAGE, dir=folder))
    try:
        yield stage
        for path in sorted(stage.rglob("*")):
            target = folder / path.relative_to(stage)
            if path.is_dir():
                target.mkdir(exist_ok=True)
            else:
                path.replace(target)
    except OSError as error:
        if isinstance(error, OutputError) and str(stage) not in str(error):  # something else's
            raise
        raise output_error(folder, error) from error
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def write_results(folder: Path, report: dict[str, Any]) -> None:
    """Write ``results.json``, in plain values."""
    (folder / RESULTS).write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
