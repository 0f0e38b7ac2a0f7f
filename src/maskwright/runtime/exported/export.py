"""Writing a model's verbs as ONNX graphs into a folder, whole or not at all."""

from __future__ import annotations

import contextlib
import importlib.metadata
import itertools
import logging
import secrets
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from maskwright.config import ModelConfig
from maskwright.errors import InputError, MissingExtraError, OutputError
from maskwright.io.files import output_error
from maskwright.model.hiera import PATCH_STRIDE, Hiera
from maskwright.model.sam2 import SAM2
from maskwright.runtime.exported.graphs import PICTURE_GRAPHS, VIDEO_GRAPHS, Graph
from maskwright.runtime.exported.manifest import FILE, GraphFile, Manifest, Shapes, holds_graphs, sha256_of
from maskwright.runtime.fold import fold_normalisation

OPSET = 20
"""Version of ONNX operators: the first with GELU."""
OPSETS = (18, 22)
"""What may be asked for: the exporter begins with 18; from 23 on there is an operator for attention, whose
masks ONNX Runtime 1.32 does not broadcast."""
OLDEST_TORCH = (2, 9)
"""From there on PyTorch's exporter by capture is its usual one. What was exported runs with any."""

Told = Callable[[str], object]
Plan = Mapping[str, Callable[[SAM2], Graph]]
"""By name: what makes a graph."""


def write_graphs(
    networks: Sequence[SAM2],
    folder: Path,
    *,
    fingerprint: str,
    image_only: bool,
    opset: int = OPSET,
    overwrite: bool = False,
    told: Told = lambda _: None,
) -> Manifest:
    """Export networks, which differ in their input sizes only, into a new folder.

    Args:
        networks: On the CPU, in float32, as they were built; they are used up. The first one's configuration
            becomes the model's; one that has another size for videos gets graphs for pictures only.
        folder: Where to.
        fingerprint: ``Runtime.fingerprint`` of the weights.
        image_only: The weights cannot follow objects: no graphs for videos.
        opset: Version of ONNX operators.
        overwrite: Replace an exported model that is there.
        told: Called with "2 of 6: decode at 1024 px" before each graph is made.

    Raises:
        InputError: an opset out of range, or a PyTorch that cannot export.
        MissingExtraError: the packages for exporting are not installed.
        OutputError: the folder cannot be written, or exists; it stays as it was.
    """
    check_exporter(opset)
    check_folder(folder, overwrite=overwrite)
    plans = [graphs_for(network.config, image_only=image_only) for network in networks]
    steps = itertools.count(1)

    def tell(graph: str) -> None:
        told(f"{next(steps)} of {sum(map(len, plans))}: {graph}")

    with _new_folder(folder) as temporary:
        graphs = {
            network.config.image_size: _write_size(network, plan, temporary, opset, tell)
            for network, plan in zip(networks, plans, strict=True)
        }
        manifest = Manifest(networks[0].config, fingerprint, image_only, opset, versions(), graphs)
        (temporary / FILE).write_text(manifest.text(), "utf-8")
    return manifest


def versions() -> dict[str, str]:
    """Of everything that graphs depend on."""
    from maskwright import __version__

    others = {name: importlib.metadata.version(name) for name in ("onnx", "onnxscript")}
    return {"maskwright": __version__, "torch": str(torch.__version__), **others}


def check_exporter(opset: int = OPSET) -> None:
    """Raise InputError or MissingExtraError if graphs cannot be made here."""
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(
            "exporting a model needs onnx and onnxscript: pip install 'maskwright[onnx]'"
        ) from error
    version = tuple(int(part) for part in torch.__version__.split("+")[0].split(".")[:2])
    if version < OLDEST_TORCH:
        oldest = ".".join(map(str, OLDEST_TORCH))
        raise InputError(
            f"exporting a model needs torch {oldest} or newer, this is {torch.__version__}; "
            "a folder that was exported elsewhere runs here too"
        )
    if not OPSETS[0] <= opset <= OPSETS[1]:
        raise InputError(f"the opset is {opset}; it must be from {OPSETS[0]} to {OPSETS[1]}")


def check_folder(folder: Path, *, overwrite: bool) -> None:
    """Raise OutputError if something is there that must stay."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not holds_graphs(folder):
        raise OutputError(f"cannot write {folder}: it exists and is no exported model; choose another folder")
    if not overwrite:
        raise OutputError(f"{folder} exists already; allow overwriting or choose another folder")


def graphs_for(config: ModelConfig, *, image_only: bool) -> Plan:
    """What a network is needed for: pictures only where there is another one for videos."""
    return PICTURE_GRAPHS if image_only or config.video_size else {**PICTURE_GRAPHS, **VIDEO_GRAPHS}


def _write_size(network: SAM2, plan: Plan, folder: Path, opset: int, told: Told) -> dict[str, GraphFile]:
    """The graphs for one input size."""
    size = network.config.image_size
    (folder / str(size)).mkdir()
    _prepare(network)
    written = {}
    for name, make in plan.items():
        told(f"{name} at {size} px")
        file = f"{size}/{name}.onnx"
        inputs, outputs = _write_graph(make(network), folder / file, opset)
        written[name] = GraphFile(file, sha256_of(folder / file), inputs, outputs)
    return written


def _prepare(network: SAM2) -> None:
    """Leave nothing to engines that they are slow at: the stretched position map, normalisations of nano."""
    network.eval().requires_grad_(False)
    fold_normalisation(network)
    trunk = network.trunk
    if isinstance(trunk, Hiera):
        side = network.config.image_size // PATCH_STRIDE
        placed = trunk.place(side, side).permute(0, 3, 1, 2).contiguous()
        trunk.position = nn.Parameter(placed, requires_grad=False)
        trunk.window_position = nn.Parameter(torch.zeros_like(trunk.window_position), requires_grad=False)


def _write_graph(graph: Graph, path: Path, opset: int) -> tuple[Shapes, Shapes]:
    """Export one verb; returns the shapes of its inputs and outputs."""
    letters = sorted({letter for axes in graph.axes.values() for letter in axes.values()})
    free = {letter: torch.export.Dim(letter, min=1) for letter in letters}
    shapes = tuple(
        {axis: free[letter] for axis, letter in graph.axes.get(name, {}).items()} or None
        for name in graph.inputs
    )
    with _quiet(), torch.no_grad():
        captured = torch.export.export(
            graph.module.eval(),
            tuple(graph.inputs.values()),
            dynamic_shapes=shapes,
            strict=True,  # len() of a free axis stays free only so
        )
        program = torch.onnx.export(
            captured,
            input_names=list(graph.inputs),
            output_names=list(graph.outputs),
            opset_version=opset,
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    assert program is not None
    _forget_origin(program.model)
    program.save(str(path), external_data=False)
    return _shapes(program.model.graph, graph)


def _forget_origin(model: Any) -> None:
    """Remove what says from which line of which file each operator came: it is larger than the graph."""
    for node in model.graph.all_nodes():
        node.metadata_props.clear()
        node.doc_string = None
        for value in node.outputs:
            value.metadata_props.clear()
    for value in (*model.graph.inputs, *model.graph.initializers.values()):
        value.metadata_props.clear()


def _shapes(written: Any, graph: Graph) -> tuple[Shapes, Shapes]:
    """Lengths of the axes of inputs and outputs, with our letters for the exporter's names of free axes."""
    letters = {
        str(value.shape[axis]): letter
        for value in written.inputs
        for axis, letter in graph.axes.get(value.name, {}).items()
    }

    def described(values: Sequence[Any]) -> Shapes:
        return {
            str(value.name): [
                axis if isinstance(axis, int) else letters.get(str(axis), str(axis)) for axis in value.shape
            ]
            for value in values
        }

    return described(written.inputs), described(written.outputs)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without what the exporter says about its own workings."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextlib.contextmanager
def _new_folder(folder: Path) -> Iterator[Path]:
    """A folder to fill; it takes the place of ``folder`` when the ``with`` block ends without an error."""
    temporary = folder.with_name(f".{folder.name}.{secrets.token_hex(6)}.part")
    replaced = temporary.with_suffix(".old")
    try:
        temporary.mkdir(parents=True)
        yield temporary
        if folder.exists():
            folder.rename(replaced)
        temporary.rename(folder)
    except OSError as error:
        if replaced.exists():
            replaced.rename(folder)
        raise error if isinstance(error, OutputError) else output_error(folder, error) from error
    finally:
        for left in (temporary, replaced):
            shutil.rmtree(left, ignore_errors=True)
