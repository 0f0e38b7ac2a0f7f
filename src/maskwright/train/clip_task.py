"""Learning from clips: a model's image and memory halves together, through time, by the SAM 2 recipe.

One or two frames of a clip are prompted with masks, boxes or clicks and some of them corrected with up to
seven clicks where the mask is wrong; all others are followed from memory, by the same verbs as in use. The
losses of all answers reach back through the memories to every frame before. On single pictures (clips of one
frame) what is left is interactive segmentation.
Axes: T frames, O objects, B x P the same objects as the decoder has them, M masks, C channels, H W the
network's input or the mask grid.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from maskwright.errors import InputError
from maskwright.model.candidates import Chosen, choose_tracked
from maskwright.model.mask_decoder import ImageFeatures
from maskwright.model.prompt_encoder import PromptTensors
from maskwright.model.sam2 import SAM2, Decoded
from maskwright.train.augment import AugmentConfig
from maskwright.train.clip_batch import ClipBatch, ClipDrawer, Source
from maskwright.train.clip_memory import Remembered, pointer_span, stacked_bank
from maskwright.train.clip_prompts import (
    Kind,
    Plan,
    clicks_only,
    draw_plan,
    first_question,
    nothing_asked,
    num_points,
)
from maskwright.train.clip_settings import ClipConfig
from maskwright.train.finetune import rate_groups, trained
from maskwright.train.losses import Loss, segmentation_loss, true_iou
from maskwright.train.prompts import correction_prompts
from maskwright.train.recompute import encode_frames, kept_or_not
from maskwright.train.task import Draw, Group, Task, to_device

__all__ = ["ClipConfig", "ClipTask"]

LOGIT_LIMIT = 32.0
"""Logits that come back as mask prompt are clamped to this, as in use."""
DRAWING, PROMPTING, VALIDATING = 1, 2, 3
"""Purposes of random numbers."""


class Answer(NamedTuple):
    """One decoding and what it should have said."""

    decoded: Decoded
    targets_BPHW: Tensor
    seen_BP: Tensor
    """Whether the object is visible in the frame."""
    sure_BP: Tensor
    """Whether the prompt leaves little doubt: a box, or two clicks and more."""


class ClipTask(Task):
    """Fine-tuning on clips of video, of moving stills, or on pictures.

    Args:
        model: What learns, after ``parts_to_train``; official or nano.
        config: How.
        source: Where clips come from.
        val: Where held-out clips come from; None: no validation.
        augment: How clips are changed; not at all unless given.

    Raises:
        InputError: ``config.size`` is not the model's, or a source is empty.
    """

    def __init__(
        self,
        model: SAM2,
        config: ClipConfig,
        source: Source,
        val: Source | None = None,
        augment: AugmentConfig | None = None,
    ) -> None:
        super().__init__()
        if config.size not in (0, model.config.image_size):
            raise InputError(f"size is {config.size}, but the model is built for {model.config.image_size}")
        self.model, self.config = model, config
        self._augment = AugmentConfig.off() if augment is None else augment
        self._drawer = ClipDrawer(source, config, model.config)
        self._val = None if val is None else ClipDrawer(val, config, model.config)
        self.score = "" if self._val is None else "followed" if self._val.moves else "click"

    def groups(self) -> list[Group]:
        return rate_groups(self.model, self.config.rates)

    def saved(self) -> Callable[[str], bool]:
        names = frozenset(trained(self.model))
        return names.__contains__

    def batch(self, draw: Draw) -> ClipBatch:
        return self._drawer.draw(self._augment, draw.generator(DRAWING))

    def forward(self, batch: ClipBatch, draw: Draw, progress: float) -> dict[str, Tensor]:
        rng = draw.generator(PROMPTING)
        plan = draw_plan(batch.known_T.cpu().numpy(), self.config, rng)
        answers = unroll(self.model, batch, plan, self.config, rng)
        losses = [answer_loss(one, self.config) for one in answers]
        found = Loss(*(torch.stack(parts).mean() for parts in zip(*losses, strict=True)))
        right = [presence_right(one) for one in answers]
        return {
            "loss": found.total,
            "focal": found.focal,
            "dice": found.dice,
            "iou_error": found.iou_error,
            "iou": found.picked_iou,
            "presence": torch.stack(right).mean(),
        }

    @torch.no_grad()
    def validate(self, model: SAM2) -> dict[str, float]:
        """Mean IoU on held-out clips, on the mask grid.

        ``box`` and ``click``: of the answer to an exact box and to one click, in first frames; ``followed``:
        in all other frames from the first one's mask, where two empty masks agree (J of DAVIS).

        Raises:
            InputError: no held-out clip shows an object in its first frame, or none has another frame.
        """
        if self._val is None:
            return {}
        device = next(model.parameters()).device
        found: dict[str, list[Tensor]] = {"box": [], "click": [], "followed": []}
        for batch in self._val.fixed(self.config.val_clips, VALIDATING):
            for name, ious in clip_figures(model, to_device(batch, device), self.config).items():
                found[name].append(ious)
        if not found[self.score]:
            raise InputError(f"the held-out clips have nothing to measure {self.score!r} by; check --val")
        return {name: float(torch.cat(parts).mean()) for name, parts in found.items() if parts}


def unroll(
    model: SAM2, batch: ClipBatch, plan: Plan, config: ClipConfig, rng: np.random.Generator
) -> list[Answer]:
    """Prompt and follow all objects of a clip; every answer that the network gave to known frames.

    Prompted frames come first and look at no memories; the others follow in order and see memories of
    prompted frames at any age (``SAM2Train.forward_tracking`` of the official code). Time runs forward.
    """
    again = config.recompute
    features = encode_frames(model, batch.pixels_TCHW, chunk=config.chunk, recompute=again != "none")
    clip = _Clip(model, batch, config, rng, again == "all")
    seen: list[Remembered] = []
    answers: list[Answer] = []
    num_frames = len(features)
    span = pointer_span(model.config, num_frames)
    for frame in plan.order(num_frames):
        kind = plan.prompts.get(frame)
        if kind is None:
            known = clip.recall(features[frame], seen, frame, span)
        else:
            known = model.without_memory(features[frame])
        chosen, given = clip.answer(features[frame], known, frame, kind, frame in plan.corrected)
        answers += given if bool(batch.known_T[frame]) else []
        if num_frames > 1:
            prompted = kind is not None or frame in plan.corrected
            seen.append(clip.remember(features[frame], chosen, frame, prompted, binary=kind == "mask"))
    return answers


class _Clip:
    """One clip under work."""

    def __init__(
        self, model: SAM2, batch: ClipBatch, config: ClipConfig, rng: np.random.Generator, again: bool
    ) -> None:
        self.model, self.config, self.rng = model, config, rng
        self.masks_TOHW = batch.masks_TOHW
        self.targets_TOHW = F.avg_pool2d(batch.masks_TOHW.float(), 4)
        self.seen_TO = batch.masks_TOHW.flatten(2).any(dim=2)
        self._recall = kept_or_not(model.recall, again)
        self._decode = kept_or_not(model.decode, again)
        self._encode_memory = kept_or_not(model.encode_memory, again)

    def recall(self, features: ImageFeatures, seen: list[Remembered], frame: int, span: int) -> ImageFeatures:
        device = self.masks_TOHW.device
        return self._recall(
            features,
            stacked_bank(seen, frame, self.model.config, span),
            torch.full((self.masks_TOHW.shape[1],), frame, device=device),
            torch.tensor(1, device=device),
            torch.tensor(float(span), device=device),
            masked=False,
        )

    def remember(
        self, features: ImageFeatures, chosen: Chosen, frame: int, prompted: bool, *, binary: bool
    ) -> Remembered:
        """What ``SAM2.remember`` would write. Clicked masks enter unrounded, so that gradients pass."""
        binary_O = torch.full_like(chosen.object_score_O, binary, dtype=torch.bool)
        memory_OID = self._encode_memory(features, chosen.logits_OHW, chosen.object_score_O, binary_O)
        return Remembered(frame, prompted, memory_OID, chosen.pointers_OC)

    def answer(
        self, features: ImageFeatures, known: ImageFeatures, frame: int, kind: Kind | None, correct: bool
    ) -> tuple[Chosen, list[Answer]]:
        """The answers for one frame, the last of them chosen for the memory."""
        if kind == "mask":
            return self.model.adopt(features, self.masks_TOHW[frame].float()), []
        shape = (1, self.masks_TOHW.shape[1]) if kind else (self.masks_TOHW.shape[1], 1)
        targets_BPHW = self.targets_TOHW[frame].unflatten(0, shape)
        truth = targets_BPHW.cpu().numpy()
        if kind is None:
            prompts, asked = clicks_only(shape), nothing_asked(shape)
        else:
            masks = self.masks_TOHW[frame].cpu().numpy()
            prompts = asked = first_question(kind, masks, truth, self.config, self.rng)
        answers = [self._ask(known, asked, frame, targets_BPHW)]
        chosen = self._choose(answers[-1].decoded, asked)
        for _ in range(self.config.clicks if correct else 0):
            given = (chosen.logits_OHW.detach() > 0).unflatten(0, shape).cpu().numpy()
            if self.rng.random() < self.config.blind_clicks:
                given = np.zeros_like(given)
            prompts = correction_prompts(prompts, given, truth, self.rng)
            before_OHW = chosen.logits_OHW.clamp(-LOGIT_LIMIT, LOGIT_LIMIT)
            asked = prompts._replace(masks_BPHW=before_OHW.unflatten(0, shape))
            answers.append(self._ask(known, asked, frame, targets_BPHW))
            chosen = self._choose(answers[-1].decoded, asked)
        return chosen, answers

    def _ask(self, known: ImageFeatures, asked: PromptTensors, frame: int, targets_BPHW: Tensor) -> Answer:
        device = targets_BPHW.device
        return Answer(
            self._decode(known, to_device(asked, device)),
            targets_BPHW,
            self.seen_TO[frame].unflatten(0, tuple(targets_BPHW.shape[:2])),
            (num_points(asked) > 1).to(device),
        )

    def _choose(self, decoded: Decoded, asked: PromptTensors) -> Chosen:
        """As the tracker does, but for the check of stability, which the official training leaves out."""
        single = bool((num_points(asked) > 1).any())
        return choose_tracked(*decoded, single=single, delta=0.0, threshold=None)


def answer_loss(answer: Answer, config: ClipConfig) -> Loss:
    """Losses of one answer: of the best of three candidates, with a clear prompt also of the single mask."""
    single = config.losses.single if bool(answer.sure_BP.any()) else 0.0
    weights = replace(config.losses, single=single)
    return segmentation_loss(answer.decoded, answer.targets_BPHW, answer.sure_BP, weights, answer.seen_BP)


def presence_right(answer: Answer) -> Tensor:
    """Share of objects of which the network knows whether they are visible."""
    said_BP = answer.decoded.object_score_BP.detach() > 0
    return (said_BP == answer.seen_BP).float().mean()


def clip_figures(model: SAM2, batch: ClipBatch, config: ClipConfig) -> dict[str, Tensor]:
    """IoU of every object in one clip by kind of question; see ``ClipTask.validate``."""
    rng, config = np.random.default_rng(VALIDATING), replace(config, box_noise=0.0)
    found = {}
    for kind in ("box", "click"):
        first = ClipBatch(*(part[:1] for part in batch))
        answers = unroll(model, first, Plan({0: kind}, frozenset()), config, rng)
        found[kind] = _shown_iou(answers[0])[answers[0].seen_BP]
    if len(batch.pixels_TCHW) > 1:
        answers = unroll(model, batch, Plan({0: "mask"}, frozenset()), config, rng)
        if answers:
            found["followed"] = torch.cat([_shown_iou(one).flatten() for one in answers])
    return found


def _shown_iou(answer: Answer) -> Tensor:
    """IoU (B, P) of the masks that would be shown; 1 where object and mask are both absent."""
    chosen = choose_tracked(*answer.decoded, single=False, delta=0.0, threshold=None)
    given_BPHW = chosen.logits_OHW.view_as(answer.targets_BPHW)
    iou_BP = true_iou(given_BPHW, answer.targets_BPHW)
    empty_BP = ~((given_BPHW > 0) | (answer.targets_BPHW > 0.5)).flatten(2).any(dim=2)
    return torch.where(empty_BP, 1.0, iou_BP)
