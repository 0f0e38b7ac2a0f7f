"""The network's low-resolution mask logits -> logits of the picture, as the official image path does it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from maskwright.pixels import components
from maskwright.types import Size

FILL = 10.0
"""Logit above (holes) or below (specks) the threshold that changed pixels get, as in the official code."""


def upscale(logits: Tensor, size_hw: Size) -> Tensor:
    """Stretch mask logits (..., m, m) onto the picture: (..., h, w) float32, bilinear, on the same device.

    Not antialiased, also where the picture is smaller than the mask grid, like the official code.
    """
    flat = logits.float().reshape(-1, 1, *logits.shape[-2:])
    full = F.interpolate(flat, tuple(size_hw), mode="bilinear", align_corners=False)
    return full.reshape(*logits.shape[:-2], *size_hw)


def clean(logits: Tensor, max_hole_area: float, max_speck_area: float, threshold: float = 0.0) -> Tensor:
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

    Returns:
        (..., m, m) float32 on the same device.
    """
    cleaned = logits.float()
    if max_hole_area <= 0 and max_speck_area <= 0:
        return cleaned
    bitmaps = (cleaned > threshold).cpu().numpy()
    if max_hole_area > 0:
        holes = torch.from_numpy(components.small(~bitmaps, max_hole_area)).to(cleaned.device)
        cleaned = cleaned.masked_fill(holes, threshold + FILL)
    if max_speck_area > 0:
        specks = torch.from_numpy(components.small(bitmaps, max_speck_area)).to(cleaned.device)
        cleaned = cleaned.masked_fill(specks, threshold - FILL)
    return cleaned
