"""Choosing among the four masks that the decoder gives for one object.

Axes: B pictures, P objects, M masks, H W height and width.
"""

from __future__ import annotations

import torch
from torch import Tensor


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
