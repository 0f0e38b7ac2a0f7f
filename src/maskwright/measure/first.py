"""``python -m maskwright.measure.first``: the first mask in a fresh process, as a script would make it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from maskwright.measure.shots import Failure

LIMIT = 1800.0
"""Seconds that it may take."""


def fresh_seconds(photo: Path, click: tuple[float, float], threads: int, load: dict[str, Any]) -> float:
    """Seconds from starting a process to its first mask: imports, loading, a photograph, a click.

    Args:
        photo: The file.
        click: In pixels.
        threads: Of a processor.
        load: What ``maskwright.load`` is called with, in values that JSON holds.

    Raises:
        Failure: it failed; the message has its last words.
    """
    job = json.dumps({"photo": str(photo), "click": click, "threads": threads, "load": load})
    began = time.perf_counter()
    command = [sys.executable, "-m", "maskwright.measure.first", job]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **apart(),
    )
    try:
        said, complaint = process.communicate(timeout=LIMIT)
    except BaseException:
        process.kill()
        process.communicate()
        raise
    if process.returncode:
        raise Failure(f"a fresh process failed: {(complaint.strip().splitlines() or ['?'])[-1]}")
    return float(said) - began


def apart() -> dict[str, Any]:
    """Arguments of a process that Ctrl-C passes by, because it is the caller's to handle.

    A group of its own does that. A session would too, but Linux shares a busy machine out by sessions, so
    that a process alone in one is several times quicker than ours.
    """
    if os.name == "posix" and sys.version_info >= (3, 11):
        return {"process_group": 0}
    return {"start_new_session": True}


def main(job: dict[str, Any]) -> float:
    """Do it; when it was done, by ``time.perf_counter``, which all processes of a machine share."""
    import torch

    import maskwright

    torch.set_num_threads(job["threads"])
    model = maskwright.load(**job["load"])
    model.embed(job["photo"]).segment(maskwright.Points(tuple(job["click"])))
    return time.perf_counter()


if __name__ == "__main__":
    sys.stdout.write(f"{main(json.loads(sys.argv[1])):.6f}\n")
