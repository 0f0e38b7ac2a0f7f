"""The running average of weights in training, which is what gets validated and exported."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn


@torch.no_grad()
def mixed(trained: Mapping[str, Tensor], start: Mapping[str, Tensor], share: float) -> dict[str, Tensor]:
    """Trained weights with a share of those that training began with, by name; whole numbers stay."""
    if not share:
        return dict(trained)
    return {
        name: torch.lerp(value, start[name].to(value), share) if value.is_floating_point() else value
        for name, value in trained.items()
    }


class Average:
    """An exponential running average of some parameters; it follows closely at first."""

    def __init__(self, parameters: Mapping[str, nn.Parameter], decay: float) -> None:
        self._parameters, self._decay = dict(parameters), decay
        self.values = {name: value.detach().clone() for name, value in parameters.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after optimiser step number ``step``, from 1."""
        decay = min(self._decay, (1 + step) / (10 + step))
        now = [value.detach() for value in self._parameters.values()]
        torch._foreach_lerp_(list(self.values.values()), now, 1 - decay)

    @torch.no_grad()
    def restart(self, values: Mapping[str, Tensor] | None = None) -> None:
        """Go on from stored values, or begin anew with the parameters as they are."""
        for name, value in self.values.items():
            value.copy_(self._parameters[name] if values is None else values[name])
