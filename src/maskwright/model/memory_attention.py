"""Memory attention: a frame's features look at themselves and at the memories of an object.

Axes: N objects (1 while nothing depends on the object), I picture tokens, T memory tokens (frames, then
pointers), C channels of the picture, D channels of a memory.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from maskwright.config import ModelConfig
from maskwright.model.attention import Attention
from maskwright.model.position import rotary_table

PLACE_WEIGHT = 0.1
"""Share of the picture's sine encoding that is added to the input."""


class MemoryAttentionLayer(nn.Module):
    """Rotary self-attention, rotary cross-attention to memories, MLP; norm first, residual around."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width = config.width
        self.self_attention = Attention(width, heads=1)
        self.cross_attention = Attention(width, heads=1, memory_width=config.memory_width)
        self.expand = nn.Linear(width, config.memory_mlp)
        self.reduce = nn.Linear(config.memory_mlp, width)
        self.norm1, self.norm2, self.norm3 = nn.LayerNorm(width), nn.LayerNorm(width), nn.LayerNorm(width)

    def forward(
        self,
        image_NIC: Tensor,
        memory_NTD: Tensor,
        placed_NTD: Tensor,
        visible_N11T: Tensor | None,
        rotary: tuple[Tensor, Tensor],
        num_placeless: int,
    ) -> Tensor:
        x_NIC = self.norm1(image_NIC)
        image_NIC = image_NIC + self.self_attention(x_NIC, x_NIC, x_NIC, rotary=rotary)
        image_NIC = image_NIC + self.cross_attention(
            self.norm2(image_NIC),
            placed_NTD,
            memory_NTD,
            mask=visible_N11T,
            rotary=rotary,
            num_placeless=num_placeless,
        )
        out_NIC: Tensor = image_NIC + self.reduce(F.relu(self.expand(self.norm3(image_NIC))))
        return out_NIC


class MemoryAttention(nn.Module):
    """Follows ``MemoryAttention`` of the official code; memories may stand in any order."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(MemoryAttentionLayer(config) for _ in range(config.memory_layers))
        self.norm = nn.LayerNorm(config.width)

    def forward(
        self,
        features_NCHW: Tensor,
        sine_CHW: Tensor,
        memory_NTD: Tensor,
        place_NTD: Tensor,
        visible_NT: Tensor | None,
        num_placeless: int,
    ) -> Tensor:
        """Condition features of stride 16, (N, C, h, w) or one frame's (1, C, h, w), on N objects' memories.

        ``sine_CHW``: sine encoding of the grid. ``place_NTD``: encodings added to memories as keys.
        ``visible_NT``: False for empty slots; None if there are none. The last ``num_placeless`` memory
        tokens are pointers. What the first layer does before it looks at memories is done once for all
        objects.
        """
        visible_N11T = None if visible_NT is None else visible_NT[:, None, None]
        height, width = features_NCHW.shape[-2:]
        rotary = rotary_table(height, width, features_NCHW.shape[1], features_NCHW.device)
        x_NIC = (features_NCHW + PLACE_WEIGHT * sine_CHW).flatten(2).transpose(1, 2)
        placed_NTD = memory_NTD + place_NTD
        for layer in self.layers:
            x_NIC = layer(x_NIC, memory_NTD, placed_NTD, visible_N11T, rotary, num_placeless)
        return self.norm(x_NIC).transpose(1, 2).unflatten(2, (height, width))
