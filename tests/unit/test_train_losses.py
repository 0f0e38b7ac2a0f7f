"""Losses of training."""

from __future__ import annotations

import math

import pytest
import torch

from maskwright.model.sam2 import Decoded
from maskwright.train.losses import LossConfig, dice, focal, is_sure, segmentation_loss, true_iou

CONFIG = LossConfig()
SURE, UNSURE = torch.tensor([[True]]), torch.tensor([[False]])


def square(side: int = 8) -> torch.Tensor:
    target = torch.zeros(side, side)
    target[2:6, 2:6] = 1
    return target


def test_focal_loss_of_an_undecided_pixel():
    wanted = 0.25 * 0.5**2 * math.log(2)
    assert focal(torch.zeros(1, 1), torch.ones(1, 1), 0.25, 2.0).item() == pytest.approx(wanted)
    assert focal(torch.zeros(1, 1), torch.zeros(1, 1), 0.25, 2.0).item() == pytest.approx(3 * wanted)


def test_right_masks_cost_nothing_and_wrong_ones_much():
    target = square()
    right, wrong = (target * 2 - 1) * 30, (1 - target * 2) * 30
    assert dice(right, target).item() == pytest.approx(0, abs=1e-6)
    assert focal(right, target, 0.25, 2.0).item() == pytest.approx(0, abs=1e-6)
    assert dice(wrong, target).item() > 0.95
    assert focal(wrong, target, 0.25, 2.0).item() > 5


def test_a_half_covered_cell_is_happiest_undecided():
    logits = torch.zeros(1, 1, requires_grad=True)
    focal(logits, torch.full((1, 1), 0.5), 0.25, 2.0).sum().backward()
    assert logits.grad is not None
    assert logits.grad.item() == pytest.approx(0, abs=1e-7)


def test_true_iou_counts_cells():
    shifted = torch.roll(square(), 2, dims=1) * 2 - 1
    assert true_iou(shifted, square()).item() == pytest.approx(8 / 24)
    assert true_iou(-torch.ones(4, 4), torch.zeros(4, 4)).item() == 0


def decoded(logits: torch.Tensor, iou: torch.Tensor) -> Decoded:
    return Decoded(logits, iou, torch.zeros(1, 1, 4, 8), torch.zeros(1, 1))


def test_only_the_best_candidate_and_the_single_mask_are_trained():
    target = square()[None, None]
    logits = torch.stack([target[0, 0] - 0.5, -target[0, 0], target[0, 0] * 4 - 2, torch.zeros(8, 8)])[
        None, None
    ]
    logits.requires_grad_(True)
    segmentation_loss(decoded(logits, torch.full((1, 1, 4), 0.5)), target, SURE, CONFIG).total.backward()
    assert logits.grad is not None
    trained = logits.grad[0, 0].abs().sum(dim=(1, 2)) > 0
    assert trained.tolist() == [True, False, True, False]


def test_all_candidates_are_trained_a_little_where_the_prompt_is_sure():
    config, target = LossConfig(sure_spread=0.5), square()[None, None]
    for sure, trained in ((SURE, 4), (UNSURE, 2)):
        logits = torch.zeros(1, 1, 4, 8, 8, requires_grad=True)
        segmentation_loss(decoded(logits, torch.full((1, 1, 4), 0.5)), target, sure, config).total.backward()
        assert logits.grad is not None
        assert (logits.grad[0, 0].abs().sum(dim=(1, 2)) > 0).sum() == trained


def test_boxes_and_several_clicks_are_sure():
    labels = torch.tensor([[[2, 3, -2, -1], [-2, -2, 1, -1], [-2, 0, 1, -1], [2, 3, 1, -1]]])
    assert is_sure(labels).tolist() == [[True, False, True, True]]


def test_the_predicted_iou_is_pulled_to_the_true_one():
    target = square()[None, None]
    logits = (target * 2 - 1)[:, :, None].expand(-1, -1, 4, -1, -1)
    iou = torch.full((1, 1, 4), 0.4, requires_grad=True)
    loss = segmentation_loss(decoded(logits, iou), target, SURE, CONFIG)
    loss.total.backward()
    assert loss.iou_error.item() == pytest.approx(0.6)
    assert loss.picked_iou.item() == 1
    assert iou.grad is not None
    assert (iou.grad < 0).all()


def test_hidden_objects_are_judged_by_the_object_score_alone():
    targets = torch.stack((square(), torch.zeros(8, 8)))[None]
    logits = torch.zeros(1, 2, 4, 8, 8, requires_grad=True)
    iou = torch.full((1, 2, 4), 0.5, requires_grad=True)
    scores = torch.zeros(1, 2, requires_grad=True)
    answer = Decoded(logits, iou, torch.zeros(1, 2, 4, 8), scores)
    seen = torch.tensor([[True, False]])
    segmentation_loss(answer, targets, torch.ones(1, 2, dtype=torch.bool), CONFIG, seen).total.backward()
    assert logits.grad is not None
    assert iou.grad is not None
    assert scores.grad is not None
    assert logits.grad[0, 0].abs().sum() > 0
    assert logits.grad[0, 1].abs().sum() == 0
    assert iou.grad[0, 1].abs().sum() == 0
    assert scores.grad[0, 0] < 0 < scores.grad[0, 1]
