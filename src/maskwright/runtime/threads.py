"""How many processors this process may use, and whether torch's threads fit them.

torch counts the cores of the machine. In a container with a share of them (``docker --cpus``, a limit of
Kubernetes) it starts more threads than may run, and the system stops all of them many times a second: models
get several times slower. Some versions of torch overlook ``taskset`` as well. Nothing here changes a setting.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from maskwright.runtime.processor import text_of

GROUPS = Path("/proc/self/cgroup")
MOUNT = Path("/sys/fs/cgroup")
VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
"""What says how many threads there should be; torch reads them when it is imported."""
_log = logging.getLogger(__name__)


class Allowance(NamedTuple):
    """Processors that this process may use."""

    visible: int
    """That it may run on, by its affinity."""
    quota: float | None
    """That it may use up, by its control group; None without a limit."""

    @property
    def whole(self) -> int:
        """Threads that can all run at the same time, at least one.

        They wait for each other, so a part of a processor does not carry one.
        """
        return self.visible if self.quota is None else max(1, min(self.visible, int(self.quota)))

    @property
    def why(self) -> str:
        """In words."""
        limit = "" if self.quota is None else f", of which it may use the time of {self.quota:g}"
        return f"{self.visible} processors that this process may run on{limit}"


def allowance() -> Allowance:
    """Of this process, on this machine."""
    return Allowance(visible_processors(), quota())


def visible_processors() -> int:
    """Those that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0)) or 1
    return os.cpu_count() or 1


def quota(groups: Path = GROUPS, mount: Path = MOUNT) -> float | None:
    """Processors whose time the control group of this process may use; None if there is no limit.

    Args:
        groups: The list of control groups, ``/proc/self/cgroup``.
        mount: Where they are mounted. In a container its own group may be the root there, whatever the list
            says, so folders that do not exist are passed over.
    """
    found = [share for folder in _folders(text_of(groups), mount) if (share := _share(folder)) is not None]
    return min(found, default=None)


def too_many(num_threads: int, allowed: Allowance) -> str | None:
    """What to say about so many threads, or None if they fit."""
    if num_threads <= allowed.whole:
        return None
    return (
        f"torch has {num_threads} threads for {allowed.why}: that can be several times slower than "
        f"{allowed.whole}; call torch.set_num_threads({allowed.whole}) or set {VARIABLES[0]}={allowed.whole}"
    )


def warn_if_too_many(num_threads: int) -> None:
    """Log a warning, once for a number of threads."""
    _warn_once(too_many(num_threads, allowance()))


def settle_threads() -> None:
    """For programs of our own, before torch is imported: let it start no more threads than may run.

    Whoever has set one of :data:`VARIABLES` has decided already.
    """
    allowed = allowance()
    if allowed.quota is not None and not any(os.environ.get(name) for name in VARIABLES):
        os.environ[VARIABLES[0]] = str(allowed.whole)


@lru_cache(maxsize=16)
def _warn_once(complaint: str | None) -> None:
    if complaint is not None:
        _log.warning("%s", complaint)


def _folders(groups: str, mount: Path) -> Iterator[Path]:
    """Folders that may hold limits of the process: of its groups, and of all groups around these."""
    for line in groups.splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" and not controllers:
            tops = [mount, mount / "unified"]
        elif "cpu" in controllers.split(","):
            tops = [mount / controllers, mount / "cpu"]
        else:
            continue
        inner = PurePosixPath(path).relative_to("/") if path.startswith("/") else PurePosixPath()
        for top in tops:
            yield from (top / part for part in (inner, *inner.parents))


def _share(folder: Path) -> float | None:
    """The limit that stands in a folder, of version 2 or of version 1."""
    words = text_of(folder / "cpu.max").split()
    if not words:
        words = (text_of(folder / "cpu.cfs_quota_us") + text_of(folder / "cpu.cfs_period_us")).split()
    try:
        time, period = (float(word) for word in words)
    except ValueError:  # none there, or "max 100000"
        return None
    return time / period if time > 0 and period > 0 else None
