"""The model object that the official builders return."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from maskwright.config import ModelConfig
from maskwright.errors import CheckpointError
from maskwright.mask_model import MaskModel
from maskwright.model.sam2 import SAM2
from maskwright.runtime.eager import Eager
from maskwright.runtime.select import Choice
from maskwright.weights.keymaps import rename, to_ours

_INSIDE = "network."
_SHOWN = 3
"""Names of parameters that an error message lists."""


class SAM2Base(nn.Module):
    """A network with the official attributes, and the official names in its ``state_dict``.

    Computes in float32, as the official package does; inside a ``torch.autocast`` region it follows that.
    """

    def __init__(self, network: SAM2, *, dynamic_multimask_via_stability: bool = False) -> None:
        super().__init__()
        self.network = network
        """The native network."""
        self.dynamic_multimask_via_stability = dynamic_multimask_via_stability
        """Answer ``multimask_output=False`` with the best of three masks where the single one is unstable."""
        self.register_state_dict_post_hook(_name_officially)  # type: ignore[no-untyped-call]

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
        choice = Choice(self.device, torch.float32, "float32, as the official package")
        return MaskModel(Eager(self.network, choice))

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> Any:
        """Load parameters under their official names, as ``nn.Module.load_state_dict`` does.

        Raises:
            CheckpointError: ``strict``, and names are missing or unexpected.
            RuntimeError: a parameter has another shape.
        """
        state, unexpected = to_ours(state_dict, "official")
        report = self.network.load_state_dict(state, strict=False, assign=assign)
        missing = _official(report.missing_keys)
        unexpected += _official(report.unexpected_keys)
        if strict and (missing or unexpected):
            raise CheckpointError(
                f"these are not the parameters of {self.config.name}: "
                f"{_few(missing)} missing, {_few(unexpected)} unexpected"
            )
        return type(report)(missing, unexpected)


def _official(names: list[str]) -> list[str]:
    return [theirs or ours for ours, theirs in rename(names, "maskwright", "official").items()]


def _name_officially(_module: nn.Module, state: dict[str, Any], prefix: str, _metadata: Any) -> None:
    """Hook of ``state_dict``: drop the name of the wrapped network and translate the rest."""
    inside = prefix + _INSIDE
    ours = [name.removeprefix(inside) for name in state if name.startswith(inside)]
    for name, official in zip(ours, _official(ours), strict=True):
        state[prefix + official] = state.pop(inside + name)


def _few(names: list[str]) -> str:
    if not names:
        return "none"
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
