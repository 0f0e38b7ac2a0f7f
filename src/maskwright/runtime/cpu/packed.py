"""Linear layers whose weights lie as oneDNN wants them, with activation or sum done in passing."""

from __future__ import annotations

from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

DTYPES = (torch.float32, torch.bfloat16)
"""What layers are packed for."""


class PackedLinear(nn.Linear):
    """The layer ``plain`` in a dtype, which what comes in is cast to and what comes out has.

    ``instead``: weight (E, C) and bias (E) to compute with in place of its own. Its parameters and their
    names stay in any case; weights that are loaded later have no effect.
    """

    packed: Tensor
    offset: Tensor

    @torch.no_grad()
    def __init__(
        self, plain: nn.Linear, dtype: torch.dtype, instead: tuple[Tensor, Tensor] | None = None
    ) -> None:
        nn.Module.__init__(self)
        self.weight, self.bias = plain.weight, plain.bias
        self.dtype = dtype
        weight_EC, bias_E = instead or (plain.weight, plain.bias)
        self.out_features, self.in_features = weight_EC.shape
        packed = torch.ops.mkldnn._reorder_linear_weight(weight_EC.to(dtype).contiguous())
        self.register_buffer("packed", packed, persistent=False)
        self.register_buffer("offset", bias_E.to(dtype), persistent=False)

    def forward(self, x_C: Tensor) -> Tensor:
        return self._run(x_C, "none", "")

    def gelu(self, x_C: Tensor) -> Tensor:
        """With the exact GELU after it."""
        return self._run(x_C, "gelu", "none")

    def relu(self, x_C: Tensor) -> Tensor:
        """With ReLU after it."""
        return self._run(x_C, "relu", "")

    def plus(self, x_C: Tensor, other_C: Tensor) -> Tensor:
        """With a sum after it, of the same shape and dtype."""
        x_C = x_C.to(self.dtype)
        out: Tensor = torch.ops.mkldnn._linear_pointwise.binary(x_C, other_C, self.packed, self.offset, "add")
        return out

    def _run(self, x_C: Tensor, activation: str, algorithm: str) -> Tensor:
        out: Tensor = torch.ops.mkldnn._linear_pointwise(
            x_C.to(self.dtype), self.packed, self.offset, activation, [], algorithm
        )
        return out


def follows_caller(dtype: torch.dtype) -> bool:
    """Whether a caller's autocast decides, as it does for any module that is asked for float32."""
    return dtype is torch.float32 and torch.is_autocast_enabled("cpu")


@cache
@torch.no_grad()
def packs(dtype: torch.dtype) -> bool:
    """Whether layers can be packed here: oneDNN is part of PyTorch, and right in a trial of every way.

    oneDNN's interface in PyTorch is not a public one, so nothing is taken for granted.
    """
    if dtype not in DTYPES or not torch.backends.mkldnn.is_available():
        return False
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        plain, x_NC, other_NC = nn.Linear(32, 48), torch.randn(5, 32), torch.randn(5, 48)
    try:
        layer = PackedLinear(plain, dtype)
        found = layer(x_NC), layer.gelu(x_NC), layer.relu(x_NC), layer.plus(x_NC, other_NC.to(dtype))
    except (AttributeError, RuntimeError):
        return False
    y_NC = plain(x_NC)
    wanted = y_NC, F.gelu(y_NC), F.relu(y_NC), y_NC + other_NC
    near = 1e-5 if dtype is torch.float32 else 0.05
    return all(torch.allclose(a.float(), b, atol=near) for a, b in zip(found, wanted, strict=True))
