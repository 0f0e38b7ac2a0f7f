"""Multi-head attention with separate inputs for queries, keys and values.

Axes: N batch, T tokens, C channels, D channels of one head.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maskwright.model.position import rotate


class Attention(nn.Module):
    """Scaled dot-product attention: ``inner`` channels inside, ``width`` outside.

    ``memory_width`` is the width of keys and values where it is another than that of the queries.
    """

    def __init__(self, width: int, heads: int, *, inner: int = 0, memory_width: int = 0) -> None:
        super().__init__()
        inner, memory_width = inner or width, memory_width or width
        self.heads = heads
        self.query = nn.Linear(width, inner)
        self.key = nn.Linear(memory_width, inner)
        self.value = nn.Linear(memory_width, inner)
        self.out = nn.Linear(inner, width)

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
        """Attend from queries to keys; where one side has N = 1, it serves all N of the other.

        ``mask``: boolean, broadcastable to (N, heads, queries, keys), True where a key may be seen.
        ``rotary``: cosines and sines of the picture's token grid (``position.rotary_table``). Keys may be
        several such grids in a row, one per memory frame, and then ``num_placeless`` keys without a place
        (object pointers), which are not turned.
        """
        q_NHTD, k_NHTD = self._split(self.query(query_NTC)), self._split(self.key(key_NTC))
        if rotary is not None:
            q_NHTD = rotate(q_NHTD, *rotary)
            k_NHTD = rotate_frames(k_NHTD, rotary, num_placeless)
        v_NHTD = self._split(self.value(value_NTC))
        num = max(len(q_NHTD), len(k_NHTD))
        q_NHTD, k_NHTD, v_NHTD = (x_NHTD.expand(num, -1, -1, -1) for x_NHTD in (q_NHTD, k_NHTD, v_NHTD))
        mixed_NHTD = F.scaled_dot_product_attention(q_NHTD, k_NHTD, v_NHTD, attn_mask=mask)
        out: Tensor = self.out(mixed_NHTD.transpose(1, 2).flatten(2))
        return out

    def _split(self, x_NTC: Tensor) -> Tensor:
        return x_NTC.unflatten(-1, (self.heads, -1)).transpose(1, 2)


def rotate_frames(k_NHTD: Tensor, rotary: tuple[Tensor, Tensor], num_placeless: int) -> Tensor:
    """Turn keys (N, H, T, D): several grids of the table's size in a row, then keys that stay as they are."""
    cos_TD, sin_TD = rotary
    placed, placeless = k_NHTD.split((k_NHTD.shape[2] - num_placeless, num_placeless), dim=2)
    frames = placed.shape[2] // cos_TD.shape[0]
    placed = rotate(placed, cos_TD.repeat(frames, 1), sin_TD.repeat(frames, 1))
    return torch.cat((placed, placeless), dim=2)
