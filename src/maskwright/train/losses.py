"""Losses of promptable segmentation, after the SAM 2 paper: focal, dice, predicted IoU, object score.

Axes: B pictures, P objects, M masks, H W the mask grid.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from maskwright.model.candidates import best_of_three, take
from maskwright.model.prompt_encoder import BOX_START, NEGATIVE, POSITIVE
from maskwright.model.sam2 import Decoded


@dataclass(frozen=True)
class LossConfig:
    """Weights of the losses; the defaults are the SAM 2 paper's (appendix), where it names one."""

    focal: float = 20.0
    """Weight of the focal loss."""
    dice: float = 1.0
    """Weight of the dice loss."""
    iou: float = 1.0
    """Weight of the absolute error of the predicted IoU."""
    object: float = 1.0
    """Weight of the object score: whether the object is visible."""
    single: float = 0.3
    """Weight of the mask for prompts without doubt, beside the best of the three candidates."""
    sure_spread: float = 0.0
    """Weight of the mean loss of all three candidates where a box or several clicks leave little doubt."""
    doubt_spread: float = 0.0
    """The same for a single click, which may well have several right answers."""
    alpha: float = 0.25
    """Weight of set pixels in the focal loss; the others weigh one minus it."""
    gamma: float = 2.0
    """How strongly the focal loss ignores pixels that are right already."""


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


def segmentation_loss(
    decoded: Decoded,
    targets_BPHW: Tensor,
    sure_BP: Tensor,
    config: LossConfig,
    seen_BP: Tensor | None = None,
) -> Loss:
    """All losses of one decoding.

    Of the three candidates the one with the smallest mask loss is trained (an ambiguous prompt may have
    several right answers), and all of them a little where the config says so: then a candidate that is picked
    by mistake is not far off. The single mask is always trained. The IoU head learns from all four.

    Args:
        decoded: The answers.
        targets_BPHW: Share of each cell of the mask grid that the object covers, 0..1.
        sure_BP: Objects whose prompt leaves little doubt, see ``is_sure``.
        config: Weights.
        seen_BP: False where the object is hidden: there only the object score is judged. None: all are seen.
    """
    logits_BPMHW = decoded.logits_BPMHW.float()
    targets_BPMHW = targets_BPHW[:, :, None].expand_as(logits_BPMHW)
    mask_BPM, focal_BPM, dice_BPM = mask_losses(logits_BPMHW, targets_BPMHW, config)
    iou_BPM = true_iou(logits_BPMHW, targets_BPMHW)
    error_BPM = (decoded.iou_BPM.float() - iou_BPM).abs()
    seen_BP = torch.ones_like(sure_BP) if seen_BP is None else seen_BP
    best_BP = mask_BPM[:, :, 1:].argmin(dim=2) + 1
    share_BP = torch.where(sure_BP, config.sure_spread, config.doubt_spread)
    total_BP = (
        take(mask_BPM, best_BP)
        + share_BP * mask_BPM[:, :, 1:].mean(dim=2)
        + config.single * mask_BPM[:, :, 0]
        + config.iou * error_BPM.mean(dim=2)
    )
    object_loss = F.binary_cross_entropy_with_logits(decoded.object_score_BP.float(), seen_BP.float())
    return Loss(
        mean_where(total_BP, seen_BP) + config.object * object_loss,
        mean_where(take(focal_BPM, best_BP), seen_BP).detach(),
        mean_where(take(dice_BPM, best_BP), seen_BP).detach(),
        mean_where(error_BPM.mean(dim=2), seen_BP).detach(),
        mean_where(take(iou_BPM, best_of_three(decoded.iou_BPM)), seen_BP),
    )


def mask_losses(logits: Tensor, targets: Tensor, config: LossConfig) -> tuple[Tensor, Tensor, Tensor]:
    """Focal and dice loss over the last two axes, weighed and added; then each of them by itself."""
    focal_loss = focal(logits, targets, config.alpha, config.gamma)
    dice_loss = dice(logits, targets)
    return config.focal * focal_loss + config.dice * dice_loss, focal_loss, dice_loss


def mean_where(values: Tensor, where: Tensor) -> Tensor:
    """Mean over the entries that count; 0 if none does."""
    return (values * where).sum() / where.sum().clamp(min=1)
