"""Fine-tuning: what is frozen stays bit for bit, rates follow the recipe, the result is a normal file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import maskwright as mw
from maskwright.config import NANO
from maskwright.errors import CheckpointError, InputError
from maskwright.model.sam2 import SAM2
from maskwright.train.clip_task import ClipConfig, ClipTask
from maskwright.train.finetune import (
    Comparison,
    Rates,
    evaluate_before_after,
    export_model,
    parts_to_train,
    rate_groups,
    trained,
    weights,
)
from maskwright.train.task import Draw
from maskwright.weights.load import load_checkpoint
from moving import MovingVideos
from small import SMALL, lively

SMALL_128 = SMALL.at(128)
CONFIG = ClipConfig(frames=2, clicks=1, val_clips=1, rate=1e-3, encoder_rate=1e-3, lora_rate=1e-2)


pytestmark = pytest.mark.usefixtures("one_thread")


def learn(model: SAM2, steps: int = 2) -> ClipTask:
    task = ClipTask(model, CONFIG, MovingVideos((4,)), MovingVideos((4,)))
    groups = [{"params": list(group.parameters.values()), "lr": group.rate} for group in task.groups()]
    optimiser = torch.optim.AdamW(groups, weight_decay=0.1)
    for step in range(steps):
        draw = Draw(0, step, 0)
        optimiser.zero_grad()
        task(task.batch(draw), draw, 0.0)["loss"].backward()
        optimiser.step()
    return task


@pytest.mark.parametrize(
    ("freeze", "lora", "kept", "changed"),
    [
        ("trunk", 0, ("trunk.",), ("neck.", "memory_encoder.", "mask_decoder.")),
        ("encoder", 0, ("trunk.", "neck."), ("memory_encoder.", "mask_decoder.")),
        ("none", 0, ("nothing",), ("trunk.", "neck.", "memory_encoder.", "mask_decoder.")),
        ("encoder", 2, ("trunk.", "neck."), ("memory_encoder.", "mask_decoder.")),
    ],
)
def test_what_is_frozen_stays_bit_for_bit(freeze: str, lora: int, kept: tuple, changed: tuple):
    model = lively(SMALL_128)
    chosen = parts_to_train(model, freeze, lora)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    learn(model)
    moved = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert moved <= set(chosen)
    plain = {name for name in moved if not name.endswith((".up", ".down"))}
    assert not any(name.startswith(kept) for name in plain)
    assert {part for part in changed if any(name.startswith(part) for name in moved)} == set(changed)
    assert any(name.endswith(".up") for name in moved) == bool(lora)


def test_running_statistics_stay(tmp_path: Path):
    torch.manual_seed(0)
    model = SAM2(NANO.at(64)).train()
    parts_to_train(model)
    before = {name: value.clone() for name, value in model.named_buffers()}
    task = ClipTask(model, CONFIG, MovingVideos((4,), side=64))
    task(task.batch(Draw(0, 0, 0)), Draw(0, 0, 0), 0.0)["loss"].backward()
    assert all(torch.equal(value, before[name]) for name, value in model.named_buffers())


def test_rates_follow_the_recipe():
    model = lively(SMALL_128)
    parts_to_train(model)
    groups = {group.name: group for group in rate_groups(model, Rates())}
    depth = len(model.trunk.blocks)
    assert groups["rest"].rate == 5e-6
    assert groups["neck"].rate == groups["trunk position"].rate == 3e-6
    assert groups[f"trunk {depth - 1}"].rate == pytest.approx(3e-6 * 0.9)
    assert groups["trunk 0"].rate == pytest.approx(3e-6 * 0.9**depth)
    assert groups["trunk stem"].rate == pytest.approx(3e-6 * 0.9 ** (depth + 1))
    assert {group.decay for group in groups.values()} == {0.1}
    names = [name for group in groups.values() for name in group.parameters]
    assert sorted(names) == sorted(trained(model))
    parts_to_train(adapted := lively(SMALL_128), "trunk", 2)
    rates = {group.name: group.rate for group in rate_groups(adapted, Rates())}
    assert rates == {"adapters": 1e-4, "neck": 3e-6, "rest": 5e-6}


@pytest.mark.parametrize("lora", [0, 2])
@pytest.mark.parametrize("dtype", [torch.float16, None])
def test_an_exported_file_loads_and_gives_the_trained_masks(tmp_path: Path, lora: int, dtype):
    model = lively(SMALL_128)
    parts_to_train(model, "none", lora)
    learn(model)
    average = {name: value.detach() * 1.01 for name, value in trained(model).items()}
    path = export_model(model, average, tmp_path / "mine.safetensors", {"licence": "x"}, dtype=dtype)
    loaded = mw.load(path, device="cpu")
    assert loaded.config == SMALL_128
    picture = np.random.default_rng(0).integers(0, 255, (96, 128, 3), dtype=np.uint8)
    given = loaded.embed(picture).segment(mw.Box(20, 20, 90, 80))
    own = {name: value.clone() for name, value in model.state_dict().items()}
    with weights(model, average):
        features = model.without_memory(model.encode_image(_pixels(picture)))
        points = torch.tensor([[[[20.0, 20 * 128 / 96], [90.0, 80 * 128 / 96], [0, 0]]]])
        prompts = mw_prompts(points)
        with torch.no_grad():
            wanted = model.decode(features, prompts)
    best = int(wanted.iou_BPM[0, 0, 1:].argmax()) + 1
    difference = torch.from_numpy(given.logits[0]) - wanted.logits_BPMHW[0, 0, best]
    assert float(difference.abs().max()) < (2e-4 if dtype is None else 0.1)
    assert float(wanted.logits_BPMHW.std()) > 0.1
    assert all(torch.equal(value, own[name]) for name, value in model.state_dict().items())
    assert (path.stat().st_size < 0.6 * 4 * sum(one.numel() for one in own.values())) == (dtype is not None)


def mw_prompts(points: torch.Tensor):
    from maskwright.model.prompt_encoder import BOX_END, BOX_START, NO_POINT, PADDING, PromptTensors

    padded = torch.nn.functional.pad(points, (0, 0, 0, 1))
    return PromptTensors(padded, torch.tensor([[[BOX_START, BOX_END, NO_POINT, PADDING]]]))


def _pixels(picture: np.ndarray) -> torch.Tensor:
    from maskwright.pixels.preprocess import preprocess

    return preprocess(picture, 128, SMALL.pixel_mean, SMALL.pixel_std)[None]


def test_a_model_for_pictures_stays_one(tmp_path: Path):
    model = lively(SMALL)
    path = export_model(model, None, tmp_path / "pictures.safetensors", image_only=True)
    assert load_checkpoint(path).image_only


def test_weights_of_another_run_are_refused(tmp_path: Path):
    with pytest.raises(CheckpointError, match="no parameter 'strange'"):
        export_model(lively(SMALL), {"strange": torch.zeros(1)}, tmp_path / "x.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_figures_before_and_after_are_of_the_same_data():
    model = lively(SMALL_128)
    parts_to_train(model)
    task = ClipTask(model, CONFIG, MovingVideos((4,)), MovingVideos((4,)))

    def train():
        learn(model, 8)
        return trained(model)

    found = evaluate_before_after(task, train)
    assert found.before.keys() == found.after.keys() == {"box", "click", "followed"}
    assert found.before != found.after
    assert found.after == task.validate(model)
    table = str(Comparison({"box": 0.5, "gone": 1.0}, {"box": 0.75}))
    assert table.splitlines()[1].split() == ["box", "0.5000", "0.7500", "+0.2500"]
    assert len(table.splitlines()) == 2


def test_nonsense_is_refused():
    with pytest.raises(InputError, match="trunk, encoder, none"):
        parts_to_train(lively(SMALL), "all")
    with pytest.raises(InputError, match="0 or more"):
        parts_to_train(lively(SMALL), lora=-1)
