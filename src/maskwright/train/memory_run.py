"""From files to the memory task, and from its checkpoint to the model file that ships."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from maskwright.errors import CheckpointError, InputError, OutputError
from maskwright.io.datasets.labelled import read_index
from maskwright.model.sam2 import SAM2
from maskwright.train.checkpoint import averaged_weights
from maskwright.train.clip_cache import ClipCache
from maskwright.train.clips import ClipMaker
from maskwright.train.memory import MemoryTask, principal_keys
from maskwright.train.memory_settings import MemoryConfig
from maskwright.train.settings import parsed
from maskwright.train.task import Progress
from maskwright.weights.keymaps import is_memory
from maskwright.weights.load import build, load_checkpoint, save_checkpoint

TRUST = "memory_cells.trust"
"""One number for each age of memory; the last one is for prompted frames."""
KEY_CLIPS = 60
"""Clips whose features decide what keys begin as."""
MAX_BYTES = 14_000_000
"""The package carries the file, so it has a limit."""


def memory_task(
    config: MemoryConfig,
    weights: Path,
    data: Path,
    cache: Path,
    *,
    seed: int = 0,
    plain: Path | None = None,
    progress: Progress | None = None,
) -> MemoryTask:
    """Load the network, make the clips or find them made; new keys begin as principal directions of features.

    Args:
        config: What to learn from.
        weights: Model file whose image half is kept as it is.
        data: Folder with images/, labels/ and sources.tsv.
        cache: Folder of clips.
        seed: Of the training clips.
        plain: Folder of photographs without labels for backgrounds, if there is one.
        progress: Told about clips.

    Raises:
        CheckpointError: the model file is of another kind.
        InputError: there are no such pictures.
    """
    if plain is not None and not plain.is_dir():
        raise InputError(f"{plain} is no folder; --plain takes one with photographs")
    backgrounds = sorted(plain.glob("*.jpg")) if plain is not None else []
    model = network(weights, config)

    def clips(split: str, number: int, seed: int) -> ClipCache:
        maker = ClipMaker(read_index(data, split), backgrounds, config.clip_settings, seed=seed)
        found = ClipCache(cache, maker, number, model)
        for done in found.fill(model):
            if progress is not None:
                progress(done, number)
        return found

    val_clips, train_clips = clips("val", config.val_clips, 1), clips("train", config.clips, seed)
    if config.fresh:
        principal_keys(model, train_clips, KEY_CLIPS)
    return MemoryTask(model, config, train_clips, val_clips)


def network(weights: Path, config: MemoryConfig) -> SAM2:
    """The network of nano with the image half of a model file, and an untrained memory half or the file's.

    Raises:
        CheckpointError: the model file is of another kind, or has no memory half to go on with.
    """
    found = load_checkpoint(weights)
    if found.image_only and not config.fresh:
        raise CheckpointError(f"{weights} has no memory half to go on with; leave memory.fresh at true")
    state = {name: value for name, value in found.state.items() if not (config.fresh and is_memory(name))}
    return build(found.config.at(config.size), state)


def export_memory(state: Mapping[str, Any], weights: Path, target: Path) -> Path:
    """One fp16 file: the image half of ``weights``, bit for bit, and a checkpoint's averaged memory half.

    Args:
        state: The content of the checkpoint.
        weights: The model file that the run began with.
        target: The file to write.

    Raises:
        CheckpointError: the checkpoint is of another task.
        OutputError: the result cannot be written or is too large for the package.
    """
    from safetensors import safe_open

    network_config = load_checkpoint(weights).config
    recipe = state.get("recipe", {})
    if "memory" not in recipe:
        raise CheckpointError(
            "this checkpoint is not of a memory run of this version; export it with its own"
        )
    config = parsed(MemoryConfig, recipe["memory"], "memory")
    with safe_open(weights, framework="pt") as file:
        image = {name: file.get_tensor(name) for name in file.keys() if not is_memory(name)}  # noqa: SIM118
        notes = dict(file.metadata() or {})
    averaged = averaged_weights(state)
    averaged[TRUST] = averaged[TRUST].clone()
    averaged[TRUST][-1] += config.given_trust
    memory = {name: value.half() for name, value in averaged.items()}
    notes |= {"memory_steps": str(state["step"]), "memory_minutes": f"{state['elapsed'] / 60:.1f}"}
    save_checkpoint(target, replace(network_config, video_size=config.size), {**image, **memory}, notes=notes)
    if target.stat().st_size > MAX_BYTES:
        raise OutputError(f"{target} has {target.stat().st_size} bytes, more than the {MAX_BYTES} allowed")
    return target
