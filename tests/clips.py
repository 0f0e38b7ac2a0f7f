"""Small videos that tests make for themselves."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

MILLISECOND = Fraction(1, 1000)
H264 = {"bf": "3", "crf": "12", "preset": "veryfast", "sc_threshold": "0"}


def picture(number: int, width: int = 64, height: int = 48) -> np.ndarray:
    """(h, w, 3) uint8: the same noise in every frame, moved, with a patch whose grey tells the number."""
    noise = np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8)
    moved = np.roll(noise, number, axis=1)
    moved[:16, :16] = number * 4 % 256
    return moved


def make_clip(
    path: Path,
    num_frames: int = 60,
    *,
    size_wh: tuple[int, int] = (64, 48),
    codec: str = "libx264",
    options: dict[str, str] | None = None,
    muxing: dict[str, str] | None = None,
    times: Sequence[int] | None = None,
    shift: int = 0,
    gop: int = 12,
    pixels: str = "yuv420p",
    rotation: int | None = None,
    hflip: bool = False,
    time_base: Fraction = MILLISECOND,
    sound: bool = False,
) -> Path:
    """Write a video of :func:`picture`; ``times`` and ``shift`` in units of ``time_base``, 40 apart unless
    given. ``sound`` adds a second of silence.
    """
    with av.open(str(path), "w", options=muxing or {}) as container:
        stream = container.add_stream(codec, rate=25, options=H264 if options is None else options)
        stream.width, stream.height = size_wh
        stream.pix_fmt = pixels
        stream.gop_size = gop
        stream.time_base = stream.codec_context.time_base = time_base
        if rotation is not None:
            stream.set_display_rotation(rotation, hflip=hflip)
        if sound:
            _add_silence(container, 10)
        if not num_frames:
            container.start_encoding()
        for number in range(num_frames):
            frame = av.VideoFrame.from_ndarray(picture(number, *size_wh), "rgb24")
            frame.pts = times[number] if times is not None else number * 40
            frame.time_base = time_base
            mux(container, stream.encode(frame), shift)
        mux(container, stream.encode(None), shift)
    return path


def mux(container: av.container.OutputContainer, packets: Sequence[av.Packet], shift: int) -> None:
    for packet in packets:
        if packet.pts is not None and packet.dts is not None:
            packet.pts += shift
            packet.dts += shift
        container.mux(packet)


def make_sound(path: Path) -> Path:
    """A file with a tenth of a second of silence and no video."""
    with av.open(str(path), "w") as container:
        _add_silence(container, 1)
    return path


def _add_silence(container: av.container.OutputContainer, tenths: int) -> None:
    stream = container.add_stream("aac", rate=44100)
    for _ in range(tenths):
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 4410), np.float32), "fltp", "mono")
        frame.rate = 44100
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def packets_of(path: Path) -> list[tuple[int, int, int]]:
    """(timestamp, place in the file, size) of every video packet, in the order of the file."""
    with av.open(str(path)) as container:
        return [(p.pts, p.pos, p.size) for p in container.demux(container.streams.video[0]) if p.size]


def spoil(path: Path, *, packet: int) -> int:
    """Overwrite one packet with nonsense; returns the number of the frame that was in it."""
    packets = packets_of(path)
    pts, place, size = packets[packet]
    data = bytearray(path.read_bytes())
    data[place : place + size] = b"\xff" * size
    path.write_bytes(data)
    return sorted(each[0] for each in packets).index(pts)
