"""Exact algebra on a network's weights before it is used: the same numbers with less work.

What is folded here cannot be trained any more; training uses the network as it is written in ``model``.
Axes: B pictures, C channels, H W height and width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

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


@torch.no_grad()
def merge_neck(network: SAM2) -> SAM2:
    """Let one 1x1 convolution take each of the trunk's two finest levels to the decoder's channels, in place.

    Nothing stands between the neck's lateral convolution at these levels and the decoder's projection, so
    their product does for both, and the map of ``width`` channels in between is never made. The parameters
    and their names stay; weights that are loaded later have no effect. Does nothing a second time.
    """
    decoder, laterals = network.mask_decoder, network.neck.laterals
    for level, name in enumerate(("high_projection", "mid_projection")):
        lateral, projection = laterals[level], getattr(decoder, name)
        assert isinstance(lateral, nn.Conv2d)
        if not isinstance(lateral, _Merged):
            laterals[level] = _Merged(lateral, projection)
            setattr(decoder, name, _Done(projection))
    return network


class _Merged(nn.Conv2d):
    """A 1x1 convolution that also does what the next one would do."""

    merged_weight: Tensor
    merged_bias: Tensor

    def __init__(self, plain: nn.Conv2d, following: nn.Conv2d) -> None:
        nn.Module.__init__(self)
        self.weight, self.bias = plain.weight, plain.bias
        assert plain.bias is not None
        assert following.bias is not None
        after = following.weight.flatten(1).double().cpu()
        weight = after @ plain.weight.flatten(1).double().cpu()
        bias = after @ plain.bias.double().cpu() + following.bias.double().cpu()
        self.register_buffer("merged_weight", weight[:, :, None, None].to(plain.weight), persistent=False)
        self.register_buffer("merged_bias", bias.to(plain.bias), persistent=False)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return F.conv2d(x_BCHW, self.merged_weight, self.merged_bias)


class _Done(nn.Conv2d):
    """A convolution whose work the one before it has done."""

    def __init__(self, plain: nn.Conv2d) -> None:
        nn.Module.__init__(self)
        self.weight, self.bias = plain.weight, plain.bias

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return x_BCHW
