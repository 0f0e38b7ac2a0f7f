"""A runtime that sees grey squares, for tests in which it matters what is in the picture."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from maskwright.model.mask_decoder import ImageFeatures
from maskwright.model.prompt_encoder import BOX_END, BOX_START, POSITIVE, PromptTensors
from maskwright.model.sam2 import Decoded
from maskwright.pixels.preprocess import preprocess
from maskwright.runtime.fake import LOGIT, SCORES, Fake, _remembered

SIDE = 128
"""Of frames, and of the network's input, so that nobody has to resize."""
GROUND = 20
"""Shade of what is no object."""
_TOLERANCE = 1e-3

Square = tuple[int, int, int]
"""x, y and side, multiples of 4 pixels."""


def scene(squares: dict[int, Square], *, size: tuple[int, int] = (SIDE, SIDE)) -> np.ndarray:
    """(h, w, 3) uint8: a square of each shade on the ground."""
    picture = np.full((*size, 3), GROUND, np.uint8)
    for shade, (x, y, side) in squares.items():
        picture[y : y + side, x : x + side] = shade
    return picture


class Seeing(Fake):
    """An object is everything of one shade: a click finds it, and it is followed wherever it moves to.

    Clicks on the ground have a low score. A followed object is what lies where it was last seen, and is
    gone where only ground is left there.
    """

    def encode_image(self, pixels_B3HW: Tensor) -> ImageFeatures:
        features = super().encode_image(pixels_B3HW)
        features.high_BCHW[:, 1] = torch.nn.functional.avg_pool2d(pixels_B3HW.mean(1), 4)
        return features

    def decode(self, features: ImageFeatures, prompts: PromptTensors) -> Decoded:
        batch, num = prompts.labels_BPK.shape[:2]
        self.decoded += batch * num
        level_BHW = features.high_BCHW[:, 1]
        asked = (prompts.labels_BPK == POSITIVE).any() or (prompts.labels_BPK == BOX_START).any()
        shade_BP = self._asked(level_BHW, prompts) if asked else self._followed(features, level_BHW)
        seen_BP = (shade_BP - self._ground).abs() > _TOLERANCE
        inside_BPHW = (level_BHW[:, None] - shade_BP[..., None, None]).abs() < _TOLERANCE
        inside_BPHW &= seen_BP[..., None, None] | asked
        logits_BPMHW = torch.where(inside_BPHW, LOGIT, -LOGIT)[:, :, None].expand(-1, -1, len(SCORES), -1, -1)
        iou_BPM = torch.where(seen_BP[..., None], torch.tensor(SCORES), 0.1)
        pointers_BPMC = torch.zeros(batch, num, len(SCORES), self.config.width)
        return Decoded(
            logits_BPMHW.clone(), iou_BPM, pointers_BPMC, torch.where(seen_BP | asked, LOGIT, -LOGIT)
        )

    @cached_property
    def _ground(self) -> float:
        config = self.config
        picture = np.full((SIDE, SIDE, 3), GROUND, np.uint8)
        return float(preprocess(picture, config.image_size, config.pixel_mean, config.pixel_std).mean())

    def _asked(self, level_BHW: Tensor, prompts: PromptTensors) -> Tensor:
        """The shade at the first click, or in the middle of the box: (B, P)."""
        points_BP2 = prompts.points_BPK2[:, :, 0]
        labels_BPK = prompts.labels_BPK
        if (labels_BPK == BOX_START).any():
            corners = ((labels_BPK == BOX_START) | (labels_BPK == BOX_END))[..., None]
            points_BP2 = (prompts.points_BPK2 * corners).sum(2) / 2
        x_BP, y_BP = (points_BP2 / 4).long().clamp(0, level_BHW.shape[-1] - 1).unbind(-1)
        return torch.stack([level[y, x] for level, x, y in zip(level_BHW, x_BP, y_BP, strict=True)])

    def _followed(self, features: ImageFeatures, level_BHW: Tensor) -> Tensor:
        """The shade that most of what is remembered lies on, ground aside: (B, 1)."""
        found = []
        for level_HW, mask_HW in zip(level_BHW, _remembered(features.low_BCHW), strict=True):
            under = level_HW[mask_HW]
            under = under[(under - self._ground).abs() > _TOLERANCE]
            found.append(under.mode().values if len(under) else torch.tensor(self._ground))
        return torch.stack(found)[:, None]
