"""The quick check during training: a box, a click, and clicks that correct, on held-out pictures.

It asks at the network's input size, so its figures are close to, but not the same as, those of
``maskwright eval clicks``, which measures whole pictures at their own size through the public API.
Axes: B pictures (1), P objects, M candidates, K points, H W the network's input or the mask grid.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from maskwright.config import ModelConfig
from maskwright.io.datasets.choosing import spread
from maskwright.io.datasets.protocol import Pictures
from maskwright.model.candidates import best_of_three, take
from maskwright.model.mask_decoder import ImageFeatures
from maskwright.model.prompt_encoder import BOX_END, BOX_START, NO_POINT, POSITIVE, PromptTensors
from maskwright.model.sam2 import SAM2
from maskwright.pixels.boxes import boxes_of
from maskwright.pixels.clicks import centre
from maskwright.pixels.preprocess import preprocess
from maskwright.train.augment import stretched
from maskwright.train.losses import true_iou
from maskwright.train.prompts import correction_prompts
from maskwright.train.task import to_device
from maskwright.types import ByteArray

MAX_OBJECTS = 8
MIN_AREA = 0.00068
"""Share of the picture below which objects are not asked for: 100 pixels of a 448 x 330 photograph."""
NUM_CLICKS = 5


class Sheet(NamedTuple):
    """One picture of an exam."""

    picture: ByteArray
    """(size, size, 3)."""
    masks: ByteArray
    """(P, size, size / 8): one byte holds eight pixels, see ``numpy.packbits``."""
    boxes: Tensor
    """(1, P, 2, 2) corners."""
    centres: Tensor
    """(1, P, 1, 2) points."""


class Exam:
    """Held-out pictures, ready to be asked about."""

    def __init__(self, pictures: Pictures, num: int, config: ModelConfig) -> None:
        """Read up to ``num`` pictures, evenly spread; those without objects are left out."""
        self.sheets: list[Sheet] = []
        size = config.image_size
        for index in spread(len(pictures), num):
            scene = stretched(pictures.read(index), size)
            large = np.flatnonzero(scene.areas >= MIN_AREA * size * size)
            chosen = [int(large[place]) for place in spread(len(large), MAX_OBJECTS)]
            if not chosen:
                continue
            masks = scene.select(chosen).masks
            boxes = torch.from_numpy(boxes_of(masks)).view(1, -1, 2, 2)
            centres = torch.tensor([centre(mask) for mask in masks], dtype=torch.float32).view(1, -1, 1, 2)
            self.sheets.append(Sheet(scene.picture, np.packbits(masks, axis=-1), boxes, centres))

    def __len__(self) -> int:
        return len(self.sheets)


@torch.inference_mode()
def picture_scores(model: SAM2, exam: Exam) -> dict[str, float]:
    """Mean IoU over objects by box, click and ``NUM_CLICKS`` clicks; ``_best`` is of the best candidate."""
    found: dict[str, list[Tensor]] = {"box": [], "click": [], "clicks": []}
    config, device = model.config, next(model.parameters()).device
    for sheet in exam.sheets:
        pixels = preprocess(sheet.picture, config.image_size, config.pixel_mean, config.pixel_std)[None]
        pixels = pixels.to(device, memory_format=torch.channels_last)
        features = model.without_memory(model.encode_image(pixels))
        masks_PHW = torch.from_numpy(np.unpackbits(sheet.masks, axis=-1)).to(device, torch.float32)
        found["box"].append(ask(model, features, _prompts(sheet.boxes, (BOX_START, BOX_END)), masks_PHW)[0])
        prompts = _prompts(sheet.centres, (POSITIVE,))
        scores_2P, logits_BPHW = ask(model, features, prompts, masks_PHW)
        found["click"].append(scores_2P)
        wanted_BPHW = F.avg_pool2d(masks_PHW[None], 4).cpu().numpy()
        rng = np.random.default_rng(0)
        for _ in range(NUM_CLICKS - 1):
            prompts = correction_prompts(prompts, (logits_BPHW > 0).cpu().numpy(), wanted_BPHW, rng)
            prompts = prompts._replace(masks_BPHW=logits_BPHW)
            scores_2P, logits_BPHW = ask(model, features, prompts, masks_PHW)
        found["clicks"].append(scores_2P)
    figures = {}
    for name, parts in found.items():
        if parts:
            figures[name], figures[f"{name}_best"] = torch.cat(parts, dim=1).mean(dim=1).tolist()
    return figures


def ask(
    model: SAM2, features: ImageFeatures, prompts: PromptTensors, masks_PHW: Tensor
) -> tuple[Tensor, Tensor]:
    """IoU of the picked and of the best candidate (2, P), and the picked one's logits (1, P, H, W)."""
    decoded = model.decode(features, to_device(prompts, masks_PHW.device))
    logits_PMHW = decoded.logits_BPMHW[0, :, 1:].float()
    logits_PMHW = F.interpolate(logits_PMHW, size=masks_PHW.shape[-2:], mode="bilinear")
    iou_PM = true_iou(logits_PMHW, masks_PHW[:, None].expand_as(logits_PMHW))
    index_BP = best_of_three(decoded.iou_BPM)
    picked_P = iou_PM.gather(1, index_BP[0, :, None] - 1)[:, 0]
    return torch.stack((picked_P, iou_PM.amax(1))).cpu(), take(decoded.logits_BPMHW, index_BP).float()


def _prompts(points_BPK2: Tensor, labels: tuple[int, ...]) -> PromptTensors:
    """The same kind of prompt for every object, with the padding point that the official predictor sends."""
    labels_BPK = torch.tensor((*labels, NO_POINT)).expand(*points_BPK2.shape[:2], -1)
    return PromptTensors(F.pad(points_BPK2, (0, 0, 0, 1)), labels_BPK)
