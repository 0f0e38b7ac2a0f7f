"""The time that one frame or photograph takes: decoded RGB in host memory to masks in host memory."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple, Protocol

import numpy as np
import torch

from maskwright.budget.options import Budget
from maskwright.runtime.captured import CALLS_BEFORE, Captured
from maskwright.runtime.protocol import Runtime
from maskwright.segmenter import embed
from maskwright.track.objects import ObjectId
from maskwright.track.session import Session
from maskwright.types import Box, ByteArray, Points, Size

Clock = Callable[[], float]
LEAST, MOST = 5, 15
"""Frames that count: the median of a few, if there is time for them."""
HOPELESS = 2.0
"""So many times too slow, one frame is enough to know."""
_MATRIX = 1024


class Loaded(Protocol):
    """What is measured: a model as ``load`` gives it."""

    @property
    def runtime(self) -> Runtime: ...

    @property
    def video_runtime(self) -> Runtime: ...


class Speed(NamedTuple):
    """Of one candidate."""

    seconds: float
    """Median time of a frame."""
    samples: int
    """Frames that were measured."""


def speed_of(model: Loaded, budget: Budget, end: float, clock: Clock = time.perf_counter) -> Speed:
    """Time a model.

    Args:
        model: It.
        budget: What has to be kept up with.
        end: When to leave off, by the clock; two or three frames are made in any case.
        clock: Seconds.
    """
    warm_ups = CALLS_BEFORE if isinstance(model.runtime, Captured) else 1
    with frames(model, budget) as step:
        return timed(step, budget.allowed, end, clock, warm_ups=warm_ups)


def timed(
    step: Callable[[], object], allowed: float, end: float, clock: Clock, *, warm_ups: int = 1
) -> Speed:
    """The median of several frames after those that warm up.

    Args:
        step: Makes one frame, finished when it returns.
        allowed: Seconds that it may take; what is far from that is measured once.
        end: When to leave off, by the clock.
        clock: Seconds.
        warm_ups: Frames that do not count.
    """
    for _ in range(warm_ups):
        step()
    samples: list[float] = []
    while len(samples) < MOST:
        began = clock()
        step()
        now = clock()
        samples.append(now - began)
        if now >= end or samples[0] > HOPELESS * allowed:
            break
        if len(samples) >= LEAST and not _near(statistics.median(samples), allowed):
            break
    return Speed(statistics.median(samples), len(samples))


def _near(seconds: float, allowed: float) -> bool:
    """Whether more samples may change the verdict."""
    return 0.7 * allowed < seconds < 1.4 * allowed


@contextmanager
def frames(model: Loaded, budget: Budget) -> Iterator[Callable[[], object]]:
    """What makes one frame after the other, with memories as full as they get, or one photograph."""
    pictures = drawn(budget.size, 4)
    if budget.task == "photo":
        h, w = budget.size
        click = Points((w // 2, h // 2))
        yield lambda: embed(model.runtime, pictures[:1])[0].segment(click)
        return
    with Session(model.video_runtime) as session:
        session.push_prompted(
            pictures[0], {ObjectId(n): _box(n, budget) for n in range(1, budget.objects + 1)}
        )
        session.fill_memory()
        number = 0

        def step() -> object:
            nonlocal number
            number += 1
            return session.push(pictures[number % len(pictures)])

        yield step


def drawn(size: Size, number: int) -> list[ByteArray]:
    """Frames: a coloured rectangle that moves over noise."""
    random = np.random.default_rng(0)
    h, w = size
    ground = random.integers(60, 120, (h, w, 3), dtype=np.uint8)
    pictures = []
    for step in range(number):
        picture = ground.copy()
        left = w // 3 + step * w // 50
        picture[h // 3 : h - h // 3, left : left + w // 3] = (220, 120, 40)
        pictures.append(picture)
    return pictures


def _box(number: int, budget: Budget) -> Box:
    """Of one of several objects, around or inside the rectangle."""
    h, w = budget.size
    inset = 0.3 * (number - 1) / budget.objects
    x0, y0, x1, y1 = w / 3, h / 3, 2 * w / 3, 2 * h / 3
    dx, dy = inset * (x1 - x0), inset * (y1 - y0)
    return Box(x0 + dx, y0 + dy, x1 - dx, y1 - dy)


def peak_gflops(device: torch.device, dtype: str, clock: Clock = time.perf_counter) -> float:
    """About the most arithmetic that a device does in a second, in GFLOP: products of large matrices.

    On a GPU it is far less than that, for one product alone; see ``runtime`` for what it is used for.
    """
    side = _MATRIX if device.type == "cpu" else 8 * _MATRIX
    left = torch.ones(side, side, dtype=getattr(torch, dtype), device=device)
    best = float("inf")
    for _ in range(4):
        began = clock()
        float((left @ left)[0, 0])  # reading it waits for the device
        best = min(best, clock() - began)
    return 2e-9 * side**3 / max(best, 1e-9)
