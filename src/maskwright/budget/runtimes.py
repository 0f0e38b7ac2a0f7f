"""Other runtimes than PyTorch that a setting may be tried on: those that need no long preparation here."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NamedTuple

import torch

from maskwright.budget.candidates import Candidate, Known
from maskwright.config import ModelConfig
from maskwright.errors import MaskwrightError
from maskwright.runtime.exported.opening import any_cached, executor_of, fingerprint_of, is_cached
from maskwright.runtime.select import CUDA_GRAPHS, EAGER, GRAPH_RUNTIMES, runs_graphs
from maskwright.weights.load import load_checkpoint

ENGINES = 1 / 2
"""Least share of PyTorch's time that an engine for exported graphs takes, or the other way round. Measured of
OpenVINO in bfloat16: 0.97 s instead of 1.01 s for a picture, but 3.33 s instead of 2.53 s for a tracked
frame (docs/performance.md); at best 1012 ms instead of 1604 ms of the plain network (docs/runtimes.md). A
lower bound would cost trials, and engines take seconds to start."""
REPLAYED = 1 / 8
"""The same for verbs that are replayed on a GPU. Kernels of small networks may take a fraction of the time
that starting them does. A guess on the wide side: it was not run on a GPU yet."""
_SHARES = {CUDA_GRAPHS: REPLAYED, **dict.fromkeys(GRAPH_RUNTIMES, ENGINES)}


class _Weights(NamedTuple):
    """What is to know of a model file to find its graphs."""

    config: ModelConfig
    fingerprint: str
    image_only: bool


def least_share(runtime: str, done: str) -> float:
    """The least share of the time of the same setting on ``done`` that it can take on ``runtime``."""
    return 1.0 if runtime == done else min(_SHARES.get(one, 1.0) for one in (runtime, done))


def runtimes_on(place: torch.device) -> list[str]:
    """What a setting is tried on where nobody chose, in this order; not all of it may be ready."""
    others = {"cuda": [CUDA_GRAPHS], "cpu": list(GRAPH_RUNTIMES)}
    return [EAGER, *others.get(place.type, [])]


def readiness(place: torch.device, file_of: Callable[[Known], Path]) -> Callable[[Candidate], bool]:
    """What tells whether a candidate is loaded within seconds: its graphs are in the cache, or not needed.

    Args:
        place: The device.
        file_of: The file of a model; it may raise MaskwrightError.
    """
    weights_of = cache(lambda model: _read(file_of(model)))

    def ready(one: Candidate) -> bool:
        if not runs_graphs(one.runtime):
            return True
        try:
            executor_of(one.runtime, place, one.dtype)
            return all(map(any_cached, _needed(one, one.model.config))) and _kept(one, weights_of(one.model))
        except MaskwrightError:
            return False

    return ready


def _read(file: Path) -> _Weights:
    checkpoint = load_checkpoint(file)
    return _Weights(
        checkpoint.config, fingerprint_of(checkpoint.config, checkpoint.state), checkpoint.image_only
    )


def _kept(one: Candidate, weights: _Weights) -> bool:
    return all(
        is_cached(config, weights.fingerprint, image_only=weights.image_only)
        for config in _needed(one, weights.config)
    )


def _needed(one: Candidate, config: ModelConfig) -> list[ModelConfig]:
    """The network at each input size that graphs are needed for: at once for pictures, then for videos."""
    config = config if one.is_own_size else config.at(one.side)
    return list(dict.fromkeys([config, config.for_video] if one.task == "video" else [config]))
