"""Linear layers that multiply in int8, between maps of another dtype.

Each row of a weight has a scale of its own. Activations have one scale for all of a call, from their smallest
and largest number in that call: nothing is calibrated, and nothing depends on earlier pictures.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from maskwright.runtime.cpu.packed import ALGORITHMS, PackedLinear

WEIGHT_LEVELS = 127
"""Largest level of a weight; the smallest is its negative."""
STEPS = 254
"""Between the smallest and the largest number of an activation: one less than uint8 has, because rounding may
need one more."""
TOP = 255
"""The highest level, which stands for numbers that are too large as well."""
LEAST = {"relu": 0.0, "gelu": -0.17004}
"""The smallest value of an activation function."""
SAMPLED = 16
"""Every how many-th row of a hidden map tells how large its numbers get."""
ROOM = 1.5
"""How much larger than in the sample they may be; beyond, the map is computed again."""


class Levels(NamedTuple):
    """An activation in uint8."""

    levels: Tensor
    scale: float
    """The distance between two levels."""
    zero: int
    """The level that stands for 0."""


class QuantisedLinear(PackedLinear):
    """The layer ``plain`` in int8: sums of products are exact, what comes out has ``dtype``."""

    scales_E: Tensor
    zeros_E: Tensor

    def _pack(self, weight_EC: Tensor, bias_E: Tensor) -> None:
        scales_E = weight_EC.abs().amax(1).clamp(min=torch.finfo(torch.float32).tiny) / WEIGHT_LEVELS
        levels_EC = (weight_EC / scales_E[:, None]).round().to(torch.int8)
        packed = torch.ops.onednn.qlinear_prepack(levels_EC, None)
        self.register_buffer("packed", packed, persistent=False)
        self.register_buffer("offset", bias_E.float(), persistent=False)
        self.register_buffer("scales_E", scales_E.float(), persistent=False)
        self.register_buffer("zeros_E", torch.zeros(len(scales_E), dtype=torch.int64), persistent=False)

    def plus(self, x_C: Tensor, other_C: Tensor) -> Tensor:
        return self._sum(quantised(x_C), other_C)

    def into(
        self, reduce: PackedLinear, x_C: Tensor, activation: str, other_C: Tensor | None = None
    ) -> Tensor:
        assert isinstance(reduce, QuantisedLinear)
        hidden_E = self._hidden(quantised(x_C), activation)
        if other_C is None:
            return reduce._product(hidden_E, "none")
        return reduce._sum(hidden_E, other_C)

    def _run(self, x_C: Tensor, activation: str) -> Tensor:
        return self._product(quantised(x_C), activation)

    def _hidden(self, x_C: Levels, activation: str) -> Levels:
        """Levels that the product itself writes, where a sample tells how large they may get."""
        rows = x_C.levels.flatten(0, -2)[::SAMPLED].contiguous()
        sample_E = self._product(Levels(rows, x_C.scale, x_C.zero), activation)
        most = max(0.0, ROOM * float(sample_E.amax())) or 1.0
        scale = (most - LEAST[activation]) / TOP
        zero = round(-LEAST[activation] / scale)
        levels_E = self._product(x_C, activation, torch.uint8, scale, zero)
        if int(levels_E.amax()) < TOP:
            return Levels(levels_E, scale, zero)
        return quantised(self._product(x_C, activation))

    def _product(
        self,
        x_C: Levels,
        activation: str,
        dtype: torch.dtype | None = None,
        scale: float = 1.0,
        zero: int = 0,
    ) -> Tensor:
        out: Tensor = torch.ops.onednn.qlinear_pointwise(
            *(*x_C, self.packed, self.scales_E, self.zeros_E, self.offset),
            *(scale, zero, dtype or self.dtype, activation, [], ALGORITHMS[activation]),
        )
        return out

    def _sum(self, x_C: Levels, other_C: Tensor) -> Tensor:
        out: Tensor = torch.ops.onednn.qlinear_pointwise.binary(
            *(*x_C, self.packed, self.scales_E, self.zeros_E, other_C, self.offset),
            *(1.0, 0, self.dtype, 1.0, 0, "add", 1.0, "none", [], ""),
        )
        return out


def quantised(x: Tensor) -> Levels:
    """Numbers of any shape as levels; 0 is one of them exactly."""
    least, most = (float(end) for end in x.aminmax())
    least, most = min(least, 0.0), max(most, 0.0)
    scale = (most - least) / STEPS or 1.0
    zero = round(-least / scale)
    # half a level more, because the cast drops what is behind the point
    shifted = torch.add(torch.tensor(zero + 0.5), x.float(), alpha=1 / scale)
    return Levels(shifted.to(torch.uint8), scale, zero)
