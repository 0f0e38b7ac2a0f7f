"""Linear layers whose weights lie as oneDNN wants them, with activation or sum done in passing."""

from __future__ import annotations

from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

DTYPES = (torch.float32, torch.bfloat16)
"""What layers are packed for."""
ALGORITHMS = {"none": "", "relu": "", "gelu": "none"}
"""What oneDNN can do after a product, with what it wants to know besides; GELU is the exact one."""


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
        self._pack(weight_EC, bias_E)

    def _pack(self, weight_EC: Tensor, bias_E: Tensor) -> None:
        packed = torch.ops.mkldnn._reorder_linear_weight(weight_EC.to(self.dtype).contiguous())
        self.register_buffer("packed", packed, persistent=False)
        self.register_buffer("offset", bias_E.to(self.dtype), persistent=False)

    def forward(self, x_C: Tensor) -> Tensor:
        return self._run(x_C, "none")

    def plus(self, x_C: Tensor, other_C: Tensor) -> Tensor:
        """With a sum after it, of the same shape and dtype."""
        x_C = x_C.to(self.dtype)
        out: Tensor = torch.ops.mkldnn._linear_pointwise.binary(x_C, other_C, self.packed, self.offset, "add")
        return out

    def into(
        self, reduce: PackedLinear, x_C: Tensor, activation: str, other_C: Tensor | None = None
    ) -> Tensor:
        """This layer, an activation, another layer of the same kind, and a sum if one is asked for."""
        hidden_E = self._run(x_C, activation)
        return reduce._run(hidden_E, "none") if other_C is None else reduce.plus(hidden_E, other_C)

    def _run(self, x_C: Tensor, activation: str) -> Tensor:
        out: Tensor = torch.ops.mkldnn._linear_pointwise(
            x_C.to(self.dtype), self.packed, self.offset, activation, [], ALGORITHMS[activation]
        )
        return out


def follows_caller(dtype: torch.dtype) -> bool:
    """Whether a caller's autocast decides, as it does for any module that is asked for float32."""
    return dtype is torch.float32 and torch.is_autocast_enabled("cpu")


@cache
@torch.no_grad()
def packs(dtype: torch.dtype, kind: type[PackedLinear] = PackedLinear) -> bool:
    """Whether layers of a kind work here: oneDNN is part of PyTorch, and right in a trial of every way.

    oneDNN's interface in PyTorch is not a public one, so nothing is taken for granted.
    """
    if dtype not in DTYPES or not torch.backends.mkldnn.is_available():
        return False
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        first, second = nn.Linear(32, 48), nn.Linear(48, 32)
        x_NC, other_NC = torch.randn(5, 32), torch.randn(5, 32)
    try:
        expand, reduce = kind(first, dtype), kind(second, dtype)
        found = (
            expand(x_NC),
            expand.into(reduce, x_NC, "relu"),
            expand.into(reduce, x_NC, "gelu", other_NC.to(dtype)),
        )
    except (AttributeError, RuntimeError):
        return False
    hidden_NE = first(x_NC)
    wanted = hidden_NE, second(F.relu(hidden_NE)), second(F.gelu(hidden_NE)) + other_NC
    near = 1e-5 if (kind, dtype) == (PackedLinear, torch.float32) else 0.05
    return all(torch.allclose(a.float(), b, atol=near) for a, b in zip(found, wanted, strict=True))
