"""What to remember and which mask to trust: the decisions of tracking that are not the network's.

A policy is two methods. Write your own to try another memory; the default is the official predictor's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from maskwright.config import ModelConfig
from maskwright.errors import InputError
from maskwright.model.candidates import Chosen, choose_tracked
from maskwright.model.sam2 import Decoded


class Policy(Protocol):
    """Decisions about the objects of one frame. Must not keep state: sessions share policies."""

    def choose(self, decoded: Decoded, config: ModelConfig, *, single: bool) -> Chosen:
        """One answer per object out of the decoder's four masks.

        Args:
            decoded: B x P objects, each with the single mask (0) and three candidates (1 to 3).
            config: Of the model.
            single: True where the prompts are unambiguous: more than one click, or a box.
        """
        ...

    def remembers(self, chosen: Chosen) -> Sequence[bool] | None:
        """Which objects' memories of a followed frame are kept; None for all.

        Prompted frames are always kept. Frames that are not remembered do not age the others: an object
        looks at its last six *remembered* frames.
        """
        ...


@dataclass(frozen=True)
class OfficialPolicy:
    """``SAM2VideoPredictor``: the candidate with the best predicted IoU; every frame is remembered."""

    trust_unstable: bool = False
    """Keep a single mask even where it is unstable (``apply_postprocessing=False`` of the official one)."""

    def choose(self, decoded: Decoded, config: ModelConfig, *, single: bool) -> Chosen:
        threshold = None if self.trust_unstable else config.stability_threshold
        return choose_tracked(*decoded, single=single, delta=config.stability_delta, threshold=threshold)

    def remembers(self, chosen: Chosen) -> Sequence[bool] | None:
        return None


@dataclass(frozen=True)
class ConfidentPolicy:
    """Remembers only frames in which the object is visible and its mask is likely good.

    Keeps what an object looked like before it was occluded, where the official policy fills the memory with
    frames without it. Costs one wait for the device per frame.
    """

    min_iou: float = 0.5
    """Predicted IoU from which a mask is remembered, 0..1."""

    def __post_init__(self) -> None:
        if not 0 <= self.min_iou <= 1:
            raise InputError(f"min_iou is {self.min_iou}; it is a predicted IoU, 0..1")

    def choose(self, decoded: Decoded, config: ModelConfig, *, single: bool) -> Chosen:
        return OfficialPolicy().choose(decoded, config, single=single)

    def remembers(self, chosen: Chosen) -> Sequence[bool] | None:
        good_O = (chosen.object_score_O > 0) & (chosen.iou_O >= self.min_iou)
        kept: list[bool] = good_O.tolist()
        return kept
