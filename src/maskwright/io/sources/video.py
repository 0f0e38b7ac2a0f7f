"""Video files, and finished videos at an address, through PyAV: whatever FFmpeg can read.

Memory: one frame and the reference frames of the decoder; going backwards, at most ``spill.HOLD`` bytes of
frames besides (256 MiB), and the rest of a run between two key frames on disk; 8 bytes a frame once frames
have to be found out of order.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Generator, Iterator
from functools import partial
from pathlib import Path

from maskwright.errors import SourceError
from maskwright.frames import Frame
from maskwright.io.sources.decoding import Converter, Decoded, Decoder, hide_password, open_container
from maskwright.io.sources.numbering import (
    IndexedNumbers,
    Numbers,
    PacketIndex,
    RunningNumbers,
)
from maskwright.io.sources.probing import checked_file, claimed_seconds, probe
from maskwright.io.sources.protocol import (
    Closing,
    Corrupt,
    check_backward,
    check_corrupt,
    check_open,
    check_range,
    no_such_frame,
)
from maskwright.io.sources.spill import HOLD, SPILL_LIMIT, reversed_frames

_NEAR = 32
"""Frames that are decoded and thrown away sooner than list the packets of a whole file to seek."""
_RUN = 48
"""Frames that going backwards decodes together where key frames are closer than that."""
_SEEK_BACK = (0.0, 1.0, 10.0)
"""Seconds to aim ahead of a key packet, one after the other, for containers that seek too far."""
_log = logging.getLogger(__name__)


class VideoSource(Closing):
    """A video file.

    Damaged frames: a packet that cannot be decoded, or a frame that the decoder marks as broken, is left out
    (``corrupt="skip"``: a warning the first time, counted in ``num_skipped``) or is a SourceError that names
    the frame (``"stop"``, after all frames before it). Frames after it keep their numbers where the file has
    timestamps; elsewhere every packet that fails counts as one frame. What a decoder repairs without saying
    so is not noticed.
    """

    live = False

    def __init__(
        self,
        path: str | Path,
        *,
        corrupt: Corrupt = "skip",
        timeout: float | None = None,
        spill_limit: int = SPILL_LIMIT,
        hold: int = HOLD,
    ) -> None:
        """Open and decode the first frames.

        Args:
            path: A file; with ``timeout`` an address.
            corrupt: What to do about damaged frames.
            timeout: Seconds that a server may take to answer.
            spill_limit: Bytes that going backwards may put on disk.
            hold: Bytes of frames that going backwards holds in memory.

        Raises:
            SourceError: missing, empty, no video, or not one frame can be decoded.
        """
        check_corrupt(corrupt)
        self._corrupt, self._spill_limit, self._hold = corrupt, spill_limit, hold
        address, self.name = str(path), hide_password(str(path))
        if timeout is None:
            address, self.name = checked_file(Path(path)), Path(path).name
        self.path = address.removeprefix("file:")
        """The file or address."""
        self._opener = partial(open_container, address, self.name, timeout=timeout)
        self._lock = threading.Lock()
        self._decoders: set[Decoder] = set()
        self._closed = False
        self._skipped: set[int] = set()
        self._warned_end = False
        self._cut = False
        self._index: PacketIndex | None = None
        self._length: int | None = None
        with self._decoder() as decoder:
            self._facts = probe(decoder)
        self.size = self._facts.size
        self.fps = self._facts.fps
        self.start_time = self._facts.start_time
        """Seconds from the start of the container, and so of its sound, to frame 0."""
        self.time_base = self._facts.time_base
        """Seconds of one unit of the timestamps."""
        self.sample_pts = self._facts.sample_pts
        """Timestamp of the first frame that is not damaged."""
        self.format = self._facts.format
        """FFmpeg's name of the container."""
        self.mirrored = self._facts.mirrored
        """Whether the recording device asks for a mirror image."""

    @property
    def num_frames(self) -> int | None:
        """Exact once everything was read in some way, else what the container claims, if it does."""
        return self._facts.estimate if self._length is None else self._length

    @property
    def exact_length(self) -> bool:
        """Whether ``num_frames`` is certain."""
        return self._length is not None

    @property
    def num_skipped(self) -> int:
        """Damaged frames left out so far; one that is met twice counts once."""
        return len(self._skipped)

    def frames(self, start: int = 0, stop: int | None = None, step: int = 1) -> Iterator[Frame]:
        """See :class:`Source`. Starts at the key frame before ``start``, without decoding what lies ahead."""
        check_range(start, stop, step)
        check_open(self.name, self._closed)
        return self._frames(start, stop, start, step)

    def backward(self, start: int, stop: int = 0, step: int = 1) -> Iterator[Frame]:
        """See :class:`Source`. Decodes a run of frames at a time, each from its key frame.

        Raises:
            OutputError: while iterating: key frames are so far apart that frames have to be put on disk, and
                ``spill_limit`` is reached or the disk is full.
        """
        check_backward(start, stop, step)
        check_open(self.name, self._closed)
        return self._backward(start, stop, step)

    def count(self) -> int:
        """The exact number of frames: reads all packets, or decodes everything if they do not tell."""
        check_open(self.name, self._closed)
        if self._length is None and self.index() is None:
            for _ in self._pass(0, None):
                pass
        return self._length or 0

    def close(self) -> None:
        """Release the file; an iterator that is still in use raises StateError at its next frame."""
        with self._lock:
            self._closed = True
            decoders = list(self._decoders)
        for decoder in decoders:
            decoder.close()

    @contextlib.contextmanager
    def _decoder(self) -> Iterator[Decoder]:
        decoder = Decoder(self._opener, self.name)
        with self._lock:
            self._decoders.add(decoder)
        try:
            yield decoder
        finally:
            decoder.close()
            with self._lock:
                self._decoders.discard(decoder)

    def _frames(self, start: int, stop: int | None, phase: int, step: int) -> Iterator[Frame]:
        with contextlib.closing(self._pass(start, stop)) as decoded:
            yield from self._converted(decoded, phase, step)

    def _converted(self, decoded: Iterator[Decoded], phase: int, step: int) -> Iterator[Frame]:
        converter = Converter(self.name)
        for number, frame, _ in decoded:
            if (number - phase) % step == 0:
                yield Frame(number, converter.rgb(frame), self.time_of(number, frame.pts))

    def time_of(self, number: int, pts: int | None) -> float | None:
        """Seconds from frame 0 to a frame with this number and timestamp."""
        if pts is not None and self._facts.first_pts is not None:
            return (pts - self._facts.first_pts) * self._facts.time_base
        return number / self.fps if self.fps else None

    def _pass(self, start: int, stop: int | None) -> Generator[Decoded, None, None]:
        """Frames from ``start`` up to ``stop`` that are not damaged, with a decoder of their own."""
        with self._decoder() as decoder:
            yield from self._range(decoder, start, stop)

    def _range(self, decoder: Decoder, start: int, stop: int | None) -> Iterator[Decoded]:
        index = self.index() if start > _NEAR or self._index is not None else None
        if index is not None and start >= len(index):
            return
        numbers: Numbers
        if index is not None:
            numbers = IndexedNumbers(index, start)
            run = self._seek(decoder, index, start, numbers)
        else:
            decoder.rewind()
            numbers = RunningNumbers(self._facts.origin, self._facts.codec)
            run = decoder.run(numbers)
        expected, last = start, None
        for found in run:
            last = self.time_of(found.number, found.frame.pts)
            self._missed(decoder, expected, found.number, stop)
            if stop is not None and found.number >= stop:
                return
            if found.number < expected:
                continue
            expected = found.number + 1
            if found.damaged:
                self.damaged(found.number)
            else:
                yield found
            if expected == stop:
                return
        self._missed(decoder, expected, numbers.end(), stop)
        self._at_end(decoder, numbers, last)

    def _seek(self, decoder: Decoder, index: PacketIndex, start: int, numbers: Numbers) -> Iterator[Decoded]:
        """Decode from a key packet from which frame ``start`` can be decoded, to the end."""
        key = index.key_for(start)
        if key is not None:
            for seconds in _SEEK_BACK:
                if decoder.seek(key.seek - round(seconds / self._facts.time_base)):
                    with contextlib.suppress(LookupError):
                        yield from decoder.run(numbers, from_key=key.pts)
                        return
        decoder.rewind()
        yield from decoder.run(numbers)

    def _backward(self, start: int, stop: int, step: int) -> Iterator[Frame]:
        index = self.index()
        length = self.count()
        if start >= length:
            raise no_such_frame(self.name, start, length)
        with self._decoder() as decoder:
            high = start
            while high >= stop:
                low = stop if index is None else max(stop, self._run_start(index, high, stop, step))
                decoded = self._range(decoder, low, high + 1)
                chunk = self._converted(decoded, start, step)
                yield from reversed_frames(chunk, hold=self._hold, limit=self._spill_limit)
                high = low - 1

    def _run_start(self, index: PacketIndex, high: int, stop: int, step: int) -> int:
        """First frame of a stretch that ends at ``high``: one run between key frames, or several short ones
        that fit into memory together.
        """
        h, w = self.size
        room = min(_RUN, self._hold // (h * w * 3))
        low = index.run_start(high)
        while low > stop:
            earlier = index.run_start(low - 1)
            if (high - earlier) // step + 1 > room or high - earlier > 4 * _RUN:
                break
            low = earlier
        return low

    def index(self) -> PacketIndex | None:
        """The list of packets, made when it is first asked for; None if it does not tell numbers."""
        if self._facts.origin is None:
            return None
        if self._index is None:
            with self._decoder() as decoder:
                index = PacketIndex(decoder.packets(), self._facts.origin, self._facts.codec)
                self._cut = decoder.ended is not None
                if index.exact and len(index):
                    last = self.time_of(len(index) - 1, index.times[-1])
                    self._cut = self._cut or self._lacks_packets(decoder, last)
            self._index = index
            if index.exact:
                self._length = len(index)
            else:
                _log.debug("%s: timestamps are not in order; reading starts at frame 0", self.name)
        return self._index if self._index.exact else None

    def _missed(self, decoder: Decoder, expected: int, number: int, stop: int | None) -> None:
        """The frames from ``expected`` up to ``number`` did not come out of the decoder."""
        if not decoder.failures:  # packets without pictures, which some healthy files have
            return
        for missing in range(expected, number if stop is None else min(number, stop)):
            self.damaged(missing)

    def damaged(self, number: int) -> None:
        """A frame does not come out whole: count it and warn once, or stop.

        Raises:
            SourceError: with ``corrupt="stop"``.
        """
        if self._corrupt == "stop":
            raise SourceError(
                f"{self.name}: frame {number} is damaged; corrupt='skip' leaves damaged frames out"
            )
        if not self._skipped:
            _log.warning("%s: frame %d is damaged and left out; more are only counted", self.name, number)
        self._skipped.add(number)

    def _at_end(self, decoder: Decoder, numbers: Numbers, last: float | None) -> None:
        """Everything was read; notice a file that was cut off."""
        self._length = numbers.end()
        cut = decoder.ended is not None
        if isinstance(numbers, RunningNumbers):
            cut = cut or self._lacks_packets(decoder, last)
        if cut:
            self._tell_cut()

    def check_end(self) -> None:
        """What reading to the end does about a file that is cut off, for who reads by :meth:`index`.

        Raises:
            SourceError: it is, with ``corrupt="stop"``.
        """
        if self._cut:
            self._tell_cut()

    def _tell_cut(self) -> None:
        if self._warned_end:
            return
        assert self._length is not None
        claimed = (
            f" of about {self._facts.estimate}"
            if self._facts.estimate and self._facts.estimate > self._length
            else ""
        )
        message = f"{self.name} is cut off: it ends after {self._length}{claimed} frames"
        if self._corrupt == "stop":
            raise SourceError(f"{message}; corrupt='skip' takes what there is")
        self._warned_end = True
        _log.warning("%s", message)

    def _lacks_packets(self, decoder: Decoder, last: float | None) -> bool:
        """Whether the container announced more than there was when read from the beginning."""
        if "mp4" in decoder.container.format.name:  # its table of contents lists every packet
            return decoder.num_packets < len(decoder.stream.index_entries)
        claimed = claimed_seconds(decoder.stream)
        return claimed is not None and last is not None and last < 0.9 * claimed - 0.5
