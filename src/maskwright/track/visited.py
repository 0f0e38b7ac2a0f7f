"""A frame that a session has seen, and what was found in it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from torch import Tensor

from maskwright.frames import Frame
from maskwright.model.candidates import Chosen
from maskwright.model.mask_decoder import ImageFeatures
from maskwright.track.ahead import bare
from maskwright.track.objects import ObjectId
from maskwright.types import Prompt


class Answer(NamedTuple):
    """What was found of one object in one frame."""

    chosen: Chosen
    """As the memory will see it, O = 1."""
    shown_HW: Tensor
    """Mask logits (m, m) as the caller sees them, and as a correction starts from: cleaned."""
    followed: bool
    """Whether the object had been followed into the frame, before any prompt in it."""
    prompted: bool = False
    """Whether it answers a prompt: then its mask enters the memory binarised."""
    anchor: bool = False
    """Whether the frame stays in the memory for good."""


@dataclass
class Visited:
    """A frame that can still be prompted."""

    frame: Frame
    tick: int
    """Place in the session's time: 0 for the first frame, then one more; one less where it runs backward."""
    answers: dict[ObjectId, Answer] = field(default_factory=dict)
    prompts: dict[ObjectId, Prompt] = field(default_factory=dict)
    """Clicks and boxes that objects were given in this frame so far."""
    clocks: dict[ObjectId, int] = field(default_factory=dict)
    """The tick as each object counts it, without frames that are not in its memory."""
    features: ImageFeatures | None = None
    """Without memory; made when first needed."""

    def forget_features(self) -> None:
        """Let go of what can be made again from the picture."""
        self.features = None
        self.forget_pixels()

    def forget_pixels(self) -> None:
        """Let go of the network's input or output, if it was made ahead."""
        self.frame = bare(self.frame)

    def forget(self, number: ObjectId) -> None:
        """Drop everything about one object."""
        for of_object in (self.answers, self.prompts, self.clocks):
            of_object.pop(number, None)
