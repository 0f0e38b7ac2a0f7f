"""A runtime without weights, for tests of everything that is built on one.

It draws instead of thinking: a disc around every positive click, minus discs around negative ones, the
inside of a box, a mask prompt as it is. In video an object stays where it was last remembered, and is gone in
frames that are black. The same prompts give the same masks, at once.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from maskwright.config import PRESETS, ModelConfig
from maskwright.model.candidates import Chosen
from maskwright.model.mask_decoder import ImageFeatures
from maskwright.model.memory_bank import EMPTY, MemoryBank
from maskwright.model.prompt_encoder import BOX_END, BOX_START, NEGATIVE, POSITIVE, PromptTensors
from maskwright.model.sam2 import Decoded, Slots
from maskwright.runtime.protocol import Moment

RADII = (0.10, 0.05, 0.10, 0.20)
"""Radius of the disc in each of the four masks, as a share of the picture's side."""
SCORES = (0.85, 0.70, 0.90, 0.80)
"""Predicted IoU of the four masks: the middle candidate is the best."""
LOGIT = 8.0
"""Logit inside a drawing; outside it is the negative."""
_CELLS = 16
"""Cells of the mask grid for each place of the stride-16 grid, which a memory has room for."""


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
        """Features of the right shapes: nothing in the first 16 channels of stride 16, else the mean."""
        self.encoded += len(pixels_B3HW)
        width, grid = self._config.width, self._config.grid
        mean_B111 = pixels_B3HW.mean((1, 2, 3), keepdim=True)
        shapes = ((width, grid), (width // 4, 2 * grid), (width // 8, 4 * grid))
        low, mid, high = (mean_B111.expand(-1, channels, side, side).clone() for channels, side in shapes)
        low[:, :_CELLS] = 0
        return ImageFeatures(low, mid, high)

    def without_memory(self, features: ImageFeatures) -> ImageFeatures:
        """The same: drawings need no memory."""
        return features

    def decode(self, features: ImageFeatures, prompts: PromptTensors) -> Decoded:
        batch, num = prompts.labels_BPK.shape[:2]
        self.decoded += batch * num
        inside_BPMHW = torch.stack([self._draw(prompts, radius) for radius in RADII], dim=2)
        inside_BPMHW |= _remembered(features.low_BCHW)[:, None, None]
        logits_BPMHW = torch.where(inside_BPMHW, LOGIT, -LOGIT)
        iou_BPM = torch.tensor(SCORES).expand(batch, num, -1).clone()
        pointers_BPMC = torch.zeros(batch, num, len(RADII), self._config.width)
        black_B1 = features.high_BCHW[:, :1, 0, 0] <= _black(self._config)
        score_BP = torch.where(black_B1, -LOGIT, LOGIT).expand(batch, num).clone()
        return Decoded(logits_BPMHW, iou_BPM, pointers_BPMC, score_BP)

    def adopt(self, features: ImageFeatures, masks_OHW: Tensor) -> Chosen:
        num = len(masks_OHW)
        logits_OHW = F.avg_pool2d(masks_OHW[:, None].float(), 4)[:, 0] * (2 * LOGIT) - LOGIT
        there_O = masks_OHW.flatten(1).any(1)
        pointers_OC = torch.zeros(num, self._config.width)
        return Chosen(logits_OHW, torch.ones(num), pointers_OC, torch.where(there_O, LOGIT, -LOGIT))

    def recall(
        self, features: ImageFeatures, bank: MemoryBank, now: Moment, *, masked: bool
    ) -> ImageFeatures:
        """Features whose first 16 channels hold the mask of each object's latest memory."""
        grid, num = self._config.grid, len(bank.frames_OS)
        age_OS = (now.frame_O[:, None] - bank.frames_OS) * now.direction
        never = torch.iinfo(torch.int64).max
        latest_O = torch.where((bank.frames_OS != EMPTY) & (age_OS >= 0), age_OS, never).argmin(1)
        mask_OID = bank.memories_OSID[torch.arange(num), latest_O, :, :_CELLS].float()
        low_OCHW = features.low_BCHW.expand(num, -1, -1, -1).clone()
        low_OCHW[:, :_CELLS] = mask_OID.transpose(1, 2).unflatten(2, (grid, grid))
        return ImageFeatures(low_OCHW, *(level.expand(num, -1, -1, -1) for level in features.levels[1:]))

    def remember(
        self,
        features: ImageFeatures,
        chosen: Chosen,
        bank: MemoryBank,
        slots: Slots,
        frame_O: Tensor,
        prompted_O: Tensor,
        binary_O: Tensor,
    ) -> None:
        """Store the mask itself: 16 cells of the mask grid for each place of the memory."""
        at, pointer_at = (slots.rows_O, slots.memory_O), (slots.rows_O, slots.pointer_O)
        seen_OHW = torch.where(chosen.logits_OHW > 0, LOGIT, -LOGIT)
        absent_O = chosen.object_score_O <= 0
        kept_O = bank.memories_OSID[slots.rows_O, 0]
        memory_OID = F.pixel_unshuffle(seen_OHW[:, None], 4).flatten(2).transpose(1, 2)
        memory_OID = F.pad(memory_OID, (0, self._config.memory_width - _CELLS)).to(kept_O.dtype)
        bank.memories_OSID.index_put_(at, torch.where(absent_O[:, None, None], kept_O, memory_OID))
        for part, where, value in (
            (bank.frames_OS, at, frame_O),
            (bank.prompted_OS, at, prompted_O),
            (bank.pointers_OPC, pointer_at, chosen.pointers_OC),
            (bank.pointer_frames_OP, pointer_at, frame_O),
            (bank.pointer_prompted_OP, pointer_at, prompted_O),
        ):
            part.index_put_(where, value)

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


def _remembered(low_BCHW: Tensor) -> Tensor:
    """What ``recall`` put into the features: bool (B, H, W) on the mask grid."""
    cells_BCHW = low_BCHW[:, :_CELLS].float()
    return F.pixel_shuffle(cells_BCHW, 4)[:, 0] > 0


def _black(config: ModelConfig) -> float:
    """Mean of a black picture after normalisation, and a little more."""
    pairs = list(zip(config.pixel_mean, config.pixel_std, strict=True))
    return sum(-mean / std for mean, std in pairs) / len(pairs) + 0.01
