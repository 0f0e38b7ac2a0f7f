"""The mask decoder's attention between a few tokens and a whole picture, with less work for the same result.

Projections of the picture's tokens are moved to the few tokens on the other side. With W_q, W_k, W_v, W_o the
projections of one head: q_i . k_t = x_i . (W_q^T k_t) + b_q . k_t, so the picture x needs no W_q; summing
P_it W_v x_i over i is W_v applied to the sum of P_it x_i, so no W_v is needed; likewise W_k and W_o. What a
key's bias adds is the same for all keys and cancels in the softmax. The parameters and their names stay.

Axes: N objects, I picture tokens, T few tokens, H heads, D channels of a head, C channels.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from maskwright.model.attention import Attention
from maskwright.model.sam2 import SAM2
from maskwright.model.two_way import TwoWayBlock, TwoWayTransformer

MAX_GROWTH = 2
"""Beyond this many times the inner channels, heads times tokens, the plain way is cheaper."""


def absorb_decoder(network: SAM2) -> SAM2:
    """Let the decoder's attention between tokens and picture work so, in place."""
    transformer = network.mask_decoder.transformer
    assert isinstance(transformer, TwoWayTransformer)
    for block in transformer.blocks:
        assert isinstance(block, TwoWayBlock)
        block.token_to_image = _FewQueries(block.token_to_image)
        block.image_to_token = _FewKeys(block.image_to_token)
    transformer.final_attention = _FewQueries(transformer.final_attention)
    return network


class _Absorbed(Attention):
    """Attention with the layers of another one."""

    def __init__(self, plain: Attention) -> None:
        nn.Module.__init__(self)
        self.heads = plain.heads
        self.query, self.key, self.value, self.out = plain.query, plain.key, plain.value, plain.out

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
        if rotary is None and self._suits(query_NTC, key_NTC, mask):
            return self._absorbed(query_NTC, key_NTC, value_NTC, mask)
        return super().forward(
            query_NTC, key_NTC, value_NTC, mask=mask, rotary=rotary, num_placeless=num_placeless
        )

    def _suits(self, query_NTC: Tensor, key_NTC: Tensor, mask: Tensor | None) -> bool:
        """Whether this way is possible and cheaper."""
        raise NotImplementedError

    def _absorbed(self, query_NTC: Tensor, key_NTC: Tensor, value_NTC: Tensor, mask: Tensor | None) -> Tensor:
        raise NotImplementedError

    def _are_few(self, tokens_NTC: Tensor) -> bool:
        return self.heads * tokens_NTC.shape[1] <= MAX_GROWTH * self.query.out_features

    def _scaled(self, few_NTE: Tensor) -> Tensor:
        few_NHTD = self._split(few_NTE)
        return few_NHTD / math.sqrt(few_NHTD.shape[-1])

    def _by_head(self, weight_EC: Tensor) -> Tensor:
        """The rows of a projection, (H, D, C)."""
        by_head_HDC: Tensor = weight_EC.unflatten(0, (self.heads, -1))
        return by_head_HDC


class _FewQueries(_Absorbed):
    """From tokens to the picture; a picture that several objects share is cheaper to project once."""

    def _suits(self, query_NTC: Tensor, key_NTC: Tensor, mask: Tensor | None) -> bool:
        return mask is None and len(key_NTC) == len(query_NTC) and self._are_few(query_NTC)

    def _absorbed(self, query_NTC: Tensor, key_NTC: Tensor, value_NTC: Tensor, mask: Tensor | None) -> Tensor:
        query_NHTD = self._scaled(self.query(query_NTC))
        asked_NHTC = query_NHTD @ self._by_head(self.key.weight)
        scores_NXI = asked_NHTC.flatten(1, 2) @ key_NTC.transpose(1, 2)
        mixed_NXC = scores_NXI.softmax(-1) @ value_NTC
        mixed_NHTC = mixed_NXC.unflatten(1, (self.heads, -1))
        bias_H1D = self.value.bias.view(self.heads, 1, -1)
        mixed_NHTD = mixed_NHTC @ self._by_head(self.value.weight).transpose(1, 2) + bias_H1D
        out: Tensor = self.out(mixed_NHTD.transpose(1, 2).flatten(2))
        return out


class _FewKeys(_Absorbed):
    """From the picture to tokens."""

    def _suits(self, query_NTC: Tensor, key_NTC: Tensor, mask: Tensor | None) -> bool:
        return self._are_few(key_NTC)

    def _absorbed(self, query_NTC: Tensor, key_NTC: Tensor, value_NTC: Tensor, mask: Tensor | None) -> Tensor:
        key_NHTD = self._scaled(self.key(key_NTC))
        asked_NXC = (key_NHTD @ self._by_head(self.query.weight)).flatten(1, 2)
        bias_NX1 = (key_NHTD @ self.query.bias.view(self.heads, -1, 1)).flatten(1, 2)
        if len(query_NTC) == 1:
            scores_NXI = (asked_NXC.flatten(0, 1) @ query_NTC[0].t()).unflatten(0, asked_NXC.shape[:2])
        else:
            scores_NXI = asked_NXC @ query_NTC.transpose(1, 2)
        scores_NHTI = (scores_NXI + bias_NX1).unflatten(1, (self.heads, -1))
        if mask is not None:  # (N, 1, 1, T): which tokens there are
            scores_NHTI = scores_NHTI.masked_fill(~mask.transpose(2, 3), -math.inf)
        # over the tokens, which are not the last axis: the picture's cells lie side by side
        shares_NXI = scores_NHTI.softmax(2).flatten(1, 2)
        said_NHTC = self._split(self.value(value_NTC)) @ self._by_head(self.out.weight.t())
        return torch.baddbmm(self.out.bias, shares_NXI.transpose(1, 2), said_NHTC.flatten(1, 2))
