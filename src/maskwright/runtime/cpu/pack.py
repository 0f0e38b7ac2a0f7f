"""Where a network gets its quicker parts for processors."""

from __future__ import annotations

import torch

from maskwright.errors import InputError
from maskwright.model.hiera import Hiera
from maskwright.model.memory_attention import MemoryAttention
from maskwright.model.sam2 import SAM2
from maskwright.runtime.cpu.memory import PackedMemoryAttention
from maskwright.runtime.cpu.packed import PackedLinear, packs
from maskwright.runtime.cpu.quantised import QuantisedLinear
from maskwright.runtime.cpu.trunk import PackedHiera


def pack(network: SAM2, dtype: torch.dtype, *, int8: bool = False) -> SAM2:
    """Pack the trunk and the memory attention of an official model for a compute dtype, in place.

    Does nothing to networks that have neither (nano), nor where layers cannot be packed. With ``int8`` the
    widest layers multiply in int8: queries, keys and values of the trunk, and all MLPs.

    Raises:
        InputError: int8 is asked for where there is nothing to pack, or where PyTorch cannot do it.
    """
    kind = QuantisedLinear if int8 else PackedLinear
    if not (packs(dtype) and packs(dtype, kind)):
        if int8:
            raise InputError(
                "PyTorch's oneDNN does not multiply in int8 here; leave dtype out, or use dtype='fast'"
            )
        return network
    if type(network.trunk) is Hiera:
        network.trunk = PackedHiera(network.trunk, dtype, kind)
    elif int8:
        raise InputError("int8 is for the official models; leave dtype out, or use dtype='fast'")
    if not network.config.match_memory and type(network.memory_attention) is MemoryAttention:
        network.memory_attention = PackedMemoryAttention(network.memory_attention, dtype, kind)
    return network
