"""Hiera for processors: packed layers, attention in blocks, wide maps a piece at a time.

Axes: B pictures, W windows, R rows (tokens of any picture), H W height and width, C channels.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from maskwright.model.hiera import Hiera, HieraBlock, WindowAttention
from maskwright.model.layers import MLP
from maskwright.runtime.cpu.attend import attend
from maskwright.runtime.cpu.packed import PackedLinear, follows_caller

PIECE_BYTES = 8 << 20
"""Size of the widest map inside a block that is held at a time."""
Size = tuple[int, int]
Kind = type[PackedLinear]


class PackedHiera(Hiera):
    """The trunk ``plain`` with its parameters, in a dtype from the first block on."""

    def __init__(self, plain: Hiera, dtype: torch.dtype, kind: Kind = PackedLinear) -> None:
        nn.Module.__init__(self)
        self.config, self.plans, self.dtype = plain.config, plain.plans, dtype
        self._plain = (plain,)  # in a tuple, so that its parameters do not count twice
        self.patch, self.position = plain.patch, plain.position
        self.window_position = plain.window_position
        self.blocks = nn.ModuleList(PackedBlock(block, dtype, kind) for block in plain.blocks)  # type: ignore[arg-type]
        self._places: dict[Size, Tensor] = {}

    def forward(self, pixels_BCHW: Tensor) -> list[Tensor]:
        if follows_caller(self.dtype):
            return self._plain[0](pixels_BCHW)
        return super().forward(pixels_BCHW)

    def place(self, height: int, width: int) -> Tensor:
        found = self._places.get((height, width))
        if found is None:
            found = super().place(height, width).to(self.dtype)
            self._places = {(height, width): found}
        return found


class PackedBlock(HieraBlock):
    """One block with its parameters."""

    attention: PackedAttention
    mlp: PackedMLP

    def __init__(self, plain: HieraBlock, dtype: torch.dtype, kind: Kind) -> None:
        nn.Module.__init__(self)
        self.plan, self.dtype = plain.plan, dtype
        self.norm1, self.norm2 = plain.norm1, plain.norm2
        self.attention = PackedAttention(plain.attention, dtype, kind)
        self.mlp = PackedMLP(plain.mlp, dtype, kind)
        self.widen = None if plain.widen is None else PackedLinear(plain.widen, dtype)

    def forward(self, x_BHWC: Tensor) -> Tensor:
        x_BHWC = x_BHWC.to(self.dtype)
        normed_BHWC = self.norm1(x_BHWC)
        if self.widen is not None:
            x_BHWC = self.widen(normed_BHWC)
            x_BHWC = _halve(x_BHWC) if self.plan.pool else x_BHWC
        mixed_BHWC = self._attend(normed_BHWC)
        x_RC = self.attention.out.plus(mixed_BHWC.flatten(0, 2), x_BHWC.flatten(0, 2))
        return self.mlp.beside(x_RC, self.norm2).view(x_BHWC.shape)


class PackedAttention(WindowAttention):
    """Attention of a block, without the projection at its end."""

    qkv: PackedLinear
    out: PackedLinear

    def __init__(self, plain: WindowAttention, dtype: torch.dtype, kind: Kind) -> None:
        nn.Module.__init__(self)
        self.heads, self.pool = plain.heads, plain.pool
        self.qkv = kind(plain.qkv, dtype, _scaled_queries(plain))
        self.out = PackedLinear(plain.out, dtype)

    def forward(self, x_WHWC: Tensor) -> Tensor:
        """(W, h, w, C) -> (W, h', w', C'), h' = h / 2 where pooled."""
        bytes_per_window = x_WHWC[0, ..., 0].numel() * self.qkv.out_features * x_WHWC.element_size()
        pieces = x_WHWC.split(max(1, PIECE_BYTES // bytes_per_window))
        mixed = [self._mix(piece) for piece in pieces]
        return mixed[0] if len(mixed) == 1 else torch.cat(mixed)

    def _mix(self, x_WHWC: Tensor) -> Tensor:
        windows, height, width, _ = x_WHWC.shape
        q, k, v = self.qkv(x_WHWC).chunk(3, dim=-1)
        if self.pool:
            q, height, width = _halve(q), height // 2, width // 2
        q, k, v = (part.reshape(windows, -1, self.heads, part.shape[-1] // self.heads) for part in (q, k, v))
        mixed = attend(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2))
        return mixed.transpose(1, 2).reshape(windows, height, width, -1)


@torch.no_grad()
def _scaled_queries(plain: WindowAttention) -> tuple[Tensor, Tensor]:
    """Weight and bias with the factor before the softmax in them; maxima may be taken afterwards."""
    width = plain.out.in_features
    factor_E = torch.ones(3 * width)
    factor_E[:width] = (width // plain.heads) ** -0.5
    return plain.qkv.weight * factor_E[:, None], plain.qkv.bias * factor_E


class PackedMLP(MLP):
    """Two layers with GELU between them."""

    def __init__(self, plain: MLP, dtype: torch.dtype, kind: Kind) -> None:
        nn.Module.__init__(self)
        self.layers = nn.ModuleList(kind(layer, dtype) for layer in plain.layers)  # type: ignore[arg-type]
        self.activation = plain.activation

    def beside(self, x_RC: Tensor, norm: nn.Module) -> Tensor:
        """The sum of x and MLP(norm(x)), so many rows at a time that the hidden map is small."""
        expand, reduce = self.layers
        assert isinstance(expand, PackedLinear)
        assert isinstance(reduce, PackedLinear)
        rows = max(256, PIECE_BYTES // (expand.out_features * x_RC.element_size()))
        parts = [expand.into(reduce, norm(piece_RC), "gelu", piece_RC) for piece_RC in x_RC.split(rows)]
        return parts[0] if len(parts) == 1 else torch.cat(parts)


def _halve(x_BHWC: Tensor) -> Tensor:
    """Maximum over 2x2 cells, as ``pool_2x2``, which on processors also writes down where the maxima were."""
    x_BHWC = torch.maximum(x_BHWC[:, 0::2], x_BHWC[:, 1::2])
    return torch.maximum(x_BHWC[:, :, 0::2], x_BHWC[:, :, 1::2])
