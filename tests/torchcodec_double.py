"""A double of ``torchcodec.decoders.VideoDecoder``, for machines without torchcodec.

It behaves as torchcodec documents it and as 0.12 was seen to: frames are put out in the order in which they
are shown; who asks for the number after the last one gets the next of them, whichever that is; who asks for
another number gets the first whose timestamp is not below that of the frame of this number.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Collection
from types import ModuleType, SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest
import torch

from maskwright.io.sources.video import VideoSource


class VideoDecoder:
    """Pictures of a file, decoded by PyAV.

    Damaged frames never come out. ``failing`` ones raise an error the first time that they are asked for.
    ``first`` frames from the start are never given, as where seeking to the start goes too far.
    """

    failing: Collection[int] = ()
    first = 0
    cpu_fallback: object = None
    error = "SingleStreamDecoder.cpp:1436, Could not push packet to decoder: Invalid data"
    made: Any = None

    def __init__(self, source: str, **options: Any) -> None:
        type(self).made = options
        assert options["dimension_order"] == "NHWC"
        with VideoSource(source) as plain, av.open(source) as container:
            logging.disable(logging.WARNING)
            self._pixels = {frame.index: torch.from_numpy(frame.image) for frame in plain.frames()}
            logging.disable(logging.NOTSET)
            stream = container.streams.video[0]
            base = stream.time_base
            self._times = sorted(
                float(packet.pts * base)
                for packet in container.demux(stream)
                if packet.size and packet.pts is not None and not packet.is_discard
            )
        self._left = [n for n in range(self.first, len(self._times)) if n in self._pixels]
        self._fails = set(self.failing)
        self._last: int | None = None
        self._at = 0
        self.asked: list[int] = []

    def __len__(self) -> int:
        return len(self._times)

    def get_frame_at(self, index: int) -> Any:
        """A frame with data (h, w, 3) and pts_seconds."""
        self.asked.append(index)
        if not 0 <= index < len(self):
            raise IndexError(f"Invalid frame index={index}")
        if index in self._fails:
            self._fails.discard(index)
            raise RuntimeError(self.error)
        if self._last is None or index != self._last + 1:
            self._at = int(np.searchsorted(self._left, index))
        if self._at == len(self._left):
            raise RuntimeError("Requested next frame while there are no more frames left to decode.")
        number = self._left[self._at]
        self._at += 1
        self._last = index
        return SimpleNamespace(data=self._pixels[number].clone(), pts_seconds=self._times[number])


def install(monkeypatch: pytest.MonkeyPatch, **behaviour: Any) -> type[VideoDecoder]:
    """Put the double where torchcodec would be."""
    made = type("VideoDecoder", (VideoDecoder,), behaviour)
    package, decoders = ModuleType("torchcodec"), ModuleType("torchcodec.decoders")
    decoders.VideoDecoder = made  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torchcodec", package)
    monkeypatch.setitem(sys.modules, "torchcodec.decoders", decoders)
    return made
