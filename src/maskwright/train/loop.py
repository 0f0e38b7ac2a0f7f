"""The training loop, one for all tasks.

A run in a folder leaves ``latest.pt`` (resume), ``best.pt`` (best validated weights), ``log.csv``,
``scores.csv``, ``curve.svg`` and TensorBoard events. Batches depend on seed, step and part alone and a
checkpoint holds everything else, so a run that was ended by whatever goes on with the same bits.
"""

from __future__ import annotations

import itertools
import math
import threading
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from maskwright.errors import CheckpointError, InputError
from maskwright.io.files import writable_folder
from maskwright.io.sources.prefetch import Prefetch, prefetch
from maskwright.train.average import Average, mixed
from maskwright.train.checkpoint import (
    BEST,
    LATEST,
    begin_with,
    read_checkpoint,
    read_latest,
    whole_recipe,
    write_checkpoint,
)
from maskwright.train.devices import Part, Unpacked, open_fabric
from maskwright.train.finetune import weights
from maskwright.train.logs import Logs, Window
from maskwright.train.settings import LoopConfig
from maskwright.train.task import Draw, Group, Task

if TYPE_CHECKING:
    from lightning_fabric import Fabric


@dataclass
class Report:
    """How a run went."""

    finished: bool = False
    """Whether the budget is used up; False if it was stopped."""
    step: int = -1
    """Step of the last validation, -1 if there was none."""
    before: dict[str, float] = field(default_factory=dict)
    """Figures of what it began with, if that was validated."""
    after: dict[str, float] = field(default_factory=dict)
    """Figures of the last validation."""


def train(
    task: Task,
    loop: LoopConfig,
    out: Path,
    *,
    recipe: Mapping[str, Any],
    resume: bool = False,
    start: Path | None = None,
    stop: threading.Event | None = None,
    fabric: Fabric | None = None,
) -> Report:
    """Learn until the budget is used up, or until ``stop`` is set, which leaves a checkpoint and no more.

    Args:
        task: What is learnt; its model is trained in place.
        loop: How.
        out: Folder of this run.
        recipe: Settings of the task as plain values, for the checkpoint; a resumed run must have the same.
        resume: Go on from the checkpoint in ``out``.
        start: A checkpoint of another run, to begin with its averaged weights.
        stop: Looked at before every step.
        fabric: From ``open_fabric``, where devices were started before the task was made.

    Raises:
        InputError: nothing to resume; a loss that is not finite; ``start`` with ``loop.start_share``.
        CheckpointError: a checkpoint that is unreadable or does not fit.
        OutputError: a full disk, for instance; the last checkpoint survives.
    """
    fabric = fabric or open_fabric(loop)
    writable_folder(out)
    if not resume and (out / LATEST).exists():
        raise InputError(f"{out} holds a run already: give --resume to go on with it, or another folder")
    if start is not None and loop.start_share:
        raise InputError(
            "loop.start_share is of the weights that --init names, so it does not go with --start"
        )
    state = read_latest(out, whole_recipe(recipe, loop)) if resume else None
    if state is None and start is not None:
        begin_with(task, read_checkpoint(start))
    run = Run(task, loop, out, whole_recipe(recipe, loop), fabric)
    if state is not None:
        run.restore(state)
    with warnings.catch_warnings():
        # several devices: depthwise kernels have one channel, so how its strides are counted is all the same
        warnings.filterwarnings("ignore", message="Grad strides do not match bucket view strides")
        return run.go(stop or threading.Event())


class Run:
    """A task in training: its optimiser, the running average, the steps and the time it has taken."""

    def __init__(
        self, task: Task, loop: LoopConfig, out: Path, recipe: Mapping[str, Any], fabric: Fabric
    ) -> None:
        self.task, self.loop, self.out, self.recipe, self.fabric = task, loop, out, recipe, fabric
        self.step, self.elapsed, self.best = 0, 0.0, -math.inf
        self.window, self.report = Window(), Report()
        groups = task.groups()
        named = {name: value for group in groups for name, value in group.parameters.items()}
        task.eval().requires_grad_(False)
        for parameter in named.values():
            parameter.requires_grad_(True)
        self._adam = torch.optim.AdamW(_parameter_groups(groups), lr=0.0, betas=(0.9, loop.beta))
        self._module, self._optimiser = fabric.setup(Unpacked(task), self._adam)
        self._precision = fabric.strategy.precision
        self.average = Average(named, loop.ema)
        self._start = (
            {name: value.clone() for name, value in self.average.values.items()} if loop.start_share else {}
        )

    @property
    def progress(self) -> float:
        """Share of the budget that is used up, by steps or by time, whichever is further along."""
        by_steps = self.step / self.loop.steps if self.loop.steps else 0.0
        by_time = self.elapsed / (60 * self.loop.minutes) if self.loop.minutes else 0.0
        return min(1.0, max(by_steps, by_time))

    def rate(self) -> float:
        """Factor on the peak learning rates: linear warm-up by steps, cosine to zero by progress."""
        warm = min(1.0, (self.step + 1) / max(1, self.loop.warmup_steps))
        return warm * 0.5 * (1 + math.cos(math.pi * self.progress))

    def go(self, stop: threading.Event) -> Report:
        """Take steps until the budget is used up or ``stop`` is set. Devices but the first only learn."""
        first = self.fabric.is_global_zero
        logs = Logs(self.out, self.step, self.progress) if first else None
        try:
            if logs and self.step == 0 and self.loop.validate_first:
                self.report.before = self.validate(logs)
            with prefetch(self._parts(), self.loop.prefetch) as parts:
                stopped = self._take_steps(parts, stop, logs)
            if logs:
                self.save()
            if logs and not stopped and self.report.step != self.step:
                self.validate(logs)
                self.save()
        finally:
            if logs:
                logs.close()
        self.report.finished = not stopped
        return self.report

    def _take_steps(self, parts: Prefetch[Part], stop: threading.Event, logs: Logs | None) -> bool:
        """The loop itself; True if it was stopped before the budget was used up."""
        loop, saved, validated = self.loop, self.elapsed, self.elapsed
        while self.progress < 1:
            stopped, rate = self.fabric.broadcast(stop.is_set()), self.rate()
            if stopped:
                return True
            begun = time.monotonic()
            figures = self.learn(parts)
            self.elapsed = self.fabric.broadcast(self.elapsed + time.monotonic() - begun)
            if logs is None:
                continue
            self.window.add(figures)
            logs.show(self.step, self.progress, figures["loss"])
            if self.step % loop.log_steps == 0:
                logs.row(self.step, self.elapsed, {"rate": rate, **self.window.means()})
            if self._due(validated, loop.validate_minutes, loop.validate_steps):
                self.validate(logs)
                validated = self.elapsed
            if self._due(saved, loop.checkpoint_minutes, loop.checkpoint_steps):
                self.save()
                saved = self.elapsed
        return False

    def learn(self, parts: Iterator[Part]) -> dict[str, float]:
        """One optimiser step; mean losses of all its batches and the gradient's norm.

        Raises:
            InputError: a loss is not a finite number; nothing was changed.
        """
        for group in self._adam.param_groups:
            group["lr"] = group["peak"] * self.rate()
        self._adam.zero_grad(set_to_none=True)
        count, losses = self.loop.accumulate, []
        for number, part in zip(range(count), parts, strict=False):
            with self.fabric.no_backward_sync(self._module, enabled=number < count - 1):
                found = self._module(part.arrived(self.fabric.device, self.progress))
                self.fabric.backward(found["loss"] / count)
            losses.append(torch.stack([value.detach() for value in found.values()]))
        mean = self.fabric.all_reduce(torch.stack(losses).mean(dim=0), reduce_op="mean")
        assert isinstance(mean, Tensor)
        norm = self.fabric.clip_gradients(
            self._module, self._optimiser, max_norm=self.loop.clip, error_if_nonfinite=False
        )
        assert norm is not None
        figures = dict(zip((*found, "gradient"), (*mean.tolist(), float(norm)), strict=True))
        # with 16-mixed, the scaler leaves such a step out and tries a smaller scale
        scaled = self._precision.state_dict()
        if not math.isfinite(figures["loss"]) or not (scaled or math.isfinite(figures["gradient"])):
            raise InputError(self._not_finite(figures))
        self._optimiser.step()
        self.step += 1
        self.average.update(self.step)
        return figures

    def validate(self, logs: Logs) -> dict[str, float]:
        """Figures of the averaged weights, written to the logs; the best ones so far become ``best.pt``.

        They are of the average with its share of the start, and ``best.pt`` has the average alone.
        """
        shown = mixed(self.average.values, self._start, self.loop.start_share)
        with weights(self.task.model, shown), torch.no_grad():
            figures = self.task.validate(self.task.model)
        score = figures.get(self.task.score, -math.inf)
        if score > -math.inf and score >= self.best:  # of equal ones, the later
            self.best = score
            with weights(self.task.model, self.average.values):
                write_checkpoint(self.out / BEST, {**self._state(), "average": {}})
        if figures:
            logs.scores(self.step, self.elapsed, figures)
        self.report.step, self.report.after = self.step, figures
        return figures

    def save(self) -> None:
        """Write ``latest.pt``."""
        scaler, optimiser = self._precision.state_dict(), self._adam.state_dict()
        state = {**self._state(), "optimiser": optimiser, "scaler": scaler}
        write_checkpoint(self.out / LATEST, state)

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from ``state``: the next step gives the same bits as if there had been no break.

        Raises:
            CheckpointError: it is of another model or another version of the task.
        """
        model = self.task.model
        try:
            model.load_state_dict({**model.state_dict(), **state["model"]})
            self.average.restart(state["average"])
            self._adam.load_state_dict(state["optimiser"])
            self._precision.load_state_dict(state["scaler"])
        except (KeyError, ValueError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:200]
            raise CheckpointError(f"{self.out / LATEST} does not fit this task: {reason}") from error
        self.step, self.elapsed, self.best = state["step"], state["elapsed"], state["best"]
        self.window.sums, self.window.count = state["window"]
        self.report = Report(**state["report"])

    def _state(self) -> dict[str, Any]:
        saved = self.task.saved()
        return {
            "model": {name: value for name, value in self.task.model.state_dict().items() if saved(name)},
            "average": self.average.values,
            "step": self.step,
            "elapsed": self.elapsed,
            "best": self.best,
            "window": (self.window.sums, self.window.count),
            "report": asdict(self.report),
            "recipe": dict(self.recipe),
        }

    def _parts(self) -> Iterator[Part]:
        """This device's batches, step by step; runs in the thread of ``prefetch``."""
        count, step, first = self.loop.accumulate, self.step, self.fabric.global_rank * self.loop.accumulate
        for number in itertools.count():
            draw = Draw(self.loop.seed, step + number // count, first + number % count)
            with torch.no_grad():
                batch = self.task.batch(draw)
            yield Part(batch, draw)

    def _due(self, last: float, minutes: float, steps: int) -> bool:
        by_time = bool(minutes) and self.elapsed - last >= 60 * minutes
        return by_time or (bool(steps) and self.step % steps == 0)

    def _not_finite(self, figures: Mapping[str, float]) -> str:
        listed = ", ".join(f"{name} {value:.4g}" for name, value in figures.items())
        kept = (
            f"{LATEST} holds the last good checkpoint" if (self.out / LATEST).is_file() else "nothing is kept"
        )
        return (
            f"the loss or its gradient is not a finite number at step {self.step} ({listed}): lower the "
            f"learning rates or loop.clip, raise loop.warmup_steps, or use loop.precision 32-true; {kept}"
        )


def _parameter_groups(groups: Sequence[Group]) -> list[dict[str, Any]]:
    """For the optimiser: by peak rate, and by decay, which only parameters with two axes or more have."""
    return [
        {"params": members, "peak": group.rate, "weight_decay": group.decay if decays else 0.0}
        for group in groups
        for decays in (False, True)
        if (members := [value for value in group.parameters.values() if (value.ndim >= 2) == decays])
    ]
