"""Inputs of the verbs padded to round numbers, with what changes no result.

Objects and pictures are padded with the last one over and over, points with those that nobody attends to,
memories and pointers with slots that are empty. Whoever pads cuts the results.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from maskwright.model.mask_decoder import ImageFeatures
from maskwright.model.memory_bank import EMPTY, MemoryBank
from maskwright.model.prompt_encoder import PADDING, PromptTensors


def bucket(number: int) -> int:
    """The next power of two."""
    return 1 << (number - 1).bit_length()


def repeated(part: Tensor, num: int, axis: int = 0) -> Tensor:
    """Longer along an axis, by the last entry over and over."""
    have = part.shape[axis]
    if have == num:
        return part
    return part.index_select(axis, torch.arange(num, device=part.device).clamp(max=have - 1))


def padded_features(features: ImageFeatures, num: int) -> ImageFeatures:
    """Of as many pictures; levels that are those of one picture over and over stay one."""
    levels = (level[:1] if level.stride(0) == 0 else level for level in features.levels)
    low, mid, high = (level if len(level) == 1 else repeated(level, num) for level in levels)
    presence_B = features.presence_B
    return ImageFeatures(low, mid, high, None if presence_B is None else repeated(presence_B, num))


def padded_prompts(prompts: PromptTensors, pictures: int, objects: int, points: int) -> PromptTensors:
    """As many pictures, objects of each and points of each."""
    spare, masks, given = points - prompts.labels_BPK.shape[2], prompts.masks_BPHW, prompts.mask_given_BP
    if masks is not None and given is None:  # one form instead of two
        given = torch.ones(masks.shape[:2], dtype=torch.bool, device=masks.device)

    def many(part_BP: Tensor) -> Tensor:
        return repeated(repeated(part_BP, pictures), objects, 1)

    return PromptTensors(
        many(F.pad(prompts.points_BPK2, (0, 0, 0, spare))),
        many(F.pad(prompts.labels_BPK, (0, spare), value=PADDING)),
        None if masks is None else many(masks),
        None if given is None else many(given),
    )


def padded_bank(bank: MemoryBank, num: int, memories: int, pointers: int) -> MemoryBank:
    """As many objects and slots; those that are added are empty."""
    more, more_pointers = memories - bank.frames_OS.shape[1], pointers - bank.pointer_frames_OP.shape[1]
    wider = MemoryBank(
        F.pad(bank.memories_OSID, (0, 0, 0, 0, 0, more)),
        F.pad(bank.frames_OS, (0, more), value=EMPTY),
        F.pad(bank.prompted_OS, (0, more)),
        F.pad(bank.pointers_OPC, (0, 0, 0, more_pointers)),
        F.pad(bank.pointer_frames_OP, (0, more_pointers), value=EMPTY),
        F.pad(bank.pointer_prompted_OP, (0, more_pointers)),
    )
    return MemoryBank(*(repeated(part, num) for part in wider))
