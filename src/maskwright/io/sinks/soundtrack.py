"""The sound of the original video, for the part of it that was tracked."""

from __future__ import annotations

import contextlib
import heapq
import logging
import os
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, cast

from maskwright.errors import InputError

if TYPE_CHECKING:
    from av.audio.codeccontext import AudioCodecContext
    from av.audio.frame import AudioFrame
    from av.audio.stream import AudioStream
    from av.container import InputContainer, OutputContainer
    from av.packet import Packet
    from av.stream import Stream

_COPIED = frozenset({"aac", "mp3", "ac3", "eac3", "alac", "opus", "flac"})
"""Codecs that MP4 holds and that players find there; every other sound is encoded to AAC."""
_AAC_RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000)
_AAC_LAYOUTS = frozenset({"mono", "stereo", "3.0", "4.0", "5.0", "5.1", "7.1"})
_BITS_PER_CHANNEL = 96_000
_LEAD = 1.0
"""Seconds before the wanted part at which reading starts; containers seek to some earlier place anyway."""
_log = logging.getLogger(__name__)


def check_sound(source: str | os.PathLike[str], target: str | os.PathLike[str]) -> str:
    """The address of a video whose sound is to go into ``target``, once it is sure that it can be read.

    Raises:
        InputError: no such file, nothing that FFmpeg reads, or the very file that is to be written.
    """
    import av

    address = os.fspath(source)
    if "://" not in address:
        path = Path(address)
        if path.exists() and Path(target).exists() and path.samefile(target):
            raise InputError(f"{address} is the video that is read; choose another name for the result")
        address = str(path.absolute())  # or FFmpeg would take what precedes a colon for a protocol
    try:
        av.open(address).close()
    except (OSError, av.error.FFmpegError) as error:
        raise InputError(
            f"cannot take the sound of {os.fspath(source)}: {error.strerror}; "
            "check the path, or leave the sound out"
        ) from error
    return address


def interleaved(*streams: Iterable[Packet[Stream]]) -> Iterator[Packet[Stream]]:
    """The packets of several streams in the order of their times, holding one of each at a time."""
    return heapq.merge(*streams, key=lambda packet: (packet.dts or 0) * packet.time_base)


class Soundtrack:
    """The sound of a file between two times.

    The first sound stream that FFmpeg considers best is taken. What MP4 can hold is copied bit by bit, the
    rest is encoded to AAC. Damaged sound ends early, with a warning: it never costs the picture.

    Args:
        address: As from :func:`check_sound`, or None for silence.
        start: Where the part begins, in seconds from the first frame of the source.
        stop: Where it ends.
    """

    def __init__(self, address: str | None, start: float, stop: float) -> None:
        self._address = address
        self._start = Fraction(start)
        self._stop = Fraction(stop)
        self._zero = Fraction(0)

    @contextlib.contextmanager
    def packets(self, output: OutputContainer) -> Iterator[Iterator[Packet[Stream]]]:
        """Add a sound stream to ``output``, if there is sound; the packets for it, ascending, times set."""
        import av

        with contextlib.ExitStack() as stack:
            source = best = None
            if self._address is not None:
                try:
                    source = stack.enter_context(av.open(self._address))
                    best = source.streams.best("audio")
                except (OSError, av.error.FFmpegError) as error:
                    _log.warning("the sound of %s cannot be read any more: %s", self._address, error)
            if source is None or best is None or best.codec_context is None:
                yield iter(())
                return
            stream = cast("AudioStream", best)
            self._zero = _first_picture(source)
            if stream.codec_context.name in _COPIED:
                yield self._copied(source, stream, output.add_stream_from_template(stream))
            else:
                yield self._encoded(source, stream, _aac_stream(output, stream.codec_context))

    def _wanted(self, source: InputContainer, stream: AudioStream) -> Iterator[Packet[AudioStream]]:
        """Packets of the part, and one before it, from which decoders start."""
        import av

        base = _base(stream)
        try:
            if self._start > _LEAD:
                wanted = int((self._start + self._zero - _LEAD) / base)
                with contextlib.suppress(av.error.FFmpegError):  # what cannot seek is read from its start
                    source.seek(wanted, stream=stream)
            for packet in source.demux(stream):
                if packet.pts is None:
                    continue
                begin = packet.pts * base - self._zero
                if begin >= self._stop:
                    break
                if begin + 2 * (packet.duration or 0) * base > self._start:
                    yield packet
        except (OSError, av.error.FFmpegError) as error:
            _log.warning("the sound of %s ends early: %s", self._address, error)

    def _copied(
        self, source: InputContainer, stream: AudioStream, target: AudioStream
    ) -> Iterator[Packet[Stream]]:
        shift = round((self._start + self._zero) / _base(stream))
        last = None
        for packet in self._wanted(source, stream):
            copy = cast("Packet[Stream]", packet)
            copy.pts = copy.dts = (packet.pts or 0) - shift  # sound is never reordered
            if last is None or copy.dts > last:
                last = copy.dts
                copy.stream = target
                yield copy

    def _encoded(
        self, source: InputContainer, stream: AudioStream, target: AudioStream
    ) -> Iterator[Packet[Stream]]:
        import av

        try:
            for packet in self._wanted(source, stream):
                for frame in _decoded(packet):
                    if self._placed(frame):
                        yield from _packets(target, frame)
            yield from _packets(target, None)
        except (ValueError, av.error.FFmpegError) as error:  # say, another number of channels from here on
            _log.warning("the sound of %s ends early: %s", self._address, error)

    def _placed(self, frame: AudioFrame) -> bool:
        """Whether a piece of sound lies in the part; its time is set to count from the start of the part."""
        if frame.pts is None or frame.time_base is None:
            return False
        begin = frame.pts * frame.time_base - self._zero - self._start
        frame.pts = round(begin / frame.time_base)
        return begin < self._stop - self._start and begin + Fraction(frame.samples, frame.sample_rate) > 0


def _decoded(packet: Packet[AudioStream]) -> list[AudioFrame]:
    """The sound in a packet; nothing if it is damaged."""
    import av

    try:
        return packet.decode()
    except av.error.FFmpegError as error:
        _log.debug("a piece of sound is left out: %s", error)
        return []


def _packets(stream: AudioStream, frame: AudioFrame | None) -> list[Packet[Stream]]:
    return cast("list[Packet[Stream]]", stream.encode(frame))


def _first_picture(source: InputContainer) -> Fraction:
    """Time stamp, in seconds, of the first frame: times of frames count from it; sound may begin before."""
    import av

    pictures = source.streams.best("video")
    if pictures is None or pictures.start_time is None or pictures.time_base is None:
        return Fraction(source.start_time or 0, av.time_base)
    return pictures.start_time * pictures.time_base


def _base(stream: AudioStream) -> Fraction:
    """Seconds per tick."""
    return stream.time_base or Fraction(1, stream.codec_context.sample_rate)


def _aac_stream(output: OutputContainer, context: AudioCodecContext) -> AudioStream:
    """An AAC stream of the same sample rate and layout, or the nearest that AAC has."""
    name, channels = context.layout.name, context.layout.nb_channels
    layout = name if name in _AAC_LAYOUTS else "mono" if channels == 1 else "stereo"  # AVI gives no names
    rate = context.sample_rate if context.sample_rate in _AAC_RATES else 48000
    stream = output.add_stream("aac", rate=rate, layout=layout)
    stream.codec_context.bit_rate = _BITS_PER_CHANNEL * stream.codec_context.layout.nb_channels
    return stream
