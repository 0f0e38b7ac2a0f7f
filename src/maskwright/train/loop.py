"""The training loop: prefetched batches, a log, checkpoints, quick validation, and exact resumption."""

from __future__ import annotations

import csv
import logging
import queue
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from maskwright.config import NANO, ModelConfig
from maskwright.errors import CheckpointError, InputError
from maskwright.io.files import atomic_write, write_text
from maskwright.io.labelled import read_index
from maskwright.model.efficientnet import EfficientNet
from maskwright.model.sam2 import SAM2
from maskwright.train.curve import draw_curve
from maskwright.train.features import Progress, open_cache
from maskwright.train.imagenet import load_trunk
from maskwright.train.learner import Learner
from maskwright.train.losses import Loss
from maskwright.train.prompts import Batch, BatchDrawer
from maskwright.train.settings import TrainConfig
from maskwright.train.validate import Scores, quick_scores

log = logging.getLogger(__name__)

CHECKPOINT = "latest.pt"
LOG_EVERY = 50
"""Steps per row of the log."""
PREFETCH = 4
"""Batches drawn ahead."""
COLUMNS = ("step", "minutes", "rate", "loss", "focal", "dice", "iou_error", "picked_iou")
SCORE_COLUMNS = ("step", "minutes", "box", "box_best", "click", "click_best", "objects")


class Run:
    """One training run in one folder: ``latest.pt``, ``log.csv``, ``scores.csv``, ``curve.svg``."""

    def __init__(
        self, config: TrainConfig, data: Path, out: Path, cache: Path, progress: Progress | None = None
    ) -> None:
        self.config, self.out = config, out
        out.mkdir(parents=True, exist_ok=True)
        torch.set_num_threads(config.threads)
        torch.manual_seed(config.seed)
        model_config = model_config_of(config)
        model = SAM2(model_config).eval()
        assert isinstance(model.trunk, EfficientNet)
        load_trunk(model.trunk)
        self.train_cache = open_cache(cache, read_index(data, "train"), model_config, model.trunk, progress)
        self.val_cache = open_cache(cache, read_index(data, "val"), model_config, model.trunk, progress)
        self.drawer = BatchDrawer(self.train_cache, config)
        self.learner = Learner(model, config)

    def resume(self) -> None:
        """Go on from the folder's checkpoint; InputError if there is none, CheckpointError if it differs."""
        path = self.out / CHECKPOINT
        if not path.is_file():
            raise InputError(f"nothing to resume: {path} does not exist; leave --resume out")
        state = read_checkpoint(path)
        changed = [
            n for n, v in asdict(self.config).items() if n in MODEL_FIELDS and state["config"].get(n) != v
        ]
        if changed:
            raise CheckpointError(f"{path} was made with another {', '.join(changed)}; use its recipe")
        self.learner.restore(state)
        for name in ("log.csv", "scores.csv"):
            drop_rows_after(self.out / name, self.learner.step_number)

    def start_from(self, path: Path) -> None:
        """Begin with the averaged weights of another run; CheckpointError if its checkpoint is unreadable."""
        self.learner.start_from(read_checkpoint(path))

    def train(self, stop: threading.Event | None = None) -> None:
        """Learn until the budget is used up or ``stop`` is set; leaves a checkpoint and scores either way."""
        learner, config = self.learner, self.config
        stop = stop or threading.Event()
        started = time.monotonic() - learner.elapsed
        saved = validated = learner.elapsed
        window: list[Loss] = []
        for batch in prefetch(self.drawer, learner.step_number):
            if learner.progress >= 1 or stop.is_set():
                break
            window.append(learner.step(batch))
            learner.elapsed = time.monotonic() - started
            if learner.step_number % LOG_EVERY == 0:
                self._write_log(window)
                window = []
            if learner.elapsed - saved >= 60 * config.checkpoint_minutes:
                self.save()
                saved = learner.elapsed
            if learner.elapsed - validated >= 60 * config.validate_minutes:
                self.validate()
                started = time.monotonic() - learner.elapsed
                validated = learner.elapsed
        self.save()
        self.validate()

    def validate(self) -> Scores:
        """Quick scores of the averaged weights, as a row of ``scores.csv``; not counted as training time."""
        learner = self.learner
        model = averaged_model(learner)
        scores = quick_scores(
            model, self.val_cache, self.config.validate_pictures, tail=self.config.trunk_rate > 0
        )
        log.info("step %d, %.1f min: %s", learner.step_number, learner.elapsed / 60, scores)
        row = {"step": learner.step_number, "minutes": round(learner.elapsed / 60, 2), **scores.rounded()}
        append_row(self.out / "scores.csv", SCORE_COLUMNS, row)
        draw_curve(self.out)
        return scores

    def save(self) -> Path:
        """Write the checkpoint, atomically."""
        path = self.out / CHECKPOINT
        with atomic_write(path) as part:
            torch.save({**self.learner.state(), "config": asdict(self.config)}, part)
        return path

    def _write_log(self, window: list[Loss]) -> None:
        means = [sum(float(part) for part in column) / len(window) for column in zip(*window, strict=True)]
        learner = self.learner
        values = (learner.step_number, learner.elapsed / 60, learner.rate(), *means)
        row = {name: round(value, 5) for name, value in zip(COLUMNS, values, strict=True)}
        append_row(self.out / "log.csv", COLUMNS, row)
        log.info(", ".join(f"{name} {value:g}" for name, value in row.items()))


MODEL_FIELDS = ("seed", "size", "pictures", "prompts", "trunk_rate")
"""Settings that must not change between a checkpoint and its continuation."""


def model_config_of(config: TrainConfig) -> ModelConfig:
    """The network that a run trains: nano at the run's input size."""
    return NANO.at(config.size)


def averaged_model(learner: Learner) -> SAM2:
    """A copy of the model with averaged weights, ready to be asked."""
    model = SAM2(learner.model.config).eval()
    model.load_state_dict(learner.averaged_state())
    return model


def read_checkpoint(path: Path) -> dict[str, Any]:
    """A training checkpoint; CheckpointError when the file is not one."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise CheckpointError(f"cannot read the training checkpoint {path}: {error}") from error
    if not isinstance(state, dict) or not {"model", "average", "optimiser", "step", "config"} <= set(state):
        raise CheckpointError(f"{path} is no training checkpoint; expected the {CHECKPOINT} of a run")
    return state


def prefetch(drawer: BatchDrawer, first: int) -> Iterator[Batch]:
    """Batches ``first``, ``first`` + 1 and so on without end, drawn ahead in a thread."""
    ready: queue.Queue[Batch | BaseException] = queue.Queue(PREFETCH)
    done = threading.Event()

    def work() -> None:
        step = first
        while not done.is_set():
            try:
                item: Batch | BaseException = drawer.draw(step)
            except BaseException as error:
                item = error
            while not done.is_set():
                try:
                    ready.put(item, timeout=0.2)
                    break
                except queue.Full:
                    continue
            if isinstance(item, BaseException):
                return
            step += 1

    thread = threading.Thread(target=work, name="prefetch", daemon=True)
    thread.start()
    try:
        while True:
            item = ready.get()
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        done.set()
        thread.join()


def append_row(path: Path, columns: tuple[str, ...], row: dict[str, Any]) -> None:
    """Add a row to a CSV file, with a heading if the file is new."""
    new = not path.is_file()
    with path.open("a", newline="", encoding="utf-8") as lines:
        writer = csv.DictWriter(lines, columns)
        if new:
            writer.writeheader()
        writer.writerow(row)


def drop_rows_after(path: Path, step: int) -> None:
    """Remove the rows of a CSV log that a resumed run will write again."""
    if not path.is_file():
        return
    heading, *rows = path.read_text(encoding="utf-8").splitlines()
    kept = [row for row in rows if int(float(row.partition(",")[0])) <= step]
    write_text(path, "\n".join((heading, *kept)) + "\n")
