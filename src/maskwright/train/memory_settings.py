"""Everything a training run of the memory half depends on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from maskwright.errors import InputError
from maskwright.train.clips import ClipSettings
from maskwright.train.settings import TrainConfig, checked, read_recipe


@dataclass(frozen=True)
class MemoryConfig:
    """One run. Every field can be set in the recipe and overridden with ``--set field=value``."""

    seed: int = 0
    """Starts every random choice; clips and their order depend on it alone."""
    size: int = 512
    """Side of the square network input, a multiple of 32."""
    clips: int = 1000
    """Training clips that are made and kept."""
    val_clips: int = 40
    """Clips of the validation split."""
    clip_frames: int = 5
    """Frames of every clip."""
    frames: int = 4
    """Frames of a clip that one step learns from."""
    objects: int = 3
    """Most objects that are followed in a clip."""
    camera: float = 0.03
    """Standard deviation of the camera's way per frame, as a share of the frame."""
    motion: float = 0.05
    """The same for objects that are pasted in."""
    joined_share: float = 0.0
    """Share of clips with two pasted objects or more in which two go together as one."""
    free_frames: int = 0
    """Most frames followed before those that are learnt from: they cost little and let errors build up."""
    smudge_share: float = 0.0
    """Share of followed masks that are damaged before they are remembered."""
    wait_for: int = 100
    """Clips that have to be there before training begins, while another process makes the rest."""
    minutes: float = 0.0
    """Time budget; 0 means none."""
    steps: int = 0
    """Step budget; 0 means none. One of the two budgets is needed."""
    decode_from: float = 0.25
    """Share of the budget after which the decoder takes part; before, only the redrawn mask is trained."""
    learning_rate: float = 1e-3
    """Peak rate of AdamW, reached after the warm-up, then a cosine to zero."""
    key_rate: float = 2e-4
    """The same for the keys, by which memories are matched."""
    weight_decay: float = 0.01
    """Decay of weights with two or more axes."""
    warmup_steps: int = 50
    """Steps over which the rate rises from zero."""
    clip: float = 1.0
    """Largest norm of the whole gradient."""
    ema: float = 0.995
    """Decay of the running average of the weights, which is what gets validated and exported."""
    focal_weight: float = 20.0
    """Weight of the focal loss."""
    dice_weight: float = 1.0
    """Weight of the dice loss."""
    focal_alpha: float = 0.5
    """Weight of set pixels in the focal loss; the others weigh one minus it."""
    focal_gamma: float = 2.0
    """How strongly the focal loss ignores pixels that are right already."""
    drawn_weight: float = 1.0
    """Weight of the redrawn mask's loss beside that of the decoded ones."""
    presence_weight: float = 0.3
    """Weight of telling whether the object is visible."""
    iou_weight: float = 0.3
    """Weight of the absolute error of the predicted IoU."""
    given_trust: float = 0.0
    """Added at export to the trust in prompted frames: clips are shorter than videos, where others drift."""
    threads: int = 1
    """Threads of torch."""
    checkpoint_minutes: float = 3.0
    """Time between checkpoints."""
    validate_minutes: float = 6.0
    """Time between validations."""

    def __post_init__(self) -> None:
        if not self.minutes and not self.steps:
            raise InputError("a training run needs a budget: set minutes or steps")
        if self.size < 32 or self.size % 32:
            raise InputError(f"size must be a multiple of 32, not {self.size}")
        if not 2 <= self.frames <= self.clip_frames:
            raise InputError(f"frames must be 2 to clip_frames ({self.clip_frames}), not {self.frames}")

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> MemoryConfig:
        """A run with these settings; InputError names a field that is unknown or of another type."""
        return cls(**checked(cls, values))

    @property
    def clip_settings(self) -> ClipSettings:
        """What its clips look like."""
        return ClipSettings(
            size=self.size,
            frames=self.clip_frames,
            objects=self.objects,
            camera=self.camera,
            motion=self.motion,
            joined_share=self.joined_share,
        )


def read_run(recipe: str, overrides: Mapping[str, str]) -> TrainConfig | MemoryConfig:
    """Settings of a run by its recipe, whose ``part`` is ``image`` (the default) or ``memory``.

    Raises:
        InputError: there is no such recipe, or a setting is unknown or of another type.
    """
    values = {**read_recipe(recipe), **overrides}
    part = values.pop("part", "image")
    if part not in ("image", "memory"):
        raise InputError(f"a recipe's part is image or memory, not {part!r}")
    return MemoryConfig.from_dict(values) if part == "memory" else TrainConfig.from_dict(values)
