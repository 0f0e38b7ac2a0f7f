"""One batch of clicks in one crop: decode, filter at low resolution, and keep what is left as run lengths.

Follows ``_process_batch`` of the official generator, except that nothing is stretched to full size but the
blocks of pixels where an outline runs.

Axes: P clicks, M masks per click, N masks, H W the low-resolution grid.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from maskwright import coords
from maskwright.automask.found import FoundMasks, Sieve
from maskwright.automask.options import AutomaskOptions
from maskwright.automask.places import Crop, touches_crop
from maskwright.config import ModelConfig
from maskwright.model.candidates import shown
from maskwright.model.prompt_encoder import NO_POINT, POSITIVE, PromptTensors
from maskwright.pixels import rle, stretched
from maskwright.pixels.postprocess import clean
from maskwright.segmenter import LOGIT_LIMIT, Embedding
from maskwright.types import FloatArray, IntArray, Size

MAPS, MAPS_DRAWN = 8, 12
"""Float32 maps (``width`` channels at stride 16, or as much elsewhere) that decoding an object holds at its
peak, as measured; more where prompts are drawn (nano)."""


CLICKS_ON_CPU = 4
"""On processors larger batches are slower: their tensors outgrow the caches and are paged in anew."""


def batch_size(options: AutomaskOptions, config: ModelConfig, device: torch.device) -> int:
    """Clicks that are decoded together: what fits into the memory allowed, at least one."""
    most = min(options.points_per_batch, CLICKS_ON_CPU if device.type == "cpu" else options.points_per_batch)
    each = 4 * (MAPS_DRAWN if config.draw_prompts else MAPS) * config.width * config.grid**2
    return max(1, min(most, (options.memory_mib << 20) // each))


@dataclass(frozen=True, eq=False)
class Clicks:
    """Answers clicks in one crop of a picture."""

    embedding: Embedding
    """Of the crop."""
    crop: Crop
    size: Size
    """Height and width of the whole picture."""
    options: AutomaskOptions
    dynamic: bool = True
    """Where one mask is asked for: take the best of three if the single one is unstable."""

    def ask(self, points_P2: FloatArray) -> tuple[FoundMasks, Sieve]:
        """The masks at these clicks that pass every filter but the one for duplicates.

        Args:
            points_P2: ``(x, y)`` pixels of the crop.

        Returns:
            The masks, in pixels of the whole picture, in the order of the clicks; and what was left out.
        """
        logits_NHW, iou_N, clicked_N2 = self._decode(points_P2)
        decoded = len(iou_N)
        if self.options.min_score > 0:
            good_N = iou_N > self.options.min_score
            logits_NHW, iou_N, clicked_N2 = (
                logits_NHW[good_N],
                iou_N[good_N],
                clicked_N2[good_N.cpu().numpy()],
            )
        sieve = Sieve(decoded=decoded, low_score=decoded - len(iou_N))
        if not len(iou_N):
            return FoundMasks.none(self.size), sieve
        # The official predictor cleans at logit 0, whatever the threshold of the masks.
        cleaned_NHW = clean(logits_NHW, self.options.max_hole_area, self.options.max_speck_area)
        found, taken = self._measured(cleaned_NHW, iou_N.cpu().numpy(), clicked_N2)
        return found, sieve + taken

    def _measured(
        self, logits_NHW: Tensor, scores_N: FloatArray, clicked_N2: FloatArray
    ) -> tuple[FoundMasks, Sieve]:
        """Filter by stability and by the crop's edge, which need boxes and areas but no bitmaps."""
        options, corner = self.options, np.array(self.crop[:2])
        full = stretched.measure(logits_NHW, self.crop.size, options.threshold, options.stability_offset)
        with np.errstate(invalid="ignore"):
            stabilities_N: FloatArray = np.divide(full.small_areas, full.large_areas, dtype=np.float32)
        stable_N = np.ones(len(scores_N), np.bool_)
        if options.min_stability > 0:
            stable_N = stabilities_N >= np.float32(options.min_stability)
        placed_N4 = full.boxes + np.tile(corner, 2)
        whole_N = stable_N & ~touches_crop(placed_N4, self.crop, self.size)
        # DEVIATES: ADR 15. With min_stability off the official generator returns masks without a pixel.
        rows = np.flatnonzero(whole_N & (full.areas > 0))
        sieve = Sieve(
            unstable=int((~stable_N).sum()),
            cut_off=int((stable_N & ~whole_N).sum()),
            empty=int(whole_N.sum()) - len(rows),
        )
        found = FoundMasks(
            self.size,
            tuple(self._runs(logits_NHW[torch.from_numpy(rows)], full.boxes[rows])),
            scores_N[rows],
            stabilities_N[rows],
            placed_N4[rows].astype(np.float32),
            full.areas[rows],
            clicked_N2[rows] + corner.astype(np.float32),
            np.tile(self.crop.box, (len(rows), 1)),
        )
        return found, sieve

    def _runs(self, logits_NHW: Tensor, boxes_N4: IntArray) -> Iterator[rle.RunLengths]:
        shift = np.array([[self.crop.x0], [self.crop.y0], [self.crop.y0]])
        for spans in stretched.spans(logits_NHW, self.crop.size, self.options.threshold, boxes_N4):
            yield rle.run_lengths(spans + shift, self.size)

    def _decode(self, points_P2: FloatArray) -> tuple[Tensor, Tensor, FloatArray]:
        """Logits (N, H, W), predicted IoU (N,) and clicks (N, 2), those of one click in a row."""
        config = self.embedding.runtime.config
        clicks_P2 = torch.from_numpy(
            coords.picture_to_model(points_P2, self.embedding.size, config.image_size)
        )
        logits_PMHW, iou_PM = self._run(clicks_P2, None, multimask=self.options.candidates)
        num = logits_PMHW.shape[1]
        logits_NHW, iou_N = logits_PMHW.flatten(0, 1), iou_PM.flatten()
        if self.options.second_look:
            logits_NHW, iou_N = self._again(clicks_P2.repeat_interleave(num, 0), logits_NHW, len(points_P2))
        return logits_NHW, iou_N, points_P2.repeat(num, axis=0)

    def _again(self, clicks_N2: Tensor, logits_NHW: Tensor, step: int) -> tuple[Tensor, Tensor]:
        """``refine_with_m2m``: each mask becomes a prompt beside its click, and is answered with one mask."""
        answers = [
            self._run(clicks_n2, logits_nHW.clamp(-LOGIT_LIMIT, LOGIT_LIMIT), multimask=False)
            for clicks_n2, logits_nHW in zip(clicks_N2.split(step), logits_NHW.split(step), strict=True)
        ]
        logits, iou = zip(*answers, strict=True)
        return torch.cat(logits)[:, 0], torch.cat(iou)[:, 0]

    def _run(self, clicks_P2: Tensor, masks_PHW: Tensor | None, *, multimask: bool) -> tuple[Tensor, Tensor]:
        """Logits (P, M, H, W), IoU (P, M); every click has the padding point the decoder was trained with."""
        points_PK2 = torch.stack((clicks_P2, torch.zeros_like(clicks_P2)), dim=1)
        labels_PK = torch.tensor([POSITIVE, NO_POINT]).expand(len(clicks_P2), -1)
        masks = None if masks_PHW is None else masks_PHW[None]
        prompts = PromptTensors(points_PK2[None], labels_PK[None], masks)
        runtime = self.embedding.runtime
        decoded = runtime.decode(self.embedding.features, prompts)
        logits, iou = decoded.logits_BPMHW, decoded.iou_BPM
        return shown(logits, iou, runtime.config, multimask=multimask, dynamic=self.dynamic)
