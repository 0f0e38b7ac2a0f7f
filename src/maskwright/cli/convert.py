"""``maskwright convert``: any checkpoint that can be read, in our layout or the official one."""

from __future__ import annotations

from pathlib import Path


def convert_file(source: Path, target: Path, dtype: str | None) -> None:
    """Convert ``source`` to ``target`` and print what it was.

    Raises:
        CheckpointError: ``source`` is not a SAM 2 checkpoint, or has no official form.
        InputError: a suffix or dtype that is unknown, or a dtype that weights are not stored in.
        OutputError: ``target`` cannot be written; an older file there stays as it was.
    """
    from maskwright.cli.terminal import print_line
    from maskwright.errors import InputError
    from maskwright.runtime.select import DTYPES
    from maskwright.weights.load import convert

    stored = None if dtype is None else DTYPES.get(dtype.lower())
    if dtype is not None and (stored is None or not stored.is_floating_point):
        raise InputError(f"weights cannot be stored as {dtype}; use float32, bfloat16 or float16")
    checkpoint = convert(source, target, dtype=stored)
    size = target.stat().st_size / 1e6
    extent = ", image half only" if checkpoint.image_only else ""
    print_line(
        f"{target}: {checkpoint.config.name}{extent}, {size:.1f} MB, from the {checkpoint.kind} layout"
    )
