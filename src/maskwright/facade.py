"""The front door: :func:`load` a model by name or file, for what it is to run on."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from maskwright.budget.candidates import Known
from maskwright.budget.options import Budget
from maskwright.budget.search import find, models_here
from maskwright.config import ModelConfig
from maskwright.errors import InputError
from maskwright.mask_model import MaskModel
from maskwright.runtime import captured, compiled
from maskwright.runtime.eager import Eager, place
from maskwright.runtime.exported.export import OPSET, check_exporter, check_folder, write_graphs
from maskwright.runtime.exported.manifest import Manifest, holds_graphs
from maskwright.runtime.exported.opening import (
    executor_of,
    fingerprint_of,
    installed_runtime,
    open_cached,
    open_folder,
)
from maskwright.runtime.protocol import Runtime
from maskwright.runtime.select import COMPILED, CUDA_GRAPHS, EAGER, checked_runtime, choose, runs_graphs
from maskwright.runtime.threads import warn_if_too_many
from maskwright.weights import catalog, fetch
from maskwright.weights.load import Checkpoint, build, load_checkpoint

DEFAULT_MODEL = "nano"
"""Comes inside the package, so it works offline from the first call."""


def load(
    name: str | os.PathLike[str] | None = None,
    *,
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
    image_size: int | None = None,
    runtime: str | None = None,
    target_fps: float | Budget | None = None,
) -> MaskModel:
    """Load a model; what it runs on is settled here, once.

    Args:
        name: A catalogue name (``"nano"``, ``"sam2.1-tiny"``, ...; see :func:`models`), fetched on first use,
            or the path of a model file: an official ``.pt``, a transformers checkpoint or one of ours; or a
            folder that ``maskwright export-model`` wrote. None is :data:`DEFAULT_MODEL`, or with
            ``target_fps`` any named model that is on this machine.
        device: ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"``; the best one here by default.
        dtype: Compute dtype: ``"float32"`` (the default, exact), ``"bfloat16"``, ``"float16"``, or ``"fast"``
            for what suits the device, at a small cost in accuracy (see ``runtime.select``). ``"int8"``, for
            the official models on processors, multiplies in int8 in the widest layers.
        image_size: Side of the network's input in pixels, a multiple of 32, for pictures and videos; by
            default the model's own (nano has two, see ``ModelConfig``). Smaller is faster and coarser.
        runtime: ``"eager"`` (PyTorch, the default), ``"openvino"`` or ``"onnx"`` (ONNX Runtime), which need
            the extras of these names; the model is exported for them once and kept in the cache folder.
            ``"cuda-graphs"`` is PyTorch with whole verbs replayed on a GPU, ``"compiled"`` the same through
            ``torch.compile``, which takes minutes the first time. Neither was measured on a GPU yet. With
            ``target_fps`` it varies, unless it is given.
        target_fps: Take the most accurate setting that makes so many frames of a video a second here: of the
            model, if it is named, the input size, the dtype and the runtime vary, unless they are given; of
            runtimes those that need no long preparation here. A few seconds of measuring the first time;
            ``MaskModel.choice`` says what was chosen and what it costs. A
            :class:`Budget` has more to choose: photographs instead of frames, how many objects, of what size.

    Raises:
        UnknownModelError: neither a known name nor a file.
        WeightsError: the file cannot be fetched or read.
        InputError: an impossible device, dtype, input size, runtime or target.
        MissingExtraError: the packages of the runtime are not installed.
    """
    runtime = checked_runtime(runtime)
    if target_fps is not None:
        if runtime == COMPILED:
            raise InputError(
                "target_fps measures many settings, and each of them would be compiled first; leave out "
                "runtime='compiled'"
            )
        return _fast_enough(Budget.of(target_fps), name, device, dtype, image_size, runtime)
    name = DEFAULT_MODEL if name is None else name
    folder = Path(name).expanduser()
    if holds_graphs(folder) and not (isinstance(name, str) and catalog.canonical(name)):
        return _load_exported(folder, runtime, device, dtype, image_size)
    if runs_graphs(runtime):
        return _load_for_graphs(name, str(runtime), device, dtype, image_size)
    choice = choose(device, dtype)
    if choice.device.type == "cpu":
        warn_if_too_many(torch.get_num_threads())
    checkpoint, config = _read(name, image_size)

    def eager(shape: ModelConfig) -> Runtime:
        network = build(shape, checkpoint.state)
        if runtime == COMPILED:
            return compiled.wrap(network, choice)
        plain = Eager(place(network, choice), choice)
        return captured.wrap(plain) if runtime == CUDA_GRAPHS else plain

    return _model_of(eager, config, runtime or EAGER, image_only=checkpoint.image_only)


def export_model(
    name: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    *,
    image_size: int | None = None,
    opset: int | None = None,
    overwrite: bool = False,
    told: Callable[[str], object] = lambda _: None,
) -> Manifest:
    """Write a model as ONNX graphs, one for each verb, into a folder that :func:`load` takes.

    Args:
        name: As for :func:`load`: a catalogue name or a model file.
        folder: Where to; it is written whole or not at all.
        image_size: See :func:`load`; by default models with two sizes get graphs for both.
        opset: Version of ONNX operators.
        overwrite: Replace an exported model that is there.
        told: Called with "2 of 6: decode at 1024 px" before each graph is made.

    Raises:
        UnknownModelError: neither a known name nor a file.
        WeightsError: the file cannot be fetched or read.
        InputError: an impossible input size or opset, or a PyTorch that cannot export.
        MissingExtraError: the packages for exporting are not installed.
        OutputError: the folder cannot be written, or exists.
    """
    version = OPSET if opset is None else opset
    check_exporter(version)
    check_folder(Path(folder), overwrite=overwrite)
    checkpoint, config = _read(name, image_size)
    both = config.video_size and not checkpoint.image_only
    return write_graphs(
        [build(shape, checkpoint.state) for shape in ((config, config.for_video) if both else (config,))],
        Path(folder),
        fingerprint=fingerprint_of(config, checkpoint.state),
        image_only=checkpoint.image_only,
        opset=version,
        overwrite=overwrite,
        told=told,
    )


def models() -> list[str]:
    """Names that :func:`load` knows, the bundled model first."""
    return list(catalog.CATALOG)


def _load_for_graphs(
    name: str | os.PathLike[str],
    runtime: str,
    device: str | torch.device | None,
    dtype: str | torch.dtype | None,
    image_size: int | None,
) -> MaskModel:
    """A model whose graphs are, or will be, in the cache."""
    executor = executor_of(runtime, device, dtype)
    checkpoint, config = _read(name, image_size)

    def cached(shape: ModelConfig) -> Runtime:
        return open_cached(checkpoint.state, executor, image_only=checkpoint.image_only, config=shape)

    return _model_of(cached, config, runtime, image_only=checkpoint.image_only)


def _load_exported(
    folder: Path,
    runtime: str | None,
    device: str | torch.device | None,
    dtype: str | torch.dtype | None,
    image_size: int | None,
) -> MaskModel:
    """A model in a folder of graphs."""
    if not runs_graphs(runtime):
        if runtime is not None:
            raise InputError(f"{folder} is a folder: runtime={runtime!r} takes model files")
        runtime = installed_runtime()
    executor = executor_of(str(runtime), device, dtype)
    manifest, make = open_folder(folder, executor)
    config = manifest.config
    if image_size is not None:
        config = config.at(image_size)
    return _model_of(make, config, executor.runtime, image_only=manifest.image_only)


def _model_of(
    make: Callable[[ModelConfig], Runtime], config: ModelConfig, runtime: str, *, image_only: bool
) -> MaskModel:
    """A model with what makes its runtimes: for pictures now, for videos when that is asked for."""
    make_video_runtime = partial(make, config.for_video) if config.video_size else None
    return MaskModel(
        make(config),
        image_only=image_only,
        make_video_runtime=make_video_runtime,
        runtime_name=runtime,
    )


def _fast_enough(
    budget: Budget,
    name: str | os.PathLike[str] | None,
    device: str | torch.device | None,
    dtype: str | torch.dtype | None,
    image_size: int | None,
    runtime: str | None,
) -> MaskModel:
    """What keeps up with a budget; see ``maskwright.budget``."""
    if name is None:
        models = models_here()
    else:
        file = _file_of(name)
        models = [Known(file, load_checkpoint(file).config)]
    model, choice = find(budget, models, load, device=device, dtype=dtype, side=image_size, runtime=runtime)
    model.choice = choice
    return model


def _read(name: str | os.PathLike[str], image_size: int | None) -> tuple[Checkpoint, ModelConfig]:
    """A model file, and its configuration at the input size that was asked for."""
    checkpoint = load_checkpoint(_file_of(name))
    return checkpoint, checkpoint.config if image_size is None else checkpoint.config.at(image_size)


def _file_of(name: str | os.PathLike[str]) -> Path:
    """The model file that ``name`` is or stands for; catalogue names come before files of the same name."""
    if isinstance(name, str) and catalog.canonical(name) is not None:
        return fetch.locate(name)
    path = Path(name).expanduser()
    return path if path.exists() else fetch.locate(os.fspath(name))
