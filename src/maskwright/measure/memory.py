"""Peak memory of this process, or of its GPU, while something runs."""

from __future__ import annotations

import ctypes
import gc
import sys
from contextlib import suppress
from pathlib import Path

import torch

MIB = 1 << 20


class Peak:
    """Highest memory since this was made; None where the system does not say."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        gc.collect()
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        elif sys.platform == "linux":
            with suppress(OSError, AttributeError):  # where the C library is another one
                ctypes.CDLL(None).malloc_trim(0)  # what was freed before shall not hide what is taken now
            with suppress(OSError):
                Path("/proc/self/clear_refs").write_text("5")

    @property
    def mib(self) -> float | None:
        """Of the whole process, or all that is allocated on the GPU; the model included."""
        if self._device.type == "cuda":
            return torch.cuda.max_memory_allocated(self._device) / MIB
        return _peak_of_process()


def _peak_of_process() -> float | None:
    """Linux's account of this process, in MiB."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    found = (line.split()[1] for line in lines if line.startswith("VmHWM:"))
    kib = next(found, None)
    return None if kib is None else int(kib) / 1024
