"""Tracked frames made by hand, and what a video file holds, for the tests of the sinks."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from maskwright.frames import TrackedFrame
from maskwright.pixels.boxes import boxes_of

SIZE = (48, 64)


def scene(index: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """(h, w, 3) uint8: a grey that tells the number of the frame, modulo 28."""
    return np.full((*size, 3), 20 + 8 * (index % 28), np.uint8)


def square(x: int, y: int, side: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """(h, w) bool."""
    bitmap = np.zeros(size, np.bool_)
    bitmap[y : y + side, x : x + side] = True
    return bitmap


def tracked(
    index: int,
    objects: dict[int, np.ndarray] | None = None,
    *,
    size: tuple[int, int] = SIZE,
    time: float | None = None,
    image: bool = True,
    prompted: frozenset[int] = frozenset(),
) -> TrackedFrame:
    """A frame with the given bitmaps, or with one square that moves."""
    if objects is None:
        objects = {1: square(4 + index % 20, 8, 16, size)}
    bitmaps = np.array(list(objects.values()), np.bool_).reshape(-1, *size)
    seen = bitmaps.any(axis=(1, 2))
    return TrackedFrame(
        index=index,
        ids=tuple(objects),
        bitmaps=bitmaps,
        scores=np.linspace(0.9, 0.7, len(objects), dtype=np.float32) - np.float32(index / 1000),
        object_scores=np.where(seen, 7.3, -1024.0).astype(np.float32),
        boxes=boxes_of(bitmaps).reshape(-1, 4),
        areas=np.count_nonzero(bitmaps, axis=(1, 2)).astype(np.int64),
        logits=np.zeros((0, 0, 0), np.float32),
        time=time,
        image=scene(index, size) if image else None,
        prompted=prompted,
    )


def decoded(path: Path) -> tuple[list[np.ndarray], list[float]]:
    """Pictures (h, w, 3) and times in seconds of a video, as far as it can be read."""
    pictures, times = [], []
    with av.open(str(path)) as container:
        try:
            for frame in container.decode(video=0):
                pictures.append(frame.to_ndarray(format="rgb24"))
                times.append(float(frame.pts * frame.time_base))
        except av.error.InvalidDataError:
            pass  # the torn end of a partial file
    return pictures, times


def numbers(pictures: list[np.ndarray]) -> list[int]:
    """The numbers of frames of :func:`scene`, modulo 28, told by a corner that no object covers."""
    return [round((float(picture[-4:, -4:].mean()) - 20) / 8) for picture in pictures]


def make_video(path: Path, *, seconds: float = 2.0, audio: str | None = "aac", rate: int = 10) -> Path:
    """A small clip; its sound is silence but for a tone from 1.0 to 1.2 seconds."""
    with av.open(str(path), "w") as output:
        video = output.add_stream("mpeg4", rate=rate)
        video.width, video.height, video.pix_fmt = SIZE[1], SIZE[0], "yuv420p"
        sound = output.add_stream(audio, rate=48000, layout="mono") if audio else None
        for index in range(round(seconds * rate)):
            output.mux(video.encode(av.VideoFrame.from_ndarray(scene(index))))
        output.mux(video.encode(None))
        if sound is not None:
            wave = tone(seconds)
            for begin in range(0, len(wave), 960):
                piece = av.AudioFrame.from_ndarray(wave[None, begin : begin + 960], "s16", "mono")
                piece.sample_rate, piece.pts, piece.time_base = 48000, begin, Fraction(1, 48000)
                output.mux(sound.encode(piece))
            output.mux(sound.encode(None))
    return path


def tone(seconds: float) -> np.ndarray:
    """(n,) int16 at 48 kHz: 1 kHz from 1.0 to 1.2 seconds."""
    time = np.arange(round(seconds * 48000)) / 48000
    return (12000 * np.sin(2 * np.pi * 1000 * time) * ((time >= 1) & (time < 1.2))).astype(np.int16)


def heard(path: Path) -> tuple[str, float, float, float] | None:
    """Codec of the sound, where its loud part begins and ends and where all of it ends, in seconds."""
    with av.open(str(path)) as container:
        if not container.streams.audio:
            return None
        stream = container.streams.audio[0]
        loud, end = [], 0.0
        for frame in container.decode(stream):
            samples = frame.to_ndarray().astype(np.float64).reshape(-1, frame.samples).max(0)
            samples /= 32768 if frame.format.name.startswith("s16") else 1
            begin = float(frame.pts * frame.time_base)
            loud += [begin + place / frame.sample_rate for place in np.flatnonzero(np.abs(samples) > 0.1)]
            end = begin + frame.samples / frame.sample_rate
        name = stream.codec_context.name
    return name, min(loud, default=-1.0), max(loud, default=-1.0), end
