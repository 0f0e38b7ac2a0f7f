"""Speeds that were measured on this machine, kept in the cache folder."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import platform
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import torch

from maskwright.budget.candidates import Candidate
from maskwright.budget.options import Budget
from maskwright.errors import OutputError
from maskwright.io.files import write_text
from maskwright.runtime.processor import instruction_sets, processor_name
from maskwright.runtime.select import GRAPH_RUNTIMES
from maskwright.runtime.threads import allowance
from maskwright.weights.fetch import cache_folder

FILE = "speeds.json"
FORMAT = "maskwright-speeds-1"
DAYS = 30.0
"""After which a speed is measured anew ..."""
BUSY_HOURS = 1.0
"""... and one that was measured while the machine was busy."""
MOST = 1000
"""Entries; the oldest go."""


class Speeds:
    """A file of measured seconds. One that cannot be read or written costs a measurement, nothing else."""

    def __init__(
        self,
        device: torch.device,
        path: Path | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._path = path or cache_folder() / FILE
        self._machine = machine(device)
        self._now = now

    def find(self, candidate: Candidate, budget: Budget) -> float | None:
        """Seconds of a frame, if they are known and not too old."""
        entry = self._read().get(self._key(candidate, budget))
        if not isinstance(entry, dict):
            return None
        age = (self._now() - entry["when"]) / 3600
        fresh = 0 <= age <= (BUSY_HOURS if entry["busy"] else 24 * DAYS)
        return float(entry["seconds"]) if fresh else None

    def keep(self, candidate: Candidate, budget: Budget, seconds: float, *, busy: bool) -> None:
        """Write down what was measured."""
        entries = self._read()
        entries[self._key(candidate, budget)] = {
            "what": f"{candidate.title}, {budget.task}, {budget.objects} objects, {budget.size}",
            "seconds": seconds,
            "when": self._now(),
            "busy": busy,
        }
        kept = sorted(entries.items(), key=lambda item: float(item[1]["when"]))[-MOST:]
        with suppress(OutputError, OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            write_text(self._path, json.dumps({"format": FORMAT, "speeds": dict(kept)}, indent=1) + "\n")

    def _read(self) -> dict[str, Any]:
        try:
            content = json.loads(self._path.read_text("utf-8"))
            entries: dict[str, Any] = content["speeds"] if content["format"] == FORMAT else {}
            return {key: one for key, one in entries.items() if {"seconds", "when", "busy"} <= one.keys()}
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return {}

    def _key(self, candidate: Candidate, budget: Budget) -> str:
        """Of everything that the time depends on: not the weights, only their shapes."""
        about = [
            f"{self._machine}, {candidate.runtime}{_version(candidate.runtime)}",
            repr(candidate.model.config),
            (candidate.task, candidate.side, candidate.dtype),
            (budget.objects, budget.size),
        ]
        return hashlib.sha256(json.dumps(about).encode()).hexdigest()[:32]


def machine(device: torch.device) -> list[Any]:
    """What a speed depends on besides the model: processor or GPU, threads, versions."""
    from maskwright import __version__

    where = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return [
        __version__,
        torch.__version__,
        where,
        processor_name(),
        sorted(instruction_sets()),
        torch.get_num_threads(),
        platform.machine(),
    ]


@cache
def _version(runtime: str) -> str:
    """Of the engine that executes graphs, whatever distribution it is from; nothing for other runtimes."""
    package = GRAPH_RUNTIMES.get(runtime)
    if package is None:
        return ""
    names = importlib.metadata.packages_distributions().get(package, ())
    return "".join(f" {name} {importlib.metadata.version(name)}" for name in sorted(set(names)))


def is_busy() -> bool:
    """Whether other programs keep the processors occupied."""
    if not hasattr(os, "getloadavg"):
        return False
    try:
        return os.getloadavg()[0] > allowance().visible
    except OSError:
        return False
