"""From a model, or a folder of its graphs, to a runtime: which engine, which dtype, and the cache."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from maskwright.config import ModelConfig
from maskwright.errors import CheckpointError, InputError, MissingExtraError, OutputError
from maskwright.runtime.eager import Eager
from maskwright.runtime.exported.engine import Engine, OnnxEngine, OpenVinoEngine, Setting
from maskwright.runtime.exported.export import OPSET, check_exporter, graphs_for, write_graphs
from maskwright.runtime.exported.manifest import FORMAT, Manifest
from maskwright.runtime.exported.runtime import Exported
from maskwright.runtime.fold import fold_normalisation
from maskwright.runtime.select import FAST, GRAPH_RUNTIMES, choose
from maskwright.weights.fetch import cache_folder
from maskwright.weights.load import build

log = logging.getLogger(__name__)


class Executor(NamedTuple):
    """What graphs are executed by."""

    runtime: str
    setting: Setting

    @property
    def dtype(self) -> torch.dtype:
        dtype: torch.dtype = getattr(torch, self.setting.dtype)
        return dtype

    def open(self, path: Path) -> Engine:
        """Prepare one graph.

        Raises:
            CheckpointError: the engine does not understand it.
        """
        engine = OpenVinoEngine if self.runtime == "openvino" else OnnxEngine
        try:
            return engine(path, self.setting)
        except Exception as error:  # each engine raises its own
            reason = " ".join(str(error).split())[:300]
            raise CheckpointError(f"{GRAPH_RUNTIMES[self.runtime]} cannot run {path}: {reason}") from error


def installed_runtime() -> str:
    """The first runtime for graphs whose package is here."""
    for runtime, package in GRAPH_RUNTIMES.items():
        if importlib.util.find_spec(package) is not None:
            return runtime
    raise MissingExtraError(
        "running an exported model needs OpenVINO or ONNX Runtime: pip install 'maskwright[openvino]' or "
        "'maskwright[onnx]'"
    )


def executor_of(runtime: str, device: str | torch.device | None, dtype: str | torch.dtype | None) -> Executor:
    """Settle what graphs run on.

    Raises:
        InputError: a device or dtype that the runtime has not.
        MissingExtraError: its package is not installed.
    """
    package = GRAPH_RUNTIMES[runtime]
    if importlib.util.find_spec(package) is None:
        raise MissingExtraError(f"runtime={runtime!r} needs {package}: pip install 'maskwright[{runtime}]'")
    wanted = "cpu" if device is None else str(device)
    if wanted != "cpu":
        _check_device(runtime, wanted)
    if runtime == "onnx" and dtype == FAST:
        dtype = None
    name = choose("cpu", dtype).dtype_name
    offered = ("float32", "bfloat16") if runtime == "openvino" else ("float32",)
    if name not in offered:
        raise InputError(f"runtime={runtime!r} has no {name}; use dtype={' or '.join(map(repr, offered))}")
    return Executor(runtime, Setting(wanted, name, torch.get_num_threads()))


def _check_device(runtime: str, device: str) -> None:
    if runtime == "openvino" or device.partition(":")[0] != "cuda":
        raise InputError(
            f"runtime={runtime!r} does not run on device={device!r}; use device='cpu', or runtime='eager'"
        )
    import onnxruntime

    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        raise InputError(
            f"this onnxruntime cannot use device={device!r}; install onnxruntime-gpu in its place, or use "
            "device='cpu'"
        )


def open_folder(folder: Path, executor: Executor) -> tuple[Manifest, Callable[[ModelConfig], Exported]]:
    """What an exported folder holds, and what makes its runtimes.

    Raises:
        CheckpointError: it is none, or damaged.
    """
    manifest = Manifest.read(folder)
    return manifest, lambda config: Exported(folder, manifest, config, executor.open, executor.dtype)


def open_cached(
    state: Mapping[str, Tensor], executor: Executor, *, image_only: bool, config: ModelConfig
) -> Exported:
    """The runtime of a network whose graphs are in the cache, exported into it when they are not.

    Raises:
        InputError: this PyTorch cannot export.
        MissingExtraError: the packages for exporting are not installed.
        OutputError: the cache cannot be written.
    """
    fingerprint = fingerprint_of(config, state)
    folder = _filled_folder(config, state, fingerprint, image_only=image_only)
    return open_folder(folder, executor)[1](config)


def fingerprint_of(config: ModelConfig, state: Mapping[str, Tensor]) -> str:
    """``Runtime.fingerprint`` of a network, as the plain runtime tells it."""
    # of what is done to a network where it is placed, folding alone changes its weights
    return Eager(fold_normalisation(build(config, state)), choose("cpu")).fingerprint()


def cached_folder(config: ModelConfig, fingerprint: str, *, image_only: bool) -> Path:
    """Where the cache has, or will have, the graphs of a network at one input size.

    Args:
        config: Of the network, at that size.
        fingerprint: See :func:`fingerprint_of`.
        image_only: The weights cannot follow objects.
    """
    from maskwright import __version__

    made_by = f"{FORMAT}-opset{OPSET}-{__version__}-torch{torch.__version__}"
    num_graphs = len(graphs_for(config, image_only=image_only))
    return cache_folder() / "graphs" / f"{fingerprint}-{config.image_size}px-{num_graphs}-{made_by}"


def is_cached(config: ModelConfig, fingerprint: str, *, image_only: bool) -> bool:
    """Whether :func:`open_cached` finds all graphs of a network and need not export it; see there.

    What the graphs contain is checked when each is opened.
    """
    folder = cached_folder(config, fingerprint, image_only=image_only)
    try:
        graphs = Manifest.read(folder).graphs.get(config.image_size, {})
    except CheckpointError:
        return False
    return bool(graphs) and all((folder / graph.file).is_file() for graph in graphs.values())


def any_cached(config: ModelConfig) -> bool:
    """Whether graphs of whatever network are in the cache at this input size: told without a fingerprint."""
    return any((cache_folder() / "graphs").glob(f"*-{config.image_size}px-*"))


def _filled_folder(
    config: ModelConfig, state: Mapping[str, Tensor], fingerprint: str, *, image_only: bool
) -> Path:
    """One export at a time on this machine; a damaged manifest is made anew."""
    import filelock

    folder = cached_folder(config, fingerprint, image_only=image_only)
    if _readable(folder):
        return folder
    check_exporter()
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(folder.with_name(f"{folder.name}.lock"))
        with lock:
            if not _readable(folder):
                log.warning(
                    "exporting %s at %d px: once, for a minute or two", config.name, config.image_size
                )
                network = build(config, state)
                write_graphs(
                    [network], folder, fingerprint=fingerprint, image_only=image_only, overwrite=True
                )
    except OSError as error:
        reason = error if isinstance(error, OutputError) else error.strerror or error
        raise OutputError(
            f"cannot keep the exported model in the cache ({reason}): set MASKWRIGHT_CACHE to a folder that "
            "you may write to"
        ) from error
    return folder


def _readable(folder: Path) -> bool:
    try:
        Manifest.read(folder)
    except CheckpointError:
        return False
    return True
