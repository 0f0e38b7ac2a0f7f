"""Where and when a figure was measured: every benchmark prints this first."""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
from pathlib import Path

from maskwright.runtime.processor import described


def stamp() -> str:
    """Date, commit (with a + if files were changed), processor, cores, system and Python, on one line."""
    day = datetime.datetime.now(datetime.timezone.utc).date()
    system = f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"
    return f"{day}, commit {_commit()}, {described()}, {os.cpu_count()} cores, {system}"


def _commit() -> str:
    def git(*arguments: str) -> str:
        command = ["git", "-C", str(Path(__file__).parent), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()

    return f"{git('rev-parse', '--short', 'HEAD') or 'none'}{'+' if git('status', '--porcelain') else ''}"
