"""The prompt encoder: clicks and boxes become tokens, masks become a dense map.

Axes: N objects, K points per object, T tokens, C channels, H W height and width of the stride-16 grid
(mask prompts and drawings have four times that).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maskwright.config import ModelConfig
from maskwright.model.layers import LayerNorm2d
from maskwright.model.position import FourierPosition

NEGATIVE, POSITIVE, BOX_START, BOX_END = 0, 1, 2, 3
"""Labels of points: a click beside the object, one on it, the two corners of a box."""
NO_POINT = -1
"""Label of the official padding point: a token of its own that the decoder was trained with."""
PADDING = -2
"""Label of our own padding to a common length: a token that nobody attends to."""

DRAWING_GAIN = 4.0
"""Logit of a drawn box or click (nano)."""
MASK_LIMIT = 8.0
"""Logits of a mask prompt are drawn up to this size (nano)."""
CLICK_SIGMA = 2.5
"""Radius of a drawn click in cells of the mask grid (nano)."""


class PromptTensors(NamedTuple):
    """Prompts of P objects in each of B pictures, in pixels of the network's input."""

    points_BPK2: Tensor
    """(x, y) positions, float."""
    labels_BPK: Tensor
    """What each point is: one of the label constants of this module, int64."""
    masks_BPHW: Tensor | None = None
    """Low-resolution mask logits (stride 4), or None if no object has any."""
    mask_given_BP: Tensor | None = None
    """True where an object has a mask prompt; None means all have."""


class EncodedPrompts(NamedTuple):
    """What the mask decoder takes."""

    tokens_NTC: Tensor
    visible_NT: Tensor
    """False for tokens that are padding of ours."""
    dense_NCHW: Tensor
    """Added to the stride-16 features; N = 1 where it is the same for all objects."""
    detail_NCHW: Tensor | None
    """Added to the stride-4 features (nano), or None."""


class PromptEncoder(nn.Module):
    """Follows ``PromptEncoder`` of the official code, with labels looked up in one table."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width, channels = config.width, config.mask_channels
        self.image_size = config.image_size
        self.position = FourierPosition(width)
        self.point_labels = nn.ParameterList(nn.Parameter(torch.randn(1, width)) for _ in range(4))
        self.no_point = nn.Parameter(torch.randn(1, width))
        self.no_mask = nn.Parameter(torch.randn(1, width))
        self.draws = config.draw_prompts
        self.mask_stem = nn.Conv2d(4 if self.draws else 1, channels // 4, 2, 2)
        self.mask_stem_norm = LayerNorm2d(channels // 4)
        self.mask_body = nn.Conv2d(channels // 4, channels, 2, 2)
        self.mask_body_norm = LayerNorm2d(channels)
        self.mask_out = nn.Conv2d(channels, width, 1)
        if self.draws:
            self.detail = nn.Conv2d(4, width // 8, 1)

    def forward(self, prompts: PromptTensors) -> EncodedPrompts:
        points_NK2 = prompts.points_BPK2.flatten(0, 1) + 0.5
        labels_NK = prompts.labels_BPK.flatten(0, 1)
        masks_N1HW = None if prompts.masks_BPHW is None else prompts.masks_BPHW.flatten(0, 1)[:, None]
        given_N = None if prompts.mask_given_BP is None else prompts.mask_given_BP.flatten()
        tokens_NTC = self._tokens(points_NK2, labels_NK)
        detail_NCHW = None
        if self.draws:
            drawing_NCHW = self._drawing(points_NK2, labels_NK, masks_N1HW, given_N)
            dense_NCHW = self._downscale(drawing_NCHW)
            detail_NCHW = self.detail(drawing_NCHW)
        else:
            dense_NCHW = self._dense(masks_N1HW, given_N)
        return EncodedPrompts(tokens_NTC, labels_NK != PADDING, dense_NCHW, detail_NCHW)

    def mask_change(self, logits_NHW: Tensor) -> tuple[Tensor, Tensor]:
        """What a mask prompt changes in ``dense`` and ``detail``, where prompts are drawn.

        Added to features in advance, it has the effect of the prompt itself.
        """
        mask_N1HW = logits_NHW[:, None].clamp(-MASK_LIMIT, MASK_LIMIT)
        drawing_NCHW = F.pad(mask_N1HW, (0, 0, 0, 0, 0, 3))
        blank_1CHW = torch.zeros_like(drawing_NCHW[:1])
        dense_NCHW = self._downscale(drawing_NCHW) - self._downscale(blank_1CHW)
        return dense_NCHW, self.detail(drawing_NCHW) - self.detail(blank_1CHW)

    def _tokens(self, points_NK2: Tensor, labels_NK: Tensor) -> Tensor:
        table_LC = torch.cat((self.no_point, *self.point_labels))
        placed_NKC = self.position(points_NK2 / self.image_size) * (labels_NK >= 0)[..., None]
        return placed_NKC + table_LC[(labels_NK + 1).clamp(min=0)]

    def _dense(self, masks_N1HW: Tensor | None, given_N: Tensor | None) -> Tensor:
        grid = self.image_size // 16
        none_NCHW = self.no_mask.view(1, -1, 1, 1).expand(1, -1, grid, grid)
        if masks_N1HW is None:
            return none_NCHW
        dense_NCHW = self._downscale(masks_N1HW)
        return (
            dense_NCHW if given_N is None else torch.where(given_N.view(-1, 1, 1, 1), dense_NCHW, none_NCHW)
        )

    def _downscale(self, mask_NCHW: Tensor) -> Tensor:
        x_NCHW = F.gelu(self.mask_stem_norm(self.mask_stem(mask_NCHW)))
        out_NCHW: Tensor = self.mask_out(F.gelu(self.mask_body_norm(self.mask_body(x_NCHW))))
        return out_NCHW

    def _drawing(
        self, points_NK2: Tensor, labels_NK: Tensor, masks_N1HW: Tensor | None, given_N: Tensor | None
    ) -> Tensor:
        """Pictures of the prompts on the mask grid: mask logits, box, positive and negative clicks."""
        side = self.image_size // 4
        cells_S = torch.arange(side, device=points_NK2.device, dtype=points_NK2.dtype) + 0.5
        away_NK2S = cells_S - points_NK2[..., None] / 4
        bumps_NK2S = torch.exp(away_NK2S.square() / (-2 * CLICK_SIGMA**2))
        bumps_NKHW = bumps_NK2S[:, :, 1, :, None] * bumps_NK2S[:, :, 0, None, :]
        label_NK11 = labels_NK[..., None, None]
        positive_NHW = (bumps_NKHW * (label_NK11 == POSITIVE)).amax(1)
        negative_NHW = (bumps_NKHW * (label_NK11 == NEGATIVE)).amax(1)
        box_NHW = self._draw_box(away_NK2S, labels_NK)
        mask_NHW = (
            torch.zeros_like(box_NHW)
            if masks_N1HW is None
            else masks_N1HW[:, 0].clamp(-MASK_LIMIT, MASK_LIMIT) / DRAWING_GAIN
        )
        if given_N is not None:
            mask_NHW = mask_NHW * given_N.view(-1, 1, 1)
        drawing_NHWC = torch.stack((mask_NHW, box_NHW, positive_NHW, negative_NHW), dim=3)
        return DRAWING_GAIN * drawing_NHWC.permute(0, 3, 1, 2)

    def _draw_box(self, away_NK2S: Tensor, labels_NK: Tensor) -> Tensor:
        """+1 inside the box, -1 outside, 0 where an object has none: (N, H, W)."""
        is_start, is_end = labels_NK == BOX_START, labels_NK == BOX_END
        after_N2S = ((away_NK2S >= 0) & is_start[..., None, None]).any(1)
        before_N2S = ((away_NK2S <= 0) & is_end[..., None, None]).any(1)
        within_N2S = after_N2S & before_N2S
        inside_NHW = within_N2S[:, 1, :, None] & within_N2S[:, 0, None, :]
        sign_NHW = inside_NHW.to(away_NK2S.dtype) * 2 - 1
        return sign_NHW * is_end.any(1).view(-1, 1, 1)
