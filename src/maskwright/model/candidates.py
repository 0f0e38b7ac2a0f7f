"""Choosing among the four masks that the decoder gives for one object.

Axes: B pictures, P objects per picture, O objects of a video, M masks, C channels, H W height and width.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from maskwright.config import ModelConfig

NO_OBJECT = -1024.0
"""Mask logit everywhere in a frame that does not show the object (``NO_OBJ_SCORE`` of the official code)."""


class Chosen(NamedTuple):
    """One answer for each of O objects of a video frame."""

    logits_OHW: Tensor
    """Mask logits at stride 4."""
    iou_O: Tensor
    """Predicted intersection over union, 0..1."""
    pointers_OC: Tensor
    """Object pointers."""
    object_score_O: Tensor
    """Logit that the object is visible."""


def stability(logits_HW: Tensor, delta: float) -> Tensor:
    """Share of the larger mask (threshold -delta) that the smaller one (+delta) covers; 1 if both are empty.

    Takes (..., H, W), returns (...). ``_get_stability_scores`` of the official decoder.
    """
    small = (logits_HW > delta).sum((-1, -2)).float()
    large = (logits_HW > -delta).sum((-1, -2)).float()
    return torch.where(large > 0, small / large.clamp(min=1), 1.0)


def take(values_BPM: Tensor, index_BP: Tensor) -> Tensor:
    """Pick one of M along axis 2: (B, P, M, ...) with indices (B, P) -> (B, P, ...)."""
    index = index_BP.reshape(*index_BP.shape, *[1] * (values_BPM.dim() - 2))
    return values_BPM.gather(2, index.expand(-1, -1, 1, *values_BPM.shape[3:])).squeeze(2)


def best_of_three(iou_BPM: Tensor) -> Tensor:
    """Index (1 to 3) of the candidate with the highest predicted IoU."""
    return iou_BPM[..., 1:].argmax(-1) + 1


def stable_single(logits_BPMHW: Tensor, iou_BPM: Tensor, delta: float, threshold: float) -> Tensor:
    """Index of the mask to show when one is asked for: mask 0 if it is stable, else the best of three.

    ``_dynamic_multimask_via_stability`` of the official decoder.
    """
    stable_BP = stability(logits_BPMHW[:, :, 0], delta) >= threshold
    return torch.where(stable_BP, 0, best_of_three(iou_BPM))


def shown(
    logits_BPMHW: Tensor, iou_BPM: Tensor, config: ModelConfig, *, multimask: bool, dynamic: bool
) -> tuple[Tensor, Tensor]:
    """Three candidates or one mask for each object of one picture: logits (P, M, H, W), predicted IoU (P, M).

    With ``dynamic`` the best of three steps in where the single mask is unstable.
    """
    if multimask:
        return logits_BPMHW[0, :, 1:], iou_BPM[0, :, 1:]
    if not dynamic:
        return logits_BPMHW[0, :, :1], iou_BPM[0, :, :1]
    index_BP = stable_single(logits_BPMHW, iou_BPM, config.stability_delta, config.stability_threshold)
    return take(logits_BPMHW, index_BP)[0, :, None], take(iou_BPM, index_BP)[0, :, None]


def choose_tracked(
    logits_BPMHW: Tensor,
    iou_BPM: Tensor,
    pointers_BPMC: Tensor,
    object_score_BP: Tensor,
    *,
    single: bool,
    delta: float,
    threshold: float | None,
) -> Chosen:
    """The answer for each object of a frame; O = B times P.

    Follows ``_forward_sam_heads``: the best of three by predicted IoU, or with ``single`` (more than one
    click) the single mask, for which the best of three steps in where it is unstable (never if ``threshold``
    is None); the pointer stays that of the single mask. Frames without the object have ``NO_OBJECT``
    everywhere.
    """
    best_BP = best_of_three(iou_BPM)
    first_BP = torch.zeros_like(best_BP)
    if not single:
        index_BP, pointer_BP = best_BP, best_BP
    elif threshold is None:
        index_BP, pointer_BP = first_BP, first_BP
    else:
        index_BP, pointer_BP = stable_single(logits_BPMHW, iou_BPM, delta, threshold), first_BP
    logits_BPHW = take(logits_BPMHW, index_BP)
    logits_BPHW = torch.where(object_score_BP[..., None, None] > 0, logits_BPHW, NO_OBJECT)
    return Chosen(
        logits_BPHW.flatten(0, 1),
        take(iou_BPM, index_BP).flatten(),
        take(pointers_BPMC, pointer_BP).flatten(0, 1),
        object_score_BP.flatten(),
    )
