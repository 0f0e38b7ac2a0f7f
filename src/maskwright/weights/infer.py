"""A network's configuration from the shapes of its weights, never from the name of a file.

What leaves no trace in shapes comes from the preset that the trunk matches: the number of heads, the sizes of
attention windows and which blocks are global, the input size and the pixel statistics.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from maskwright.config import NANO, PRESETS, HieraConfig, ModelConfig
from maskwright.errors import CheckpointError

Shapes = Mapping[str, tuple[int, ...]]
"""Our parameter name -> shape."""

STAGES = 4


def infer_config(shapes: Shapes) -> ModelConfig:
    """The configuration that weights with these shapes belong to.

    Where shapes are missing, the preset's value stands in, so that the gaps can be named afterwards.

    Raises:
        CheckpointError: there is no trunk, or none of a known model.
    """
    base = _base(shapes)
    no_memory_half = "memory_time" not in shapes and _count(shapes, "memory_attention.layers.") == 0
    decoder_mlp = "mask_decoder.transformer.blocks.0.mlp.layers.0.weight"
    config = replace(
        base,
        width=_side(shapes, "neck.laterals.0.weight", 0, base.width),
        decoder_mlp=_side(shapes, decoder_mlp, 0, base.decoder_mlp),
        mask_channels=_side(shapes, "prompt_encoder.mask_body.weight", 0, base.mask_channels),
        memory_width=_side(shapes, "memory_time", 3, base.memory_width),
        memory_layers=_count(shapes, "memory_attention.layers.") or base.memory_layers,
        memory_mlp=_side(shapes, "memory_attention.layers.0.expand.weight", 0, base.memory_mlp),
        num_memories=_side(shapes, "memory_time", 0, base.num_memories),
        occlusion_memory=no_memory_half or "no_object_memory" in shapes,
        pointer_time=no_memory_half or "pointer_time_projection.weight" in shapes,
        draw_prompts=_side(shapes, "prompt_encoder.mask_stem.weight", 1, 1) > 1,
        appraise="appraisal.change.weight" in shapes,
        neck_layers=_count(shapes, "neck.blocks."),
        fusion_layers=_count(shapes, "mask_decoder.fusion."),
    )
    return replace(config, name=_name(config, no_memory_half))


def _base(shapes: Shapes) -> ModelConfig:
    """The preset with the same trunk."""
    if "trunk.stem.conv.weight" in shapes:
        return NANO
    width = _side(shapes, "trunk.patch.weight", 0, 0) or _side(shapes, "trunk.position", 1, 0)
    if not width:
        raise CheckpointError("it has no image trunk (no patch embedding), so it is only a part of a model")
    depths, num_blocks = _depths(shapes, width), _count(shapes, "trunk.blocks.")
    presets = _hiera_presets()
    for trunk, preset in presets.items():
        if trunk.width == width and trunk.depths == depths:
            return preset
    for trunk, preset in presets.items():
        if trunk.width == width and sum(trunk.depths) == num_blocks:
            return preset
    known = ", ".join(f"{preset.name} {trunk.width} {trunk.depths}" for trunk, preset in presets.items())
    raise CheckpointError(
        f"its trunk of width {width} with {depths} blocks per stage is none of the known ones: {known}; "
        "give the configuration for another network"
    )


def _hiera_presets() -> dict[HieraConfig, ModelConfig]:
    """Trunk -> the 2.1 preset with it."""
    presets = (config for name, config in PRESETS.items() if name.startswith("sam2.1-"))
    return {config.trunk: config for config in presets if isinstance(config.trunk, HieraConfig)}


def _depths(shapes: Shapes, width: int) -> tuple[int, ...]:
    """Blocks per stage, told from the channels that each block puts out."""
    outputs = {}
    for name, shape in shapes.items():
        match = re.fullmatch(r"trunk\.blocks\.(\d+)\.(?:norm2\.weight|attention\.out\.weight)", name)
        if match is not None and shape:
            outputs[int(match[1])] = shape[0]
    return tuple(list(outputs.values()).count(width << stage) for stage in range(STAGES))


def _name(config: ModelConfig, no_memory_half: bool) -> str:
    """The preset that the configuration equals; without a memory half, 2.0 and 2.1 look the same."""
    for name, preset in PRESETS.items():
        if replace(config, name=name) == preset:
            return f"sam2-{name.partition('-')[2]}-image" if no_memory_half and name != "nano" else name
    return "custom"


def _side(shapes: Shapes, name: str, axis: int, otherwise: int) -> int:
    shape = shapes.get(name, ())
    return shape[axis] if axis < len(shape) else otherwise


def _count(shapes: Shapes, prefix: str) -> int:
    """One more than the highest number that follows ``prefix`` in a name; 0 if none does."""
    numbers = (re.match(r"\d+", name.removeprefix(prefix)) for name in shapes if name.startswith(prefix))
    return max((int(number[0]) + 1 for number in numbers if number), default=0)
