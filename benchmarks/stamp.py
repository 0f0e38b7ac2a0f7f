"""Where and when a figure was measured: every benchmark prints this first."""

from __future__ import annotations

import datetime
import os
import platform
from pathlib import Path

from maskwright.measure.machine import commit
from maskwright.runtime.processor import described


def stamp() -> str:
    """Date, commit (with a + if files were changed), processor, cores, system and Python, on one line."""
    day = datetime.datetime.now(datetime.timezone.utc).date()
    system = f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"
    return f"{day}, commit {checkout() or 'none'}, {described()}, {os.cpu_count()} cores, {system}"


def checkout() -> str | None:
    """The commit of this checkout, with a + if files were changed; None where there is no git."""
    return commit(Path(__file__).parents[1] / "src" / "maskwright" / "measure")
