"""Masks for what a user points at in one picture, each made once and kept while it may be needed again."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

import numpy as np
from torch import Tensor

from maskwright.masks import Masks
from maskwright.pixels.postprocess import upscale
from maskwright.segmenter import Embedding
from maskwright.types import BoolArray, MaskPrompt, Prompt
from maskwright.widget.pictures import PREVIEW_SIDE, Stencil, smaller, stencil

T = TypeVar("T")
_SURE = 8.0
"""Logit that a mask which is known already gets as a prompt."""


class Shown(NamedTuple):
    """One object's mask as the page draws it."""

    object: int
    """Number of the object."""
    stencil: Stencil
    score: float
    """IoU with the true mask that the model predicts, 0..1."""
    area: int
    """Pixels of the mask."""


class Recent(Generic[T]):
    """The latest few of things that take time to make."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._kept: OrderedDict[Hashable, T] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], T], *, room: int = 0) -> T:
        """What belongs to ``key``, made if it is not there; ``room`` more than the usual number are kept."""
        if key not in self._kept:
            self._kept[key] = make()
        self._kept.move_to_end(key)
        while len(self._kept) > max(self._limit, room):
            self._kept.popitem(last=False)
        return self._kept[key]

    def clear(self) -> None:
        """Forget everything."""
        self._kept.clear()


@dataclass(frozen=True)
class Preview:
    """What a click under the pointer would give."""

    stencil: Stencil
    score: float


def preview(embedding: Embedding, prompt: Prompt) -> Preview:
    """The mask for a prompt in few pixels, quickly: no bitmap of the picture's size is made.

    Raises:
        PromptError: it lies outside the picture.
    """
    logits, score = embedding.answer(prompt)
    return Preview(stencil(_drawn(logits, embedding), embedding.size), score)


def _drawn(logits: Tensor, embedding: Embedding) -> BoolArray:
    """Logits (m, m) as a bitmap of at most ``PREVIEW_SIDE``."""
    full = upscale(logits[None], smaller(embedding.size, PREVIEW_SIDE))[0] > 0
    bitmap: BoolArray = full.cpu().numpy()
    return bitmap


def shown(number: int, masks: Masks) -> Shown:
    """The first of the masks, as the page draws it."""
    return Shown(number, stencil(masks.bitmaps[0]), float(masks.scores[0]), int(masks.areas[0]))


def as_prompt(bitmap: BoolArray, side: int) -> MaskPrompt:
    """A mask (h, w) as low-resolution logits (side, side), for a correction to start from."""
    rows, columns = (((np.arange(side) + 0.5) * (length / side)).astype(np.int64) for length in bitmap.shape)
    return MaskPrompt(np.where(bitmap[rows[:, None], columns], _SURE, -_SURE))
