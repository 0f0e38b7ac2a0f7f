"""Everything that learning from clips depends on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import get_args

from maskwright.errors import InputError
from maskwright.train.finetune import Rates
from maskwright.train.losses import LossConfig
from maskwright.train.recompute import Recompute


@dataclass(frozen=True)
class ClipConfig:
    """How clips are drawn, prompted and learnt from; the defaults are SAM 2's own fine-tuning recipe."""

    size: int = 0
    """Side of the square network input, a multiple of 32; 0 is the model's own."""
    frames: int = 8
    """Frames of a clip; shorter videos give shorter clips. 1 makes pictures of videos."""
    objects: int = 3
    """Most objects that are followed in a clip, all of them visible in its first frame."""
    stride: int = 1
    """Clips skip up to ``stride - 1`` annotated frames at a time, as many as the video has room for."""
    reverse: float = 0.5
    """Share of clips that run backward."""
    min_area: float = 0.0
    """Share of the first frame that an object must cover to be followed."""
    prompt_frames: int = 2
    """Most frames that are prompted, one to this many; the first one always is."""
    mask_prompts: float = 0.5
    """Share of clips that are prompted with masks; the others with a box or a click."""
    box_prompts: float = 0.5
    """Share of boxes among the latter; drawn for every prompted frame."""
    correct_frames: int = 2
    """Most frames that get corrective clicks, at least those prompted with a box or click."""
    clicks: int = 7
    """Corrective clicks on each of these frames, where the mask is wrong."""
    blind_clicks: float = 0.1
    """Share of corrective clicks that fall anywhere on the object instead."""
    box_noise: float = 0.1
    """Most that the edge of a box is moved, as a share of the box's side and never above 20 pixels."""
    rate: float = 5e-6
    """Peak learning rate of everything but the image encoder."""
    encoder_rate: float = 3e-6
    """Peak learning rate of the image encoder: trunk and neck."""
    layer_decay: float = 0.9
    """Each block of the trunk learns slower than the next one by this factor."""
    lora_rate: float = 1e-4
    """Peak learning rate of low-rank adapters."""
    weight_decay: float = 0.1
    """Decay of weights with two or more axes."""
    losses: LossConfig = field(default_factory=lambda: LossConfig(single=1.0))
    """Weights of the losses; ``single`` counts only where the prompt leaves little doubt."""
    recompute: str = "none"
    """What is computed again in the backward pass to save memory: none, trunk (its blocks) or all (and what
    follows it, frame by frame)."""
    chunk: int = 1
    """Frames that the image encoder takes at a time."""
    val_clips: int = 20
    """Clips of the held-out split that are followed in every validation."""

    def __post_init__(self) -> None:
        for name in ("frames", "objects", "stride", "prompt_frames", "chunk", "val_clips"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be 1 or more, not {getattr(self, name)}")
        for name in ("reverse", "mask_prompts", "box_prompts", "blind_clicks"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name} is a share, 0 to 1, not {getattr(self, name)}")
        if self.clicks < 0 or self.correct_frames < 0:
            raise InputError("clicks and correct_frames must be 0 or more")
        if self.recompute not in get_args(Recompute):
            known = ", ".join(get_args(Recompute))
            raise InputError(f"recompute must be one of {known}, not {self.recompute!r}")

    @property
    def rates(self) -> Rates:
        """Learning rates of the model's parts."""
        return Rates(
            rest=self.rate,
            encoder=self.encoder_rate,
            layer_decay=self.layer_decay,
            adapters=self.lora_rate,
            appraisal=self.rate,
            weight_decay=self.weight_decay,
        )
