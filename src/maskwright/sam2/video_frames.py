"""Frames of a video in any order, as the network's input, resized as the official loaders do it."""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from maskwright.config import ModelConfig
from maskwright.errors import InputError
from maskwright.frames import Frame
from maskwright.io.sources import Source, open_source
from maskwright.types import ByteArray, Size


class VideoFrames:
    """``frames[i]`` is the network's input for frame i; decoding goes on from the frame asked for last.

    Frames are resized with Pillow's bicubic filter, as the official loader of JPEG folders does; its loader
    of MP4 files leaves that to the decoder, whose numbers differ slightly.
    """

    def __init__(self, path: str | os.PathLike[str], config: ModelConfig) -> None:
        """Open a video.

        Raises:
            InputError: it cannot be opened, or is a stream, which has no frames to go back to.
        """
        self._config = config
        self._source: Source = open_source(path)
        if self._source.live:
            self._source.close()
            raise InputError(f"{path} is a live stream; follow it with a session: model.session()")
        self._stream: Iterator[Frame] = iter(())
        self._current: Frame | None = None
        self._step = 0
        """1 or -1: which way the running stream goes; 0 before the first."""
        first = self._fetch(0)
        self.size: Size = (first.shape[0], first.shape[1])
        length = self._source.num_frames if self._source.exact_length else self._source.count()
        self._length = length or 0

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> Tensor:
        """Normalised pixels (3, S, S), float32."""
        if not 0 <= index < self._length:
            raise InputError(f"there is no frame {index}; the video has frames 0 to {self._length - 1}")
        side, mean, std = self._config.image_size, self._config.pixel_mean, self._config.pixel_std
        resized = Image.fromarray(self._fetch(index)).resize((side, side), Image.Resampling.BICUBIC)
        pixels = torch.from_numpy(np.array(resized, dtype=np.float32) / 255).permute(2, 0, 1)
        return (pixels - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)

    def close(self) -> None:
        self._source.close()

    def _fetch(self, index: int) -> ByteArray:
        """The picture of a frame: the next one of the running stream, or the first of a new one."""
        last = None if self._current is None else self._current.index
        if self._current is None or index != last:
            if last is None or not self._step or index != last + self._step:
                self._step = -1 if last is not None and index == last - 1 else 1
                backward = self._step == -1
                self._stream = self._source.backward(index) if backward else self._source.frames(index)
            self._current = next(self._stream, None)
            if self._current is None:
                raise InputError(f"{self._source.name} has no frame {index}")
        return self._current.image
