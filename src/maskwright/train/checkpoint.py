"""Training checkpoints: written whole or not at all, read without running anything in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from maskwright.errors import CheckpointError, InputError
from maskwright.io.files import atomic_write, output_error
from maskwright.train.settings import FREE, LoopConfig
from maskwright.train.task import Task

LATEST = "latest.pt"
"""Everything that the next step depends on."""
BEST = "best.pt"
"""The averaged weights that validated best; no run goes on from it."""
NEEDED = {"model", "average", "step", "elapsed"}
_SHOWN = 4
"""Differences that an error lists."""


def write_checkpoint(path: Path, state: Mapping[str, Any]) -> None:
    """Write a checkpoint; OutputError if it cannot be written, and an older file stays as it was."""
    with atomic_write(path) as file:
        try:
            torch.save(dict(state), file)
        except RuntimeError as error:  # torch's own, on top of the system's
            cause = error.__context__ if isinstance(error.__context__, OSError) else OSError(str(error))
            raise output_error(path, cause) from error


def read_checkpoint(path: Path) -> dict[str, Any]:
    """A training checkpoint, also one of an older version; CheckpointError when the file is not one."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(f"cannot read the training checkpoint {path}: {reason}") from error
    if not isinstance(state, dict) or not set(state) >= NEEDED:
        raise CheckpointError(f"{path} is no training checkpoint; expected the {LATEST} of a run")
    return state


def read_latest(out: Path, recipe: Mapping[str, Any]) -> dict[str, Any]:
    """The checkpoint that a run of ``recipe`` in ``out`` goes on from.

    Raises:
        InputError: there is none.
        CheckpointError: it is unreadable, or of a run with other settings.
    """
    path = out / LATEST
    if not path.is_file():
        raise InputError(f"nothing to resume: {path} does not exist; leave --resume out")
    state = read_checkpoint(path)
    if "recipe" not in state:
        raise CheckpointError(f"{path} is of an older version: begin a new run with --start {path}")
    changed = differences(state["recipe"], recipe)
    if changed:
        listed = ", ".join(changed[:_SHOWN]) + (", ..." if len(changed) > _SHOWN else "")
        raise CheckpointError(f"{path} was made with another {listed}; use its settings, or --start {path}")
    return state


def averaged_weights(state: Mapping[str, Any]) -> dict[str, Tensor]:
    """All weights in a checkpoint, with averaged ones in place of the trained ones."""
    return {**state["model"], **state["average"]}


def begin_with(task: Task, state: Mapping[str, Any]) -> None:
    """Give a task's model the averaged weights in another run's checkpoint, as far as the task saves them."""
    own, saved = task.model.state_dict(), task.saved()
    given = {name: value for name, value in averaged_weights(state).items() if saved(name)}
    strange = [name for name, value in given.items() if name not in own or own[name].shape != value.shape]
    if strange or not given:
        what = f"its {strange[0]} does not fit" if strange else "it holds nothing that this task trains"
        raise CheckpointError(f"the checkpoint to start from is of another model: {what}")
    task.model.load_state_dict({**own, **given})


def whole_recipe(recipe: Mapping[str, Any], loop: LoopConfig) -> dict[str, Any]:
    """A recipe as plain values, with the settings of the loop that it is really run with."""
    return {**recipe, "loop": asdict(loop)}


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Settings that changed between a run and its continuation, except for those that may.

    Settings that only one of them has came or went with another version; the others decide.
    """
    old, new = _flat(before), _flat(now)
    common = sorted(old.keys() & new.keys() - FREE)
    changed = [name for name in common if old[name] != new[name]]
    parts = [values.get("loop.devices", 1) * values.get("loop.accumulate", 1) for values in (old, new)]
    shown = [f"{name} ({old[name]}, not {new[name]})" for name in changed]
    if parts[0] != parts[1]:
        shown.append(f"number of batches in a step ({parts[0]}, not {parts[1]}: devices times accumulate)")
    return shown


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested tables as one, with dotted names."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{prefix}{name}.")
        else:
            found[prefix + name] = list(value) if isinstance(value, tuple) else value
    return found
