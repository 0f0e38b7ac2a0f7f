"""Where and when a figure was measured."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

from maskwright.runtime.processor import described

PACKAGES = ("torch", "numpy", "pillow", "openvino", "onnxruntime", "transformers", "sam2", "av")


def stamp() -> dict[str, Any]:
    """Time, machine and versions; the commit too where this is a checkout."""
    import torch

    from maskwright import __version__

    return {
        "time": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "maskwright": __version__,
        "commit": commit(Path(__file__).parent),
        "processor": described(),
        "cores": os.cpu_count(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "load": list(os.getloadavg()) if hasattr(os, "getloadavg") else None,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": {name: version for name in PACKAGES if (version := installed(name))},
    }


def installed(package: str) -> str | None:
    """Version of a package in this environment, if it is here."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def commit(folder: Path) -> str | None:
    """Short hash of a checkout of this project, with a + where files were changed; None elsewhere."""
    top = folder.parents[2]
    if not (top / ".git").exists():
        return None

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(top), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
        return done.stdout.strip()

    try:
        return f"{git('rev-parse', '--short', 'HEAD') or 'none'}{'+' if git('status', '--porcelain') else ''}"
    except (OSError, subprocess.TimeoutExpired):
        return None
