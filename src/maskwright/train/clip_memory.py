"""The memories of a clip that is learnt from: banks built by stacking, so that gradients reach back in time.

``SAM2.remember`` writes in place, which autograd cannot follow; what is remembered is the same.
Axes: O objects, I picture tokens, D channels of a memory, C channels of the picture.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from maskwright.config import ModelConfig
from maskwright.model.memory_bank import MemoryBank


class Remembered(NamedTuple):
    """What is remembered of all objects in one frame."""

    frame: int
    prompted: bool
    memory_OID: Tensor
    pointers_OC: Tensor


def pointer_span(config: ModelConfig, num_frames: int) -> int:
    """Age of the oldest pointer that counts, and the unit of their time encoding, in a clip this long."""
    return max(1, min(num_frames, config.num_pointers) - 1)


def stacked_bank(seen: list[Remembered], frame: int, config: ModelConfig, span: int) -> MemoryBank:
    """The bank as ``frame`` sees it: no slot is empty, and every one counts.

    The rule is that of ``SAM2.recall``: memories of prompted frames at any age, of others while they are
    among the last ``num_memories - 1``; pointers from the past, of prompted frames at any age, of others up
    to the age ``span``.
    """
    memories = [one for one in seen if one.prompted or 1 <= frame - one.frame < config.num_memories]
    pointers = [one for one in seen if one.frame < frame and (one.prompted or frame - one.frame <= span)]
    return MemoryBank(
        torch.stack([one.memory_OID for one in memories], dim=1),
        *_marks(memories),
        torch.stack([one.pointers_OC.float() for one in pointers], dim=1),
        *_marks(pointers),
    )


def _marks(kept: list[Remembered]) -> tuple[Tensor, Tensor]:
    """Frame numbers and prompted flags, the same for every object."""
    device, num_objects = kept[0].memory_OID.device, len(kept[0].memory_OID)
    frames = torch.tensor([one.frame for one in kept], device=device)
    prompted = torch.tensor([one.prompted for one in kept], device=device)
    return frames.expand(num_objects, -1), prompted.expand(num_objects, -1)
