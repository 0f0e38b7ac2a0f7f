"""How much memory fine-tuning needs on a GPU, by counting what every layer keeps for the backward pass.

The counts are of tensors that autograd saves, with fused attention, and agree with what it does save: tests
measure it at small sizes on the CPU. What a run takes beside that (contexts, kernels' scratch, gaps between
blocks) is a flat allowance. Figures for a GPU are predictions.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import nn

from maskwright.config import PRESETS, HieraConfig, ModelConfig
from maskwright.errors import InputError
from maskwright.model.hiera import PATCH_STRIDE, BlockPlan, plan_blocks
from maskwright.model.mask_decoder import NUM_MASKS
from maskwright.model.memory_encoder import NUM_FUSERS, NUM_HALVINGS
from maskwright.model.sam2 import SAM2
from maskwright.train.finetune import parts_to_train, trunk_steps

GIB = 1 << 30
FULL, INDEX = 4, 8
"""Bytes of a float32 number and of an index."""
CARD_GIB = 15.0
"""What a card sold with 16 GB offers (a T4 reports 15 GiB)."""
CONTEXT = int(0.8 * GIB)
"""The driver's context, kernels and libraries."""
SLACK = 0.1
"""Share of activations that is lost in gaps between blocks."""
LOSS_COPIES = 10
"""Tensors of the size of the mask logits that the losses keep."""
OWN_TOKENS = 6
"""Tokens of the mask decoder beside the prompt's."""


@dataclass(frozen=True)
class Kept:
    """Numbers kept for the backward pass: some always in float32, the others in the compute precision."""

    full: float = 0
    half: float = 0

    def __add__(self, other: Kept) -> Kept:
        return Kept(self.full + other.full, self.half + other.half)

    def __mul__(self, times: float) -> Kept:
        return Kept(self.full * times, self.half * times)

    def bytes(self, half: bool) -> int:
        """Their size; ``half``: the compute precision has 16 bits."""
        return int(FULL * self.full + (2 if half else FULL) * self.half)


class Account(NamedTuple):
    """Bytes of GPU memory that one training run needs, by what they are for."""

    parameters: int
    gradients: int
    optimiser: int
    """Two running means for every trained number."""
    average: int
    """The running average of the trained weights."""
    copies: int
    """Weights in the compute precision, and weights with adapters added."""
    encoder: int
    """Kept activations of the image encoder, all frames."""
    memory: int
    """Kept activations of recalling and remembering, all frames and objects."""
    decoder: int
    """Kept activations of all answers and their losses."""
    working: int
    """What the backward pass needs at once, on top; with recomputing, all of one block or verb."""

    @property
    def total(self) -> int:
        """With the allowances for context and gaps."""
        return sum(self) + CONTEXT + int(SLACK * (self.encoder + self.memory + self.decoder))

    @property
    def margin(self) -> float:
        """GiB that a card of 16 GB has left; below 0 it does not fit."""
        return CARD_GIB - self.total / GIB


def training_memory(
    config: ModelConfig,
    freeze: str = "none",
    lora: int = 0,
    frames: int = 8,
    objects: int = 3,
    precision: str = "bf16-mixed",
    image_size: int = 0,
    checkpointing: str = "none",
    *,
    clicks: int = 7,
    corrected: int = 2,
) -> Account:
    """What one clip needs at its worst: points on ``corrected`` frames, each corrected with all clicks.

    Args:
        config: An official network.
        freeze: As for ``parts_to_train``.
        lora: Likewise.
        frames: Of a clip; 1 for pictures.
        objects: Followed at once.
        precision: ``32-true``, ``bf16-mixed`` or ``16-mixed``.
        image_size: Side of the network's input; 0 is the model's own.
        checkpointing: ``none``, ``trunk`` or ``all``: ``ClipConfig.recompute``.
        clicks: Corrective clicks on a corrected frame.
        corrected: Corrected frames.

    Raises:
        InputError: the network is nano, which fits everywhere and is not accounted for.
    """
    if not isinstance(config.trunk, HieraConfig) or config.match_memory:
        raise InputError("accounting knows the official models; nano trains in 2 GiB")
    config = config.at(image_size) if image_size else config
    half = precision != "32-true"
    numbers = _numbers(config, freeze, lora)
    learns = freeze == "none" or lora > 0
    blocks = [block_kept(plan, side) for plan, side in _placed(config)] if learns else []
    inputs = [Kept(full=side * side * plan.inputs) for plan, side in _placed(config)] if learns else []
    trunk = _sum(blocks if checkpointing == "none" else inputs) * frames
    neck = neck_kept(config, learns or freeze == "trunk") * frames
    corrected = min(corrected, frames)
    answers = frames + clicks * corrected
    answer, loss = decoder_kept(config, OWN_TOKENS + 3 + clicks), loss_kept(config)
    followed = [recall_kept(config, _memories(config, n), objects) for n in range(1, frames)]
    remembered = memory_encoder_kept(config) * (objects if frames > 1 else 0)
    again = checkpointing == "all"
    passed = _passed(config, objects) * (frames - 1 + answers)
    return Account(
        parameters=FULL * numbers.all,
        gradients=FULL * numbers.trained,
        optimiser=2 * FULL * numbers.trained,
        average=FULL * numbers.trained,
        copies=(2 * numbers.all if half else 0) + (2 + FULL if half else FULL) * numbers.adapted,
        encoder=(trunk + neck).bytes(half),
        memory=(passed if again else _sum(followed) + remembered * frames).bytes(half),
        decoder=((loss if again else answer + loss) * (objects * answers)).bytes(half),
        working=_working(
            [_sum(blocks[:1])], [*followed[-1:], remembered, answer * objects], checkpointing, half
        ),
    )


def block_kept(plan: BlockPlan, side: int) -> Kept:
    """One block of the trunk on a map of ``side`` x ``side`` tokens, one picture."""
    tokens = side * side
    padded = tokens if not plan.window else (-(-side // plan.window) * plan.window) ** 2
    out, padded_out = (tokens // 4, padded // 4) if plan.pool else (tokens, padded)
    # both norms keep what comes in and two statistics, fused attention one number per query and head
    full = tokens * (plan.inputs + 2) + out * (plan.outputs + 2) + padded_out * plan.heads
    # the projections' inputs, queries with keys and values, the attention's answer, the MLP
    half = padded * (plan.inputs + 3 * plan.outputs) + padded_out * plan.outputs + out * 9 * plan.outputs
    if plan.pool:
        # pooled queries; the widened residual before pooling; two maps of indices
        half += padded_out * plan.outputs + tokens * (plan.inputs + plan.outputs)
        full += (INDEX // FULL) * plan.outputs * (out + padded_out)
    return Kept(full, half)


def neck_kept(config: ModelConfig, learns: bool) -> Kept:
    """Neck and projections to finer features, one picture; ``learns``: the neck, or something below it."""
    assert isinstance(config.trunk, HieraConfig)
    cells = [(config.image_size // stride) ** 2 for stride in (4, 8, 16, 32)]
    levels = sum(n * channels for n, channels in zip(cells, config.trunk.channels, strict=True))
    projected = (cells[0] + cells[1]) * config.width
    features = 4 * cells[2] * config.width
    return Kept(half=projected + features + (levels if learns else 0))


def recall_kept(config: ModelConfig, memories: int, objects: int) -> Kept:
    """Memory attention of one frame that sees ``memories`` frames of each object, and as many pointers."""
    tokens, width = config.grid**2, config.width
    keys = memories * (tokens + width // config.memory_width)
    picture = tokens * width
    # per object: inputs of three norms; what they give; queries, keys, values and answers; the MLP's middle
    one = Kept(
        full=3 * picture + 8 * tokens,
        half=9 * picture + tokens * config.memory_mlp + 2 * keys * (width + config.memory_width),
    )
    # for all objects: tables of the rotary encoding
    tables = Kept(full=picture * (1 + memories))
    layers = (one * objects + tables) * config.memory_layers
    # the first layer looks at the picture alone, once for all objects, before it looks at memories
    layers = layers + Kept(full=2 * picture, half=7 * picture) * (1 - objects)
    return layers + Kept(full=picture * (1 + objects))


def memory_encoder_kept(config: ModelConfig) -> Kept:
    """Remembering one object in one frame."""
    pixels, picture = config.image_size**2, config.grid**2 * config.width
    statistics = sum(2 * pixels / 4 ** (level + 1) for level in range(NUM_HALVINGS))
    # each halving has four times the channels, so every level is as large as the mask
    half = pixels * (1 + 3 * NUM_HALVINGS) + picture * (2 + 12 * NUM_FUSERS)
    return Kept(full=pixels + statistics, half=half)


def decoder_kept(config: ModelConfig, tokens: int) -> Kept:
    """One answer for one object."""
    picture = config.grid**2 * config.width
    of_tokens = tokens * (40 * config.width + 2 * config.decoder_mlp)
    # six inputs of projections, ten halves of queries, keys and values, upscaling; two norms
    return Kept(full=2 * picture, half=18 * picture + of_tokens)


def loss_kept(config: ModelConfig) -> Kept:
    """Losses of one answer for one object, and the mask that came as a prompt."""
    return Kept(full=LOSS_COPIES * NUM_MASKS * config.mask_size**2 + 8 * config.mask_size**2)


def plan_table(image_size: int = 1024, frames: int = 8, objects: int = 3) -> str:
    """What fits a card of 16 GB, for the four official sizes: GiB needed and left, as text."""
    lines = [
        f"predicted GPU memory, GiB (left of {CARD_GIB:.0f}): {image_size} px, {objects} objects, bf16-mixed"
    ]
    header = f"{'clip':<10} {'freeze':<8} {'lora':>4} {'recompute':<9}"
    lines.append(header + "".join(f"{name.removeprefix('sam2.1-'):>16}" for name in _sizes()))
    for length in (1, frames):
        for freeze, lora, again in _SETTINGS:
            accounts = [
                training_memory(PRESETS[name], freeze, lora, length, objects, "bf16-mixed", image_size, again)
                for name in _sizes()
            ]
            cells = "".join(f"{one.total / GIB:>8.1f} ({one.margin:+5.1f})" for one in accounts)
            title = "picture" if length == 1 else f"{length} frames"
            lines.append(f"{title:<10} {freeze:<8} {lora or '-':>4} {again:<9}{cells}")
    return "\n".join(lines)


_SETTINGS = (
    ("encoder", 0, "none"),
    ("encoder", 0, "all"),
    ("trunk", 0, "all"),
    ("trunk", 8, "all"),
    ("none", 0, "none"),
    ("none", 0, "trunk"),
    ("none", 0, "all"),
)


class _Numbers(NamedTuple):
    """How many weights there are."""

    all: int
    trained: int
    adapted: int
    """In weights that have an adapter."""


@lru_cache(maxsize=64)
def _numbers(config: ModelConfig, freeze: str, lora: int) -> _Numbers:
    with torch.device("meta"):
        model = SAM2(config)
        trained = parts_to_train(model, freeze, lora)
    linear = [part for part in trunk_steps(model).modules() if isinstance(part, nn.Linear)] if lora else []
    return _Numbers(
        sum(one.numel() for one in model.parameters()),
        sum(one.numel() for one in trained.values()),
        sum(part.in_features * part.out_features for part in linear),
    )


def _placed(config: ModelConfig) -> list[tuple[BlockPlan, int]]:
    """Blocks of the trunk and the sides of the maps that come into them."""
    assert isinstance(config.trunk, HieraConfig)
    side, found = config.image_size // PATCH_STRIDE, []
    for plan in plan_blocks(config.trunk):
        found.append((plan, side))
        side = side // 2 if plan.pool else side
    return found


def _memories(config: ModelConfig, frame: int) -> int:
    """Frames that a frame looks back at."""
    return min(frame, config.num_memories)


def _passed(config: ModelConfig, objects: int) -> Kept:
    """What goes from verb to verb for one frame or answer, and is kept where verbs are recomputed."""
    tokens = config.grid**2
    bank = objects * config.num_memories * tokens * config.memory_width
    return Kept(full=objects * (tokens * config.width + 2 * config.mask_size**2), half=bank)


def _working(blocks: list[Kept], verbs: list[Kept], checkpointing: str, half: bool) -> int:
    """Room for the largest piece of the backward pass: its gradients; all of it where it is recomputed."""
    block = max((one.bytes(half) for one in blocks), default=0)
    verb = max((one.bytes(half) for one in verbs), default=0)
    if checkpointing == "none":
        return max(block, verb) // 2
    return max(block * 3 // 2, verb * 3 // 2 if checkpointing == "all" else verb // 2)


def _sum(parts: list[Kept]) -> Kept:
    total = Kept()
    for part in parts:
        total = total + part
    return total


def _sizes() -> list[str]:
    return [name for name in PRESETS if name.startswith("sam2.1-")]
