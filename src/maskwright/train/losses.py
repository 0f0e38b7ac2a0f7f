"""Losses of promptable segmentation, after the SAM 2 paper: focal, dice, predicted IoU, object score.

Axes: B pictures, P objects, M masks, H W the mask grid.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from maskwright.model.candidates import best_of_three, take
from maskwright.model.prompt_encoder import BOX_START, NEGATIVE, POSITIVE
from maskwright.model.sam2 import Decoded
from maskwright.train.settings import TrainConfig


class Loss(NamedTuple):
    """The loss of one decoding and its parts, all scalars; parts are detached means for the log."""

    total: Tensor
    focal: Tensor
    dice: Tensor
    iou_error: Tensor
    picked_iou: Tensor
    """Mean IoU on the mask grid of the candidate that the model itself would pick."""


def focal(logits: Tensor, targets: Tensor, alpha: float, gamma: float) -> Tensor:
    """Focal loss (Lin et al. 2017), averaged over the last two axes; targets may be fractions of a cell."""
    cross_entropy = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    missed = (logits.sigmoid() - targets).abs()
    balance = alpha * targets + (1 - alpha) * (1 - targets)
    return (balance * missed.pow(gamma) * cross_entropy).mean(dim=(-2, -1))


def dice(logits: Tensor, targets: Tensor) -> Tensor:
    """One minus the soft dice overlap over the last two axes; one cell is added so that empty meets empty."""
    chance = logits.sigmoid()
    shared = (chance * targets).sum(dim=(-2, -1))
    return 1 - (2 * shared + 1) / (chance.sum(dim=(-2, -1)) + targets.sum(dim=(-2, -1)) + 1)


@torch.no_grad()
def true_iou(logits: Tensor, targets: Tensor) -> Tensor:
    """IoU over the last two axes of the mask (logit > 0) with the cells that are more than half covered."""
    given, wanted = logits > 0, targets > 0.5
    shared = (given & wanted).sum(dim=(-2, -1))
    either = (given | wanted).sum(dim=(-2, -1))
    return shared / either.clamp(min=1)


def is_sure(labels_BPK: Tensor) -> Tensor:
    """Objects (B, P) whose prompt leaves little doubt: a box, or two clicks and more."""
    has_box_BP = (labels_BPK == BOX_START).any(dim=2)
    num_clicks_BP = ((labels_BPK == POSITIVE) | (labels_BPK == NEGATIVE)).sum(dim=2)
    return has_box_BP | (num_clicks_BP > 1)


def segmentation_loss(decoded: Decoded, targets_BPHW: Tensor, sure_BP: Tensor, config: TrainConfig) -> Loss:
    """All losses of one decoding.

    Of the three candidates the one with the smallest mask loss is trained (an ambiguous prompt may have
    several right answers), and all of them a little where the config says so: then a candidate that is picked
    by mistake is not far off. The single mask is always trained. The IoU head learns from all four.
    """
    logits_BPMHW = decoded.logits_BPMHW.float()
    targets_BPMHW = targets_BPHW[:, :, None].expand_as(logits_BPMHW)
    focal_BPM = focal(logits_BPMHW, targets_BPMHW, config.focal_alpha, config.focal_gamma)
    dice_BPM = dice(logits_BPMHW, targets_BPMHW)
    mask_BPM = config.focal_weight * focal_BPM + config.dice_weight * dice_BPM
    best_BP1 = mask_BPM[:, :, 1:].argmin(dim=2, keepdim=True) + 1
    best = mask_BPM.gather(2, best_BP1).mean()
    share_BP = torch.where(sure_BP, config.sure_spread, config.doubt_spread)
    spread = (share_BP * mask_BPM[:, :, 1:].mean(dim=2)).mean()
    single = mask_BPM[:, :, 0].mean()
    iou_BPM = true_iou(logits_BPMHW, targets_BPMHW)
    predicted_BPM = decoded.iou_BPM.float()
    iou_error = (predicted_BPM - iou_BPM).abs().mean()
    object_loss = F.softplus(-decoded.object_score_BP.float()).mean()
    total = (
        best
        + spread
        + config.single_weight * single
        + config.iou_weight * iou_error
        + config.object_weight * object_loss
    )
    return Loss(
        total,
        focal_BPM.gather(2, best_BP1).mean().detach(),
        dice_BPM.gather(2, best_BP1).mean().detach(),
        iou_error.detach(),
        take(iou_BPM, best_of_three(predicted_BPM)).mean(),
    )
