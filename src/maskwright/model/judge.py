"""A judge of candidate masks (nano): it looks at what a mask covers before it says how good the mask is.

The official IoU head sees one token and has to know everything from it. Whether the cells under a mask look
alike, how sure its logits are and how stable its outline is say much of what is left, as mask scoring heads
have shown (Huang et al. 2019).

Axes: N objects, M masks, I picture cells, C channels, H W height and width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maskwright.model.layers import MLP
from maskwright.model.top_down import silence

STRIDE = 4
"""Side of a picture cell in cells of the mask grid."""
EDGE = 1.0
"""Logit by which the outline is moved to see how stable it is."""
LEAST = 1e-4
"""Share of the grid below which a mask counts as empty."""


class Judge(nn.Module):
    """Corrects the logits of predicted IoU."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.look = nn.Linear(width, width)
        self.score = MLP(3 * width + 4, width, 1)
        silence(self.score.layers[-1])

    def forward(self, image_NIC: Tensor, tokens_NMC: Tensor, logits_NMHW: Tensor) -> Tensor:
        """Corrections (N, M).

        Args:
            image_NIC: The picture's cells at stride 16, after they have seen the prompts.
            tokens_NMC: Mask tokens.
            logits_NMHW: Masks at stride 4; they are judged, not taught.
        """
        logits_NMHW = logits_NMHW.detach()
        chance_NMI = F.avg_pool2d(logits_NMHW.sigmoid(), STRIDE).flatten(2)
        image_NIC = self.look(image_NIC)
        inside_NMC = _mean_under(chance_NMI, image_NIC)
        beside_NMC = _mean_under(1 - chance_NMI, image_NIC)
        seen = torch.cat((tokens_NMC, inside_NMC, inside_NMC - beside_NMC, _outline(logits_NMHW)), dim=2)
        corrected: Tensor = self.score(seen)[..., 0]
        return corrected


def _mean_under(weight_NMI: Tensor, image_NIC: Tensor) -> Tensor:
    return (weight_NMI @ image_NIC) / weight_NMI.sum(2, keepdim=True).clamp(min=1e-3)


def _outline(logits_NMHW: Tensor) -> Tensor:
    """Size, certainty inside, certainty beside and stability of masks, (N, M, 4), all about 0 to 1."""
    inside_NMHW = (logits_NMHW > 0).to(logits_NMHW.dtype)
    chance_NMHW = logits_NMHW.sigmoid()
    area_NM = inside_NMHW.mean((2, 3))
    sure_NM = (chance_NMHW * inside_NMHW).mean((2, 3)) / area_NM.clamp(min=LEAST)
    doubt_NM = (chance_NMHW * (1 - inside_NMHW)).mean((2, 3)) / area_NM.clamp(min=LEAST)
    small_NM = (logits_NMHW > EDGE).to(logits_NMHW.dtype).mean((2, 3))
    large_NM = (logits_NMHW > -EDGE).to(logits_NMHW.dtype).mean((2, 3))
    stable_NM = small_NM / large_NM.clamp(min=LEAST)
    return torch.stack((area_NM.sqrt(), sure_NM, doubt_NM.clamp(max=2), stable_NM), dim=2)
