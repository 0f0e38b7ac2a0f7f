"""Exact algebra on a network's weights before it is used: the same numbers with less work.

What is folded here cannot be trained any more; training uses the network as it is written in ``model``.
"""

from __future__ import annotations

import torch
from torch import nn

from maskwright.model.efficientnet import ConvNorm
from maskwright.model.sam2 import SAM2


@torch.no_grad()
def fold_normalisation(network: SAM2) -> SAM2:
    """Move every batch normalisation of nano's trunk into the convolution before it, in place.

    With fixed statistics a normalisation is one factor and one summand per channel, which the convolution's
    weights and bias can carry. Does nothing to networks without any, nor a second time.
    """
    for layer in network.modules():
        if isinstance(layer, ConvNorm) and isinstance(layer.norm, nn.BatchNorm2d):
            _fold(layer, layer.norm)
    return network


def _fold(layer: ConvNorm, norm: nn.BatchNorm2d) -> None:
    assert norm.running_mean is not None
    assert norm.running_var is not None
    factor_C = norm.weight / (norm.running_var + norm.eps).sqrt()
    weight = layer.conv.weight * factor_C.view(-1, 1, 1, 1)
    layer.conv.weight = nn.Parameter(weight, requires_grad=False)
    layer.conv.bias = nn.Parameter(norm.bias - norm.running_mean * factor_C, requires_grad=False)
    layer.norm = nn.Identity()
