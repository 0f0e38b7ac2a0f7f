"""From what a caller may pass as a video prompt to what the model takes."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from maskwright import coords
from maskwright.config import ModelConfig
from maskwright.errors import PromptError
from maskwright.runtime.batching import ObjectPrompt, object_prompt
from maskwright.types import BoolArray, Prompt, PromptLike, Size

VideoPrompt: TypeAlias = PromptLike | BoolArray
"""Clicks, box, logits of an earlier mask, or the mask itself as bool (h, w)."""


Checked: TypeAlias = Prompt | BoolArray
"""The same, checked against a frame."""


def checked(value: VideoPrompt, size: Size, config: ModelConfig) -> Checked:
    """What a caller passed, made sure that it fits the frame and the model.

    Raises:
        PromptError: malformed, outside the frame, or a mask of another size.
    """
    if isinstance(value, np.ndarray):
        return _checked_bitmap(value, size)
    prompt = Prompt.of(value)
    prompt.check_inside(size)
    prompt.check_mask(config.mask_size)
    return prompt


def in_model_frame(prompt: Prompt, size: Size, config: ModelConfig) -> ObjectPrompt:
    """Clicks and box in pixels of the network's input; the mask stays out."""
    points, box, side = prompt.points, prompt.box, config.image_size
    return object_prompt(
        None if points is None else coords.picture_to_model(points.coords, size, side),
        None if points is None else points.labels,
        None if box is None else coords.picture_to_model(box.corners, size, side),
        None,
    )


def bitmap_at_input_size(bitmap: BoolArray, side: int) -> Tensor:
    """A mask at the network's input size, 0 and 1, (1, side, side): ``add_new_mask`` of the official code."""
    mask = torch.from_numpy(bitmap.astype(np.float32))[None, None]
    if mask.shape[-2:] != (side, side):
        mask = F.interpolate(mask, (side, side), mode="bilinear", align_corners=False, antialias=True)
    return (mask[0] >= 0.5).float()


def mask_alone(prompt: Prompt, side: int) -> Tensor | None:
    """The mask that a prompt of nothing but mask logits stands for, at input size, (1, side, side)."""
    if prompt.points is not None or prompt.box is not None or prompt.mask is None:
        return None
    low = torch.from_numpy(np.array(prompt.mask.logits))[None, None]
    full = F.interpolate(low, (side, side), mode="bilinear", align_corners=False)
    return (full[0] > 0).float()


def together(earlier: Prompt | None, added: Prompt) -> Prompt:
    """Two prompts for one object in one frame: all clicks, and of boxes and masks the later one."""
    if earlier is None:
        return added
    points = [one.points for one in (earlier, added) if one.points is not None]
    box = added.box or earlier.box
    mask = added.mask or earlier.mask
    return Prompt.of([*points, *(part for part in (box, mask) if part is not None)])


def _checked_bitmap(bitmap: BoolArray, size: Size) -> BoolArray:
    array = bitmap[0] if bitmap.ndim == 3 and bitmap.shape[0] == 1 else bitmap
    if array.shape != size:
        raise PromptError(f"the mask is {array.shape}; expected bool (h, w) of the frame's size {size}")
    if array.dtype != np.bool_ and not np.isin(array, (0, 1)).all():
        raise PromptError("the mask has other values than 0 and 1; pass bool, True on the object")
    kept: BoolArray = array.astype(np.bool_)
    return kept
