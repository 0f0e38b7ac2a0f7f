"""The first look at a video: whether there is one, how large it is, and how its frames can be numbered."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from maskwright.errors import SourceError
from maskwright.io.sources.decoding import Converter, Decoder
from maskwright.io.sources.numbering import is_shown
from maskwright.types import Size

if TYPE_CHECKING:
    from av.video.stream import VideoStream

    from maskwright.io.sources.numbering import VideoPacket

_PROBED = 4
"""Frames that are decoded, to see whether each packet makes one."""


class Facts(NamedTuple):
    """What the first frames and the container tell."""

    size: Size
    fps: float | None
    estimate: int | None
    """Number of frames, by the container."""
    codec: str
    time_base: float
    """Seconds of one unit of the timestamps."""
    first_pts: int | None
    """Timestamp of frame 0: the first that can be decoded, or that could be if it were not damaged."""
    origin: int | None
    """The same, or None where timestamps do not tell the numbers of frames."""
    start_time: float
    """Seconds from the start of the container to frame 0."""
    sample_pts: int | None
    """Timestamp of the first frame that is not damaged."""
    format: str
    """FFmpeg's name of the container."""
    mirrored: bool
    """Whether frames are to be shown as in a mirror, not only turned."""


def probe(decoder: Decoder) -> Facts:
    """Decode a few frames with a fresh decoder.

    Raises:
        SourceError: not one frame can be decoded.
    """
    stream = decoder.stream
    codec = stream.codec_context.name
    record = _Record(codec)
    converter = Converter(decoder.name)
    size: Size | None = None
    sample_pts: int | None = None
    for _, frame, damaged in decoder.run(record):
        if size is None:
            if damaged:
                continue
            height, width = converter.rgb(frame).shape[:2]
            size, sample_pts = (height, width), frame.pts
        record.shown.append(frame.pts)
        if len(record.shown) == _PROBED:
            break
    if size is None:
        what = "no frame of it can be decoded" if decoder.num_packets else "it has no frames"
        raise SourceError(f"cannot read {decoder.name}: {what}; record or copy it again")
    rate = stream.average_rate or stream.guessed_rate
    fps = float(rate) if rate else None
    time_base = float(stream.time_base or 0)
    first = record.shown[0]
    if decoder.failures and first is not None:  # the beginning is damaged, but was there
        first = min(first, *(pts for pts in record.sent_pts if pts is not None))
    told = first is not None and (decoder.failures > 0 or record.one_to_one())
    start_time = (first or 0) * time_base - (decoder.container.start_time or 0) / 1e6
    return Facts(
        size,
        fps,
        _estimate(decoder, fps),
        codec,
        time_base,
        first,
        first if told else None,
        start_time,
        sample_pts,
        decoder.container.format.name,
        converter.mirrors,
    )


class _Record:
    """Numbers for the first look: remembers which packets were to make frames, and which frames came."""

    def __init__(self, codec: str) -> None:
        self.next = 0
        self.shown: list[int | None] = []
        self.sent_pts: list[int | None] = []
        self._codec = codec

    def sent(self, packet: VideoPacket) -> None:
        if is_shown(packet, self._codec):
            self.sent_pts.append(packet.pts)

    def failed(self) -> None:
        """Of no interest here."""

    def number(self, pts: int | None) -> int | None:
        self.next += 1
        return self.next - 1

    def end(self) -> int:
        return self.next

    def one_to_one(self) -> bool:
        """Whether all packets had timestamps and the frames that came are all that should have."""
        sent = [pts for pts in self.sent_pts if pts is not None]
        shown = [pts for pts in self.shown if pts is not None]
        if len(sent) != len(self.sent_pts) or len(shown) != len(self.shown):
            return False
        return sorted(pts for pts in sent if shown[0] <= pts <= shown[-1]) == shown


def checked_file(path: Path) -> str:
    """FFmpeg's address of a file, once it is sure that there is one with something in it.

    With the ``file:`` in front, a name that looks like an address, such as ``a:b.mp4``, is still a name.
    """
    try:
        empty = path.stat().st_size == 0
        with path.open("rb") as file:
            file.read(1)
    except FileNotFoundError as error:
        raise SourceError(f"no such video: {path}; check the path") from error
    except (OSError, ValueError) as error:
        raise SourceError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error
    if empty:
        raise SourceError(f"{path} is empty (0 bytes); it may not have been saved or copied completely")
    return f"file:{path.absolute()}"


def _estimate(decoder: Decoder, fps: float | None) -> int | None:
    stream = decoder.stream
    if stream.frames > 0:
        return stream.frames
    seconds = claimed_seconds(stream)
    if seconds is None:
        seconds = _container_seconds(stream)
    return max(1, round(seconds * fps)) if seconds and fps else None


def claimed_seconds(stream: VideoStream) -> float | None:
    """How long the container says that the stream is."""
    if stream.duration:
        return float(stream.duration * (stream.time_base or 0))
    try:  # Matroska's way of writing it
        hours, minutes, seconds = stream.metadata.get("DURATION", "").split(":")
        return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    except ValueError:
        alone = len(stream.container.streams) == 1
        return _container_seconds(stream) if alone else None


def _container_seconds(stream: VideoStream) -> float | None:
    duration = getattr(stream.container, "duration", None)
    return duration / 1e6 if duration else None
