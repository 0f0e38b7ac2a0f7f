"""Hiera, the trunk of the official SAM 2 models: a hierarchical vision transformer with windows.

Ryali et al. 2023, in the form of the official ``hieradet``: absolute position maps, attention in windows
except for a few global blocks, queries pooled 2x2 where a stage begins.
Axes: B pictures, W windows (B x windows per picture), H W height and width, T tokens of a window, C channels.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maskwright.config import HieraConfig
from maskwright.model.layers import MLP

PATCH_STRIDE = 4
NORM_EPS = 1e-6


class BlockPlan(NamedTuple):
    """What one block of the trunk looks like."""

    inputs: int
    outputs: int
    heads: int
    window: int
    """Side of the attention window in tokens before pooling; 0 is the whole picture."""
    pool: bool
    """Whether queries are pooled 2x2, which halves the sides of the map."""
    tap: bool
    """Whether the block is the last of its stage."""


def plan_blocks(config: HieraConfig) -> list[BlockPlan]:
    """Lay out the blocks. The first block of a stage still has the window of the stage before."""
    plans: list[BlockPlan] = []
    width, heads, window = config.width, config.heads, config.windows[0]
    for stage, depth in enumerate(config.depths):
        for i in range(depth):
            begins = stage > 0 and i == 0
            inputs = width
            if begins:
                width, heads = width * 2, heads * 2
            side = 0 if len(plans) in config.global_blocks else window
            plans.append(BlockPlan(inputs, width, heads, side, begins, i == depth - 1))
            window = config.windows[stage]
    return plans


class WindowAttention(nn.Module):
    """Self-attention within each window; the block's ``pool`` halves the query grid."""

    def __init__(self, plan: BlockPlan) -> None:
        super().__init__()
        self.heads, self.pool = plan.heads, plan.pool
        self.qkv = nn.Linear(plan.inputs, plan.outputs * 3)
        self.out = nn.Linear(plan.outputs, plan.outputs)

    def forward(self, x_WHWC: Tensor) -> Tensor:
        """(W, h, w, C) -> (W, h', w', C'), h' = h / 2 where pooled."""
        windows, height, width, _ = x_WHWC.shape
        q, k, v = self.qkv(x_WHWC).chunk(3, dim=-1)
        if self.pool:
            q, height, width = pool_2x2(q), height // 2, width // 2
        q, k, v = (part.reshape(windows, -1, self.heads, part.shape[-1] // self.heads) for part in (q, k, v))
        mixed = F.scaled_dot_product_attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2))
        out: Tensor = self.out(mixed.transpose(1, 2).reshape(windows, height, width, -1))
        return out


class HieraBlock(nn.Module):
    """Attention and MLP, each after a norm and around a residual."""

    def __init__(self, plan: BlockPlan) -> None:
        super().__init__()
        self.plan = plan
        self.norm1 = nn.LayerNorm(plan.inputs, eps=NORM_EPS)
        self.attention = WindowAttention(plan)
        self.norm2 = nn.LayerNorm(plan.outputs, eps=NORM_EPS)
        self.mlp = MLP(plan.outputs, plan.outputs * 4, plan.outputs, activation=F.gelu)
        self.widen = nn.Linear(plan.inputs, plan.outputs) if plan.inputs != plan.outputs else None

    def forward(self, x_BHWC: Tensor) -> Tensor:
        normed_BHWC = self.norm1(x_BHWC)
        if self.widen is not None:
            x_BHWC = self.widen(normed_BHWC)
            x_BHWC = pool_2x2(x_BHWC) if self.plan.pool else x_BHWC
        x_BHWC = x_BHWC + self._attend(normed_BHWC)
        out_BHWC: Tensor = x_BHWC + self.mlp(self.norm2(x_BHWC))
        return out_BHWC

    def _attend(self, x_BHWC: Tensor) -> Tensor:
        window = self.plan.window
        if not window:
            whole_BHWC: Tensor = self.attention(x_BHWC)
            return whole_BHWC
        height, width = x_BHWC.shape[1:3]
        mixed_WHWC = self.attention(to_windows(x_BHWC, window))
        if self.plan.pool:
            window, height, width = window // 2, height // 2, width // 2
        return from_windows(mixed_WHWC, window, height, width)


class Hiera(nn.Module):
    """The trunk: pictures (B, 3, H, W) to four maps (B, C, h, w) at strides 4, 8, 16 and 32."""

    def __init__(self, config: HieraConfig) -> None:
        super().__init__()
        self.config = config
        self.plans = plan_blocks(config)
        self.patch = nn.Conv2d(3, config.width, 7, stride=PATCH_STRIDE, padding=3)
        self.position = nn.Parameter(torch.zeros(1, config.width, *config.position_grid))
        self.window_position = nn.Parameter(
            torch.zeros(1, config.width, config.windows[0], config.windows[0])
        )
        self.blocks = nn.ModuleList(HieraBlock(plan) for plan in self.plans)

    def forward(self, pixels_BCHW: Tensor) -> list[Tensor]:
        x_BHWC = self.patch(pixels_BCHW).permute(0, 2, 3, 1)
        x_BHWC = x_BHWC + self.place(x_BHWC.shape[1], x_BHWC.shape[2])
        levels = []
        for block, plan in zip(self.blocks, self.plans, strict=True):
            x_BHWC = block(x_BHWC)
            if plan.tap:
                levels.append(x_BHWC.permute(0, 3, 1, 2))
        return levels

    def place(self, height: int, width: int) -> Tensor:
        """Stretched global map plus the window map tiled over it: (1, H, W, C)."""
        stretched: Tensor = self.position
        if stretched.shape[-2:] != (height, width):
            stretched = F.interpolate(stretched, size=(height, width), mode="bicubic")
        side = self.window_position.shape[-1]
        tiled = self.window_position.tile(1, 1, height // side, width // side)
        return (stretched + tiled).permute(0, 2, 3, 1)


def pool_2x2(x_BHWC: Tensor) -> Tensor:
    """Maximum over 2x2 cells, channels last."""
    return F.max_pool2d(x_BHWC.permute(0, 3, 1, 2), 2).permute(0, 2, 3, 1)


def to_windows(x_BHWC: Tensor, side: int) -> Tensor:
    """Cut into windows (B x windows, side, side, C); maps that do not divide are zero-padded at the end."""
    _, height, width, channels = x_BHWC.shape
    x_BHWC = F.pad(x_BHWC, (0, 0, 0, -width % side, 0, -height % side))
    tiled = x_BHWC.unflatten(2, (-1, side)).unflatten(1, (-1, side))
    return tiled.transpose(2, 3).reshape(-1, side, side, channels)


def from_windows(x_WHWC: Tensor, side: int, height: int, width: int) -> Tensor:
    """Undo ``to_windows`` for a map of ``height`` x ``width``, dropping the padding."""
    rows, columns = -(-height // side), -(-width // side)
    tiled = x_WHWC.unflatten(0, (-1, rows, columns)).transpose(2, 3)
    return tiled.flatten(3, 4).flatten(1, 2)[:, :height, :width]
