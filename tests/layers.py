"""Layers for processors beside those that they were made of."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maskwright.runtime.cpu.packed import PackedLinear


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def error(found: Tensor, wanted: Tensor) -> float:
    """Relative."""
    return float((found.double() - wanted.double()).norm() / wanted.double().norm())


@torch.inference_mode()
def check_layers(
    kind: type[PackedLinear], dtype: torch.dtype, width: int, hidden: int, rows: tuple[int, int], near: float
) -> None:
    """Everything that a kind of layer does is what plain layers do, up to an error."""
    torch.manual_seed(0)
    first, second = nn.Linear(width, hidden), nn.Linear(hidden, width)
    expand, reduce = kind(first, dtype), kind(second, dtype)
    x, other = random(*rows, width), random(*rows, hidden, seed=1)
    y = first(x)
    for found, wanted in (
        (expand(x), y),
        (expand.plus(x, other.to(dtype)), y + other),
        (expand.into(reduce, x, "relu"), second(F.relu(y))),
        (expand.into(reduce, x, "gelu", x.to(dtype)), second(F.gelu(y)) + x),
    ):
        assert found.dtype is dtype
        assert error(found, wanted) < near
    assert expand.state_dict().keys() == first.state_dict().keys()
    assert error(kind(first, dtype, (-first.weight, -first.bias))(x), -y) < near
