"""``maskwright convert``: any checkpoint that can be read, as a maskwright safetensors file."""

from __future__ import annotations

from pathlib import Path


def convert_file(source: Path, target: Path) -> None:
    """Convert ``source`` to ``target`` and print what it was.

    Raises:
        CheckpointError: ``source`` is not a SAM 2 checkpoint.
        OutputError: ``target`` cannot be written; an older file there stays as it was.
    """
    from maskwright.cli.terminal import print_line
    from maskwright.weights.load import convert

    checkpoint = convert(source, target)
    size = target.stat().st_size / 1e6
    print_line(f"{target}: {checkpoint.config.name}, {size:.1f} MB, from {checkpoint.kind}")
