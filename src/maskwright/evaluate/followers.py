"""Ways to follow objects through a sequence: a model's memory, and two that any memory has to beat."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

import numpy as np
import torch
from torch import Tensor

from maskwright.mask_model import MaskModel
from maskwright.model.prompt_encoder import NO_POINT
from maskwright.pixels.postprocess import upscale
from maskwright.runtime.batching import ObjectPrompt
from maskwright.runtime.kernels.masks import fetched
from maskwright.segmenter import Embedding
from maskwright.track import step
from maskwright.track.ask import VideoPrompt, bitmap_at_input_size
from maskwright.track.objects import ObjectId
from maskwright.track.options import TrackOptions
from maskwright.track.policy import OfficialPolicy
from maskwright.types import BoolArray, ByteArray

Shown = tuple[ByteArray, Mapping[int, VideoPrompt]]
"""A frame (h, w, 3), and what the objects are that are new in it, by their numbers."""
Found = Mapping[int, BoolArray]
"""Masks (h, w) of all objects that are known by then, by their numbers."""
Follow = Callable[[Iterable[Shown], int], Iterator[Found]]
"""The frames of a sequence and how many there are, to the masks in each."""


def by_memory(model: MaskModel, frames: Iterable[Shown], num_frames: int) -> Iterator[Found]:
    """All objects together in one session, by the rules of the official predictor's own evaluation.

    No holes are filled, every frame is remembered, and each pixel belongs to one object at most.
    """
    options = TrackOptions(
        max_hole_area=0, non_overlapping=True, rewind=0, num_frames=num_frames, policy=OfficialPolicy()
    )
    with model.session(options) as session:
        for picture, prompts in frames:
            new = {ObjectId(number): prompt for number, prompt in prompts.items()}
            tracked = session.push_prompted(picture, new)
            yield dict(zip(tracked.ids, tracked.bitmaps, strict=True))


def by_last_mask(model: MaskModel, frames: Iterable[Shown], num_frames: int) -> Iterator[Found]:
    """No memory: the logits of the previous frame are the mask prompt of the next one, object by object."""
    model = MaskModel(model.video_runtime)
    nothing = ObjectPrompt(np.zeros((2, 2), np.float32), np.full(2, NO_POINT))
    last: dict[int, Tensor] = {}
    for picture, prompts in frames:
        embedding = model.embed(picture)
        for number, logits_HW in last.items():
            chosen = step.answer(model.runtime, embedding.features, nothing, logits_HW, OfficialPolicy())
            last[number] = chosen.logits_OHW[0]
        last |= {number: _begin(embedding, prompt) for number, prompt in prompts.items()}
        yield {number: _on_picture(logits_HW, embedding) for number, logits_HW in last.items()}


def by_first_mask(model: MaskModel, frames: Iterable[Shown], num_frames: int) -> Iterator[Found]:
    """The first mask of each object for every frame."""
    first: dict[int, BoolArray] = {}
    for picture, prompts in frames:
        for number, prompt in prompts.items():
            if isinstance(prompt, np.ndarray):
                first[number] = prompt
            else:
                first[number] = model.embed(picture).segment(prompt).bitmaps[0]
        yield dict(first)


FOLLOWERS = {"memory": by_memory, "last-mask": by_last_mask, "still": by_first_mask}
"""By the name that a user gives them."""


def _begin(embedding: Embedding, prompt: VideoPrompt) -> Tensor:
    """Mask logits of an object in the frame that it is shown in."""
    runtime = embedding.runtime
    if isinstance(prompt, np.ndarray):
        given_1HW = bitmap_at_input_size(prompt, runtime.config.image_size)
        return runtime.adopt(embedding.features, given_1HW).logits_OHW[0]
    return torch.from_numpy(embedding.segment(prompt).logits[0])


def _on_picture(logits_HW: Tensor, embedding: Embedding) -> BoolArray:
    return fetched(upscale(logits_HW[None], embedding.size)[0] > 0)
