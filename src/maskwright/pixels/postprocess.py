"""The network's low-resolution mask logits -> logits of the picture, as the official image path does it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from maskwright.pixels import components
from maskwright.types import Size

FILL = 10.0
"""Logit above (holes) or below (specks) the threshold that changed pixels get, as in the official code."""
VIDEO_FILL = 0.1
"""The same in video, where logits are prompts of the next correction (``fill_holes_in_mask_scores``)."""
NOT_ON_TOP = -10.0
"""Logit at most, where another object is in front (``_apply_non_overlapping_constraints``)."""


def upscale(logits: Tensor, size_hw: Size) -> Tensor:
    """Stretch mask logits (..., m, m) onto the picture: (..., h, w) float32, bilinear, on the same device.

    Not antialiased, also where the picture is smaller than the mask grid, like the official code.
    """
    flat = logits.float().reshape(-1, 1, *logits.shape[-2:])
    full = F.interpolate(flat, tuple(size_hw), mode="bilinear", align_corners=False)
    return full.reshape(*logits.shape[:-2], *size_hw)


def clean(
    logits: Tensor,
    max_hole_area: float,
    max_speck_area: float,
    threshold: float = 0.0,
    *,
    fill: float = FILL,
) -> Tensor:
    """Fill small holes and remove small specks of masks, at low resolution.

    A hole is a region of pixels at or below the threshold, a speck one above it; pixels that touch at a side
    or a corner belong together, and a region at the border counts like any other. Follows the official
    ``SAM2Transforms.postprocess_masks``: both are found in the masks as they came in, so where a speck has a
    hole, the speck's rule is applied last. There it needs a compiled CUDA extension and is silently skipped
    without; here the same code on the host serves every device.

    Args:
        logits: (..., m, m) on any device.
        max_hole_area: Largest hole that is filled, in cells of the mask grid; 0 leaves all.
        max_speck_area: Largest speck that is removed, in cells; 0 leaves all.
        threshold: Logit above which a cell belongs to the mask.
        fill: How far from the threshold changed cells end up; ``VIDEO_FILL`` in video.

    Returns:
        (..., m, m) float32 on the same device.
    """
    cleaned = logits.float()
    if max_hole_area <= 0 and max_speck_area <= 0:
        return cleaned
    bitmaps = (cleaned > threshold).cpu().numpy()
    if max_hole_area > 0:
        holes = torch.from_numpy(components.small(~bitmaps, max_hole_area)).to(cleaned.device)
        cleaned = cleaned.masked_fill(holes, threshold + fill)
    if max_speck_area > 0:
        specks = torch.from_numpy(components.small(bitmaps, max_speck_area)).to(cleaned.device)
        cleaned = cleaned.masked_fill(specks, threshold - fill)
    return cleaned


def separate(logits_NHW: Tensor) -> Tensor:
    """Give every pixel to the object with the highest logit there: (N, h, w) in, the same out.

    The others get at most ``NOT_ON_TOP``. ``_apply_non_overlapping_constraints`` of the official code.
    """
    if len(logits_NHW) < 2:
        return logits_NHW
    top_HW = logits_NHW.argmax(0)
    mine_NHW = top_HW == torch.arange(len(logits_NHW), device=logits_NHW.device)[:, None, None]
    return torch.where(mine_NHW, logits_NHW, logits_NHW.clamp(max=NOT_ON_TOP))
