"""A video file that is readable while it grows and whole when it is finished.

Frames go to ``NAME.partial.mp4`` beside the target, in short self-contained pieces: whoever kills the program
keeps what was encoded by then. Finishing turns it, without encoding again, into the file under the final
name, which appears whole or not at all, and removes the partial one.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from maskwright.errors import InputError, MissingExtraError, OutputError
from maskwright.io.files import atomic_write, checked_target, output_error
from maskwright.io.sinks.protocol import check_open
from maskwright.io.sinks.soundtrack import Soundtrack, interleaved
from maskwright.io.sinks.timeline import Timeline
from maskwright.types import ByteArray

if TYPE_CHECKING:
    from av.container import OutputContainer
    from av.packet import Packet
    from av.stream import Stream
    from av.video.stream import VideoStream

_BT709, _VIDEO_RANGE = 1, 1
"""FFmpeg's numbers for the colours of HD video, which every file is converted to and marked with."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Encoding:
    """How frames become a file."""

    codec: str
    """FFmpeg's name of the encoder."""
    pixels: str
    """FFmpeg's name of the pixel format."""
    container: str
    """FFmpeg's name of the file format."""
    options: Mapping[str, str]
    """Of the encoder."""
    pieces: Mapping[str, str]
    """Options of the file format that keep an unfinished file readable."""
    even: bool = False
    """Whether both sides must be even; a missing row or column repeats the last one."""
    rewritten: bool = True
    """Whether the finished file is laid out anew; otherwise the partial one is merely renamed."""


_FRAGMENTS = "frag_keyframe+empty_moov+default_base_moof"

# H.264 in 4:2:0 is what every player shows; 4:4:4, which could be odd-sized, is not. No frames that refer to
# later ones (bf): their reordering would shift the time stamps of a partial file. No macroblock tree: with it
# x264 does not always turn the same pictures into the same bits, and a resumed run is to equal a whole one.
H264 = Encoding(
    "libx264",
    "yuv420p",
    "mp4",
    {"preset": "veryfast", "crf": "20", "bf": "0", "mbtree": "0"},
    {"movflags": _FRAGMENTS, "frag_duration": "1000000"},
    even=True,
)
# Alternate reference frames do not work with alpha.
VP9_ALPHA = Encoding(
    "libvpx-vp9",
    "yuva420p",
    "webm",
    {
        "deadline": "realtime",
        "cpu-used": "6",
        "row-mt": "1",
        "crf": "20",
        "b": "0",
        "auto-alt-ref": "0",
        "lag-in-frames": "0",
    },
    {"cluster_time_limit": "1000"},
    rewritten=False,
)
PRORES_4444 = Encoding(
    "prores_ks", "yuva444p10le", "mov", {"profile": "4444", "vendor": "apl0"}, {"movflags": _FRAGMENTS}
)


def import_av() -> Any:
    """PyAV, or a MissingExtraError that says how to install it."""
    try:
        import av
    except ImportError as error:
        raise MissingExtraError('writing video needs PyAV: pip install "maskwright[video]"') from error
    return av


class VideoFile:
    """One video that is being written.

    Args:
        path: The final name; its folder must exist.
        encoding: Codec and file format.
        fps: Average rate; see :class:`Timeline`.
        overwrite: Replace an existing file, and the partial file of an earlier run.

    Raises:
        InputError: an impossible rate.
        OutputError: the folder is missing or cannot be written into, or a file is in the way.
        MissingExtraError: PyAV is not installed, or its build lacks the encoder.
    """

    def __init__(
        self, path: str | os.PathLike[str], encoding: Encoding, *, fps: float | None, overwrite: bool
    ) -> None:
        self.timeline = Timeline(fps)
        check_encoder(encoding)
        self.path = Path(path)
        self._final = checked_target(path, overwrite=overwrite)
        name = f"{self._final.stem}.partial{self._final.suffix}"
        self.partial = checked_target(self._final.with_name(name), overwrite=overwrite)
        self._encoding = encoding
        self._overwrite = overwrite
        self._container: OutputContainer | None = None
        self._stream: VideoStream | None = None
        self._shape: tuple[int, ...] = ()
        self._ended = False
        with _output_errors(path):
            self.partial.open("wb").close()  # what is wrong with the place shows now, not after an hour

    def write(self, picture: ByteArray, index: int, time: float | None) -> None:
        """Encode one picture, (h, w, 3) RGB or (h, w, 4) RGBA, all of one size, in ascending order.

        Raises:
            InputError: another size or order.
            OutputError: the disk is full, or the like.
            StateError: the file is finished.
        """
        import av

        check_open(self._ended, self.path)
        self._shape = self._shape or picture.shape
        if picture.shape != self._shape:
            (h, w), (first_h, first_w) = picture.shape[:2], self._shape[:2]
            raise InputError(
                f"frame {index} is {w} x {h}, but {self.path} began with {first_w} x {first_h}; "
                "a video has one size: write the rest to another file"
            )
        tick = self.timeline.place(index, time)
        if self._encoding.even:
            h, w = picture.shape[:2]
            picture = np.pad(picture, ((0, h % 2), (0, w % 2), (0, 0)), mode="edge")
        pixels = "rgba" if picture.shape[2] == 4 else "rgb24"
        raw = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format=pixels)
        frame = raw.reformat(
            format=self._encoding.pixels, dst_colorspace=_BT709, dst_color_range=_VIDEO_RANGE
        )
        frame.pts, frame.time_base = tick, self.timeline.time_base
        with _output_errors(self.partial):
            container, stream = self._opened(raw.height, raw.width)
            container.mux(stream.encode(frame))

    def finish(self, audio_from: str | None = None) -> None:
        """Complete the file under its final name, with the sound of ``audio_from`` for the same time.

        Without any frame there is nothing to complete: no file appears, and an older one stays. A second call
        does nothing.

        Raises:
            OutputError: it could not be written; the frames stay readable in the partial file.
        """
        if self._ended:
            return
        if self._container is None:
            self.abandon()
            _log.warning("no frame was written to %s; there is no such video now", self.path)
            return
        with _output_errors(self.partial):
            self._end()
        try:
            self._complete(audio_from)
        except OutputError as error:
            failure = OutputError(f"{error}; the video without sound is in {self.partial}")
            failure.errno = error.errno
            raise failure from error

    def abandon(self) -> None:
        """Stop; the frames so far stay readable in the partial file, which goes away if there are none."""
        if self._ended:
            return
        try:
            with _output_errors(self.partial):
                self._end()
        except OutputError as error:
            _log.warning("%s; what was finished before is in it", error)
        if self._container is None:
            self._remove_partial()
        else:
            _log.info("%s is not finished; its frames so far are in %s", self.path, self.partial)

    def _opened(self, h: int, w: int) -> tuple[OutputContainer, VideoStream]:
        """The partial file and its one stream, made when the first frame tells the size."""
        import av

        if self._container is None or self._stream is None:
            encoding, rate = self._encoding, self.timeline.rate
            options = {**encoding.options, "g": str(max(1, round(2 * rate)))}  # a key frame every 2 seconds
            # absolute, or FFmpeg would take what precedes a colon for a protocol
            self._container = av.open(
                str(self.partial.absolute()),
                "w",
                format=encoding.container,
                options={**encoding.pieces, "flush_packets": "1"},
            )
            made = self._container.add_stream(encoding.codec, rate=rate, options=options)
            self._stream = stream = cast("VideoStream", made)
            stream.width, stream.height, stream.pix_fmt = w, h, encoding.pixels
            context = stream.codec_context
            context.time_base = self.timeline.time_base
            context.colorspace = context.color_primaries = context.color_trc = _BT709
            context.color_range = _VIDEO_RANGE
        return self._container, self._stream

    def _end(self) -> None:
        """Flush the encoder and close the partial file, as far as possible."""
        self._ended = True
        if self._container is None or self._stream is None:
            return
        try:
            self._container.mux(self._stream.encode(None))
        finally:
            self._container.close()

    def _complete(self, audio_from: str | None) -> None:
        if self._encoding.rewritten:
            with atomic_write(self._final, overwrite=self._overwrite) as file, _output_errors(self.path):
                self._rewrite(Path(file.name), audio_from)
            self._remove_partial()
        else:
            checked_target(self._final, overwrite=self._overwrite)
            with _output_errors(self.path):
                with self.partial.open("rb+") as file:
                    os.fsync(file.fileno())
                self.partial.replace(self._final)

    def _remove_partial(self) -> None:
        with contextlib.suppress(OSError):
            self.partial.unlink()

    def _rewrite(self, target: Path, audio_from: str | None) -> None:
        """Put pictures and sound together; sound that the file format refuses is left out."""
        import av

        container, times = self._encoding.container, (self.timeline.start or 0.0, self.timeline.stop)
        try:
            _join(self.partial, target, container, Soundtrack(audio_from, *times))
        except (ValueError, av.error.ArgumentError) as error:
            if audio_from is None:
                raise
            _log.warning("%s stays silent: the sound of %s does not fit, %s", self.path, audio_from, error)
            _join(self.partial, target, container, Soundtrack(None, *times))


def _join(partial: Path, target: Path, container: str, sound: Soundtrack) -> None:
    """Copy the encoded frames, and sound, into a plain file that begins with its index, for streaming."""
    import av

    with (
        av.open(str(partial.absolute())) as source,
        av.open(str(target.absolute()), "w", format=container, options={"movflags": "faststart"}) as output,
    ):
        pictures = source.streams.video[0]
        video = output.add_stream_from_template(pictures)
        with sound.packets(output) as audio:
            frames = cast("Iterator[Packet[Stream]]", source.demux(pictures))
            for packet in interleaved((packet for packet in frames if packet.dts is not None), audio):
                if packet.stream is pictures:
                    packet.stream = video
                output.mux(packet)


def check_encoder(encoding: Encoding) -> None:
    """A MissingExtraError if PyAV is not installed, or its build lacks the encoder."""
    av = import_av()
    try:
        av.codec.Codec(encoding.codec, "w")
    except av.codec.codec.UnknownCodecError as error:
        raise MissingExtraError(
            f"this build of PyAV lacks the encoder {encoding.codec}; the wheels of PyPI have it: "
            "pip install --force-reinstall --only-binary av av"
        ) from error


@contextlib.contextmanager
def _output_errors(path: str | os.PathLike[str]) -> Iterator[None]:
    """Whatever FFmpeg or the system reports becomes an OutputError about ``path``."""
    av = import_av()
    try:
        yield
    except OutputError:
        raise
    except (OSError, av.error.FFmpegError) as error:
        raise output_error(path, OSError(error.errno, error.strerror)) from error
