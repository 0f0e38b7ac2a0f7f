"""What can be learnt, as the training loop sees it: parameters, batches, losses, figures."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from maskwright.model.sam2 import SAM2

T = TypeVar("T")
Progress = Callable[[int, int], None]
"""Told how many of how many things have been prepared."""


class Draw(NamedTuple):
    """Which random choices a batch is made from: the same numbers give the same batch and loss, anywhere."""

    seed: int
    step: int
    """Optimiser step, from 0."""
    part: int
    """Number of the batch within the step, over all devices: rank * accumulate + number on the device."""

    def generator(self, purpose: int) -> np.random.Generator:
        """Random numbers for one purpose; other purposes, steps and parts have independent ones."""
        return np.random.default_rng((self.seed, self.step, self.part, purpose))

    def together(self, purpose: int) -> np.random.Generator:
        """Random numbers that are the same in all batches of a step."""
        return self._replace(part=0).generator(purpose)


class Group(NamedTuple):
    """Parameters that share a learning rate."""

    name: str
    parameters: dict[str, nn.Parameter]
    """By their names in the model, as ``named_parameters`` has them."""
    rate: float
    """Peak learning rate."""
    decay: float
    """Weight decay of parameters with two axes or more; the others have none."""


class Task(nn.Module, ABC):
    """What is learnt. It is a module whose forward gives losses, so that several devices can share the work.

    Normalisation layers stay in eval mode: there are too few pictures in a step for statistics.
    """

    model: SAM2
    """Only what ``groups`` names trains; the rest is frozen."""
    score: str = ""
    """Name of the figure in ``validate`` by which the best weights are kept, higher is better."""

    @abstractmethod
    def groups(self) -> list[Group]:
        """Everything that trains."""

    @abstractmethod
    def batch(self, draw: Draw) -> Any:
        """What one forward pass learns from, on the CPU; depends on ``draw`` alone. Called in a thread.

        Tensors may lie in named tuples, tuples, lists, dicts and dataclasses; they are moved to the device.
        """

    @abstractmethod
    def forward(self, batch: Any, draw: Draw, progress: float) -> dict[str, Tensor]:
        """Losses of a batch: ``loss`` carries the gradient, the others are detached scalars for the logs.

        Every call gives the same names. ``progress`` is the share of the budget that is used up, 0..1.
        """

    def validate(self, model: SAM2) -> dict[str, float]:
        """Figures of a model with averaged weights, by name; empty if there is nothing to validate with."""
        return {}

    def saved(self) -> Callable[[str], bool]:
        """Which names of ``model.state_dict()`` belong into a checkpoint; the others never change."""
        return lambda name: True


def to_device(value: T, device: torch.device) -> T:
    """A batch with all its tensors on ``device``."""
    moved: Any = value
    if isinstance(value, Tensor):
        moved = value.to(device)
    elif isinstance(value, tuple) and hasattr(value, "_fields"):
        moved = type(value)(*(to_device(part, device) for part in value))
    elif isinstance(value, tuple | list):
        moved = type(value)(to_device(part, device) for part in value)
    elif isinstance(value, dict):
        moved = {name: to_device(part, device) for name, part in value.items()}
    elif is_dataclass(value) and not isinstance(value, type):
        parts = {field.name: to_device(getattr(value, field.name), device) for field in fields(value)}
        moved = type(value)(**parts)
    return moved  # type: ignore[no-any-return]
