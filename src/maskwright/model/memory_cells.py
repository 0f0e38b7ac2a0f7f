"""The memory of nano: cells of past frames are matched with those of the new one, and their mask is redrawn.

Takes the place of memory encoder and memory attention where ``ModelConfig.match_memory`` is set. A memory
holds, for each cell of the stride-16 grid, a key (what the cell looks like), the mask at stride 4 in it, and
a learned value. Reading compares keys, prefers what is near, and gives a mask that has moved along with the
picture; a small network with the picture's finer features tidies it up.

Axes: N objects, S slots, I picture cells, T memory cells (S times I), C channels of the picture, D channels
of a memory, K channels of a key, V channels of a value, H W height and width.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maskwright.config import ModelConfig
from maskwright.model.layers import ConvNeXtBlock, LayerNorm2d, silence

FINER = 4
"""Side of a cell in cells of the mask grid."""
DRAWN_GAIN = 16.0
"""Logit between a redrawn mask's inside and outside."""
NUM_PLACE = 4
"""Channels that say where a key is; with them keys are as wide as values, as fused attention wants it."""
REACH = 0.2
"""Standard deviation, as a share of the picture, of where a cell is looked for at first."""


class Recalled(NamedTuple):
    """What memory says of a frame, for N objects."""

    logits_NHW: Tensor
    """The redrawn mask at stride 4."""
    low_NCHW: Tensor
    """Added to the stride-16 features."""
    high_NCHW: Tensor
    """Added to the stride-4 features."""
    presence_N: Tensor
    """Logit that the object is visible."""


class MemoryCells(nn.Module):
    """Writes memories and reads them, cell by cell."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width = config.width
        self.num_key = (config.memory_width - NUM_PLACE) // 2
        self.num_value = config.memory_width - self.num_key - FINER**2
        self.key = nn.Linear(width, self.num_key)
        self.sharpness = nn.Parameter(torch.tensor(3.0))
        self.reach = nn.Parameter(torch.full((config.num_memories,), REACH).log())
        self.trust = nn.Parameter(torch.zeros(config.num_memories))
        self.value = nn.Conv2d(width + FINER**2, self.num_value, 1)
        self.value_block = ConvNeXtBlock(self.num_value, expansion=2, scale=0.1)
        self.absent = nn.Parameter(torch.zeros(self.num_value))
        self.refiner = Refiner(width, self.num_value + FINER**2)

    def write(self, low_NCHW: Tensor, chance_N1HW: Tensor, absent_N: Tensor) -> Tensor:
        """Memories (N, I, D) of a frame: stride-16 features (N = 1 or one each), masks at stride 4, 0..1."""
        num = len(chance_N1HW)
        mask_NCHW = F.pixel_unshuffle(chance_N1HW, FINER)
        low_NCHW = low_NCHW.expand(num, -1, -1, -1)
        value_NCHW = self.value_block(self.value(torch.cat((low_NCHW, mask_NCHW), dim=1)))
        value_NCHW = value_NCHW + absent_N.view(-1, 1, 1, 1) * self.absent.view(1, -1, 1, 1)
        rest_NID = torch.cat((mask_NCHW, value_NCHW), dim=1).flatten(2).transpose(1, 2)
        return torch.cat((self._keys(low_NCHW), rest_NID), dim=2)

    def read(
        self,
        low_1CHW: Tensor,
        mid_1CHW: Tensor,
        high_1CHW: Tensor,
        memory_NSID: Tensor,
        row_NS: Tensor,
        visible_NS: Tensor | None,
        *,
        together: bool = False,
    ) -> Recalled:
        """Recall N objects in one frame.

        Args:
            low_1CHW: The frame's features at stride 16,
            mid_1CHW: at stride 8,
            high_1CHW: and at stride 4.
            memory_NSID: Memories of each object.
            row_NS: The age of each memory: a row of ``reach`` and ``trust``.
            visible_NS: False for memories that do not count; None if all do.
            together: All objects have memories of the same frames in the same slots, and all count: they are
                matched once.
        """
        height, width = low_1CHW.shape[-2:]
        place_I2 = _places(height, width, low_1CHW)
        query_1IK = torch.cat(
            (self._keys(low_1CHW) * self.sharpness.exp(), _where_asked(place_I2)[None]), dim=2
        )
        key_NSID, value_NSID = memory_NSID.split((self.num_key, self.num_value + FINER**2), dim=3)
        if together:
            key_NSID, row_NS = key_NSID[:1], row_NS[:1]
        where_NSIK = _where_kept(place_I2, self.reach[row_NS].exp(), self.trust[row_NS])
        key_NTK = torch.cat((key_NSID, where_NSIK), dim=3).flatten(1, 2)
        if together:
            found_NIV = _look_together(query_1IK, key_NTK, value_NSID.flatten(1, 2))
        else:
            cells = height * width
            mask_N11T = None if visible_NS is None else visible_NS.repeat_interleave(cells, 1)[:, None, None]
            found_NIV = _look(query_1IK, key_NTK, value_NSID.flatten(1, 2), mask_N11T)
        found_NCHW = found_NIV.transpose(1, 2).unflatten(2, (height, width))
        chance_N1HW = F.pixel_shuffle(found_NCHW[:, : FINER**2], FINER)
        out: Recalled = self.refiner(low_1CHW, mid_1CHW, high_1CHW, found_NCHW, chance_N1HW)
        return out

    def _keys(self, low_NCHW: Tensor) -> Tensor:
        """Directions (N, I, K) of length 1."""
        return F.normalize(self.key(low_NCHW.flatten(2).transpose(1, 2)), dim=2)


class Refiner(nn.Module):
    """From what was read at stride 16, by way of stride 8, to a mask at stride 4 that follows edges."""

    def __init__(self, width: int, num_found: int) -> None:
        super().__init__()
        coarse, middle, fine = width // 2, width // 4, width // 8
        self.enter = nn.Conv2d(width + num_found, coarse, 1)
        self.coarse = nn.Sequential(*(ConvNeXtBlock(coarse, expansion=2, scale=0.1) for _ in range(2)))
        self.to_middle = nn.Conv2d(coarse, middle, 1)
        self.mid = nn.Conv2d(width // 4, middle, 1)
        self.middle = ConvNeXtBlock(middle, expansion=2, scale=0.1)
        self.to_fine = nn.Conv2d(middle, fine, 1)
        self.high = nn.Conv2d(width // 8 + 1, fine, 1)
        self.fine_norm = LayerNorm2d(fine)
        self.fine = nn.Conv2d(fine, fine, 3, padding=1)
        self.logits = nn.Conv2d(fine, 1, 3, padding=1)
        self.low_change = nn.Conv2d(coarse, width, 1)
        self.high_change = nn.Conv2d(fine, width // 8, 3, padding=1)
        self.presence = nn.Linear(2 * coarse + 1, 1)
        # to begin with, what was read is drawn as it is, and nothing else is said about the frame
        for layer in (self.logits, self.low_change, self.high_change, self.presence):
            silence(layer)
        # and the object counts as visible unless nowhere in the frame there is much of it
        nn.init.constant_(self.presence.weight[:, -1:], 0.5)
        nn.init.constant_(self.presence.bias, 2.0)

    def forward(
        self, low_1CHW: Tensor, mid_1CHW: Tensor, high_1CHW: Tensor, found_NCHW: Tensor, chance_N1HW: Tensor
    ) -> Recalled:
        num = len(found_NCHW)
        x_NCHW = self.enter(torch.cat((low_1CHW.expand(num, -1, -1, -1), found_NCHW), dim=1))
        x_NCHW = self.coarse(x_NCHW)
        y_NCHW = F.interpolate(self.to_middle(x_NCHW), scale_factor=2.0, mode="nearest")
        y_NCHW = self.middle(y_NCHW + self.mid(mid_1CHW))
        z_NCHW = F.interpolate(self.to_fine(y_NCHW), scale_factor=2.0, mode="nearest")
        fine_NCHW = torch.cat((high_1CHW.expand(num, -1, -1, -1), chance_N1HW * 2 - 1), dim=1)
        z_NCHW = F.gelu(self.fine_norm(z_NCHW + self.high(fine_NCHW)))
        z_NCHW = F.gelu(z_NCHW + self.fine(z_NCHW))
        logits_N1HW = DRAWN_GAIN * (chance_N1HW - 0.5) + self.logits(z_NCHW)
        most_N1 = logits_N1HW.flatten(1).amax(1, keepdim=True).clamp(-DRAWN_GAIN / 2, DRAWN_GAIN / 2)
        seen_NC = torch.cat((x_NCHW.mean((2, 3)), x_NCHW.amax((2, 3)), most_N1), dim=1)
        return Recalled(
            logits_N1HW[:, 0],
            self.low_change(x_NCHW),
            self.high_change(z_NCHW),
            self.presence(seen_NC)[:, 0],
        )


def _places(height: int, width: int, like: Tensor) -> Tensor:
    """Cell centres (I, 2), -0.5..0.5, row by row."""
    rows = (torch.arange(height, device=like.device, dtype=like.dtype) + 0.5) / height - 0.5
    columns = (torch.arange(width, device=like.device, dtype=like.dtype) + 0.5) / width - 0.5
    y_HW, x_HW = torch.meshgrid(rows, columns, indexing="ij")
    return torch.stack((x_HW, y_HW), dim=-1).flatten(0, 1)


def _where_asked(place_I2: Tensor) -> Tensor:
    """Four channels whose product with those of ``_where_kept`` is -|p - q|^2 / (2 reach^2) + trust."""
    square_I1 = place_I2.square().sum(1, keepdim=True)
    return torch.cat((place_I2, square_I1, torch.ones_like(square_I1)), dim=1)


def _where_kept(place_I2: Tensor, reach_NS: Tensor, trust_NS: Tensor) -> Tensor:
    weight_NS11 = reach_NS[..., None, None].square().reciprocal()
    near_NSI2 = place_I2 * weight_NS11
    away_NSI1 = -0.5 * place_I2.square().sum(1, keepdim=True) * weight_NS11
    level_NSI1 = away_NSI1 + trust_NS[..., None, None]
    spread_NSI1 = (-0.5 * weight_NS11).expand_as(level_NSI1)
    return torch.cat((near_NSI2, spread_NSI1, level_NSI1), dim=3)


def _look(query_1IK: Tensor, key_NTK: Tensor, value_NTV: Tensor, mask_N11T: Tensor | None) -> Tensor:
    """Attention with one head, each object to its own memories: (N, I, V)."""
    query_N1IK = query_1IK.expand(len(key_NTK), -1, -1)[:, None]
    return F.scaled_dot_product_attention(
        query_N1IK, key_NTK[:, None], value_NTV[:, None], attn_mask=mask_N11T, scale=1.0
    )[:, 0]


def _look_together(query_1IK: Tensor, key_1TK: Tensor, value_NTV: Tensor) -> Tensor:
    """The same where one matching serves all objects."""
    share_IT = (query_1IK[0] @ key_1TK[0].T).softmax(dim=1)
    found_INV = share_IT @ value_NTV.transpose(0, 1).flatten(1)
    return found_INV.unflatten(1, (len(value_NTV), -1)).transpose(0, 1)
