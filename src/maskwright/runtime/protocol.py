"""What the segmenter needs of a runtime: the two verbs of pictures, and what they run on."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from maskwright.config import ModelConfig
from maskwright.model.mask_decoder import ImageFeatures
from maskwright.model.prompt_encoder import PromptTensors
from maskwright.model.sam2 import Decoded


class Runtime(Protocol):
    """A model that can be run: stateless, so that any number of threads may share one."""

    @property
    def config(self) -> ModelConfig: ...

    @property
    def device(self) -> torch.device: ...

    @property
    def dtype(self) -> torch.dtype:
        """Compute dtype, and the dtype of image features."""
        ...

    def encode_image(self, pixels_B3HW: Tensor) -> ImageFeatures:
        """Normalised pixels (B, 3, S, S), float32 on any device, to features that ``decode`` takes."""
        ...

    def decode(self, features: ImageFeatures, prompts: PromptTensors) -> Decoded:
        """Masks, scores and pointers in float32; ``prompts`` may be on any device."""
        ...

    def fingerprint(self) -> str:
        """Equal for two runtimes that hold the same network with the same weights."""
        ...
