"""Going through candidates from the most accurate on, until one keeps up."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Generic, TypeVar

import torch

from maskwright.budget import timing
from maskwright.budget.candidates import Candidate, Known, ordered
from maskwright.budget.choice import OUT_OF_TIME, BudgetChoice, Tried
from maskwright.budget.options import Budget
from maskwright.budget.runtimes import least_share, readiness, runtimes_on
from maskwright.budget.store import Speeds, is_busy
from maskwright.budget.timing import Clock, Loaded, Speed
from maskwright.errors import DownloadError, InputError, MaskwrightError
from maskwright.runtime.select import FAST, choose, runs_graphs
from maskwright.weights import catalog, fetch

L = TypeVar("L", bound=Loaded)
FLOOR = 1.5
"""Only what takes so many times the time allowed by its arithmetic alone is passed over without a try."""
_UNUSABLE = (MaskwrightError, torch.OutOfMemoryError)
"""What loading or measuring a candidate may raise without ending the search."""
_log = logging.getLogger(__name__)


@dataclass
class Trials(Generic[L]):
    """How candidates are loaded and measured; tests put their own in."""

    load: Callable[[Candidate], L]
    budget: Budget
    speeds: Speeds
    peak: Callable[[str], float]
    """GFLOP per second of the device in a dtype."""
    speed: Callable[[L, Budget, float, Clock], Speed]
    busy: Callable[[], bool]
    ready: Callable[[Candidate], bool]
    """Whether a setting can be loaded on its runtime, which was not asked for, without long preparation."""
    clock: Clock = time.perf_counter
    was_busy: bool = False
    """Whether the machine was busy at any measurement."""
    _last: tuple[Candidate, L] | None = field(default=None, init=False)
    _end: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        self._end = self.clock() + self.budget.seconds

    @property
    def over(self) -> bool:
        """Whether there is no time left."""
        return self.clock() >= self._end

    def known(self, candidate: Candidate) -> float | None:
        """Frames per second, where they were measured before."""
        seconds = None if self.budget.measure else self.speeds.find(candidate, self.budget)
        return None if seconds is None else 1 / max(seconds, 1e-9)

    def measured(self, candidate: Candidate) -> float:
        """Frames per second, measured now."""
        busy = self.busy()
        self.was_busy |= busy
        found = self.speed(self.loaded(candidate), self.budget, self._end, self.clock)
        self.speeds.keep(candidate, self.budget, found.seconds, busy=busy)
        return 1 / max(found.seconds, 1e-9)

    def loaded(self, candidate: Candidate) -> L:
        """The model; the last one stays, as it may be the chosen one."""
        if self._last is None or self._last[0] != candidate:
            self._last = None  # before there is another one
            self._last = (candidate, self.load(candidate))
        return self._last[1]

    def offers(self, candidate: Candidate, tried: Sequence[Tried]) -> bool:
        """Whether a setting that was too slow is worth a try on another runtime."""
        hopes = self.known(candidate) is not None or not self.hopeless(candidate, tried)
        return hopes and self.ready(candidate)

    def hopeless(self, candidate: Candidate, tried: Sequence[Tried]) -> bool:
        """Whether it cannot keep up: by its arithmetic, or by what another setting of it did."""
        gflop = candidate.least_gflop(self.budget)
        floor = gflop / self.peak(candidate.dtype) if gflop else 0.0
        for one in tried:
            if one.per_second and one.candidate.model == candidate.model:
                floor = max(floor, _least_share(candidate, one.candidate) / one.per_second)
        return floor > FLOOR * self.budget.allowed


def settle(trials: Trials[L], candidates: Sequence[Candidate]) -> tuple[L, BudgetChoice]:
    """The most accurate candidate that keeps up, else the quickest of those that were measured.

    Args:
        trials: How to load and measure them.
        candidates: At least one, the most accurate first. Those on other runtimes than the first one's are
            alternatives: they are looked at where they are ready.

    Raises:
        MaskwrightError: none of them can be loaded.
    """
    tried: list[Tried] = []
    for candidate in candidates:
        if candidate.runtime != candidates[0].runtime and not trials.offers(candidate, tried):
            continue
        one = _try(trials, candidate, tried)
        if one.per_second is not None and 1 / one.per_second <= trials.budget.allowed:
            return _settled(trials, one, tried, reached=True)
        tried.append(one)
    _measure_the_least(trials, tried)
    best = max((one for one in tried if one.per_second), key=lambda one: one.per_second or 0.0)
    tried.remove(best)
    return _settled(trials, best, tried, reached=1 / (best.per_second or 1) <= trials.budget.allowed)


def _try(trials: Trials[L], candidate: Candidate, tried: Sequence[Tried]) -> Tried:
    known = trials.known(candidate)
    if known is not None:
        return Tried(candidate, known)
    if trials.hopeless(candidate, tried):
        return Tried(candidate, None, "not tried: far too slow")
    if trials.over:
        return Tried(candidate, None, OUT_OF_TIME)
    try:
        return Tried(candidate, trials.measured(candidate))
    except _UNUSABLE as error:
        return _unusable(candidate, error)


def _measure_the_least(trials: Trials[L], tried: list[Tried]) -> None:
    """Measure what is left of the last setting, as nothing has kept up: the quickest to be expected."""
    first, last = tried[0].candidate, tried[-1].candidate
    least = (last.model, last.side, first.runtime)
    for row, one in enumerate(tried):
        candidate = one.candidate
        if one.per_second is None and (candidate.model, candidate.side, candidate.runtime) == least:
            try:
                tried[row] = Tried(candidate, trials.measured(candidate))
            except _UNUSABLE as error:
                if not any(other.per_second for other in tried):
                    raise
                tried[row] = _unusable(candidate, error)


def _unusable(candidate: Candidate, error: Exception) -> Tried:
    return Tried(candidate, None, f"not usable: {str(error).splitlines()[0]}")


def _settled(
    trials: Trials[L], one: Tried, passed_over: Sequence[Tried], *, reached: bool
) -> tuple[L, BudgetChoice]:
    choice = BudgetChoice(
        trials.budget, one.candidate, one.per_second or 0.0, reached, tuple(passed_over), trials.was_busy
    )
    if reached:
        _log.info("%s", choice.reason)
    else:
        _log.warning("nothing here keeps up; the quickest is taken: %s", choice.reason)
    return trials.loaded(one.candidate), choice


def _least_share(candidate: Candidate, done: Candidate) -> float:
    """The least share of the time of another setting of the same model that one can take."""
    dtype = 1.0 if candidate.dtype == done.dtype else 1 / 16  # what units for half precision do at best
    runtime = least_share(candidate.runtime, done.runtime)
    return min(1.0, (candidate.side / done.side)) ** 4 * dtype * runtime


def find(
    budget: Budget,
    models: Sequence[Known],
    load: Callable[..., L],
    *,
    device: str | torch.device | None,
    dtype: str | torch.dtype | None,
    side: int | None,
    runtime: str | None = None,
) -> tuple[L, BudgetChoice]:
    """What keeps up on a device, loaded; in float32 or what is quick there, unless a dtype is asked for.

    Without a runtime, PyTorch comes first, and then what else is ready here (see ``budget.runtimes``).

    Args:
        budget: What has to be kept up with.
        models: Those that may be taken.
        load: Loads a model file, with ``device``, ``dtype``, ``image_size`` and ``runtime``.
        device: As for ``maskwright.load``.
        dtype: See there.
        side: Input size in pixels, if it was asked for.
        runtime: What executes all of them, if it was asked for; see there.

    Raises:
        InputError: an impossible device or dtype.
        WeightsError: none of the models can be loaded.
    """
    place = choose("cpu" if device is None and runs_graphs(runtime) else device, None).device
    wanted = [None, FAST] if dtype is None else [dtype]
    dtypes = list(dict.fromkeys(choose(place, one).dtype_name for one in wanted))
    if "int8" in dtypes:
        raise InputError("target_fps does not choose among models in int8; leave dtype out")
    trials = Trials(
        lambda one: load(file_of(one.model), device=place, **one.options),
        budget,
        Speeds(place),
        cache(lambda dtype: timing.peak_gflops(place, dtype)),
        timing.speed_of,
        is_busy,
        readiness(place, file_of),
    )
    runtimes = runtimes_on(place) if runtime is None else [runtime]
    return settle(trials, ordered(models, budget.task, dtypes, side, runtimes))


def models_here() -> list[Known]:
    """Named models whose files are on this machine; nothing is fetched."""
    return [Known(name, row.config) for name, row in catalog.CATALOG.items() if fetch.present(name)]


def file_of(model: Known) -> Path:
    """The file of a model, which is on this machine.

    Raises:
        DownloadError: it is not, or has another content than it should.
    """
    if isinstance(model.source, Path):
        return model.source
    found = fetch.here(model.source)
    if found is None:
        raise DownloadError(f"the file of {model.source} is not on this machine, or damaged")
    return found
