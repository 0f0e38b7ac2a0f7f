"""Learning from single pictures: boxes and clicks, and clicks that correct the answers.

Works for every model: nano from an ImageNet trunk, and the fine-tuning of any model on labelled pictures.
Axes: B pictures, P objects per picture, K points, C channels, H W the network's input or the mask grid.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from maskwright.errors import InputError
from maskwright.io.datasets.protocol import Pictures, Scene
from maskwright.model.candidates import best_of_three, take
from maskwright.model.mask_decoder import ImageFeatures
from maskwright.model.prompt_encoder import PromptTensors
from maskwright.model.sam2 import SAM2
from maskwright.pixels.boxes import boxes_of
from maskwright.pixels.preprocess import preprocess
from maskwright.train.augment import AugmentConfig, augment
from maskwright.train.finetune import Rates, rate_groups
from maskwright.train.kernels import few_tokens
from maskwright.train.losses import Loss, LossConfig, is_sure, segmentation_loss
from maskwright.train.prompts import (
    PromptConfig,
    correction_prompts,
    first_prompt,
    pick_objects,
    picture_weights,
)
from maskwright.train.task import Draw, Group, Task, to_device
from maskwright.train.validate import Exam, picture_scores
from maskwright.types import BoolArray

TRIES = 20
"""Pictures that are drawn, until one shows an object."""


@dataclass(frozen=True)
class PictureConfig:
    """How pictures are drawn, asked about and learnt from; the rates are SAM 2's own for fine-tuning."""

    size: int = 0
    """Side of the square network input, a multiple of 32; 0 is the model's own."""
    small_size: int = 0
    """Side in the first ``small_steps`` steps, a multiple of 32."""
    small_steps: int = 0
    """Steps at the beginning that see smaller pictures, which are quicker to learn from."""
    pictures: int = 1
    """Pictures per step."""
    objects: int = 8
    """Objects asked for in each picture; they repeat, with other prompts, where a picture has fewer."""
    source_power: float = 0.9
    """A source of n pictures is drawn in proportion to n to this power: 1 = by picture, 0 = by source."""
    rate: float = 5e-6
    """Peak learning rate of everything but the image encoder."""
    encoder_rate: float = 3e-6
    """Peak learning rate of the image encoder: trunk and neck."""
    layer_decay: float = 0.9
    """Each block of the trunk learns slower than the next one by this factor."""
    lora_rate: float = 1e-4
    """Peak learning rate of low-rank adapters."""
    appraisal_rate: float = 0.0
    """Peak learning rate of nano's appraisal of masks, which needs a high one; 0 is ``rate``."""
    weight_decay: float = 0.1
    """Decay of weights with two or more axes."""
    val_pictures: int = 71
    """Held-out pictures that every validation asks about, evenly spread over their data set."""
    prompts: PromptConfig = field(default_factory=PromptConfig)
    """How objects are asked for."""
    losses: LossConfig = field(default_factory=LossConfig)
    """What counts how much."""

    def __post_init__(self) -> None:
        for name in ("pictures", "objects", "val_pictures"):
            if getattr(self, name) < 1:
                raise InputError(f"pictures.{name} must be 1 or more, not {getattr(self, name)}")
        for name in ("size", "small_size"):
            if getattr(self, name) % 32:
                raise InputError(f"pictures.{name} must be a multiple of 32, not {getattr(self, name)}")
        if (self.small_size > 0) != (self.small_steps > 0):
            raise InputError("pictures.small_size and pictures.small_steps go together: set both or neither")

    @property
    def rates(self) -> Rates:
        """Learning rates of the model's parts."""
        return Rates(
            rest=self.rate,
            encoder=self.encoder_rate,
            layer_decay=self.layer_decay,
            adapters=self.lora_rate,
            appraisal=self.appraisal_rate or self.rate,
            weight_decay=self.weight_decay,
        )


class PictureBatch(NamedTuple):
    """One step's pictures and questions."""

    pixels_BCHW: Tensor
    """The network's input."""
    targets_BPHW: Tensor
    """Share of each cell of the mask grid that the object covers, 0..1."""
    prompts: PromptTensors
    """First prompts."""


class PictureTask(Task):
    """Answers to boxes and clicks on single pictures."""

    score = "box"

    def __init__(
        self,
        model: SAM2,
        config: PictureConfig,
        pictures: Pictures,
        val: Pictures | None = None,
        changes: AugmentConfig | None = None,
    ) -> None:
        """Prepare; what learns has been chosen by ``parts_to_train``.

        Args:
            model: At the input size of the run.
            config: See there.
            pictures: To learn from.
            val: To validate with; None: there is no validation.
            changes: How pictures are changed; None leaves them as they are.

        Raises:
            InputError: there are no pictures.
        """
        super().__init__()
        if not len(pictures):
            raise InputError("there are no pictures to learn from in these data")
        self.model, self.config, self.pictures = model, config, pictures
        self.small = sharing_parameters(model, config.small_size) if config.small_steps else model
        self.changes = AugmentConfig.off() if changes is None else changes
        self.weights = picture_weights(pictures.sources, config.source_power)
        self.exam = Exam(val, config.val_pictures, model.config) if val is not None else None

    def groups(self) -> list[Group]:
        return rate_groups(self.model, self.config.rates)

    def model_at(self, step: int) -> SAM2:
        """The model at the input size of an optimiser step."""
        return self.small if step < self.config.small_steps else self.model

    def batch(self, draw: Draw) -> PictureBatch:
        rng = draw.generator(0)
        config, look = self.config, self.model_at(draw.step).config
        pixels, covers, points, labels = [], [], [], []
        for scene in self._scenes(look.image_size, rng):
            pixels.append(preprocess(scene.picture, look.image_size, look.pixel_mean, look.pixel_std))
            for which in pick_objects(len(scene), config.objects, rng):
                mask = scene.mask(int(which))
                xy, kinds = first_prompt(mask, boxes_of(mask), config.prompts, rng)
                covers.append(cover(mask))
                points.append(xy)
                labels.append(kinds)
        shape = (config.pictures, config.objects)
        return PictureBatch(
            torch.stack(pixels).contiguous(memory_format=torch.channels_last),
            torch.from_numpy(np.stack(covers)).unflatten(0, shape),
            PromptTensors(
                torch.from_numpy(np.stack(points)).unflatten(0, shape),
                torch.from_numpy(np.stack(labels)).unflatten(0, shape),
            ),
        )

    def forward(self, batch: PictureBatch, draw: Draw, progress: float) -> dict[str, Tensor]:
        """Mean loss of the first answer and of those to the corrections that follow in some steps."""
        rng, together = draw.generator(1), draw.together(2)
        asked = self.config.prompts
        # as many on all devices, which would wait for each other otherwise
        corrects = asked.clicks and together.random() < asked.correct
        rounds = int(together.integers(1, asked.clicks + 1)) if corrects else 0
        keeps_mask = together.random() < asked.mask
        model = self.model_at(draw.step)
        features = model.without_memory(model.encode_image(batch.pixels_BCHW))
        features = features._replace(
            **{
                name: getattr(features, name).contiguous(memory_format=torch.channels_last)
                for name in ("low_BCHW", "mid_BCHW", "high_BCHW")
            }
        )
        first, logits_BPHW = self._answer(model, features, batch.prompts, batch.targets_BPHW)
        total, prompts = first.total, batch.prompts
        for _ in range(rounds):
            prompts = corrected(prompts, logits_BPHW, batch.targets_BPHW, rng)
            prompts = prompts._replace(masks_BPHW=logits_BPHW if keeps_mask else None)
            loss, logits_BPHW = self._answer(model, features, prompts, batch.targets_BPHW)
            total = total + loss.total
        parts = first._replace(total=total / (rounds + 1))._asdict()
        return {"loss" if name == "total" else name: value for name, value in parts.items()}

    def validate(self, model: SAM2) -> dict[str, float]:
        """Mean IoU by box, one click and five clicks, of the picked candidate and of the best one."""
        return {} if self.exam is None else picture_scores(model, self.exam)

    def _scenes(self, size: int, rng: np.random.Generator) -> list[Scene]:
        """Changed pictures with at least one object each, all different where there are enough."""
        found: list[Scene] = []
        wanted = self.config.pictures
        repeats = wanted > len(self.weights)
        for _ in range(TRIES):
            drawn = rng.choice(len(self.weights), size=wanted - len(found), replace=repeats, p=self.weights)
            for index in drawn.tolist():
                scene = augment(self.pictures.read(index), self.changes, size, rng, self._another)
                found += [scene] if len(scene) else []
            if len(found) == wanted:
                return found
        raise InputError(f"of {TRIES * wanted} pictures of these data hardly any shows a labelled object")

    def _another(self, rng: np.random.Generator) -> Scene:
        """A picture to paste objects from."""
        return self.pictures.read(int(rng.choice(len(self.weights), p=self.weights)))

    def _answer(
        self, model: SAM2, features: ImageFeatures, prompts: PromptTensors, targets_BPHW: Tensor
    ) -> tuple[Loss, Tensor]:
        """Losses, and the logits (B, P, H, W) of the picked candidates, which corrections begin with."""
        with few_tokens(targets_BPHW.device):
            decoded = model.decode(features, prompts)
        loss = segmentation_loss(decoded, targets_BPHW, is_sure(prompts.labels_BPK), self.config.losses)
        return loss, take(decoded.logits_BPMHW.detach(), best_of_three(decoded.iou_BPM)).float()


def sharing_parameters(model: SAM2, size: int) -> SAM2:
    """The same network at another input size; learning changes both, as their parameters are the same."""
    other = copy.deepcopy(model, {id(parameter): parameter for parameter in model.parameters()})
    other.config = model.config.at(size)
    other.prompt_encoder.image_size = size
    return other


def cover(mask: BoolArray) -> np.ndarray:
    """Share of each 4x4 block that is set: (h, w) bool to (h/4, w/4) fp32."""
    height, width = mask.shape
    blocks = mask.reshape(height // 4, 4, width // 4, 4)
    return np.asarray(blocks.mean(axis=(1, 3), dtype=np.float32))


def corrected(
    prompts: PromptTensors, logits_BPHW: Tensor, wanted_BPHW: Tensor, rng: np.random.Generator
) -> PromptTensors:
    """The prompts with one more click for each object, on whatever device they are."""
    asked = to_device(prompts._replace(masks_BPHW=None), torch.device("cpu"))
    asked = correction_prompts(asked, (logits_BPHW > 0).cpu().numpy(), wanted_BPHW.cpu().numpy(), rng)
    return to_device(asked, prompts.labels_BPK.device)
