"""For bench_gpu.py: from a video file to masks on the host, by the ways to decode and to encode ahead."""

from __future__ import annotations

import importlib.util
import time
from itertools import islice, product
from pathlib import Path

import numpy as np
from gpu_job import Found, Job
from PIL import Image

from maskwright.errors import MaskwrightError
from maskwright.io.sinks.encode import H264, VideoFile
from maskwright.io.sources import DecoderName
from maskwright.mask_model import MaskModel
from maskwright.measure.parity import Comparison
from maskwright.measure.scene import Scene, prepared
from maskwright.measure.shots import Answer
from maskwright.track.options import TrackOptions
from maskwright.types import Box, Size

FULL_HD = (1080, 1920)


def film(job: Job, found: Found) -> None:
    """One object, or several, followed through a file; masks beside those of PyAV without encoding ahead."""
    # time counts once memories and pointers are full
    size, frames, first = ((96, 128), 6, 3) if job.quick else (FULL_HD, 160, 18)
    scene = prepared(None, None, job.folder, side=None)
    path = encoded(scene, job.folder / "film.mp4", size, frames)
    here = ["pyav", *(["torchcodec"] if importlib.util.find_spec("torchcodec") else [])]
    for name in job.models[:1] if job.quick else ["nano", "sam2.1-tiny"]:
        model = job.load(job.weights(name), dtype=job.half)
        for objects in (1, 2) if job.quick else (1, 8):
            wanted: list[Answer] = []
            scale = np.tile(np.divide(size[::-1], scene.film_size[::-1]), 2)
            boxes = [tuple(np.multiply(box, scale)) for box in scene.boxes(objects)]
            for decoder, ahead in product(here, (1, 4)):
                try:
                    rate, answers = followed(model, path, boxes, decoder, ahead, first)
                except (MaskwrightError, RuntimeError) as error:
                    found.note(f"{name}, {decoder}, {ahead}: {type(error).__name__}: {error}")
                    continue
                wanted = wanted or answers
                near = Comparison("PyAV, one at a time")
                for answer, other in zip(answers, wanted, strict=True):
                    near.add(answer, other)
                assert near.parity is not None
                found.row(
                    f"A file of {size[1]} x {size[0]} to masks on the host",
                    model=name,
                    dtype=job.half,
                    objects=objects,
                    decoder=decoder,
                    encoded_at_a_time=ahead,
                    frames_a_second=rate,
                    mean_iou=near.parity.mean_iou,
                    worst_iou=near.parity.worst_iou,
                )


def followed(
    model: MaskModel,
    path: Path,
    boxes: list[tuple[float, ...]],
    decoder: DecoderName,
    ahead: int,
    first: int,
) -> tuple[float, list[Answer]]:
    """Frames a second from frame ``first`` on, and all masks."""
    prompts = {number: Box(*box) for number, box in enumerate(boxes, start=1)}
    options = TrackOptions(encode_ahead=ahead)
    answers, began = [], 0.0
    with model.track(path, prompts, options=options, decoder=decoder) as tracking:
        for number, tracked in enumerate(tracking):
            answers.append(Answer(tracked.bitmaps, None))
            if number == first - 1:
                began = time.perf_counter()
        ended = time.perf_counter()
    return (len(answers) - first) / (ended - began), answers


def encoded(scene: Scene, path: Path, size: Size, frames: int) -> Path:
    """The scene's film as H.264."""
    file = VideoFile(path, H264, fps=30.0, overwrite=True)
    for number, frame in enumerate(islice(scene.frames(), frames)):
        picture = Image.fromarray(frame.image).resize(size[::-1], Image.Resampling.BICUBIC)
        file.write(np.asarray(picture), number, None)
    file.finish()
    return path
