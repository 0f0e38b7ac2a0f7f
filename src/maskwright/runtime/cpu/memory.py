"""Memory attention for processors: packed layers, raw memories as values, attention in blocks.

Values are absorbed as in ``runtime.absorb_memory``. Queries and keys have their channels in another order,
all even ones before all odd ones, which their product does not notice: rotating channel pairs is then a
matter of two contiguous halves.

Axes: N objects (1 while nothing depends on the object), I picture tokens, T memory tokens (frames, then
pointers), F frames, C channels of the picture, D channels of a memory or of a query.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from maskwright.model.attention import Attention
from maskwright.model.memory_attention import PLACE_WEIGHT, MemoryAttention, MemoryAttentionLayer
from maskwright.model.position import rotary_table
from maskwright.runtime.absorb_memory import folded_output
from maskwright.runtime.cpu.attend import attend
from maskwright.runtime.cpu.packed import PackedLinear, follows_caller
from maskwright.runtime.processor import instruction_sets

Table = tuple[Tensor, Tensor]


class PackedMemoryAttention(MemoryAttention):
    """The memory attention ``plain`` with its parameters: products in a dtype, sums of layers in float32."""

    def __init__(
        self, plain: MemoryAttention, dtype: torch.dtype, kind: type[PackedLinear] = PackedLinear
    ) -> None:
        nn.Module.__init__(self)
        self.norm, self.dtype = plain.norm, dtype
        self._plain = (plain,)  # in a tuple, so that its parameters do not count twice
        self.layers = nn.ModuleList(PackedLayer(layer, dtype, kind) for layer in plain.layers)  # type: ignore[arg-type]
        self._tables: dict[tuple[int, int], Table] = {}

    def forward(
        self,
        features_NCHW: Tensor,
        sine_CHW: Tensor,
        memory_NTD: Tensor,
        place_NTD: Tensor,
        visible_NT: Tensor | None,
        num_placeless: int,
    ) -> Tensor:
        if follows_caller(self.dtype):
            return self._plain[0](features_NCHW, sine_CHW, memory_NTD, place_NTD, visible_NT, num_placeless)
        visible_N11T = None if visible_NT is None else visible_NT[:, None, None]
        height, width = features_NCHW.shape[-2:]
        table = self._table(height, width, features_NCHW.shape[1])
        x_NIC = (features_NCHW + PLACE_WEIGHT * sine_CHW).flatten(2).transpose(1, 2).float()
        placed_NTD = (memory_NTD + place_NTD).to(self.dtype)
        memory_NTD = memory_NTD.to(self.dtype)
        for layer in self.layers:
            x_NIC = layer(x_NIC, memory_NTD, placed_NTD, visible_N11T, table, num_placeless)
        return self.norm(x_NIC).transpose(1, 2).unflatten(2, (height, width))

    def _table(self, height: int, width: int, channels: int) -> Table:
        """``rotary_table``, made once."""
        found = self._tables.get((height, width))
        if found is None:
            cos_ID, sin_ID = rotary_table(height, width, channels, torch.device("cpu"))
            found = cos_ID.to(self.dtype), sin_ID.to(self.dtype)
            self._tables = {(height, width): found}
        return found


class PackedLayer(MemoryAttentionLayer):
    """One layer with its parameters."""

    self_attention: PackedRotary
    cross_attention: PackedRotary
    expand: PackedLinear
    reduce: PackedLinear

    def __init__(self, plain: MemoryAttentionLayer, dtype: torch.dtype, kind: type[PackedLinear]) -> None:
        nn.Module.__init__(self)
        self.norm1, self.norm2, self.norm3 = plain.norm1, plain.norm2, plain.norm3
        self.self_attention = PackedRotary(plain.self_attention, dtype)
        self.cross_attention = PackedRotary(plain.cross_attention, dtype, absorb=mixes_raw(dtype))
        self.expand, self.reduce = kind(plain.expand, dtype), kind(plain.reduce, dtype)

    def forward(
        self,
        image_NIC: Tensor,
        memory_NTD: Tensor,
        placed_NTD: Tensor,
        visible_N11T: Tensor | None,
        rotary: Table,
        num_placeless: int,
    ) -> Tensor:
        x_NIC = self.norm1(image_NIC)
        mixed_NIC = self.self_attention.mixed(x_NIC, x_NIC, x_NIC, None, rotary, 0)
        image_NIC = image_NIC + self.self_attention.out(mixed_NIC)
        mixed_NID = self.cross_attention.mixed(
            self.norm2(image_NIC), placed_NTD, memory_NTD, visible_N11T, rotary, num_placeless
        )
        image_NIC = image_NIC + self.cross_attention.out(mixed_NID)
        return image_NIC + self.expand.into(self.reduce, self.norm3(image_NIC), "relu")


def mixes_raw(dtype: torch.dtype) -> bool:
    """Whether raw memories as values are quicker; in float32, measured on processors without AVX-512 only."""
    return dtype is not torch.float32 or "avx512f" not in instruction_sets()


class PackedRotary(Attention):
    """Attention with one head and turned queries and keys, without the projection at its end.

    With ``absorb``, values are mixed as they are, and ``out`` is the product of both projections.
    """

    query: PackedLinear
    key: PackedLinear
    out: PackedLinear

    def __init__(self, plain: Attention, dtype: torch.dtype, *, absorb: bool = False) -> None:
        nn.Module.__init__(self)
        assert plain.heads == 1
        self.heads, self.absorb = 1, absorb
        self.query = _halved(plain.query, dtype, factor=plain.query.out_features**-0.5)
        self.key = _halved(plain.key, dtype)
        self.value = plain.value if absorb else PackedLinear(plain.value, dtype)
        self.out = PackedLinear(plain.out, dtype, folded_output(plain) if absorb else None)

    def mixed(
        self,
        query_NIC: Tensor,
        key_NTC: Tensor,
        value_NTC: Tensor,
        mask: Tensor | None,
        rotary: Table,
        num_placeless: int,
    ) -> Tensor:
        """What ``out`` is to be applied to; arguments as for :class:`Attention`."""
        query_NID = _turned(self.query(query_NIC), rotary, 0)
        key_NTD = _turned(self.key(key_NTC), rotary, num_placeless)
        value_NTV = value_NTC if self.absorb else self.value(value_NTC)
        num = max(len(query_NID), len(key_NTD))
        query, key, value = (x.expand(num, -1, -1)[:, None] for x in (query_NID, key_NTD, value_NTV))
        return attend(query, key, value, mask)[:, 0]


@torch.no_grad()
def _halved(plain: nn.Linear, dtype: torch.dtype, factor: float = 1.0) -> PackedLinear:
    """With the even ones of what comes out before the odd ones, all times a factor."""
    weight_ED, bias_E = (torch.cat((p[0::2], p[1::2])) * factor for p in (plain.weight, plain.bias))
    return PackedLinear(plain, dtype, (weight_ED, bias_E))


def _turned(x_NTD: Tensor, rotary: Table, num_placeless: int) -> Tensor:
    """Turn tokens (several grids of the table's size in a row, then some that stay as they are)."""
    cos_ID, sin_ID = rotary
    out_NTD = torch.empty_like(x_NTD)
    placed = x_NTD.shape[1] - num_placeless
    out_NTD[:, placed:] = x_NTD[:, placed:]
    for x_NID, out_NID in zip(
        *(part[:, :placed].split(len(cos_ID), dim=1) for part in (x_NTD, out_NTD)), strict=True
    ):
        (even, odd), (turned_even, turned_odd) = x_NID.chunk(2, -1), out_NID.chunk(2, -1)
        torch.mul(even, cos_ID, out=turned_even).addcmul_(odd, sin_ID, value=-1)
        torch.mul(even, sin_ID, out=turned_odd).addcmul_(odd, cos_ID)
    return out_NTD
