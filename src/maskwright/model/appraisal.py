"""Predicting a mask's quality from the mask itself as well (nano).

The decoder's IoU head sees one token, no mask. A mask whose outline is firm, and that fills the box it was
asked for with, is better than one that is not and does not; so its predicted IoU is corrected by both.

Axes: N objects, M masks, H W the mask grid, L its height or width, K points, F features.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maskwright.model.candidates import stability
from maskwright.model.prompt_encoder import BOX_END, BOX_START

FIRM_AT = 1.0
"""Logit above and below the outline at which its firmness is measured."""
SURE = 1e-3
"""Predicted IoUs are kept this far from 0 and 1."""
NUM_FEATURES, HIDDEN = 4, 16
GAIN = 10.0
"""On the correction: at the rate of the large layers around them so few weights would learn too slowly."""


class Appraisal(nn.Module):
    """Corrects predicted IoUs by how firm masks are and how well they fit the box; at first by nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Linear(NUM_FEATURES, HIDDEN)
        self.change = nn.Linear(HIDDEN, 1)
        nn.init.zeros_(self.change.weight)
        nn.init.zeros_(self.change.bias)

    def forward(self, iou_NM: Tensor, logits_NMHW: Tensor, box_N4: Tensor, boxed_N: Tensor) -> Tensor:
        """Predicted IoU (N, M), 0..1.

        Args:
            iou_NM: What the decoder predicts.
            logits_NMHW: The masks.
            box_N4: xyxy in cells of the mask grid; anything where there is none.
            boxed_N: True for objects that were asked for with a box.
        """
        logits_NMHW = logits_NMHW.detach()  # judging a mask is not to change it
        boxed_N1 = boxed_N[:, None].float()
        features_NMF = torch.stack(
            (
                iou_NM.float().clamp(SURE, 1 - SURE).logit(),
                stability(logits_NMHW, FIRM_AT),
                box_iou(extent(logits_NMHW.float()), box_N4.float()[:, None]) * boxed_N1,
                boxed_N1.expand_as(iou_NM),
            ),
            dim=-1,
        )
        change_NM1 = self.change(F.gelu(self.hidden(features_NMF.to(self.hidden.weight.dtype))))
        return (features_NMF[..., 0] + GAIN * change_NM1[..., 0]).sigmoid().to(iou_NM.dtype)


def asked_box(points_NK2: Tensor, labels_NK: Tensor, cells_per_pixel: float) -> tuple[Tensor, Tensor]:
    """The box among an object's prompts, (N, 4) in cells, and whether there is one, (N,)."""
    corners = [
        (points_NK2 * (labels_NK == label)[..., None]).sum(dim=1) * cells_per_pixel
        for label in (BOX_START, BOX_END)
    ]
    return torch.cat(corners, dim=-1), (labels_NK == BOX_START).any(dim=1)


def extent(logits_NMHW: Tensor) -> Tensor:
    """Boxes (N, M, 4) around masks, xyxy in cells, to a fraction of a cell; empty where a mask is."""
    x0_NM, x1_NM = _ends(logits_NMHW.amax(dim=-2))
    y0_NM, y1_NM = _ends(logits_NMHW.amax(dim=-1))
    return torch.stack((x0_NM, y0_NM, x1_NM, y1_NM), dim=-1)


def box_iou(one_NM4: Tensor, other_NM4: Tensor) -> Tensor:
    """Intersection over union of boxes that broadcast, (N, M); 0 where both are empty."""
    low, high = torch.maximum(one_NM4, other_NM4), torch.minimum(one_NM4, other_NM4)
    shared = (high[..., 2] - low[..., 0]).clamp(min=0) * (high[..., 3] - low[..., 1]).clamp(min=0)
    areas = [(box[..., 2] - box[..., 0]) * (box[..., 3] - box[..., 1]) for box in (one_NM4, other_NM4)]
    return shared / (areas[0] + areas[1] - shared).clamp(min=1e-6)


def _ends(profile_NML: Tensor) -> tuple[Tensor, Tensor]:
    """Where logits along an axis first and last cross zero, interpolated between the middles of cells."""
    length = profile_NML.shape[-1]
    first_NM = _first_crossing(profile_NML)
    last_NM = length - _first_crossing(profile_NML.flip(-1))
    return first_NM, torch.maximum(first_NM, last_NM)


def _first_crossing(profile_NML: Tensor) -> Tensor:
    """0 where the first cell is set already, the length where none is."""
    length = profile_NML.shape[-1]
    places_L = torch.arange(length, device=profile_NML.device)
    first_NM1 = torch.where(profile_NML > 0, places_L, length).amin(dim=-1, keepdim=True)
    inside_NM1 = profile_NML.gather(-1, first_NM1.clamp(max=length - 1))
    outside_NM1 = profile_NML.gather(-1, (first_NM1 - 1).clamp(min=0))
    way_NM1 = outside_NM1.abs() / (outside_NM1.abs() + inside_NM1.abs()).clamp(min=1e-6)
    between = (first_NM1 > 0) & (first_NM1 < length)
    return torch.where(between, first_NM1 - 0.5 + way_NM1, first_NM1.to(way_NM1.dtype)).squeeze(-1)
