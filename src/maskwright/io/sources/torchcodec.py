"""Video files through torchcodec, on the processor or on the video engine of an NVIDIA GPU (NVDEC).

PyAV looks at the file first and lists its packets: size, numbers and times of frames, and what is wrong with
the file, are those of :class:`maskwright.io.sources.video.VideoSource`. torchcodec makes the pictures. Which
frame it has given is read from the frame's timestamp, because the number that it was asked for is not always
the one that comes: after damage, and in files whose first frames are cut away, its own numbers shift.

Memory: one frame and the reference frames of the decoder; going backwards, ``spill.HOLD`` bytes of frames.
Frames of a GPU stay in its memory until somebody looks at them (:class:`maskwright.frames.DevicePicture`).
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, Protocol, TypeAlias

import torch
from torch import Tensor

from maskwright.errors import InputError, MissingExtraError, SourceError
from maskwright.frames import DevicePicture, Frame
from maskwright.io.sources.protocol import (
    Closing,
    Corrupt,
    check_backward,
    check_open,
    check_range,
    no_such_frame,
)
from maskwright.io.sources.spill import HOLD
from maskwright.io.sources.video import VideoSource

_TRIES = 8
"""Times that a frame is asked for; each time, the decoder gets past one packet that it cannot read."""
_RUN = 48
"""Frames that going backwards decodes together."""
_log = logging.getLogger(__name__)


class DecodedFrame(Protocol):
    """What torchcodec calls a Frame."""

    @property
    def data(self) -> Tensor:
        """(h, w, 3) uint8 RGB, upright, on the decoder's device."""

    @property
    def pts_seconds(self) -> float:
        """Timestamp, by the clock of the stream."""


class FrameDecoder(Protocol):
    """The part of ``torchcodec.decoders.VideoDecoder`` that is used here."""

    def __len__(self) -> int:
        """Number of frames."""

    def get_frame_at(self, index: int) -> DecodedFrame:
        """A frame by its number; a RuntimeError if it cannot be decoded, or lies past the end."""

    @property
    def cpu_fallback(self) -> object:
        """True, and as text the reason, where a decoder for a GPU works on the processor after all."""


Opener: TypeAlias = Callable[[str, torch.device], FrameDecoder]


def open_decoder(path: str, device: torch.device) -> FrameDecoder:
    """Open a file with torchcodec.

    Raises:
        MissingExtraError: torchcodec is not installed, or cannot be loaded.
        InputError: there is no such device.
        RuntimeError: torchcodec cannot open the file.
    """
    try:
        from torchcodec.decoders import VideoDecoder
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            "decoder='torchcodec' needs torchcodec, which is not installed: "
            'pip install "maskwright[torchcodec]"'
        ) from error
    except (ImportError, OSError, RuntimeError) as error:
        raise _not_loaded(error) from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise InputError("there is no NVIDIA GPU that PyTorch can use; decode with device='cpu'")
    try:
        decoder: FrameDecoder = VideoDecoder(
            path, dimension_order="NHWC", seek_mode="exact", num_ffmpeg_threads=1, device=str(device)
        )
    except RuntimeError as error:
        if "Could not load" in str(error):
            raise _not_loaded(error) from error
        raise
    return decoder


class TorchcodecSource(Closing):
    """A video file, decoded by torchcodec.

    Frames have the numbers, times and sizes that :class:`VideoSource` gives them, and damage is treated in
    the same way as far as torchcodec tells of it: a frame that does not come out is left out or an error, one
    that the decoder has repaired is passed on. Files are refused, with the advice to use PyAV, if their
    timestamps do not tell the numbers of frames (AVI has none), if torchcodec does not find the first frame
    where it is, and if they are to be shown as in a mirror.

    Opening reads all packets, twice. Several passes share one decoder, so that reading in turns is slow.
    """

    live = False
    exact_length = True

    def __init__(
        self,
        path: str | Path,
        *,
        device: str | torch.device = "cpu",
        corrupt: Corrupt = "skip",
        hold: int = HOLD,
        opener: Opener = open_decoder,
    ) -> None:
        """Open, and decode the first frame.

        Args:
            path: A file.
            device: ``"cpu"``, or an NVIDIA GPU such as ``"cuda"`` or ``"cuda:1"``.
            corrupt: What to do about damaged frames.
            hold: Bytes of frames that going backwards keeps, where they are decoded.
            opener: What opens the decoder.

        Raises:
            SourceError: missing, empty, no video, or one that torchcodec cannot read.
            InputError: there is no such device.
            MissingExtraError: PyAV or torchcodec is not installed.
        """
        self.device = _checked(device)
        """Where frames are decoded, and stay."""
        self._plain = VideoSource(path, corrupt=corrupt)
        self.name, self.path, self.size = self._plain.name, self._plain.path, self._plain.size
        self.fps, self.start_time = self._plain.fps, self._plain.start_time
        self._hold = hold
        self._lock = threading.Lock()
        self._decoder: FrameDecoder | None = None
        self._asked: int | None = None
        if self._plain.mirrored:
            raise self._refusal("it is to be shown as in a mirror")
        if self._plain.format == "avi":  # of healthy ones with B-frames, some frames did not come out
            raise self._refusal("AVI files have no timestamps")
        try:
            self._decoder = opener(self.path, self.device)
        except RuntimeError as error:
            raise self._refusal(_reason(error)) from error
        index = self._plain.index()
        if index is None:
            raise self._refusal("its timestamps do not tell the numbers of its frames")
        self._index = index
        self.num_frames = len(index)
        self._check_sample()

    @property
    def num_skipped(self) -> int:
        """Damaged frames left out so far; one that is met twice counts once."""
        return self._plain.num_skipped

    def frames(self, start: int = 0, stop: int | None = None, step: int = 1) -> Iterator[Frame]:
        """See :class:`Source`. Starts at the key frame before ``start``."""
        check_range(start, stop, step)
        check_open(self.name, self._decoder is None)
        return self._forward(start, stop, step)

    def backward(self, start: int, stop: int = 0, step: int = 1) -> Iterator[Frame]:
        """See :class:`Source`. Decodes a run of frames at a time, each from the key frame before it."""
        check_backward(start, stop, step)
        check_open(self.name, self._decoder is None)
        if start >= self.num_frames:
            raise no_such_frame(self.name, start, self.num_frames)
        return self._backward(start, stop, step)

    def count(self) -> int:
        """The number of frames."""
        return self.num_frames

    def close(self) -> None:
        """Release the file and the decoder; an iterator in use raises StateError at its next frame."""
        with self._lock:
            self._decoder = None
        self._plain.close()

    def _forward(self, start: int, stop: int | None, step: int) -> Iterator[Frame]:
        end = self.num_frames if stop is None else min(stop, self.num_frames)
        yield from self._every(self._decoded(start, end), start, step)
        if end == self.num_frames:
            self._plain.check_end()

    def _backward(self, start: int, stop: int, step: int) -> Iterator[Frame]:
        h, w = self.size
        room = max(1, min(_RUN, self._hold // (h * w * 3)))
        numbers = range(start, stop - 1, -step)
        for first in range(0, len(numbers), room):
            high, low = numbers[first], numbers[first : first + room][-1]
            run = list(self._every(self._decoded(low, high + 1), start, step))
            while run:
                yield run.pop()

    def _every(self, decoded: Iterator[_Found], phase: int, step: int) -> Iterator[Frame]:
        for found in decoded:
            if (found.number - phase) % step == 0:
                yield self._frame(found)

    def _decoded(self, start: int, stop: int) -> Iterator[_Found]:
        """All frames of a range in turn, but the damaged ones: torchcodec is sure only of the next one."""
        if start >= stop:
            return
        found, begin = self._found(start), start
        if found is None or found.number != start:
            # an unreadable packet may follow, which only a run survives
            found, begin = None, self._index.run_start(start)
        for number in range(begin, stop):
            if found is None or found.number < number:
                found = self._found(number)
            if number < start:
                continue
            if found is None or found.number > number:
                self._plain.damaged(number)
            else:
                yield found

    def _frame(self, found: _Found) -> Frame:
        time = self._plain.time_of(found.number, self._index.times[found.number])
        if self.device.type == "cpu":
            return Frame(found.number, found.pixels_HW3.numpy(), time)
        return Frame(found.number, DevicePicture(found.pixels_HW3), time)

    def _found(self, number: int) -> _Found | None:
        """Frame ``number``, or a later one if it does not come out; None if none does.

        torchcodec gives the next frame, whichever that is, to who asks for the number after the last one,
        and goes by timestamps where another number is asked for. So a wrong frame is asked for twice.
        """
        for _ in range(_TRIES):
            with self._lock:
                in_turn = self._asked == number - 1
                found = self._ask(number)
            if found is not None and (found.number == number or (found.number > number and not in_turn)):
                return found
        return None

    def _ask(self, number: int) -> _Found | None:
        """What torchcodec gives when it is asked for a frame; None if that fails."""
        check_open(self.name, self._decoder is None)
        assert self._decoder is not None
        try:
            decoded = self._decoder.get_frame_at(number)
        except (RuntimeError, IndexError) as error:
            if re.search("out of memory|CUDA error", str(error)):
                raise SourceError(
                    f"{self.name} cannot be decoded on {self.device}: {_reason(error)}"
                ) from error
            _log.debug("%s: frame %d could not be decoded: %s", self.name, number, _reason(error))
            return None
        self._asked = number
        found = self._index.number_of(round(decoded.pts_seconds / self._plain.time_base))
        return None if found is None else _Found(found, decoded.data)

    def _check_sample(self) -> None:
        """Decode the first whole frame, and see that it is the one that PyAV finds."""
        number = self._index.number_of(self._plain.sample_pts)
        found = None if number is None else self._found(number)
        if found is None:
            raise self._refusal("its first frame does not come out")
        if found.number != number:
            raise self._refusal(f"frame {number} does not come out where it is")
        size = tuple(found.pixels_HW3.shape[:2])
        if size != self.size:
            raise self._refusal(f"its frames are {size}, and should be {self.size} pixels (h, w)")
        fallback = self._decoder.cpu_fallback if self.device.type == "cuda" and self._decoder else None
        if fallback:
            _log.warning("%s: decoded on the processor, not on the GPU: %s", self.name, fallback)

    def _refusal(self, why: str) -> SourceError:
        self.close()
        return SourceError(f"torchcodec cannot read {self.name}: {why}; use decoder='pyav'")


class _Found(NamedTuple):
    """A frame as the decoder put it out."""

    number: int
    pixels_HW3: Tensor


def _checked(device: str | torch.device) -> torch.device:
    try:
        place = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise InputError(f"unknown device {device!r}; torchcodec decodes on 'cpu' or 'cuda'") from error
    if place.type not in ("cpu", "cuda"):
        raise InputError(f"torchcodec does not decode on {str(place)!r}; use 'cpu' or 'cuda'")
    return place


def _not_loaded(error: BaseException) -> MissingExtraError:
    return MissingExtraError(
        "torchcodec is installed but cannot be loaded; it needs FFmpeg's shared libraries (on Linux those "
        "of the package ffmpeg) and PyTorch 2.11 or later, built for CUDA if torchcodec is: "
        f"{_reason(error)}"
    )


def _reason(error: BaseException) -> str:
    """What torchcodec says, on one line, without the place in its source."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = re.sub(r"^.*\.cpp:\d+,\s*", "", lines[0]) if lines else ""
    return text.rstrip(".") or type(error).__name__
