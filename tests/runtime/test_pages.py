"""Keeping pages is for processes of glibc whose user has not decided otherwise."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

from maskwright.runtime.cpu.pages import SETTINGS, keep_pages

FAULTS = """
import ctypes, resource, sys
from maskwright.runtime.cpu.pages import keep_pages
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.free.argtypes = [ctypes.c_void_p]
libc.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
print(keep_pages() if sys.argv[1] == "keep" else None)
SIZE = 28 << 20
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(4):
        parts = [libc.malloc(SIZE) for _ in range(6)]
        for part in parts:
            libc.memset(part, 1, SIZE)
        for part in reversed(parts):
            libc.free(part)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults()
print(faults())
"""
glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")


def run(mode: str) -> list[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    command = [sys.executable, "-c", FAULTS, mode]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120, env=environment)
    return done.stdout.split()


@glibc
def test_memory_that_was_freed_is_there_again() -> None:
    kept, plain = run("keep"), run("leave")
    assert kept[0] == "True"
    assert int(kept[1]) < 1000 < int(plain[1])  # 4 times 168 MB are 164,000 pages


@pytest.mark.parametrize("name", SETTINGS)
def test_the_users_settings_stand(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "1000000")
    assert not keep_pages()


def test_other_libraries_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    assert not keep_pages()
