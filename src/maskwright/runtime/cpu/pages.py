"""Keeping the pages of memory that one picture needed for the next one.

glibc hands freed memory back to the system as soon as there is much of it, and a picture's maps then fault in
fresh pages one by one: up to a tenth of the time of an encoder.
"""

from __future__ import annotations

import os
import platform

KEPT_BYTES = 512 << 20
"""Freed memory that may stay with the process."""
MAPPED_BYTES = 32 << 20
"""Allocations from here on get pages of their own and give them back; the most that glibc allows."""
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of malloc.h
SETTINGS = {
    "MALLOC_TRIM_THRESHOLD_": str(KEPT_BYTES),
    "MALLOC_MMAP_THRESHOLD_": str(MAPPED_BYTES),
}
"""The same as environment variables, for processes that are about to start."""


def keep_pages() -> bool:
    """Let this process keep up to half a GiB of freed memory, for a program of its own, not for a library.

    Returns:
        Whether it is so now: only with glibc, and not where the user's environment has such settings.
    """
    if platform.libc_ver()[0] != "glibc" or any(name in os.environ for name in SETTINGS):
        return False
    import ctypes

    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(_TRIM_THRESHOLD, KEPT_BYTES) and mallopt(_MMAP_THRESHOLD, MAPPED_BYTES))
