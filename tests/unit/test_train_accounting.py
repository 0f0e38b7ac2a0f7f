"""Memory accounts agree with what autograd saves, and say what fits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from maskwright.config import NANO, PRESETS, ModelConfig
from maskwright.errors import InputError
from maskwright.model.mask_decoder import ImageFeatures
from maskwright.model.sam2 import SAM2
from maskwright.train.accounting import (
    CARD_GIB,
    GIB,
    Kept,
    block_kept,
    decoder_kept,
    memory_encoder_kept,
    neck_kept,
    plan_table,
    recall_kept,
    training_memory,
)
from maskwright.train.clip_batch import ClipBatch
from maskwright.train.clip_memory import Remembered, stacked_bank
from maskwright.train.clip_prompts import Plan, nothing_asked
from maskwright.train.clip_task import ClipConfig, answer_loss, unroll
from maskwright.train.finetune import parts_to_train
from moving import moving_squares
from small import SMALL

TINY_256 = PRESETS["sam2.1-tiny"].at(256)
MIDDLE = replace(SMALL.at(256), memory_layers=2, memory_mlp=256, width=128, memory_width=32)


pytestmark = pytest.mark.usefixtures("one_thread")


def network(config: ModelConfig, freeze: str = "none", lora: int = 0) -> SAM2:
    torch.manual_seed(0)
    model = SAM2(config)
    parts_to_train(model, freeze, lora)
    return model


def saved_bytes(model: SAM2, run: Callable[[], object], half: bool = False) -> int:
    """Bytes of all storages that are kept for the backward pass, without weights and copies of weights."""
    shapes = {tuple(one.shape) for one in model.parameters()}
    shapes |= {shape[::-1] for shape in shapes if len(shape) == 2}
    own = {one.untyped_storage().data_ptr() for one in (*model.parameters(), *model.buffers())}
    kept: dict[int, int] = {}
    alive = []

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own and not (half and tuple(tensor.shape) in shapes):
            kept[storage.data_ptr()] = storage.nbytes()
        alive.append(tensor)
        return tensor

    with (
        torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor),
        torch.autocast("cpu", torch.bfloat16, enabled=half),
    ):
        alive.append(run())
    return sum(kept.values())


def leaf(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, requires_grad=True)


@pytest.mark.parametrize("number", [0, 1, 2, 4, 5])
def test_blocks_of_tiny_keep_what_is_counted(number: int):
    """Windowed, pooled, padded windows, global: at sides as at 256 px."""
    model = network(TINY_256)
    block = model.trunk.blocks[number]
    side = {0: 64, 1: 64, 2: 32, 4: 16, 5: 16}[number]
    x = leaf(1, side, side, block.plan.inputs)
    expected = block_kept(block.plan, side)
    assert saved_bytes(model, lambda: block(x)) == pytest.approx(expected.bytes(False), rel=0.002)
    # the residual that leaves a pooled block is half on the CPU, not on a GPU
    assert saved_bytes(model, lambda: block(x), half=True) == pytest.approx(expected.bytes(True), rel=0.05)


def features(config: ModelConfig, num: int = 1) -> ImageFeatures:
    grid, width = config.grid, config.width
    return ImageFeatures(
        leaf(num, width, grid, grid),
        leaf(num, width // 4, 2 * grid, 2 * grid),
        leaf(num, width // 8, 4 * grid, 4 * grid),
    )


def test_the_other_verbs_keep_what_is_counted():
    model, config = network(MIDDLE), MIDDLE
    seen = [
        Remembered(n, n == 0, leaf(2, config.grid**2, config.memory_width), leaf(2, config.width))
        for n in range(3)
    ]
    picture, now = features(config), torch.full((2,), 3)
    bank = stacked_bank(seen, 3, config, 7)
    found = saved_bytes(
        model,
        lambda: model.recall(picture, bank, now, torch.tensor(1), torch.tensor(7.0), masked=False),
    )
    assert found == pytest.approx(recall_kept(config, 3, 2).bytes(False), rel=0.05)
    no = torch.zeros(1, dtype=torch.bool)
    logits = leaf(1, config.mask_size, config.mask_size)
    found = saved_bytes(model, lambda: model.encode_memory(picture, logits, torch.ones(1), no))
    assert found == pytest.approx(memory_encoder_kept(config).bytes(False), rel=0.02)
    found = saved_bytes(model, lambda: model.decode(picture, nothing_asked((1, 1))))
    assert found == pytest.approx(decoder_kept(config, 8).bytes(False), rel=0.1)
    levels = [
        leaf(1, channels, side, side)
        for channels, side in zip(config.trunk.channels, (64, 32, 16, 8), strict=True)
    ]
    found = saved_bytes(model, lambda: model.mask_decoder.project(*model.neck(levels)[1:]))
    assert found == pytest.approx(neck_kept(config, True).bytes(False), rel=0.2)


@pytest.mark.parametrize(("freeze", "lora"), [("none", 0), ("trunk", 0), ("encoder", 0), ("trunk", 2)])
@pytest.mark.parametrize("half", [False, True])
def test_a_whole_clip_keeps_what_is_counted(freeze: str, lora: int, half: bool):
    model = network(MIDDLE, freeze, lora)
    frames, masks = moving_squares(4, 256)
    pixels = torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 128 - 1
    batch = ClipBatch(pixels, torch.from_numpy(masks), torch.ones(4, dtype=torch.bool))
    config = ClipConfig(clicks=2)
    plan = Plan({0: "click"}, frozenset({0, 2}))

    def run() -> object:
        answers = unroll(model, batch, plan, config, np.random.default_rng(0))
        return answers, [answer_loss(one, config) for one in answers]

    account = training_memory(
        MIDDLE, freeze, lora, 4, 2, "bf16-mixed" if half else "32-true", clicks=2, corrected=2
    )
    counted = account.encoder + account.memory + account.decoder
    assert saved_bytes(model, run, half) == pytest.approx(counted, rel=0.15 if not half else 0.25)


def test_recomputing_keeps_less_and_more_frames_more():
    config = PRESETS["sam2.1-base+"]
    none, trunk, everything = (
        training_memory(config, checkpointing=again) for again in ("none", "trunk", "all")
    )
    assert everything.encoder == trunk.encoder < none.encoder / 4
    assert everything.memory < none.memory / 4
    assert everything.total < trunk.total < none.total
    totals = [training_memory(config, frames=frames).total for frames in (1, 2, 4, 8)]
    assert totals == sorted(totals)
    assert training_memory(config, objects=6).total > none.total
    assert training_memory(config, image_size=512).encoder < none.encoder / 3.5
    assert training_memory(config, precision="32-true").total > none.total


def test_states_of_the_optimiser_are_those_of_what_trains():
    config = PRESETS["sam2.1-tiny"]
    whole, part = training_memory(config), training_memory(config, "encoder")
    with torch.device("meta"):
        numbers = sum(one.numel() for one in SAM2(config).parameters())
    assert whole.parameters == part.parameters == 4 * numbers
    assert whole.gradients == whole.average == whole.optimiser // 2 == whole.parameters
    assert part.gradients < 0.4 * part.parameters
    adapted = training_memory(config, "none", 8)
    assert part.gradients < adapted.gradients < 0.5 * whole.gradients
    assert Kept(1, 2).bytes(True) == 8


def test_the_table_says_what_fits():
    lines = plan_table().splitlines()
    assert lines[1].split() == ["clip", "freeze", "lora", "recompute", "tiny", "small", "base+", "large"]
    row = next(line for line in lines if line.startswith("8 frames   none        - all"))
    account = training_memory(PRESETS["sam2.1-tiny"], checkpointing="all")
    assert f"{account.total / GIB:.1f} ({account.margin:+.1f})" in row.replace("( ", "(")
    assert account.margin == pytest.approx(CARD_GIB - account.total / GIB)
    assert all(
        training_memory(PRESETS[f"sam2.1-{size}"], "encoder", checkpointing="all").margin > 5
        for size in ("tiny", "small", "base+", "large")
    )
    with pytest.raises(InputError, match="official models"):
        training_memory(NANO)
