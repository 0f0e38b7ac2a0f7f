"""The two-way transformer of the mask decoder: tokens look at the picture, the picture looks back.

Follows ``TwoWayTransformer`` of the official code (and of SAM 1).
Axes: N objects, T prompt and output tokens, I picture tokens, C channels.
"""

from __future__ import annotations

from torch import Tensor, nn

from maskwright.model.attention import Attention
from maskwright.model.layers import MLP

DEPTH = 2


class TwoWayBlock(nn.Module):
    """Self-attention of tokens, tokens to picture, MLP, picture to tokens; a residual and a norm each."""

    def __init__(self, width: int, heads: int, mlp: int, *, first: bool) -> None:
        super().__init__()
        self.first = first
        self.self_attention = Attention(width, heads)
        self.norm1 = nn.LayerNorm(width)
        self.token_to_image = Attention(width, heads, inner=width // 2)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = MLP(width, mlp, width)
        self.norm3 = nn.LayerNorm(width)
        self.image_to_token = Attention(width, heads, inner=width // 2)
        self.norm4 = nn.LayerNorm(width)

    def forward(
        self,
        tokens_NTC: Tensor,
        image_NIC: Tensor,
        prompt_NTC: Tensor,
        place_NIC: Tensor,
        visible_N11T: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """One round; ``prompt_NTC`` and ``place_NIC`` are re-added wherever positions matter."""
        if self.first:
            tokens_NTC = self.self_attention(tokens_NTC, tokens_NTC, tokens_NTC, mask=visible_N11T)
        else:
            placed_NTC = tokens_NTC + prompt_NTC
            tokens_NTC = tokens_NTC + self.self_attention(
                placed_NTC, placed_NTC, tokens_NTC, mask=visible_N11T
            )
        tokens_NTC = self.norm1(tokens_NTC)
        keys_NIC = image_NIC + place_NIC
        tokens_NTC = tokens_NTC + self.token_to_image(tokens_NTC + prompt_NTC, keys_NIC, image_NIC)
        tokens_NTC = self.norm2(tokens_NTC)
        tokens_NTC = self.norm3(tokens_NTC + self.mlp(tokens_NTC))
        seen_NIC = self.image_to_token(keys_NIC, tokens_NTC + prompt_NTC, tokens_NTC, mask=visible_N11T)
        return tokens_NTC, self.norm4(image_NIC + seen_NIC)


class TwoWayTransformer(nn.Module):
    """Two blocks and a last look of the tokens at the picture."""

    def __init__(self, width: int, heads: int, mlp: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(TwoWayBlock(width, heads, mlp, first=i == 0) for i in range(DEPTH))
        self.final_attention = Attention(width, heads, inner=width // 2)
        self.final_norm = nn.LayerNorm(width)

    def forward(
        self, prompt_NTC: Tensor, image_NIC: Tensor, place_NIC: Tensor, visible_NT: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Returns the tokens and the picture after both have seen each other."""
        visible_N11T = visible_NT[:, None, None, :]
        tokens_NTC = prompt_NTC
        for block in self.blocks:
            tokens_NTC, image_NIC = block(tokens_NTC, image_NIC, prompt_NTC, place_NIC, visible_N11T)
        seen_NTC = self.final_attention(tokens_NTC + prompt_NTC, image_NIC + place_NIC, image_NIC)
        return self.final_norm(tokens_NTC + seen_NTC), image_NIC
