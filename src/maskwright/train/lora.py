"""Low-rank adapters (LoRA, Hu et al. 2021): the trunk learns through a few small factors beside its weights.

A weight W of ``out x in`` becomes W + U D with U ``out x rank`` and D ``rank x in``. U starts at zero, so the
network starts as it was. Afterwards the product is added to W, and the file has the shape of any other.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from maskwright.errors import InputError

MARK = ".parametrizations."
"""In the name of every parameter of a layer that has an adapter."""

Network = TypeVar("Network", bound=nn.Module)


class LowRank(nn.Module):
    """What is added to one weight: the product of two thin matrices, zero at the start.

    ``seed`` starts the numbers of the one that is not.
    """

    def __init__(self, weight: Tensor, rank: int, seed: int) -> None:
        super().__init__()
        outputs, inputs = weight.shape[:2]
        rank = min(rank, outputs, inputs)
        bound = 1 / math.sqrt(inputs)
        generator = torch.Generator().manual_seed(seed)
        down = torch.empty(rank, inputs, dtype=weight.dtype, device="cpu").uniform_(
            -bound, bound, generator=generator
        )
        self.down = nn.Parameter(down.to(weight.device))
        self.up = nn.Parameter(weight.new_zeros(outputs, rank))

    def forward(self, weight: Tensor) -> Tensor:
        return weight + (self.up @ self.down).view_as(weight)


def add_adapters(trunk: nn.Module, rank: int) -> dict[str, nn.Parameter]:
    """Put an adapter beside the weight of every linear layer of the trunk's blocks; freeze everything else.

    Linear layers are the projections of attention (queries, keys and values; output), the MLPs, and
    convolutions that look at one cell only, of which a convolutional trunk (nano's) has two in every block.
    Adapters begin with the same numbers every time.

    Args:
        trunk: ``SAM2.trunk``; changed in place.
        rank: Of the adapters; layers with fewer channels get as many as they have.

    Returns:
        The adapters' parameters by their names in the trunk.

    Raises:
        InputError: the rank is below 1, there are adapters already, or the trunk has no linear layers.
    """
    if rank < 1:
        raise InputError(f"the rank of adapters must be 1 or more, not {rank}")
    if has_adapters(trunk):
        raise InputError("the trunk has adapters already; fold them in with merged() first")
    layers = list(_linear_layers(trunk))
    if not layers:
        raise InputError("the trunk has no linear layers in its blocks to put adapters beside; train without")
    trunk.requires_grad_(False)
    for number, layer in enumerate(layers):
        parametrize.register_parametrization(layer, "weight", LowRank(layer.weight, rank, number))
    return {name: parameter for name, parameter in trunk.named_parameters() if is_adapter(name)}


def has_adapters(module: nn.Module) -> bool:
    """Whether some layer has one."""
    return any(isinstance(part, LowRank) for part in module.modules())


def is_adapter(name: str) -> bool:
    """Whether a parameter's name is that of an adapter's factor, as opposed to the weight beside it."""
    return MARK in name and name.endswith((".up", ".down"))


@torch.no_grad()
def merged(model: Network) -> Network:
    """A copy of the model with its adapters added to the weights: plain layers with the same results.

    Parameters have their usual names again. Without adapters it is just a copy.
    """
    folded = copy.deepcopy(model)
    for module in list(folded.modules()):
        if parametrize.is_parametrized(module, "weight"):
            _make_plain(module)
    return folded


def _make_plain(layer: nn.Module) -> None:
    """Give a layer its weight with the adapter in it, and its own class again.

    ``parametrize.remove_parametrizations`` would change the class that copies of the layer share.
    """
    weight = layer.weight
    assert isinstance(weight, Tensor)
    plain = type(layer).__bases__[0]
    del layer.parametrizations
    layer.__class__ = plain
    layer.register_parameter("weight", nn.Parameter(weight.detach().clone()))


def _linear_layers(trunk: nn.Module) -> Iterator[nn.Linear | nn.Conv2d]:
    for part in ("blocks", "stages"):
        for module in getattr(trunk, part, nn.ModuleList()).modules():
            if isinstance(module, nn.Linear) or (
                isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1) and module.groups == 1
            ):
                yield module
