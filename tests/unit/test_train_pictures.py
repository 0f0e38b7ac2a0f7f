"""Learning from single pictures: official networks and nano's kind, with what they get wrong corrected."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from maskwright.errors import InputError
from maskwright.io.datasets.protocol import Scene
from maskwright.model.prompt_encoder import NEGATIVE, POSITIVE
from maskwright.train.augment import AugmentConfig
from maskwright.train.finetune import parts_to_train
from maskwright.train.pictures import PictureConfig, PictureTask, cover
from maskwright.train.prompts import PromptConfig
from maskwright.train.task import Draw
from small import SMALL, lively

OFFICIAL = replace(SMALL, image_size=128)
DRAWN = replace(OFFICIAL, draw_prompts=True, neck_layers=1, fusion_layers=1, fine_layers=True)
KINDS = {"official": OFFICIAL, "nano": DRAWN}
CONFIG = PictureConfig(objects=3, rate=2e-3, encoder_rate=1e-3, layer_decay=1.0, val_pictures=2)


class Shelf:
    """Fulfils ``Pictures``: coloured plates on noise, every picture with three of them."""

    def __init__(self, num: int, *, bare: bool = False) -> None:
        self.names: Sequence[str] = [f"shelf_{number}" for number in range(num)]
        self.sources: Sequence[str] = ["shelf"] * num
        self.bare = bare

    def __len__(self) -> int:
        return len(self.names)

    def read(self, index: int) -> Scene:
        rng = np.random.default_rng(index)
        picture = rng.integers(0, 60, (96, 128, 3), dtype=np.uint8)
        labels = np.zeros((96, 128), np.uint16)
        for place, (x, y) in enumerate(((10, 12), (60, 20), (40, 60))):
            labels[y : y + 24, x : x + 30] = 0 if self.bare else place + 1
            picture[y : y + 24, x : x + 30] = rng.integers(120, 255, 3)
        return Scene.from_labels(picture, labels)


def task_of(
    kind: str, config: PictureConfig = CONFIG, *, changes: AugmentConfig | None = None
) -> PictureTask:
    model = lively(KINDS[kind])
    parts_to_train(model, "none")
    return PictureTask(model, config, Shelf(4), Shelf(2), changes)


@pytest.mark.parametrize("kind", KINDS)
def test_ten_steps_on_one_picture_drive_the_loss_down(kind):
    task = task_of(kind, replace(CONFIG, prompts=PromptConfig(correct=0.0)))
    draw = Draw(0, 0, 0)
    batch = task.batch(draw)
    groups = [{"params": list(group.parameters.values()), "lr": group.rate} for group in task.groups()]
    optimiser = torch.optim.AdamW(groups)
    losses = []
    for _ in range(10):
        found = task(batch, draw, 0.0)
        optimiser.zero_grad()
        found["loss"].backward()
        optimiser.step()
        losses.append(float(found["loss"].detach()))
    assert losses[-1] < 0.8 * losses[0]
    assert min(losses) == pytest.approx(losses[-1], rel=0.1)


@pytest.mark.parametrize("kind", KINDS)
def test_everything_that_pictures_can_teach_gets_a_gradient(kind):
    task = task_of(kind, replace(CONFIG, prompts=PromptConfig(correct=1.0, clicks=3, mask=1.0, both=0.3)))
    for step in range(3):
        draw = Draw(1, step, 0)
        task(task.batch(draw), draw, 0.0)["loss"].backward()
    silent = [
        name
        for name, parameter in task.model.named_parameters()
        if parameter.grad is None or not parameter.grad.abs().sum() > 0
    ]
    not_asked = (
        "memory",
        "pointer",
        "no_object",
        "no_mask",
        "object_token",
        "mask_decoder.object",
        "mask_heads",  # a candidate that is never the best learns nothing
        "not_a_point",
    )
    assert [name for name in silent if not any(part in name for part in not_asked)] == []


def test_a_batch_depends_on_its_draw_alone():
    task = task_of("official", changes=AugmentConfig())
    first, again, other = (task.batch(Draw(0, step, 0)) for step in (3, 3, 4))
    assert torch.equal(first.pixels_BCHW, again.pixels_BCHW)
    assert torch.equal(first.prompts.points_BPK2, again.prompts.points_BPK2)
    assert not torch.equal(first.pixels_BCHW, other.pixels_BCHW)
    a, b = (task(first, Draw(0, 3, 0), 0.0)["loss"] for _ in range(2))
    assert torch.equal(a, b)


def test_targets_cover_the_objects_that_are_asked_for():
    batch = task_of("official", replace(CONFIG, prompts=PromptConfig(box=0.0, both=0.0))).batch(Draw(0, 0, 0))
    assert batch.targets_BPHW.shape == (1, 3, 32, 32)
    for which in range(3):
        x, y = (batch.prompts.points_BPK2[0, which, 2] / 4).long()
        assert batch.prompts.labels_BPK[0, which, 2] == POSITIVE
        assert batch.targets_BPHW[0, which, y, x] > 0


def test_corrections_are_asked_for_in_their_share_of_steps(monkeypatch):
    task = task_of("official", replace(CONFIG, prompts=PromptConfig(correct=1.0, clicks=2)))
    asked = []
    answer = task._answer

    def watched(model, features, prompts, targets):
        asked.append(prompts.labels_BPK)
        return answer(model, features, prompts, targets)

    monkeypatch.setattr(task, "_answer", watched)
    for step in range(4):
        draw = Draw(0, step, 0)
        task(task.batch(draw), draw, 0.0)
    slots = [labels.shape[2] for labels in asked]
    assert set(slots) == {4, 5, 6}
    added = torch.cat([labels[..., 4:].flatten() for labels in asked])
    assert {POSITIVE, NEGATIVE} & set(added.tolist())


def test_all_batches_of_a_step_get_as_many_corrections(monkeypatch):
    """Devices wait for the slowest one in every step."""
    task = task_of("official", replace(CONFIG, prompts=PromptConfig(correct=0.5, clicks=2)))
    answers = []
    answer = task._answer

    def watched(*args):
        answers.append(args)
        return answer(*args)

    def rounds(draw: Draw) -> int:
        answers.clear()
        with torch.no_grad():
            task(task.batch(draw), draw, 0.0)
        return len(answers)

    monkeypatch.setattr(task, "_answer", watched)
    counts = [[rounds(Draw(0, step, part)) for part in range(3)] for step in range(8)]
    assert all(len(set(step)) == 1 for step in counts)
    assert {1, 2, 3} == {step[0] for step in counts}


@pytest.mark.parametrize("kind", KINDS)
def test_the_first_steps_see_smaller_pictures_and_teach_the_same_parameters(kind):
    task = task_of(kind, replace(CONFIG, small_size=64, small_steps=2))
    early, late = (task.batch(Draw(0, step, 0)) for step in (1, 2))
    assert early.pixels_BCHW.shape[-2:] == (64, 64)
    assert early.targets_BPHW.shape[-2:] == (16, 16)
    assert early.prompts.points_BPK2.max() < 64
    assert late.pixels_BCHW.shape[-2:] == (128, 128)
    assert len(list(task.parameters())) == len(list(task.model.parameters()))
    task(early, Draw(0, 1, 0), 0.0)["loss"].backward()
    small = {name: value.grad for name, value in task.model.named_parameters() if value.grad is not None}
    assert small.keys() >= {"no_memory", "mask_decoder.iou_token"}
    task(late, Draw(0, 2, 0), 0.0)["loss"].backward()
    assert task.model.config.image_size == 128
    assert task.model.prompt_encoder.image_size == 128


def test_a_smaller_size_and_its_steps_go_together():
    for nonsense in ({"small_size": 64}, {"small_steps": 3}, {"small_size": 50, "small_steps": 3}):
        with pytest.raises(InputError, match=r"pictures\.small_size"):
            PictureConfig(**nonsense)


def test_the_appraisal_of_masks_learns_at_its_own_rate():
    task = PictureTask(lively(replace(DRAWN, appraise=True)), CONFIG, Shelf(1))
    hurried = PictureTask(task.model, replace(CONFIG, appraisal_rate=0.1), Shelf(1))
    for each, rate in ((task, CONFIG.rate), (hurried, 0.1)):
        rates = {name: group.rate for group in each.groups() for name in group.parameters}
        own = [name for name in rates if name.startswith("appraisal.")]
        assert len(own) == 4
        assert {rates[name] for name in own} == {rate}
        assert rates["no_memory"] == CONFIG.rate


def test_cover_is_the_share_of_each_block():
    mask = np.zeros((8, 8), bool)
    mask[:2, :4] = True
    assert cover(mask).tolist() == [[0.5, 0.0], [0.0, 0.0]]


def test_validation_knows_a_good_model_from_a_bad_one():
    task = task_of("nano")
    figures = task.validate(task.model)
    assert set(figures) == {"box", "box_best", "click", "click_best", "clicks", "clicks_best"}
    assert all(0 <= value <= 1 for value in figures.values())
    assert figures["box"] <= figures["box_best"]


def test_pictures_without_objects_are_an_error_that_says_so():
    model = lively(OFFICIAL)
    with pytest.raises(InputError, match="no pictures"):
        PictureTask(model, CONFIG, Shelf(0))
    task = PictureTask(model, CONFIG, Shelf(3, bare=True))
    with pytest.raises(InputError, match="labelled object"):
        task.batch(Draw(0, 0, 0))
