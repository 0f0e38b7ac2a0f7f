"""A runtime without weights, for tests of everything that is built on one.

It draws instead of thinking: a disc around every positive click, minus discs around negative ones, the
inside of a box, a mask prompt as it is. The same prompts give the same masks, at once.
"""

from __future__ import annotations

import torch
from torch import Tensor

from maskwright.config import PRESETS, ModelConfig
from maskwright.model.mask_decoder import ImageFeatures
from maskwright.model.prompt_encoder import BOX_END, BOX_START, NEGATIVE, POSITIVE, PromptTensors
from maskwright.model.sam2 import Decoded

RADII = (0.10, 0.05, 0.10, 0.20)
"""Radius of the disc in each of the four masks, as a share of the picture's side."""
SCORES = (0.85, 0.70, 0.90, 0.80)
"""Predicted IoU of the four masks: the middle candidate is the best."""
LOGIT = 8.0
"""Logit inside a drawing; outside it is the negative."""


class Fake:
    """Fulfils the ``Runtime`` protocol with drawings."""

    def __init__(self, config: ModelConfig | None = None) -> None:
        self._config = config or PRESETS["nano"].at(128)
        self.encoded = 0
        """Pictures encoded so far, for tests that count."""
        self.decoded = 0
        """Objects decoded so far."""

    @property
    def config(self) -> ModelConfig:
        return self._config

    @property
    def device(self) -> torch.device:
        return torch.device("cpu")

    @property
    def dtype(self) -> torch.dtype:
        return torch.float32

    def encode_image(self, pixels_B3HW: Tensor) -> ImageFeatures:
        """Features of the right shapes; every number is the mean of its picture."""
        self.encoded += len(pixels_B3HW)
        width, grid = self._config.width, self._config.grid
        mean_B111 = pixels_B3HW.mean((1, 2, 3), keepdim=True)
        shapes = ((width, grid), (width // 4, 2 * grid), (width // 8, 4 * grid))
        low, mid, high = (mean_B111.expand(-1, channels, side, side).clone() for channels, side in shapes)
        return ImageFeatures(low, mid, high)

    def decode(self, features: ImageFeatures, prompts: PromptTensors) -> Decoded:
        batch, num = prompts.labels_BPK.shape[:2]
        self.decoded += batch * num
        inside_BPMHW = torch.stack([self._draw(prompts, radius) for radius in RADII], dim=2)
        logits_BPMHW = torch.where(inside_BPMHW, LOGIT, -LOGIT)
        iou_BPM = torch.tensor(SCORES).expand(batch, num, -1).clone()
        pointers_BPMC = torch.zeros(batch, num, len(RADII), self._config.width)
        return Decoded(logits_BPMHW, iou_BPM, pointers_BPMC, torch.full((batch, num), LOGIT))

    def fingerprint(self) -> str:
        return f"fake-{self._config.name}"

    def _draw(self, prompts: PromptTensors, radius: float) -> Tensor:
        """What is inside the object: bool (B, P, H, W)."""
        near_BPKHW = self._distance(prompts.points_BPK2) <= radius * self._config.image_size
        labels_BPK11 = prompts.labels_BPK[..., None, None]
        inside_BPHW = (near_BPKHW & (labels_BPK11 == POSITIVE)).any(2) | self._boxes(prompts)
        if prompts.masks_BPHW is not None:
            given_BP = prompts.mask_given_BP
            mask_BPHW = prompts.masks_BPHW > 0
            inside_BPHW |= mask_BPHW if given_BP is None else mask_BPHW & given_BP[..., None, None]
        return inside_BPHW & ~(near_BPKHW & (labels_BPK11 == NEGATIVE)).any(2)

    def _cells(self) -> Tensor:
        """Centres of the mask grid's cells in pixels of the input."""
        return (torch.arange(self._config.mask_size) + 0.5) * 4

    def _distance(self, points_BPK2: Tensor) -> Tensor:
        x_BPK11, y_BPK11 = points_BPK2[..., 0, None, None], points_BPK2[..., 1, None, None]
        return torch.hypot(self._cells() - x_BPK11, self._cells()[:, None] - y_BPK11)

    def _boxes(self, prompts: PromptTensors) -> Tensor:
        """Inside of the boxes; objects without one have nothing inside."""
        start_BPK, end_BPK = prompts.labels_BPK == BOX_START, prompts.labels_BPK == BOX_END
        start_BP2 = (prompts.points_BPK2 * start_BPK[..., None]).sum(2)
        end_BP2 = (prompts.points_BPK2 * end_BPK[..., None]).sum(2)
        cells_S = self._cells()
        within_BP2S = (cells_S >= start_BP2[..., None]) & (cells_S < end_BP2[..., None])
        return within_BP2S[:, :, 1, :, None] & within_BP2S[:, :, 0, None, :]
