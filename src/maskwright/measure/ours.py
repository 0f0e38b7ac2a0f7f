"""This package as a contestant: a model in this process, with a probe around its runtime."""

from __future__ import annotations

import itertools
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from maskwright import __version__
from maskwright.automask.options import AutomaskOptions
from maskwright.frames import Frame, TrackedFrame
from maskwright.io.images import read_image
from maskwright.io.sinks.log import FrameLog
from maskwright.io.sinks.records import LogHeader
from maskwright.mask_model import MaskModel
from maskwright.measure.first import fresh_seconds
from maskwright.measure.memory import Peak
from maskwright.measure.probe import VERBS, Probe, finish, stages
from maskwright.measure.scene import Scene
from maskwright.measure.shots import Answer, Click, Corners, Shot
from maskwright.track.objects import ObjectId
from maskwright.track.options import TrackOptions
from maskwright.types import Box, Points


@dataclass(frozen=True)
class Tasks:
    """What is asked for beyond the model."""

    search: AutomaskOptions
    track: TrackOptions


class Ours:
    """Where a probe would disturb, on everything but a processor, every other shot goes without it."""

    ours = True

    def __init__(
        self, model: MaskModel, load: dict[str, Any], scene: Scene, folder: Path, tasks: Tasks, note: str = ""
    ) -> None:
        """With what ``maskwright.load`` was called with for the model, in values that JSON holds."""
        self.who = f"maskwright {__version__}{note}"
        self._load, self._tasks = load, tasks
        self._image, self._video = Probe(model.runtime), Probe(model.video_runtime)
        self.model = MaskModel(
            self._image, image_only=model.image_only, make_video_runtime=lambda: self._video
        )
        self._scene, self._folder = scene, Path(tempfile.mkdtemp(dir=folder))
        self._film = ExitStack()
        self._number = itertools.count()
        self._peak = Peak(self._image.device)

    def embed(self) -> Shot:
        began = time.perf_counter()
        picture = read_image(self._scene.photo)
        read = time.perf_counter() - began
        self._embedding, shot = self._timed(self._image, lambda: self.model.embed(picture))
        return _with_files(shot, read=read)

    def prompt(self, click: Click) -> Shot:
        masks, shot = self._timed(
            self._image, lambda: self._embedding.segment(Points(click), candidates=True)
        )
        wrote = _seconds(lambda: masks.save(self._folder))
        return _with_files(shot, write=wrote, answer=Answer(masks.bitmaps[0], masks.logits[0]))

    def begin(self, boxes: Sequence[Corners], *, full: bool = False) -> Shot:
        self._film.close()
        path = self._folder / f"track-{next(self._number)}.jsonl"
        session = self._film.enter_context(self.model.session(self._tasks.track))
        log = self._film.enter_context(FrameLog(path, LogHeader("film")))
        frames = self._scene.frames()
        self._film.callback(frames.close)
        self._session, self._log, self._frames = session, log, _renumbered(frames)
        shot = self._followed(lambda frame: self._prompted(frame, boxes))
        if full:
            session.fill_memory()
        return shot

    def next(self) -> Shot:
        return self._followed(self._session.push)

    def automask(self) -> Shot:
        began = time.perf_counter()
        picture = read_image(self._scene.photo)
        read = time.perf_counter() - began
        search = self._tasks.search
        found, shot = self._timed(self._image, lambda: self.model.automask(picture, options=search))
        wrote = _seconds(lambda: found.save(self._folder / "found.json", overwrite=True)) if len(found) else 0
        return _with_files(shot, read=read, write=wrote, answer=Answer(found.bitmaps, None))

    def fresh(self, click: Click) -> Shot:
        seconds = fresh_seconds(self._scene.photo, click, torch.get_num_threads(), self._load)
        return Shot({"end_to_end": seconds})

    def peak_mib(self, *, restart: bool = False) -> float | None:
        if restart:
            self._peak = Peak(self._image.device)
        return self._peak.mib

    def close(self) -> None:
        self._film.close()

    def _prompted(self, frame: Frame, boxes: Sequence[Corners]) -> TrackedFrame:
        return self._session.push_prompted(
            frame, {ObjectId(number): Box(*box) for number, box in enumerate(boxes, start=1)}
        )

    def _followed(self, work: Callable[[Frame], TrackedFrame]) -> Shot:
        began = time.perf_counter()
        frame = next(self._frames)
        read = time.perf_counter() - began
        tracked, shot = self._timed(self._video, lambda: work(frame))
        wrote = _seconds(lambda: self._log.write(tracked))
        return _with_files(shot, read=read, write=wrote, answer=Answer(tracked.bitmaps, tracked.logits))

    def _timed(self, probe: Probe, work: Callable[[], Any]) -> tuple[Any, Shot]:
        """What ``work`` gives, and its times from decoded RGB to masks in host memory."""
        probe.listening = probe.device.type == "cpu" or not probe.listening
        probe.events.clear()
        finish(probe.device)
        began = time.perf_counter()
        result = work()
        finish(probe.device)
        ended = time.perf_counter()
        if not probe.listening:
            return result, Shot({"pipeline": ended - began})
        spent = stages(probe.events, began, ended)
        times = {"model": sum(spent.get(verb, 0.0) for verb in VERBS)}
        if probe.device.type == "cpu":
            times["pipeline"] = ended - began
        return result, Shot(times, spent)


def _with_files(shot: Shot, *, read: float = 0.0, write: float = 0.0, answer: Answer | None = None) -> Shot:
    """The same with the time for files, where the time between them is known."""
    times, spent = dict(shot.times), dict(shot.stages)
    if "pipeline" in times:
        times["end_to_end"] = read + times["pipeline"] + write
    if spent:
        spent |= {name: value for name, value in (("read", read), ("write", write)) if value}
    return Shot(times, spent, answer)


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _renumbered(frames: Iterator[Frame]) -> Iterator[Frame]:
    """A film that goes round has each number once."""
    for number, frame in enumerate(frames):
        yield Frame(number, np.asarray(frame.image))
