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


class Ages(NamedTuple):
    """What ``recall`` asks of the slots of a bank at a moment: do they count, and how old are they."""

    visible_OS: Tensor
    """True for memories that count."""
    row_OS: Tensor
    """Row of each memory in the tables by age, int64; the last one is that of prompted frames."""
    pointer_visible_OP: Tensor
    """True for pointers that count."""
    pointer_time_OP: Tensor
    """Age of each pointer in units of their span, float."""


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

    def ages(self, frame_O: Tensor, direction: Tensor, pointer_span: Tensor, num_memories: int) -> Ages:
        """What counts in frame ``frame_O`` of each object; see ``SAM2.recall`` for the rule and arguments."""
        oldest = num_memories - 1
        age_OS = (frame_O[:, None] - self.frames_OS) * direction
        recent_OS = (age_OS >= 1) & (age_OS <= oldest)
        age_OP = (frame_O[:, None] - self.pointer_frames_OP) * direction
        past_OP = torch.where(self.pointer_prompted_OP, age_OP >= 0, (age_OP >= 1) & (age_OP <= pointer_span))
        return Ages(
            (self.frames_OS != EMPTY) & (self.prompted_OS | recent_OS),
            torch.where(self.prompted_OS, oldest, age_OS - 1).clamp(0, oldest),
            (self.pointer_frames_OP != EMPTY) & past_OP,
            age_OP / pointer_span,
        )

    def write(
        self,
        rows_O: Tensor,
        memory_at_O: Tensor,
        pointer_at_O: Tensor,
        memory_OID: Tensor,
        pointers_OC: Tensor,
        frame_O: Tensor,
        prompted_O: Tensor,
    ) -> None:
        """Put a frame's memories and pointers of O objects into slots of their rows, in place."""
        at, pointer_at = (rows_O, memory_at_O), (rows_O, pointer_at_O)
        self.memories_OSID.index_put_(at, memory_OID.to(self.memories_OSID.dtype))
        self.frames_OS.index_put_(at, frame_O)
        self.prompted_OS.index_put_(at, prompted_O)
        self.pointers_OPC.index_put_(pointer_at, pointers_OC.to(self.pointers_OPC.dtype))
        self.pointer_frames_OP.index_put_(pointer_at, frame_O)
        self.pointer_prompted_OP.index_put_(pointer_at, prompted_O)


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
