"""Folders of results: one that goes again if nothing came into it, and results that appear together."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def results_folder(path: Path) -> Iterator[Path]:
    """The folder, made if it is missing, and removed again if that was for nothing: an error came first.

    Raises:
        OutputError: it cannot be made or written into.
    """
    from maskwright.io.files import writable_folder

    made = not path.exists()
    folder = writable_folder(path)
    try:
        yield folder
    except BaseException:
        if made and not any(folder.iterdir()):
            folder.rmdir()
        raise


@contextmanager
def staged(folder: Path) -> Iterator[Path]:
    """A hidden folder whose files, and those of folders in it, move to ``folder`` at the end; else none does.

    Files of the same names are replaced.

    Raises:
        OutputError: they cannot be written or moved.
    """
    from maskwright.io.files import output_error

    stage = Path(tempfile.mkdtemp(prefix=".maskwright-", dir=folder))
    try:
        yield stage
        for path in sorted(stage.rglob("*")):
            target = folder / path.relative_to(stage)
            if path.is_dir():
                target.mkdir(exist_ok=True)
            else:
                path.replace(target)
    except OSError as error:
        raise output_error(folder, error) from error
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def write_results(folder: Path, report: dict[str, Any]) -> None:
    """Write ``results.json``: what was found in one picture, in plain values."""
    (folder / "results.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
