"""Reading and writing model files: official ``.pt``, our safetensors, transformers' safetensors.

Nothing in a file is ever executed: torch files are read with ``weights_only``. Tensors stay mapped to the
file, so that reading costs no copies; weights that are stored in half precision become float32.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from maskwright.config import HieraConfig, ModelConfig
from maskwright.errors import CheckpointError, InputError
from maskwright.io.files import atomic_write, output_error
from maskwright.model.sam2 import SAM2
from maskwright.weights import metadata, recognise
from maskwright.weights.infer import infer_config
from maskwright.weights.keymaps import Layout, from_ours, is_memory, rename, to_ours

SHOWN = 3
"""Names of each kind that an error lists."""


@dataclass(frozen=True)
class Checkpoint:
    """A model file that has been read and found complete."""

    config: ModelConfig
    state: dict[str, Tensor]
    """Our parameter name -> tensor, float32 wherever it is floating-point."""
    kind: str
    """Whose layout the file has: ``official``, ``maskwright`` or ``transformers``."""
    image_only: bool = False
    """True where the file has no memory half: enough for pictures, not for video."""


def load_checkpoint(path: str | PathLike[str], *, config: ModelConfig | None = None) -> Checkpoint:
    """Read a model file of any known layout and make sure that it is complete.

    Args:
        path: Official ``.pt`` (also from a training run), safetensors of ours or of transformers.
        config: The network that it holds, for networks that are no preset and files without our metadata.

    Raises:
        CheckpointError: no such file, not a model file, of another model, or with keys that are missing,
            unexpected or of another shape; the message says which.
    """
    path = Path(path)
    names, described, training = _read(path)
    layout = recognise.layout(names)
    if layout is None:
        raise CheckpointError(_strange(path, names))
    title = f"{path} seems to be {recognise.title(layout, training)}, but"
    tensors = {name: value for name, value in names.items() if isinstance(value, Tensor)}
    state, strange = (tensors, []) if layout == "maskwright" else to_ours(tensors, layout)
    strange += [name for name in names if name not in tensors]
    image_only = not any(is_memory(name) for name in state)
    try:
        config = config or metadata.decode(described) or infer_config(_shapes(state))
    except CheckpointError as error:
        raise CheckpointError(f"{title} {error}") from error
    problems = _misfits(layout, config, state, strange, image_only)
    if problems:
        raise CheckpointError(f"{title} does not fit {config.name}: {'; '.join(problems)}")
    return Checkpoint(config, _as_float32(path, state), layout, image_only)


def build(config: ModelConfig, state: Mapping[str, Tensor]) -> SAM2:
    """The network with these weights, in eval mode. The tensors become its parameters without a copy.

    A state without the memory half (``Checkpoint.image_only``) gets an untrained one, always the same.

    Raises:
        CheckpointError: the state does not fit the configuration.
    """
    missing = _expected(config).keys() - state.keys()
    if missing and all(is_memory(name) for name in missing):
        state = {**state, **{name: value for name, value in _untrained(config).items() if name in missing}}
    with torch.device("meta"):
        network = SAM2(config)
    try:
        network.load_state_dict(state, strict=True, assign=True)
    except RuntimeError as error:
        raise CheckpointError(f"these weights do not fit {config.name}: {_one_line(error)}") from error
    return network.eval()


def save_checkpoint(
    path: str | PathLike[str],
    config: ModelConfig,
    state: Mapping[str, Tensor],
    *,
    dtype: torch.dtype | None = None,
    notes: Mapping[str, str] | None = None,
) -> Path:
    """Write our safetensors: the state under our names, the configuration as metadata. Atomic.

    Args:
        path: File to write.
        config: The network.
        state: Its ``state_dict()``.
        dtype: Stores floating-point tensors in it, except those with values beyond its range.
        notes: More metadata, for instance the licence.

    Raises:
        OutputError: it cannot be written; nothing is left under the name.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    described = {**(notes or {}), "format": "pt", **metadata.encode(config)}
    stored = {name: _stored(value, dtype) for name, value in state.items()}
    with atomic_write(path) as file:
        try:
            save_file(stored, file.name, described)
        except SafetensorError as error:
            raise output_error(path, _system_error(error)) from error
    return Path(path)


def convert(
    source: str | PathLike[str],
    target: str | PathLike[str],
    *,
    dtype: torch.dtype | None = None,
    config: ModelConfig | None = None,
) -> Checkpoint:
    """Read any model file and write it as ours (``.safetensors``) or as an official one (``.pt``).

    Returns:
        What was read.

    Raises:
        CheckpointError: the source is unreadable, or has no official form (nano, image-only files).
        InputError: the target's suffix says neither.
        OutputError: the target cannot be written.
    """
    suffix = Path(target).suffix.lower()
    if suffix not in (".safetensors", ".pt", ".pth"):
        raise InputError(
            f"the new file must end in .safetensors (ours) or .pt (official), not {suffix or 'nothing'}"
        )
    checkpoint = load_checkpoint(source, config=config)
    if suffix == ".safetensors":
        save_checkpoint(target, checkpoint.config, checkpoint.state, dtype=dtype)
        return checkpoint
    theirs = rename(checkpoint.state, "maskwright", "official")
    if checkpoint.image_only or None in theirs.values():
        reason = "it has no memory half" if checkpoint.image_only else "it is another network"
        raise CheckpointError(f"{source} has no official form, because {reason}: write .safetensors")
    official = from_ours(checkpoint.state, "official")
    stored = {name: _stored(value, dtype) for name, value in official.items()}
    with atomic_write(target) as file:
        try:
            torch.save({"model": stored}, file)
        except RuntimeError as error:
            raise output_error(target, _system_error(error)) from error
    return checkpoint


class _Content(NamedTuple):
    """What stands in a file."""

    names: Mapping[str, Any]
    """Name -> tensor, or what else is there."""
    metadata: Mapping[str, str]
    training: bool
    """Whether there is more, as from a training run."""


def _read(path: Path) -> _Content:
    container = recognise.container(path)
    if container == "safetensors":
        return _read_safetensors(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=container == "torch zip")
    except pickle.UnpicklingError as error:
        raise CheckpointError(_refused(path, error)) from error
    except (RuntimeError, OSError, EOFError, ValueError, KeyError, AttributeError, IndexError) as error:
        raise CheckpointError(f"{path} is damaged or no torch file: {_one_line(error)}") from error
    names, training = recognise.unwrap(content, path)
    return _Content(names, {}, training)


def _read_safetensors(path: Path) -> _Content:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return _Content(tensors, file.metadata() or {}, False)
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{path} is a damaged safetensors file: {_one_line(error)}") from error


def _refused(path: Path, error: pickle.UnpicklingError) -> str:
    """Why ``weights_only`` did not read a file."""
    found = re.search(r"GLOBAL ([\w.]+)", str(error))
    name = found[1] if found else ""
    if name.startswith(("ultralytics.", "models.yolo")):
        what = "is an ultralytics model with pickled Python classes"
    elif name:
        what = f"holds pickled Python objects ({name})"
    else:
        return f"{path} is damaged or no torch file: {_one_line(error)}"
    return f"{path} {what}, which could run code and is refused: give a file that holds only weights"


def _strange(path: Path, names: Mapping[str, Any]) -> str:
    known = recognise.foreign(names)
    if known:
        return f"{path} is no SAM 2 model but seems to be {known}"
    return f"{path} is no SAM 2 model: it holds {len(names)} entries{_some(names)}"


def _misfits(
    layout: Layout, config: ModelConfig, state: Mapping[str, Tensor], strange: Iterable[str], image_only: bool
) -> list[str]:
    """How a state differs from what the network needs, in the names of the file; empty if it does not."""
    expected, found = _expected(config), _shapes(state)
    missing = [name for name in expected if name not in found and not (image_only and is_memory(name))]
    unexpected = [name for name in found if name not in expected]
    misshapen = [name for name in expected if name in found and found[name] != expected[name]]
    theirs = rename([*missing, *unexpected, *misshapen], "maskwright", layout)
    shown = [f"{theirs[name] or name} {found[name]} instead of {expected[name]}" for name in misshapen]
    extra = [*(theirs[name] or name for name in unexpected), *strange]
    kinds = (
        ("missing", [theirs[name] or name for name in missing]),
        ("unexpected", extra),
        ("of another shape", shown),
    )
    return [f"{len(names)} {kind}{_some(names)}" for kind, names in kinds if names]


def _as_float32(path: Path, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Floating-point tensors in float32, and the certainty that all values are numbers."""
    full = {name: value.float() if value.is_floating_point() else value for name, value in state.items()}
    # the sum is a quick sieve: it is finite only if every value is
    bad = [name for name, value in full.items() if not value.sum().isfinite() and not value.isfinite().all()]
    if bad:
        raise CheckpointError(f"{path} holds NaN or infinite weights in {len(bad)} tensors{_some(bad)}")
    integer = [name for name, value in full.items() if not value.is_floating_point() and value.dim()]
    if integer:
        raise CheckpointError(f"{path} holds quantised weights, which are not supported{_some(integer)}")
    return full


def _stored(value: Tensor, dtype: torch.dtype | None) -> Tensor:
    """A tensor as it is written: contiguous, in its own storage, in ``dtype`` where that can hold it."""
    value = value.detach().cpu()
    if dtype is not None and value.is_floating_point() and value.dtype != dtype:
        cast = value.to(dtype)
        if cast.isfinite().all():
            value = cast
    value = value.contiguous()
    return value if value.untyped_storage().nbytes() == value.nbytes else value.clone()


@lru_cache(maxsize=16)
def _expected(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    with torch.device("meta"):
        return _shapes(SAM2(config).state_dict())


def _untrained(config: ModelConfig) -> dict[str, Tensor]:
    """A memory half as it is before training, from a fixed seed; built beside the smallest of trunks."""
    trunk = HieraConfig(width=8, heads=1, depths=(1, 1, 1, 1), global_blocks=())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        state = SAM2(replace(config, trunk=trunk)).state_dict()
    return {name: value for name, value in state.items() if is_memory(name)}


def _shapes(state: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in state.items()}


def _some(names: Iterable[str]) -> str:
    """The first few names in brackets."""
    listed = list(names)
    more = ", ..." if len(listed) > SHOWN else ""
    return f" ({', '.join(listed[:SHOWN])}{more})" if listed else ""


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__


def _system_error(error: Exception) -> OSError:
    """The system's error behind another library's: its cause, or ``... (os error 28)`` in the text."""
    if isinstance(error.__context__, OSError):
        return error.__context__
    number = re.search(r"os error (\d+)", str(error))
    return OSError(int(number[1]), _one_line(error)) if number else OSError(_one_line(error))
