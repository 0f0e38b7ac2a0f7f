"""PyAV: opening a container, decoding its video stream, and turning frames upright into RGB."""

from __future__ import annotations

import logging
import math
import re
import threading
import time
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from maskwright.errors import MissingExtraError, SourceError
from maskwright.io.sources.numbering import Numbers
from maskwright.io.sources.protocol import check_open
from maskwright.types import ByteArray

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

_READ_TRIES = 8
"""Unreadable places in a row after which the rest of a file is given up."""
_COVER = 0x400 | 0x800
"""FFmpeg's dispositions of a stream that is a cover picture or thumbnails: no video."""
_NOT_VIDEO = frozenset({"tty", "image2", "image2pipe"})
"""FFmpeg formats in which any text, or a still picture, passes for a video."""
_CRIES_WOLF = frozenset({"hls", "mpegts"})
"""FFmpeg formats that call a whole packet corrupt where two recordings were joined."""
_LATE = "no answer in time; check the address and the network"
_EXACT = 0x2 | 0x2000 | 0x40000
"""swscale's bilinear, with full chroma and exact rounding: without, white of 10 bits becomes 253."""
_log = logging.getLogger(__name__)


class Decoded(NamedTuple):
    """One frame as the decoder put it out."""

    number: int
    frame: VideoFrame
    damaged: bool


def import_av() -> ModuleType:
    """PyAV, or the error that says how to install it."""
    try:
        import av
        import av.video.reformatter
    except ImportError as error:
        raise MissingExtraError(
            'reading videos needs PyAV, which is not installed: pip install "maskwright[video]"'
        ) from error
    return av


def open_container(
    address: str,
    name: str,
    *,
    format: str | None = None,
    options: dict[str, str] | None = None,
    timeout: float | None = None,
) -> InputContainer:
    """Open a file, device or address.

    Args:
        address: What FFmpeg understands; ``file:PATH`` for a file.
        name: What the user called it, for messages.
        format: FFmpeg's name of the format, where it cannot be found out.
        options: For the demuxer.
        timeout: Seconds that opening, and later each read, may take; None for files.

    Raises:
        SourceError: it cannot be opened; the message says why.
    """
    av = import_av()
    began = time.monotonic()
    try:
        container: InputContainer = av.open(
            address, "r", format=format, options=options or {}, timeout=timeout, metadata_errors="replace"
        )
    except (av.FFmpegError, OSError, ValueError) as error:
        late = timeout is not None and time.monotonic() - began >= timeout
        raise SourceError(f"cannot open {name}: {_LATE if late else reason(error)}") from error
    return container


def video_stream(container: InputContainer, name: str) -> VideoStream:
    """The video stream of a container, and no cover picture.

    Raises:
        SourceError: there is none, or no decoder for it.
    """
    if container.format.name in _NOT_VIDEO:
        raise SourceError(f"{name} is not a video")
    streams = [stream for stream in container.streams.video if not _is_cover(stream)]
    if not streams:
        kinds = {stream.type for stream in container.streams}
        has = "sound but no video" if "audio" in kinds else "no video"
        raise SourceError(f"{name} has {has}; give a file with a video stream")
    best = container.streams.best("video")
    stream = next((stream for stream in streams if best and stream.index == best.index), streams[0])
    if stream.codec_context is None:
        raise SourceError(f"{name} is coded in a way that FFmpeg cannot decode; convert it to H.264")
    return stream


def _is_cover(stream: VideoStream) -> bool:
    return bool(stream.disposition.value & _COVER)


def reason(error: BaseException) -> str:
    """Why FFmpeg failed, on one line, without the address, which may hold a password."""
    text = " ".join(str(getattr(error, "strerror", None) or error).split()).rstrip(".")
    known = {
        "Immediate exit requested": _LATE,
        "Invalid data found when processing input": (
            "it is damaged, incomplete or not a video; record or copy it again"
        ),
        "No such file or directory": "there is no such file; check the path",
        "Protocol not found": "FFmpeg does not know this kind of address",
    }
    return known.get(text, text) or type(error).__name__


def hide_password(address: str) -> str:
    """An address for messages: without the user name and password that camera addresses often hold."""
    return re.sub(r"(?<=://)[^/@\s]*@", "", address)


class Decoder:
    """One pass of a decoder over one container. Several can read the same file at once.

    Decoding uses threads inside a frame only: with threads across frames, FFmpeg's repair of damaged frames
    differs from run to run.
    """

    def __init__(self, opener: Callable[[], InputContainer], name: str) -> None:
        self.name = name
        self.failures = 0
        """Packets that could not be read or decoded so far."""
        self.num_packets = 0
        """Packets read so far."""
        self.ended: BaseException | None = None
        """Why reading stopped before the end."""
        self._opener = opener
        self._lock = threading.Lock()
        self._closed = False
        self._fresh = True
        self._tainted: set[int | None] = set()
        self.container = opener()
        try:
            self.stream = self._configured()
        except BaseException:
            self.container.close()
            raise

    def _configured(self) -> VideoStream:
        stream = video_stream(self.container, self.name)
        stream.thread_type = "SLICE"
        others: Any = [other for other in self.container.streams if other.index != stream.index]
        for other in others:
            other.discard = type(other.discard)["all"]
        return stream

    def close(self) -> None:
        """Close the container, as soon as a step in another thread has ended; may be called again."""
        with self._lock:
            self._closed = True
            self.container.close()

    def seek(self, timestamp: int) -> bool:
        """Go to a key packet at or before ``timestamp``, in units of the stream; False if that is refused."""
        av = import_av()
        self._fresh = False
        with self._lock:
            check_open(self.name, self._closed)
            try:
                self.container.seek(timestamp, stream=self.stream, backward=True)
            except (av.FFmpegError, OSError):
                return False
        return True

    def rewind(self) -> None:
        """Go to the beginning, by opening the container again if it was read from."""
        if self._fresh:
            return
        with self._lock:
            check_open(self.name, self._closed)
            self.container.close()
            self.container = self._opener()
            self.stream = self._configured()
            self._fresh, self.num_packets, self.ended = True, 0, None

    def packets(self) -> Iterator[Packet[VideoStream]]:
        """Packets from here to the end, then an empty one; unreadable places are passed over.

        Raises:
            SourceError: a stream gave no answer in time.
        """
        av = import_av()
        tries = 0
        self._fresh = False
        demux = self.container.demux(self.stream)
        while True:
            try:
                with self._lock:
                    check_open(self.name, self._closed)
                    packet = next(demux)
            except StopIteration:
                return
            except av.ExitError as error:
                raise SourceError(f"cannot read on in {self.name}: {reason(error)}") from error
            except (av.FFmpegError, OSError) as error:
                self.failures += 1
                tries += 1
                if tries == _READ_TRIES:
                    self.ended = error
                    return
                demux = self.container.demux(self.stream)
                continue
            tries = 0
            self.num_packets += bool(packet.size)
            yield packet

    def run(self, numbers: Numbers, *, from_key: int | None = None) -> Iterator[Decoded]:
        """Decode from here to the end.

        Args:
            numbers: Is told of all packets and gives frames their numbers.
            from_key: After seeking, the timestamp of the packet to start at or before.

        Raises:
            LookupError: the key packet at ``from_key`` was passed already: the container seeks badly.
        """
        started = from_key is None
        for packet in self.packets():
            if not started and packet.size:
                if not packet.is_keyframe or packet.pts is None:
                    continue
                if from_key is not None and packet.pts > from_key:
                    raise LookupError
                started = True
            numbers.sent(packet)
            if packet.is_corrupt and self.container.format.name not in _CRIES_WOLF:
                self._tainted.add(packet.pts)
            yield from self._numbered(packet, numbers)
        if self.ended is not None:
            yield from self._numbered(None, numbers)

    def _numbered(self, packet: Packet[VideoStream] | None, numbers: Numbers) -> Iterator[Decoded]:
        """Feed the decoder, or empty it; what comes out."""
        for frame in self._decode(packet, numbers):
            number = numbers.number(frame.pts)
            if number is not None:
                damaged = frame.is_corrupt or frame.pts in self._tainted
                self._tainted.discard(frame.pts)
                yield Decoded(number, frame, damaged)

    def _decode(self, packet: Packet[VideoStream] | None, numbers: Numbers) -> list[VideoFrame]:
        av = import_av()
        try:
            with self._lock:
                check_open(self.name, self._closed)
                return self.stream.codec_context.decode(packet)
        except (av.FFmpegError, OSError, ValueError) as error:
            _log.debug("%s: a packet could not be decoded: %s", self.name, error)
            self.failures += 1
            numbers.failed()
            return []


class Converter:
    """Frames of any pixel format, depth and colour space -> upright (h, w, 3) uint8 RGB."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._reformatter = import_av().video.reformatter.VideoReformatter()
        self._angle: int | None = None
        self._matrix: tuple[int, int, int, int] | None = None
        self._said = False

    def rgb(self, frame: VideoFrame) -> ByteArray:
        """The picture, in memory of its own, turned as the recording device asks for.

        Colour range and matrix are those that the video states; swscale's defaults where it states none.
        """
        exact = frame.format.components[0].bits > 8
        plain = self._reformatter.reformat(
            frame, format="rgb24", dst_color_range="JPEG", interpolation=_EXACT if exact else None
        )
        image: ByteArray = plain.to_ndarray()
        return np.array(self._upright(image, frame), order="C")

    @property
    def mirrors(self) -> bool:
        """Whether the last frame was asked to be shown as in a mirror."""
        if self._matrix is None:
            return False
        a, b, c, d = self._matrix
        return a * d < b * c

    def _upright(self, image: ByteArray, frame: VideoFrame) -> ByteArray:
        angle = frame.rotation
        if angle != self._angle:  # looking at the matrix leaves a cycle that keeps the frame alive for long
            self._angle, self._matrix = angle, _display_matrix(frame)
        if self._matrix is None:
            return image
        matrix = a, b, c, d = self._matrix
        if min(abs(a) + abs(d), abs(b) + abs(c)) > 0.01 * max(map(abs, matrix)) and not self._said:
            self._said = True
            turn = math.degrees(math.atan2(b, a))
            _log.warning("%s asks to be shown turned by %.1f°; turned to the nearest 90°", self._name, turn)
        if abs(b) + abs(c) > abs(a) + abs(d):
            image, a, d = image.transpose(1, 0, 2), c, b
        if a < 0:
            image = image[:, ::-1]
        return image[::-1] if d < 0 else image


def _display_matrix(frame: VideoFrame) -> tuple[int, int, int, int] | None:
    """(a, b, c, d) of the matrix that takes a stored pixel to (a x + c y, b x + d y) on the screen."""
    data: Any
    for data in frame.side_data:
        if data.type.name == "DISPLAYMATRIX":
            numbers = np.frombuffer(bytes(data), "=i4")
            return int(numbers[0]), int(numbers[1]), int(numbers[3]), int(numbers[4])
    return None
