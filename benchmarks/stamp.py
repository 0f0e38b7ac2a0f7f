"""Where and when a figure was measured: every benchmark prints this first."""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
from pathlib import Path


def stamp() -> str:
    """Date, commit (with a + if files were changed), processor, cores, system and Python, on one line."""
    day = datetime.datetime.now(datetime.timezone.utc).date()
    system = f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"
    return f"{day}, commit {_commit()}, {_processor()}, {os.cpu_count()} cores, {system}"


def _commit() -> str:
    def git(*arguments: str) -> str:
        command = ["git", "-C", str(Path(__file__).parent), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()

    return f"{git('rev-parse', '--short', 'HEAD') or 'none'}{'+' if git('status', '--porcelain') else ''}"


def _processor() -> str:
    listing = Path("/proc/cpuinfo")
    lines = listing.read_text().splitlines() if listing.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown processor"
