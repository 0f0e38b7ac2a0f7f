"""Ways to follow an object by a model's verbs alone: with its memory, and two that any memory has to beat.

Each is a ``video.Follow``. The tracker does the same for many objects, prompts and policies; this is the
plain reading of the official rules, with which memory is trained and compared.
Axes: O objects (1 here), H W the network's input or the mask grid.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from maskwright.model.candidates import Chosen, choose_tracked
from maskwright.model.mask_decoder import ImageFeatures
from maskwright.model.memory_bank import MemoryBank, empty_bank
from maskwright.model.memory_encoder import MASK_BIAS, MASK_SCALE
from maskwright.model.prompt_encoder import NO_POINT, PromptTensors
from maskwright.model.sam2 import Slots
from maskwright.pixels.postprocess import upscale
from maskwright.pixels.preprocess import preprocess
from maskwright.runtime.protocol import Moment, Runtime
from maskwright.types import BoolArray, ImageArray

LIMIT = 32.0
"""Size of the logits that come back as mask prompt."""

Encode = Callable[[ImageArray], ImageFeatures]
"""A picture to its features."""


class Still:
    """The first mask for every frame."""

    def __init__(self, runtime: Runtime) -> None:
        """The model is not asked."""

    def __call__(self, frames: Iterable[ImageArray], mask: BoolArray) -> Iterator[BoolArray]:
        for _ in frames:
            yield mask


class WithLastMask:
    """No memory: the logits of the previous frame are the mask prompt of the next one."""

    def __init__(self, runtime: Runtime, encode: Encode | None = None) -> None:
        self.runtime = runtime
        self.encode = encode or encoder(runtime)

    def __call__(self, frames: Iterable[ImageArray], mask: BoolArray) -> Iterator[BoolArray]:
        side = self.runtime.config.mask_size
        given_OHW = at_input(mask, self.runtime.config.image_size) * MASK_SCALE + MASK_BIAS
        logits_OHW = F.interpolate(given_OHW[:, None], (side, side), mode="bilinear", antialias=True)[:, 0]
        for number, frame in enumerate(frames):
            if number == 0:
                yield mask
                continue
            features = self.runtime.without_memory(self.encode(frame))
            logits_OHW = choose(self.runtime, features, logits_OHW).logits_OHW.clamp(-LIMIT, LIMIT)
            yield on_picture(logits_OHW, mask)


class WithMemory:
    """The model's memory: the given frame, the last six, and their object pointers.

    ``encode`` serves callers who keep features; memories are stored as ``storage``.
    """

    def __init__(
        self, runtime: Runtime, encode: Encode | None = None, storage: torch.dtype = torch.bfloat16
    ) -> None:
        self.runtime = runtime
        self.encode = encode or encoder(runtime)
        self.storage = storage

    def __call__(self, frames: Iterable[ImageArray], mask: BoolArray) -> Iterator[BoolArray]:
        runtime, config = self.runtime, self.runtime.config
        bank = empty_bank(config, 1, config.num_memories, config.num_pointers, runtime.device, self.storage)
        for number, frame in enumerate(frames):
            features, now = self.encode(frame), torch.tensor([number])
            if number == 0:
                chosen = runtime.adopt(features, at_input(mask, config.image_size))
                yield mask
            else:
                moment = Moment(now, 1, config.num_pointers - 1)
                chosen = choose(runtime, runtime.recall(features, bank, moment, masked=True))
                yield on_picture(chosen.logits_OHW, mask)
            given = torch.tensor([number == 0])
            runtime.remember(features, chosen, bank, _slots(bank, number), now, given, given)


def choose(runtime: Runtime, features: ImageFeatures, masks_OHW: Tensor | None = None) -> Chosen:
    """The answer for features of one object, without clicks, as the official tracker chooses it."""
    prompts = PromptTensors(
        torch.zeros(1, 1, 2, 2),
        torch.full((1, 1, 2), NO_POINT),
        None if masks_OHW is None else masks_OHW[None],
    )
    delta, threshold = runtime.config.stability_delta, runtime.config.stability_threshold
    return choose_tracked(*runtime.decode(features, prompts), single=False, delta=delta, threshold=threshold)


def encoder(runtime: Runtime) -> Encode:
    """Pictures to features by the model itself."""
    config = runtime.config

    def encode(picture: ImageArray) -> ImageFeatures:
        pixels = preprocess(picture, config.image_size, config.pixel_mean, config.pixel_std)
        return runtime.encode_image(pixels[None])

    return encode


def at_input(mask: BoolArray, size: int) -> Tensor:
    """A mask (h, w) as (1, size, size) float, 0 or 1, the way the official tracker resizes it."""
    full = torch.from_numpy(np.asarray(mask, np.float32))[None, None]
    return (F.interpolate(full, (size, size), mode="bilinear", antialias=True)[0] >= 0.5).float()


def on_picture(logits_OHW: Tensor, like: BoolArray) -> BoolArray:
    """The one object's mask at the picture's size."""
    height, width = like.shape
    return np.asarray((upscale(logits_OHW, (height, width))[0] > 0).cpu().numpy())


def _slots(bank: MemoryBank, number: int) -> Slots:
    """Slot 0 keeps the given frame, the others are rings."""

    def slot(count: int) -> Tensor:
        return torch.tensor([0 if number == 0 else 1 + (number - 1) % (count - 1)])

    return Slots(torch.tensor([0]), slot(bank.frames_OS.shape[1]), slot(bank.pointer_frames_OP.shape[1]))
