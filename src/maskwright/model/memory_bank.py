"""The memory bank: what a session remembers of its objects, as one value of fixed size.

Slots may be written in any order, because attention does not care about the order of its keys; what a
slot holds stands beside it. Nothing grows with the number of frames.
Axes: O objects, S slots, I picture tokens, D channels of a memory, C channels of the picture.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from maskwright.config import ModelConfig

EMPTY = -1
"""Frame number of a slot that holds nothing."""


class MemoryBank(NamedTuple):
    """Memories of O objects in S slots each; the same slots hold the object pointers."""

    memories_OSID: Tensor
    """Spatial memories."""
    pointers_OSC: Tensor
    """Object pointers."""
    frames_OS: Tensor
    """Number of the frame each slot remembers, or ``EMPTY``; int64."""
    prompted_OS: Tensor
    """True where the user prompted that frame."""


def empty_bank(
    config: ModelConfig, num_objects: int, num_slots: int, device: torch.device | str, dtype: torch.dtype
) -> MemoryBank:
    """A bank without memories: ``num_slots`` frames for each of ``num_objects`` objects."""
    shape = (num_objects, num_slots)
    return MemoryBank(
        torch.zeros(*shape, config.grid**2, config.memory_width, device=device, dtype=dtype),
        torch.zeros(*shape, config.width, device=device, dtype=dtype),
        torch.full(shape, EMPTY, device=device, dtype=torch.int64),
        torch.zeros(shape, device=device, dtype=torch.bool),
    )
