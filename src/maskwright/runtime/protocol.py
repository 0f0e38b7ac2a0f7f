"""What is asked of a runtime: the four verbs, and what they run on."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from maskwright.config import ModelConfig
from maskwright.model.candidates import Chosen
from maskwright.model.mask_decoder import ImageFeatures
from maskwright.model.memory_bank import MemoryBank
from maskwright.model.prompt_encoder import PromptTensors
from maskwright.model.sam2 import Decoded, Slots


class Moment(NamedTuple):
    """When a frame is, as ``recall`` needs it."""

    frame_O: Tensor
    """Number of the frame for each object, int64, on any device."""
    direction: int
    """1 where time runs forward, -1 where it runs backward."""
    pointer_span: int
    """Age of the oldest pointer that counts, and the unit of their temporal encoding; at least 1."""


class Runtime(Protocol):
    """A model that can be run: stateless, so that any number of threads may share one."""

    @property
    def config(self) -> ModelConfig: ...

    @property
    def device(self) -> torch.device: ...

    @property
    def dtype(self) -> torch.dtype:
        """Compute dtype."""
        ...

    def encode_image(self, pixels_B3HW: Tensor) -> ImageFeatures:
        """Normalised pixels (B, 3, S, S), float32 on any device, to features without any memory."""
        ...

    def without_memory(self, features: ImageFeatures) -> ImageFeatures:
        """Features for ``decode`` where there is nothing to recall: pictures, first frames of an object."""
        ...

    def decode(self, features: ImageFeatures, prompts: PromptTensors) -> Decoded:
        """Masks, scores and pointers in float32; ``prompts`` may be on any device."""
        ...

    def adopt(self, features: ImageFeatures, masks_OHW: Tensor) -> Chosen:
        """Given masks (0 and 1, at input size, on any device) as the answer, in float32: ``SAM2.adopt``."""
        ...

    def recall(
        self, features: ImageFeatures, bank: MemoryBank, now: Moment, *, masked: bool
    ) -> ImageFeatures:
        """One frame's features, as each object of the bank remembers it, for ``decode``: ``SAM2.recall``."""
        ...

    def remember(
        self,
        features: ImageFeatures,
        chosen: Chosen,
        bank: MemoryBank,
        slots: Slots,
        frame_O: Tensor,
        prompted_O: Tensor,
        binary_O: Tensor,
    ) -> None:
        """Write what was found in a frame into the bank, in place: ``SAM2.remember``.

        Everything about slots, frames and flags may be on any device.
        """
        ...

    def fingerprint(self) -> str:
        """Equal for two runtimes that hold the same network with the same weights."""
        ...
