"""The memory bank: what a session remembers of its objects, as one value of fixed size.

Slots may be written in any order, because attention does not care about the order of its keys; what a
slot holds stands beside it. Nothing grows with the number of frames.
Axes: O objects, S slots of memories, P slots of pointers, I picture tokens, D channels of a memory,
C channels of the picture.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from maskwright.config import ModelConfig

EMPTY = -(1 << 40)
"""Frame number of a slot that holds nothing; no frame has it, also where time runs backward past 0."""


class MemoryBank(NamedTuple):
    """Memories and object pointers of O objects; each object's memories are its own."""

    memories_OSID: Tensor
    """Spatial memories: what the object and its frame looked like."""
    frames_OS: Tensor
    """Number of the frame each memory is of, or ``EMPTY``; int64."""
    prompted_OS: Tensor
    """True for memories of frames that the user prompted the object in."""
    pointers_OPC: Tensor
    """Object pointers: the decoder's summary of the object in a frame."""
    pointer_frames_OP: Tensor
    """Number of the frame each pointer is of, or ``EMPTY``; int64."""
    pointer_prompted_OP: Tensor
    """True for pointers of frames that the user prompted the object in."""

    def prefix(self, num_objects: int, num_memories: int, num_pointers: int) -> MemoryBank:
        """The first objects and slots, as views of the same storage."""
        return MemoryBank(
            *(part[:num_objects, :num_memories] for part in self[:3]),
            *(part[:num_objects, :num_pointers] for part in self[3:]),
        )


def empty_bank(
    config: ModelConfig,
    num_objects: int,
    num_memories: int,
    num_pointers: int,
    device: torch.device | str,
    dtype: torch.dtype,
) -> MemoryBank:
    """A bank without memories. Spatial memories are stored as ``dtype``, pointers as float32."""
    memories, pointers = (num_objects, num_memories), (num_objects, num_pointers)
    return MemoryBank(
        torch.zeros(*memories, config.grid**2, config.memory_width, device=device, dtype=dtype),
        torch.full(memories, EMPTY, device=device, dtype=torch.int64),
        torch.zeros(memories, device=device, dtype=torch.bool),
        torch.zeros(*pointers, config.width, device=device),
        torch.full(pointers, EMPTY, device=device, dtype=torch.int64),
        torch.zeros(pointers, device=device, dtype=torch.bool),
    )
