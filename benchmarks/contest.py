"""What the benchmarks beside other implementations share: a process for each of them, weights, statistics."""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from maskwright.config import PRESETS
from maskwright.measure.weights import drawn
from maskwright.sam2.build_sam import build_sam2

HERE = Path(__file__).parent


class Worker:
    """The other end of one of the ..._worker.py files."""

    def __init__(self, python: str, script: str, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [python, str(HERE / script), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, **request: Any) -> dict[str, Any]:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return self.hear()

    def hear(self) -> dict[str, Any]:
        """The next line of it, asked for or not."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit("a worker ended early; its own message stands above")
        reply: dict[str, Any] = json.loads(line)
        return reply

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options that every such benchmark has."""
    official = [name for name in PRESETS if name != "nano"]
    parser.add_argument("--model", default="sam2.1-tiny", choices=official)
    add_shared_options(parser)


def add_shared_options(parser: argparse.ArgumentParser) -> None:
    """The same without the name of one model."""
    parser.add_argument("--checkpoint", type=Path, help="official .pt file; default: fixed random weights")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--device", default="cpu")
    parser.add_argument(
        "--dtypes",
        nargs="+",
        default=["float32"],
        choices=["float32", "bfloat16", "float16", "int8"],
        help="compute dtypes, each of them a contestant (for automatic masks, and int8: of maskwright); the "
        "last implementation with the first dtype is the reference",
    )
    parser.add_argument(
        "--runtimes",
        nargs="*",
        default=[],
        help="of maskwright, in the last of the other dtypes: openvino, onnx",
    )
    parser.add_argument("--without", nargs="*", default=[], choices=["transformers"], help="leave out")
    parser.add_argument("--reference-python", default=os.environ.get("MASKWRIGHT_REFERENCE_PYTHON"))
    parser.add_argument(
        "--reference-shim",
        default=os.environ.get("MASKWRIGHT_REFERENCE_SHIM"),
        help="Python file to run there before sam2 is imported, e.g. to make torchvision importable",
    )
    parser.add_argument("--output", type=Path, default=HERE / "results")


def save_random_weights(config_file: str, path: Path) -> None:
    """An official checkpoint, each weight drawn from its name: logits of a usual size, masks of noise."""
    state = build_sam2(config_file, device="cpu").state_dict()
    state = {name: drawn(name, tuple(value.shape)) for name, value in state.items()}
    torch.save({"model": state}, path)


def start_workers(options: argparse.Namespace, script: str, *arguments: str) -> dict[str, Worker]:
    """Ours first; the reference for parity is the last of the rest, in the first of the dtypes."""
    shared = [*arguments, "--device", options.device, "--threads", str(options.threads)]
    first, *others = [dtype for dtype in options.dtypes if dtype != "int8"]
    workers = {}

    def add(python: str, who: str, dtype: str, *more: str) -> None:
        name = who if dtype == first else f"{who}, {dtype}"
        workers[name] = Worker(python, script, who, *shared, "--dtype", dtype, *more)

    for dtype in options.dtypes:
        add(sys.executable, "maskwright", dtype)
    for runtime in options.runtimes:
        more = ["--dtype", (first, *others)[-1], "--runtime", runtime]
        workers[f"maskwright, {runtime}"] = Worker(sys.executable, script, "maskwright", *shared, *more)
    for dtype in (*others, first):
        if importlib.util.find_spec("transformers") and "transformers" not in options.without:
            add(sys.executable, "transformers", dtype)
    for dtype in (*others, first):
        if options.reference_python:
            add(options.reference_python, "official", dtype, *shim_arguments(options))
    return workers


def shim_arguments(options: argparse.Namespace) -> list[str]:
    """What tells a worker of ``--reference-shim``."""
    return ["--run-before", str(Path(options.reference_shim).resolve())] if options.reference_shim else []


def spread(values: list[float]) -> tuple[float, float]:
    """Median and 95th percentile."""
    return statistics.median(values), float(np.percentile(values, 95))
