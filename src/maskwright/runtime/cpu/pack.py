"""Where a network gets its quicker parts for processors."""

from __future__ import annotations

import torch

from maskwright.model.hiera import Hiera
from maskwright.model.memory_attention import MemoryAttention
from maskwright.model.sam2 import SAM2
from maskwright.runtime.cpu.memory import PackedMemoryAttention
from maskwright.runtime.cpu.packed import packs
from maskwright.runtime.cpu.trunk import PackedHiera


def pack(network: SAM2, dtype: torch.dtype) -> SAM2:
    """Pack the trunk and the memory attention of an official model for a compute dtype, in place.

    Does nothing to networks that have neither (nano), nor where layers cannot be packed.
    """
    if not packs(dtype):
        return network
    if type(network.trunk) is Hiera:
        network.trunk = PackedHiera(network.trunk, dtype)
    if not network.config.match_memory and type(network.memory_attention) is MemoryAttention:
        network.memory_attention = PackedMemoryAttention(network.memory_attention, dtype)
    return network
