"""Frames made ahead of being tracked.

They are decoded, and for GPUs stretched to the network's input, on threads of their own, and encoded several
at a time where that is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice

import torch
from torch import Tensor

from maskwright.config import ModelConfig
from maskwright.frames import DevicePicture, Frame
from maskwright.io.sources import Prefetch, prefetch
from maskwright.model.mask_decoder import ImageFeatures
from maskwright.pixels.preprocess import preprocess, preprocess_there
from maskwright.runtime.protocol import Runtime

DECODED = 4
"""Decoded frames that wait, at most."""
READY = 2
"""Stretched frames that wait to be tracked, at most; 12 MiB each at 1024 px besides the frame."""
Prepare = Callable[[Frame], Frame]
Encode = Callable[[Sequence[Frame]], Sequence[Frame]]


@dataclass(frozen=True, eq=False)
class ReadyFrame(Frame):
    """A frame with the network's input made of it."""

    pixels_3HW: Tensor = field(kw_only=True)
    """Normalised, at input size, float32 on the host; in pinned memory if it goes to a GPU."""


@dataclass(frozen=True, eq=False)
class EncodedFrame(Frame):
    """A frame with what the image encoder makes of it."""

    features: ImageFeatures = field(kw_only=True)
    """Without memory, B = 1: views of those of a group."""


def bare(frame: Frame) -> Frame:
    """The frame without what was made of it ahead."""
    made = isinstance(frame, (ReadyFrame, EncodedFrame))
    return Frame(frame.index, frame.picture, frame.time) if made else frame


def features_of(frame: Frame, runtime: Runtime) -> ImageFeatures:
    """Features without memory, B = 1, made now if nobody has."""
    if isinstance(frame, EncodedFrame):
        return frame.features
    return runtime.encode_image(pixels_of(frame, runtime.config, runtime.device)[None])


def encoded(frames: Sequence[Frame], runtime: Runtime) -> list[EncodedFrame]:
    """Encode frames, all in one call."""
    pixels = [pixels_of(frame, runtime.config, runtime.device) for frame in frames]
    made = runtime.encode_image(torch.stack(pixels))
    return [
        EncodedFrame(
            frame.index,
            frame.picture,
            frame.time,
            features=ImageFeatures(*(level_BCHW[row : row + 1] for level_BCHW in made.levels)),
        )
        for row, frame in enumerate(frames)
    ]


def in_groups(frames: Iterable[Frame], num: int, encode: Encode) -> Iterator[Frame]:
    """The frames, encoded ``num`` at a time when the first of those is asked for; the last may be fewer.

    An error of the source comes after the frames before it.
    """
    waiting, failed = iter(frames), None
    while failed is None:
        group: list[Frame] = []
        try:
            for frame in islice(waiting, num):
                group.append(frame)
        except Exception as error:
            failed = error
        if not group:
            break
        yield from encode(group)
    if failed is not None:
        raise failed


def pixels_of(frame: Frame, config: ModelConfig, device: torch.device) -> Tensor:
    """The input (3, S, S) of a network that is on a device, made now if nobody has.

    It is made on the host, but for a frame that a GPU decoded and a network on a GPU: then on the GPU.
    """
    if isinstance(frame, ReadyFrame):
        return frame.pixels_3HW
    there = _there(frame, device)
    if there is not None:
        return preprocess_there(there.here(), config.image_size, config.pixel_mean, config.pixel_std)
    return preprocess(frame.image, config.image_size, config.pixel_mean, config.pixel_std)


def made_ready(frame: Frame, config: ModelConfig, device: torch.device) -> Frame:
    """Stretch a frame for a network that is on a device; one that a GPU decoded is left as it is, because
    the GPU stretches it when its turn comes.
    """
    if _there(frame, device) is not None:
        return frame
    pixels_3HW = pixels_of(frame, config, device)
    if device.type == "cuda":
        pixels_3HW = pixels_3HW.pin_memory()  # so that it is uploaded while the GPU computes
    return ReadyFrame(frame.index, frame.image, frame.time, pixels_3HW=pixels_3HW)


def _there(frame: Frame, device: torch.device) -> DevicePicture | None:
    """The frame's picture on a GPU, if it is on one and the network, too."""
    picture = frame.picture
    return picture if device.type == "cuda" and isinstance(picture, DevicePicture) else None


def read_ahead(frames: Iterable[Frame], prepare: Prepare | None) -> Prefetch[Frame]:
    """The frames, prepared if need be. Decoding has one thread, preparing another; closing ends both."""
    return prefetch(frames, DECODED) if prepare is None else prefetch(_each(frames, prepare), READY)


def _each(frames: Iterable[Frame], prepare: Prepare) -> Iterator[Frame]:
    with closing(prefetch(frames, DECODED)) as decoded:
        for frame in decoded:
            yield prepare(frame)
