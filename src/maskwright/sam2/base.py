"""The model object that the official builders return."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from maskwright.config import ModelConfig
from maskwright.facade import MaskModel
from maskwright.model.sam2 import SAM2
from maskwright.runtime.eager import Eager
from maskwright.runtime.select import Choice
from maskwright.sam2.configs import Settings


class SAM2Base(nn.Module):
    """A network with the official attributes and the official names in its ``state_dict``.

    Always computes in float32, as the official package does; inside a ``torch.autocast`` region it follows that.
    """

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.network = SAM2(settings.config)
        """The native network."""
        self.dynamic_multimask_via_stability = settings.dynamic_multimask
        """Answer ``multimask_output=False`` with the best of three masks where the single one is not stable."""

    @property
    def config(self) -> ModelConfig:
        return self.network.config

    @property
    def image_size(self) -> int:
        """Side of the network's input in pixels."""
        return self.config.image_size

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    def native(self) -> MaskModel:
        """The same network behind the native API; shares the weights and costs nothing."""
        return MaskModel(Eager(self.network, Choice(self.device, torch.float32, "float32, as the official package")))
