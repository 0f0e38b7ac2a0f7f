"""From a training checkpoint to the model file that ships: averaged weights, half precision."""

from __future__ import annotations

from pathlib import Path

import torch

from maskwright.errors import OutputError
from maskwright.train.learner import averaged_weights
from maskwright.train.loop import model_config_of, read_checkpoint
from maskwright.train.settings import TrainConfig
from maskwright.weights.keymaps import is_memory
from maskwright.weights.load import save_checkpoint

MAX_BYTES = 14_000_000
"""The package carries the file, so it has a limit."""


def export(checkpoint: Path, target: Path) -> Path:
    """Write the averaged weights of ``checkpoint`` as our fp16 safetensors.

    The memory half is left out: pictures have not trained it, and a file without it is known to be good for
    pictures only. Raises CheckpointError for another kind of file, OutputError when the result is too large.
    """
    state = read_checkpoint(checkpoint)
    config = TrainConfig.from_dict(state["config"])
    weights = {name: value for name, value in averaged_weights(state).items() if not is_memory(name)}
    notes = {"steps": str(state["step"]), "minutes": f"{state['elapsed'] / 60:.1f}", "licence": "Apache-2.0"}
    save_checkpoint(target, model_config_of(config), weights, dtype=torch.float16, notes=notes)
    if target.stat().st_size > MAX_BYTES:
        raise OutputError(f"{target} has {target.stat().st_size} bytes, more than the {MAX_BYTES} allowed")
    return target
