"""One photograph on the desk: what the model answers for the prompts of a sheet."""

from __future__ import annotations

from functools import partial

import numpy as np

from maskwright.errors import InputError
from maskwright.masks import Masks
from maskwright.segmenter import Embedding
from maskwright.types import ByteArray, Prompt, Size
from maskwright.widget.answers import Preview, Recent, Shown, preview, shown
from maskwright.widget.sheet import LabelledObject, Sheet

_KEPT = 16
"""Masks of the picture's size that are kept, so that undo and redo ask nothing again."""


class Photo:
    """A photograph, encoded once. A film of one frame, number 0."""

    num_frames = 1
    fps: float | None = None

    def __init__(self, embedding: Embedding, *, refine: bool = False) -> None:
        """``refine`` as in :meth:`Embedding.segment`.

        Raises:
            InputError: the embedding does not hold its picture.
        """
        if embedding.picture is None:
            raise InputError("this embedding does not hold its picture; embed the picture again")
        self._embedding, self._refine = embedding, refine
        self._image = embedding.picture
        self._answers: Recent[Masks] = Recent(_KEPT)
        self._drawn: Recent[Shown] = Recent(_KEPT)

    @property
    def size(self) -> Size:
        """Height and width in pixels."""
        return self._embedding.size

    def image(self, frame: int) -> ByteArray:
        """(h, w, 3) RGB."""
        return self._image

    def preview(self, one: LabelledObject, frame: int) -> Preview:
        """What the object's mask would be, roughly."""
        return preview(self._embedding, one.prompts[frame])

    def shown(self, sheet: Sheet, frame: int = 0) -> list[Shown]:
        """The masks of all objects that something points at."""
        objects = sheet.prompted
        return [
            self._drawn.get(
                (one.id, one.prompts[0]),
                partial(self._shown, one, len(objects)),
                room=len(objects),
            )
            for one in objects
        ]

    def masks(self, sheet: Sheet) -> Masks:
        """One mask for each object that something points at, in the order of the sheet."""
        objects = sheet.prompted
        found = [self._masks(one.prompts[0], len(objects)) for one in objects]
        side, size = self._embedding.runtime.config.mask_size, self.size
        if not found:
            none = np.zeros(0, np.float32)
            return Masks(
                np.zeros((0, *size), np.bool_), none, np.zeros((0, side, side), np.float32), none, self._image
            )
        stacked = {
            name: np.concatenate([getattr(one, name) for one in found])
            for name in ("bitmaps", "scores", "logits", "object_scores")
        }
        return Masks(image=self._image, **stacked)

    def _shown(self, one: LabelledObject, room: int) -> Shown:
        return shown(one.id, self._masks(one.prompts[0], room))

    def _masks(self, prompt: Prompt, room: int) -> Masks:
        return self._answers.get(
            prompt, lambda: self._embedding.segment(prompt, refine=self._refine), room=room
        )

    def close(self) -> None:
        """Forget the masks."""
        self._answers.clear()
        self._drawn.clear()
