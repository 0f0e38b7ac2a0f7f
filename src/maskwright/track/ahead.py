"""Frames decoded, and for GPUs stretched to the network's input, on threads of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field

import torch
from torch import Tensor

from maskwright.config import ModelConfig
from maskwright.frames import Frame
from maskwright.io.sources import Prefetch, prefetch
from maskwright.pixels.preprocess import preprocess

DECODED = 4
"""Decoded frames that wait, at most."""
READY = 2
"""Stretched frames that wait to be tracked, at most; 12 MiB each at 1024 px besides the frame."""
Prepare = Callable[[Frame], Frame]


@dataclass(frozen=True, eq=False)
class ReadyFrame(Frame):
    """A frame with the network's input made of it."""

    pixels_3HW: Tensor = field(kw_only=True)
    """Normalised, at input size, float32 on the host; in pinned memory if it goes to a GPU."""

    @property
    def bare(self) -> Frame:
        """The frame without them."""
        return Frame(self.index, self.image, self.time)


def pixels_of(frame: Frame, config: ModelConfig) -> Tensor:
    """The network's input (3, S, S), made now if nobody has."""
    if isinstance(frame, ReadyFrame):
        return frame.pixels_3HW
    return preprocess(frame.image, config.image_size, config.pixel_mean, config.pixel_std)


def made_ready(frame: Frame, config: ModelConfig, device: torch.device) -> ReadyFrame:
    """Stretch a frame for a network that is on a device."""
    pixels_3HW = pixels_of(frame, config)
    if device.type == "cuda":
        pixels_3HW = pixels_3HW.pin_memory()  # so that it is uploaded while the GPU computes
    return ReadyFrame(frame.index, frame.image, frame.time, pixels_3HW=pixels_3HW)


def read_ahead(frames: Iterable[Frame], prepare: Prepare | None) -> Prefetch[Frame]:
    """The frames, prepared if need be. Decoding has one thread, preparing another; closing ends both."""
    return prefetch(frames, DECODED) if prepare is None else prefetch(_each(frames, prepare), READY)


def _each(frames: Iterable[Frame], prepare: Prepare) -> Iterator[Frame]:
    with closing(prefetch(frames, DECODED)) as decoded:
        for frame in decoded:
            yield prepare(frame)
