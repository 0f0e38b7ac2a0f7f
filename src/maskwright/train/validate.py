"""The quick check during training: one box and one centre click per object, on cached pictures.

It measures at the network's input size, so its figures are close to, but not the same as, those of
``maskwright.evaluate``, which measures whole pictures at their own size through the public API.
"""

from __future__ import annotations

from dataclasses import asdict, astuple, dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from maskwright.io.labelled import spread
from maskwright.model.prompt_encoder import BOX_END, BOX_START, NO_POINT, POSITIVE, PromptTensors
from maskwright.model.sam2 import SAM2
from maskwright.train.cache import FeatureCache
from maskwright.train.learner import features_of
from maskwright.train.losses import true_iou

MAX_OBJECTS = 8
MIN_AREA = 0.00068
"""Share of the picture below which objects are not asked for: 100 pixels of a 448 x 330 photograph."""


@dataclass(frozen=True)
class Scores:
    """Mean IoU over objects: of the mask picked by predicted IoU, and of the best of the three candidates."""

    box: float
    box_best: float
    click: float
    click_best: float
    objects: int

    def rounded(self) -> dict[str, float]:
        """By name, with four decimals."""
        return {name: round(value, 4) for name, value in asdict(self).items()}

    def __str__(self) -> str:
        box, best, click, click_best, objects = astuple(self)
        return f"box {box:.3f} / {best:.3f}, click {click:.3f} / {click_best:.3f} ({objects} objects)"


@torch.inference_mode()
def quick_scores(model: SAM2, cache: FeatureCache, pictures: int, *, tail: bool) -> Scores:
    """Scores on the first view of up to ``pictures`` pictures, evenly spread over the cache."""
    cache.index_objects(int(MIN_AREA * cache.size**2))
    found: dict[str, list[Tensor]] = {"box": [], "click": []}
    for index in spread(len(cache), pictures):
        objects, label_map = cache.objects(index, 0), cache.labels(index, 0)
        chosen = spread(len(objects.ids), MAX_OBJECTS)
        if not chosen:
            continue
        masks = torch.from_numpy(np.stack([label_map == objects.ids[which] for which in chosen]))[None]
        features = features_of(model, cache.levels([(index, 0)]), tail=tail)
        for kind, prompts in (
            ("box", _boxes(objects.boxes[chosen])),
            ("click", _clicks(objects.centres[chosen])),
        ):
            decoded = model.decode(features, prompts)
            logits = F.interpolate(decoded.logits_BPMHW[0, :, 1:], size=masks.shape[-2:], mode="bilinear")
            iou = true_iou(logits, masks[0, :, None].float().expand_as(logits))
            picked = iou.gather(1, decoded.iou_BPM[0, :, 1:].argmax(1, keepdim=True))[:, 0]
            found[kind].append(torch.stack((picked, iou.amax(1))))
    boxes, clicks = torch.cat(found["box"], dim=1), torch.cat(found["click"], dim=1)
    box, box_best = boxes.mean(1).tolist()
    click, click_best = clicks.mean(1).tolist()
    return Scores(box, box_best, click, click_best, boxes.shape[1])


def _boxes(boxes: np.ndarray) -> PromptTensors:
    corners = torch.from_numpy(boxes.reshape(1, -1, 2, 2).astype(np.float32))
    return _with_padding(corners, (BOX_START, BOX_END))


def _clicks(centres: np.ndarray) -> PromptTensors:
    return _with_padding(torch.from_numpy(centres.reshape(1, -1, 1, 2).astype(np.float32)), (POSITIVE,))


def _with_padding(points_BPK2: Tensor, labels: tuple[int, ...]) -> PromptTensors:
    """Add the padding point that the official predictor always sends along."""
    labels_BPK = torch.tensor((*labels, NO_POINT)).expand(*points_BPK2.shape[:2], -1)
    return PromptTensors(F.pad(points_BPK2, (0, 0, 0, 1)), labels_BPK)
