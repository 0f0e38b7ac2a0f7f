"""Everything that a training run of the memory half depends on, beside the loop."""

from __future__ import annotations

from dataclasses import dataclass

from maskwright.errors import InputError
from maskwright.train.clips import ClipSettings
from maskwright.train.losses import LossConfig


@dataclass(frozen=True)
class MemoryConfig:
    """What is learnt from, and how much everything weighs: the ``[memory]`` table of a recipe."""

    size: int = 512
    """Side of the square network input, a multiple of 32."""
    fresh: bool = True
    """Begin with an untrained memory half; false goes on with the one of the model file."""
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
    decode_from: float = 0.25
    """Share of the budget after which the decoder takes part; before, only the redrawn mask is trained."""
    learning_rate: float = 1e-3
    """Peak rate of AdamW, reached after the warm-up, then a cosine to zero."""
    key_rate: float = 2e-4
    """The same for the keys, by which memories are matched."""
    weight_decay: float = 0.01
    """Decay of weights with two or more axes."""
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

    def __post_init__(self) -> None:
        if self.size < 32 or self.size % 32:
            raise InputError(f"size must be a multiple of 32, not {self.size}")
        if not 2 <= self.frames <= self.clip_frames:
            raise InputError(f"frames must be 2 to clip_frames ({self.clip_frames}), not {self.frames}")
        if not 0 <= self.free_frames <= self.frames - 2:
            raise InputError(f"free_frames must be 0 to frames - 2, not {self.free_frames}")

    @property
    def losses(self) -> LossConfig:
        """Weights of the mask losses."""
        return LossConfig(
            focal=self.focal_weight, dice=self.dice_weight, alpha=self.focal_alpha, gamma=self.focal_gamma
        )

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
