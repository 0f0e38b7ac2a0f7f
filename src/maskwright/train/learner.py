"""One training step: schedule, forward, losses, correction clicks, update, running average."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from maskwright.model.candidates import best_of_three, take
from maskwright.model.mask_decoder import ImageFeatures
from maskwright.model.prompt_encoder import PromptTensors
from maskwright.model.sam2 import SAM2, Decoded
from maskwright.train.features import TAIL_STAGE, run_tail
from maskwright.train.losses import Loss, is_sure, segmentation_loss
from maskwright.train.prompts import Batch, correction_prompts
from maskwright.train.settings import TrainConfig

TRAINED = ("neck", "prompt_encoder", "mask_decoder", "no_memory")
"""Parts of SAM2 that single pictures can train; the trunk's tail joins them where ``trunk_rate`` is set."""


class Learner:
    """A model in training, with its optimiser, the running average of its weights, and the steps taken."""

    def __init__(self, model: SAM2, config: TrainConfig) -> None:
        self.model, self.config = model, config
        self.step_number = 0
        self.elapsed = 0.0
        self._named = trained_parameters(model, config)
        model.requires_grad_(False)
        for parameter in self._named.values():
            parameter.requires_grad_(True)
        self.optimiser = torch.optim.AdamW(_groups(self._named, config), lr=0.0, betas=(0.9, 0.999))
        self.average = {name: parameter.detach().clone() for name, parameter in self._named.items()}

    @property
    def progress(self) -> float:
        """Share of the budget that is used up, by steps or by time, whichever is further along."""
        by_steps = self.step_number / self.config.steps if self.config.steps else 0.0
        by_time = self.elapsed / (60 * self.config.minutes) if self.config.minutes else 0.0
        return min(1.0, max(by_steps, by_time))

    def rate(self) -> float:
        """Factor on the peak learning rates: linear warm-up by steps, cosine to zero by progress."""
        warm = min(1.0, (self.step_number + 1) / max(1, self.config.warmup_steps))
        return warm * 0.5 * (1 + math.cos(math.pi * self.progress))

    def step(self, batch: Batch) -> Loss:
        """Learn from one batch."""
        for group in self.optimiser.param_groups:
            group["lr"] = group["peak"] * self.rate()
        self.optimiser.zero_grad(set_to_none=True)
        loss = self._losses(batch)
        loss.total.backward()
        nn.utils.clip_grad_norm_(list(self._named.values()), self.config.clip)
        self.optimiser.step()
        self.step_number += 1
        self._update_average()
        return loss._replace(total=loss.total.detach())

    def features(self, levels: list[Tensor]) -> ImageFeatures:
        """Cached trunk levels to what ``decode`` takes."""
        return features_of(self.model, levels, tail=self.config.trunk_rate > 0)

    def _losses(self, batch: Batch) -> Loss:
        """Mean loss of the first answer and of the corrections that follow in some steps."""
        rng = np.random.default_rng((self.config.seed, self.step_number, 1))
        rounds = int(rng.integers(1, self.config.correct_rounds + 1)) if self._corrects(rng) else 0
        keep_mask = rng.random() < self.config.mask_share
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.config.autocast):
            features = self.features(batch.levels)
            decoded = self.model.decode(features, batch.prompts)
        first = self._loss(decoded, batch.targets_BPHW, batch.prompts)
        total, prompts = first.total, batch.prompts
        for _ in range(rounds):
            logits_BPHW = picked_logits(decoded)
            prompts = correction_prompts(prompts, (logits_BPHW > 0).numpy(), batch.targets_BPHW.numpy(), rng)
            prompts = prompts._replace(masks_BPHW=logits_BPHW if keep_mask else None)
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.config.autocast):
                decoded = self.model.decode(features, prompts)
            total = total + self._loss(decoded, batch.targets_BPHW, prompts).total
        return first._replace(total=total / (rounds + 1))

    def _loss(self, decoded: Decoded, targets_BPHW: Tensor, prompts: PromptTensors) -> Loss:
        return segmentation_loss(decoded, targets_BPHW, is_sure(prompts.labels_BPK), self.config)

    def _corrects(self, rng: np.random.Generator) -> bool:
        return self.config.correct_rounds > 0 and rng.random() < self.config.correct_share

    @torch.no_grad()
    def _update_average(self) -> None:
        decay = min(self.config.ema, (1 + self.step_number) / (10 + self.step_number))
        averages = list(self.average.values())
        torch._foreach_lerp_(averages, [p.detach() for p in self._named.values()], 1 - decay)

    def state(self) -> dict[str, Any]:
        """Everything that the next step depends on, for a checkpoint."""
        return {
            "model": self.model.state_dict(),
            "average": self.average,
            "optimiser": self.optimiser.state_dict(),
            "step": self.step_number,
            "elapsed": self.elapsed,
        }

    def start_from(self, state: dict[str, Any]) -> None:
        """Begin a new run with the averaged weights of another one, which may have had another input size."""
        self.model.load_state_dict(averaged_weights(state))
        for name, parameter in self._named.items():
            self.average[name].copy_(parameter.detach())

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from ``state``: the next step gives the same bits as if there had been no break."""
        self.model.load_state_dict(state["model"])
        for name, value in self.average.items():
            value.copy_(state["average"][name])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step_number, self.elapsed = int(state["step"]), float(state["elapsed"])

    def averaged_state(self) -> dict[str, Tensor]:
        """The model's whole state with averaged weights in place of the trained ones."""
        return {**self.model.state_dict(), **self.average}


def averaged_weights(state: dict[str, Any]) -> dict[str, Tensor]:
    """A checkpoint's whole model, with averaged weights in place of the trained ones."""
    return {**state["model"], **state["average"]}


def trained_parameters(model: SAM2, config: TrainConfig) -> dict[str, nn.Parameter]:
    """Parameters that a run changes, by their names in the model.

    BatchNorm of the trunk's tail keeps its statistics (too few pictures per step); gain and bias train.
    """
    tail = tuple(f"trunk.stages.{n}." for n in range(TAIL_STAGE, 7)) if config.trunk_rate > 0 else ()
    return {
        name: parameter
        for name, parameter in model.named_parameters()
        if name.partition(".")[0] in TRAINED or name.startswith(tail or ("-",))
    }


def features_of(model: SAM2, levels: list[Tensor], *, tail: bool) -> ImageFeatures:
    """Cached trunk levels to decoder features, through the trunk's tail as it is now where that trains.

    The features are made contiguous: the decoder is several times slower on a mixture of memory layouts.
    """
    levels = [level.float() for level in levels]
    if tail:
        levels = run_tail(model.trunk, levels)  # type: ignore[arg-type]
    low_BCHW, mid_BCHW, high_BCHW = model.neck(levels)
    maps = (low_BCHW, *model.mask_decoder.project(mid_BCHW, high_BCHW))
    return model.without_memory(ImageFeatures(*(x.contiguous() for x in maps)))


@torch.no_grad()
def picked_logits(decoded: Decoded) -> Tensor:
    """Logits (B, P, H, W) fp32 of the candidate with the highest predicted IoU."""
    return take(decoded.logits_BPMHW.detach(), best_of_three(decoded.iou_BPM)).float()


def _groups(named: dict[str, nn.Parameter], config: TrainConfig) -> list[dict[str, Any]]:
    """Parameter groups by rate (trunk or not) and by decay (two axes or more, or not)."""
    groups = []
    for trunk in (False, True):
        for decays in (False, True):
            members = [
                parameter
                for name, parameter in named.items()
                if name.startswith("trunk.") == trunk and (parameter.ndim >= 2) == decays
            ]
            if members:
                peak = config.trunk_rate if trunk else config.learning_rate
                groups.append(
                    {"params": members, "peak": peak, "weight_decay": config.weight_decay if decays else 0.0}
                )
    return groups
