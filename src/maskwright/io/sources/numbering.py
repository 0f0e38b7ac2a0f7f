"""Which number a decoded frame has: its place among the timestamps of the file's packets.

A frame carries the presentation timestamp of the packet that it came from, and every packet (but the ones
that are not shown) makes one frame. So the number of a frame is the number of packets with an earlier
timestamp, even where the frames between could not be decoded. While reading from the beginning that can be
counted on the way, because a decoder puts out a frame only after it was fed everything that is shown earlier
(:class:`RunningNumbers`); to start elsewhere all packets are listed first, without decoding them
(:class:`PacketIndex`). Where timestamps are missing, repeat or run backwards, frames are counted as they come
and reading always starts at the beginning, so that the numbers are the same for every way of reading.
"""

from __future__ import annotations

import heapq
from array import array
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from av.packet import Packet
    from av.video.stream import VideoStream

    VideoPacket = Packet[VideoStream]

_REMEMBERED = 64
"""Missing frames of which the number is kept, should they come after all."""
_VP8_SHOWN = 1 << 4
"""Bit of the first byte of a VP8 packet."""


class Numbers(Protocol):
    """Gives every decoded frame its number."""

    next: int
    """The number that follows the last one."""

    def sent(self, packet: VideoPacket) -> None:
        """The packet goes to the decoder."""

    def failed(self) -> None:
        """The decoder could not read a packet."""

    def number(self, pts: int | None) -> int | None:
        """Number of a frame that the decoder put out; None if it is not part of the video.

        It is below ``next`` for a frame that comes too late, after ones that are shown later.
        """

    def end(self) -> int:
        """Number of frames, once everything was decoded."""


class RunningNumbers:
    """Numbers while decoding from the beginning. Memory: the timestamps inside the decoder, a few dozen."""

    def __init__(self, origin: int | None, codec: str) -> None:
        """``origin`` is the timestamp of frame 0; None to count frames as they come."""
        self.next = 0
        self._origin = origin
        self._codec = codec
        self._waiting: list[int] = []
        self._passed: OrderedDict[int, int] = OrderedDict()
        self._last_dts: int | None = None

    @property
    def exact(self) -> bool:
        """Whether numbers come from timestamps so far."""
        return self._origin is not None

    def sent(self, packet: VideoPacket) -> None:
        if self._origin is None or not is_shown(packet, self._codec):
            return
        if packet.pts is None or runs_backwards(packet.dts, self._last_dts) or packet.pts in self._waiting:
            self._count_from_here()
            return
        self._last_dts = packet.dts if packet.dts is not None else self._last_dts
        if packet.pts >= self._origin:
            heapq.heappush(self._waiting, packet.pts)

    def failed(self) -> None:
        if self._origin is None:
            self.next += 1

    def number(self, pts: int | None) -> int | None:
        if self._origin is not None and pts is not None:
            if pts < self._origin:
                return None
            if pts in self._passed:  # decoders put out frames late where something is damaged
                return self._passed.pop(pts)
        if self._origin is not None and (pts is None or pts not in self._waiting):
            self._count_from_here()
        if self._origin is not None and pts is not None:
            while (earlier := heapq.heappop(self._waiting)) < pts:
                self._passed[earlier] = self.next
                self.next += 1
                if len(self._passed) > _REMEMBERED:
                    self._passed.popitem(last=False)
        self.next += 1
        return self.next - 1

    def end(self) -> int:
        return self.next + len(self._waiting)

    def _count_from_here(self) -> None:
        self._origin = None
        self._waiting.clear()


class Key(NamedTuple):
    """A packet that decoding can start at."""

    pts: int
    seek: int
    """Timestamp that the demuxer finds it by."""


class PacketIndex:
    """Timestamps of all frames of a file and of the packets that decoding can start at: 8 bytes a frame."""

    def __init__(self, packets: Iterable[VideoPacket], origin: int, codec: str) -> None:
        """Read all packets; ``origin`` is the timestamp of frame 0."""
        self.times = array("q")
        self.exact = True
        keys: list[Key] = []
        last_dts: int | None = None
        for packet in packets:
            if not packet.size:
                continue
            shown = is_shown(packet, codec)
            if packet.pts is None or (shown and runs_backwards(packet.dts, last_dts)):
                self.exact = False
                return
            if shown:
                last_dts = packet.dts if packet.dts is not None else last_dts
                if packet.pts >= origin:
                    self.times.append(packet.pts)
            if packet.is_keyframe:
                keys.append(Key(packet.pts, packet.pts if packet.dts is None else packet.dts))
        self.times = array("q", sorted(self.times))
        self._keys = sorted(keys)
        self.exact = all(a < b for a, b in zip(self.times, self.times[1:], strict=False))

    def __len__(self) -> int:
        return len(self.times)

    def number_of(self, pts: int | None) -> int | None:
        """The frame with this timestamp; None if there is none."""
        at = bisect_left(self.times, pts) if pts is not None else len(self)
        return None if at == len(self) or self.times[at] != pts else at

    def key_for(self, number: int) -> Key | None:
        """The last packet from which frame ``number`` can be decoded; None for the start of the file.

        A frame that is shown before a key packet may need the one before that, though it comes later in
        the file.
        """
        at = bisect_right(self._keys, self.times[number], key=lambda key: key.pts)
        return self._keys[at - 1] if at else None

    def run_start(self, number: int) -> int:
        """The first of the frames that are decoded from the same packet as frame ``number``."""
        key = self.key_for(number)
        return bisect_left(self.times, key.pts) if key else 0


class IndexedNumbers:
    """Numbers while decoding from anywhere, by means of an index."""

    def __init__(self, index: PacketIndex, start: int) -> None:
        self.next = start
        self._index = index

    def sent(self, packet: VideoPacket) -> None:
        """Nothing to learn: the index has all packets."""

    def failed(self) -> None:
        """Nothing to learn: timestamps tell what is missing."""

    def number(self, pts: int | None) -> int | None:
        at = self._index.number_of(pts)
        if at is not None:
            self.next = at + 1
        return at

    def end(self) -> int:
        return len(self._index)


def is_shown(packet: VideoPacket, codec: str) -> bool:
    """Whether the packet makes a frame: not cut away by an edit list, and no VP8 reference-only packet."""
    if not packet.size or packet.is_discard:
        return False
    return codec != "vp8" or bool(memoryview(packet)[0] & _VP8_SHOWN)


def runs_backwards(dts: int | None, last: int | None) -> bool:
    """Whether decoding time goes back, as where two recordings were joined."""
    return dts is not None and last is not None and dts < last
