"""Memory cross-attention that mixes the memories themselves: less work for the same result.

The values are V = M W_v + b_v of memories M, which are four times narrower. Each row of weights P sums to 1,
so (P V) W_o + b_o = (P M)(W_v W_o) + (b_v W_o + b_o): the memories take the place of the values, the product
of both projections is made once, and nothing is projected for each memory. Mixing costs a quarter. The keys
cannot be treated so, because their rotation stands between two projections. The parameters and their names
stay; weights that are loaded later have no effect.

Axes: N objects, H heads (1), I picture tokens, T memory tokens, C channels of the picture, D channels of a
query or key, V channels of a memory.
"""

from __future__ import annotations

from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maskwright.model.attention import Attention, rotate_frames
from maskwright.model.memory_attention import MemoryAttentionLayer
from maskwright.model.position import rotate
from maskwright.model.sam2 import SAM2


class Attend(Protocol):
    """Softmax attention whose values are narrower than its keys."""

    def __call__(
        self, query_NHID: Tensor, key_NHTD: Tensor, value_NHTV: Tensor, mask: Tensor | None
    ) -> Tensor:
        """softmax(Q K^T / sqrt(D)) V, (N, H, I, V), all of one dtype and with the same N.

        Tensors may be views with strides of any kind. ``mask``: boolean, broadcastable to
        (N, H, I, T), True where a key may be seen; None where all may.
        """
        ...


def plain_attend(query_NHID: Tensor, key_NHTD: Tensor, value_NHTV: Tensor, mask: Tensor | None) -> Tensor:
    """PyTorch's own: memory-efficient on CUDA; on CPUs it writes out the whole score matrix."""
    return F.scaled_dot_product_attention(query_NHID, key_NHTD, value_NHTV, attn_mask=mask)


def absorb_memory(network: SAM2, attend: Attend = plain_attend) -> SAM2:
    """Let every layer of the memory attention work so, in place; networks without any stay as they are.

    A second call only changes ``attend``.
    """
    if not network.config.match_memory:
        for layer in network.memory_attention.layers:
            assert isinstance(layer, MemoryAttentionLayer)
            layer.cross_attention = RawValues(layer.cross_attention, attend)
    return network


@torch.no_grad()
def folded_output(plain: Attention) -> tuple[Tensor, Tensor]:
    """Weight (C, V) and bias (C) of one projection that does for those of the values and the output."""
    out_CE, of_values = plain.out.weight.double().cpu(), plain.value.weight.double().cpu()
    bias_C = out_CE @ plain.value.bias.double().cpu() + plain.out.bias.double().cpu()
    return (out_CE @ of_values).to(plain.out.weight), bias_C.to(plain.out.bias)


class RawValues(Attention):
    """Attention with one head and the layers of another one, whose values are what is remembered."""

    folded_weight: Tensor
    folded_bias: Tensor

    @torch.no_grad()
    def __init__(self, plain: Attention, attend: Attend = plain_attend) -> None:
        nn.Module.__init__(self)
        assert plain.heads == 1
        self.heads, self.attend = 1, attend
        self.query, self.key, self.value, self.out = plain.query, plain.key, plain.value, plain.out
        weight_CV, bias_C = folded_output(plain)
        self.register_buffer("folded_weight", weight_CV, persistent=False)
        self.register_buffer("folded_bias", bias_C, persistent=False)

    def forward(
        self,
        query_NTC: Tensor,
        key_NTC: Tensor,
        value_NTC: Tensor,
        *,
        mask: Tensor | None = None,
        rotary: tuple[Tensor, Tensor] | None = None,
        num_placeless: int = 0,
    ) -> Tensor:
        asked_NHID, key_NHTD = self._split(self.query(query_NTC)), self._split(self.key(key_NTC))
        dtype = asked_NHID.dtype  # autocast's, where there is one; rotations would leave it
        if rotary is not None:
            asked_NHID = rotate(asked_NHID, *rotary)
            key_NHTD = rotate_frames(key_NHTD, rotary, num_placeless)
        num = max(len(asked_NHID), len(key_NHTD))
        query, key, value = (
            part.to(dtype).expand(num, -1, -1, -1) for part in (asked_NHID, key_NHTD, value_NTC[:, None])
        )
        mixed_NIV = self.attend(query, key, value, mask)[:, 0]
        return F.linear(mixed_NIV, self.folded_weight, self.folded_bias)
