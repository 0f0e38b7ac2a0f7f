"""Cameras and network streams, through PyAV: what comes now, with no way back.

Opening and reading happen on a thread of their own, so that a device or server that never answers is noticed
after ``timeout`` seconds even where FFmpeg cannot be interrupted. Memory: four frames.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from maskwright.errors import InputError, SourceError
from maskwright.frames import Frame
from maskwright.io.sources.decoding import (
    Converter,
    Decoder,
    hide_password,
    import_av,
    open_container,
)
from maskwright.io.sources.numbering import RunningNumbers
from maskwright.io.sources.prefetch import Prefetch
from maskwright.io.sources.protocol import Closing, Corrupt, check_corrupt, check_open, check_range
from maskwright.types import Size

if TYPE_CHECKING:
    from av.container import InputContainer

TIMEOUT = 15.0
"""Seconds without an answer after which a camera or stream is given up, unless the caller says otherwise."""
_AHEAD = 2
_GRACE = 1.0
"""Seconds more than FFmpeg is given, so that its own, more precise error arrives first."""
_log = logging.getLogger(__name__)


class CameraInput(NamedTuple):
    """How FFmpeg is asked for a camera."""

    address: str
    format: str


class _Opened(NamedTuple):
    size: Size
    fps: float | None


class LiveSource(Closing):
    """A camera or stream. Frames are numbered as they come, and their times count from the first one.

    Frames are read two ahead and then wait in the device or the network, which drop what they cannot hold;
    wrap :meth:`frames` in ``Latest`` to drop instead what is older than the newest.
    """

    live = True
    exact_length = False
    num_frames: int | None = None

    def __init__(
        self,
        name: str,
        opener: Callable[[], InputContainer],
        *,
        timeout: float = TIMEOUT,
        corrupt: Corrupt = "skip",
        endless: bool = False,
    ) -> None:
        """Open it and wait for the first frame.

        Args:
            name: For messages.
            opener: Makes the container; called on the reading thread.
            timeout: Seconds that each answer may take.
            corrupt: What to do about damaged frames.
            endless: Whether coming to an end is an error, as it is for a camera.

        Raises:
            SourceError: it cannot be opened, or sends nothing in time.
        """
        check_corrupt(corrupt)
        self.name, self._timeout = name, timeout
        self._skipped: list[int] = []
        self._next = 0
        self._closed = False
        reading = partial(_read, opener, name, corrupt, endless, self._skipped)
        self._reader = Prefetch(reading(), _AHEAD)
        try:
            opened = self._get()
        except BaseException:
            self.close()
            raise
        if not isinstance(opened, _Opened):
            raise TypeError("the first item of a stream is its description")
        self.size, self.fps = opened

    @property
    def num_skipped(self) -> int:
        """Damaged frames left out so far."""
        return len(self._skipped)

    def frames(self, start: int = 0, stop: int | None = None, step: int = 1) -> Iterator[Frame]:
        """See :class:`Source`. Called again, it goes on with the frames that come then.

        Raises:
            SourceError: while iterating: it went away, or sent nothing for ``timeout`` seconds.
        """
        check_range(start, stop, step)
        check_open(self.name, self._closed)
        return self._walk(start, stop, step)

    def backward(self, start: int, stop: int = 0, step: int = 1) -> Iterator[Frame]:
        """Always an InputError."""
        raise InputError(f"{self.name} is live and cannot be read backwards; record it to a file first")

    def count(self) -> None:
        """It has no end."""

    def close(self) -> None:
        """Release the device or connection; may be called more than once.

        If FFmpeg is waiting for an answer just then, the thread ends when that wait does.
        """
        self._closed = True
        self._reader.close(wait=0.5)

    def _walk(self, start: int, stop: int | None, step: int) -> Iterator[Frame]:
        while stop is None or self._next < stop:
            check_open(self.name, self._closed)
            try:
                frame = self._get()
            except StopIteration:
                return
            if not isinstance(frame, Frame):
                raise TypeError("a stream describes itself only once")
            self._next = frame.index + 1
            if frame.index >= start and (frame.index - start) % step == 0:
                yield frame

    def _get(self) -> Frame | _Opened:
        try:
            return self._reader.get(self._timeout + _GRACE)
        except TimeoutError as error:
            raise SourceError(
                f"{self.name} sent nothing for {self._timeout:g} s; check that it is on and reachable"
            ) from error


def camera_source(device: str, *, timeout: float = TIMEOUT, corrupt: Corrupt = "skip") -> LiveSource:
    """A camera of this machine, by number from 0 or by the system's name for it.

    Raises:
        SourceError: there is no such camera, it is in use, or it sends nothing.
    """
    name = f"camera {device}"
    wanted = camera_input(device, sys.platform)
    if wanted.format == "v4l2" and not Path(wanted.address).exists():
        found = ", ".join(sorted(path.name.removeprefix("video") for path in Path("/dev").glob("video*")))
        raise SourceError(f"there is no {name}; cameras of this machine: {found or 'none'}")
    opener = partial(open_container, wanted.address, name, format=wanted.format, timeout=timeout)
    return LiveSource(name, opener, timeout=timeout, corrupt=corrupt, endless=True)


def camera_input(device: str, platform: str) -> CameraInput:
    """FFmpeg's address and format of a camera on Linux, macOS or Windows.

    Raises:
        SourceError: on Windows, there is no camera of that number.
    """
    if platform == "darwin":
        return CameraInput(f"{device}:none" if device.isdecimal() else device, "avfoundation")
    if platform != "win32":
        return CameraInput(f"/dev/video{device}" if device.isdecimal() else device, "v4l2")
    if not device.isdecimal():
        return CameraInput(f"video={device}", "dshow")
    import_av()
    from av.device import enumerate_input_devices

    found = [each for each in enumerate_input_devices("dshow") if "video" in each.media_types]
    if int(device) >= len(found):
        names = ", ".join(each.description for each in found) or "none"
        raise SourceError(f"there is no camera {device}; cameras of this machine: {names}")
    return CameraInput(f"video={found[int(device)].description}", "dshow")


def stream_source(address: str, *, timeout: float = TIMEOUT, corrupt: Corrupt = "skip") -> LiveSource:
    """A stream at an address: RTSP, RTMP, HLS, HTTP, UDP, SRT and whatever else FFmpeg speaks.

    Raises:
        SourceError: nobody answers, or what comes is no video.
    """
    name = hide_password(address)
    # RTSP over UDP, FFmpeg's default, loses packets and is often blocked
    options = {"rtsp_transport": "tcp"} if address.lower().startswith("rtsp") else {}
    opener = partial(open_container, address, name, options=options, timeout=timeout)
    return LiveSource(name, opener, timeout=timeout, corrupt=corrupt)


def _read(
    opener: Callable[[], InputContainer], name: str, corrupt: Corrupt, endless: bool, skipped: list[int]
) -> Iterator[Frame | _Opened]:
    """The stream's description once its first frame came, then its frames. Runs on the reading thread."""
    decoder = Decoder(opener, name)
    try:
        converter = Converter(name)
        rate = decoder.stream.average_rate or decoder.stream.guessed_rate
        time_base = float(decoder.stream.time_base or 0)
        first_pts: int | None = None
        number, failures = 0, 0
        for _, frame, damaged in decoder.run(RunningNumbers(None, decoder.stream.codec_context.name)):
            lost = decoder.failures - failures + damaged
            failures = decoder.failures
            if lost and number:  # before the first frame it is only that one comes in the middle
                _note_damage(name, number, corrupt, skipped)
            if damaged:
                continue
            image = converter.rgb(frame)
            if number == 0:
                first_pts = frame.pts
                yield _Opened((image.shape[0], image.shape[1]), float(rate) if rate else None)
            seconds = None
            if frame.pts is not None and first_pts is not None:
                seconds = (frame.pts - first_pts) * time_base
            yield Frame(number, image, seconds)
            number += 1
    finally:
        decoder.close()
    if number == 0:
        raise SourceError(f"{name} ended before its first frame; check that it sends video")
    if endless or decoder.ended is not None:
        raise SourceError(f"{name} went away after frame {number - 1}; connect it again")
    _log.info("%s ended after %d frames", name, number)


def _note_damage(name: str, number: int, corrupt: Corrupt, skipped: list[int]) -> None:
    if corrupt == "stop":
        raise SourceError(f"{name}: a frame after {number - 1} is damaged; corrupt='skip' leaves it out")
    if not skipped:
        _log.warning("%s: a frame after %d is damaged and left out; more are only counted", name, number - 1)
    skipped.append(number)
