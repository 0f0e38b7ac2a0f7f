"""A training run of the memory half in one folder: ``latest.pt``, ``log.csv``, ``scores.csv``."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from maskwright.config import NANO
from maskwright.errors import InputError, OutputError
from maskwright.io.files import atomic_write
from maskwright.io.labelled import read_index
from maskwright.model.sam2 import SAM2
from maskwright.train.clip_cache import ClipCache
from maskwright.train.clips import ClipMaker
from maskwright.train.export import MAX_BYTES
from maskwright.train.features import Progress
from maskwright.train.loop import CHECKPOINT, append_row, drop_rows_after, read_checkpoint
from maskwright.train.memory import FrameLoss, MemoryLearner, clip_losses, principal_keys, varied
from maskwright.train.memory_settings import MemoryConfig
from maskwright.weights.keymaps import is_memory
from maskwright.weights.load import build, load_checkpoint, save_checkpoint

log = logging.getLogger(__name__)

TRUST = "memory_cells.trust"
"""One number for each age of memory; the last one is for prompted frames."""
LOG_EVERY = 25
"""Steps per row of the log."""
KEY_CLIPS = 60
"""Clips whose features decide what keys begin as."""
COLUMNS = ("step", "minutes", "rate", "loss", "drawn", "decoded", "presence", "drawn_iou", "iou")


class MemoryRun:
    """Loads the image half, makes or finds the clips, and learns.

    Args:
        config: The run.
        weights: Model file whose image half is kept as it is.
        data: Folder with images/, labels/ and sources.tsv.
        out: Folder of this run.
        cache: Folder of clips.
        plain: Folder of photographs without labels for backgrounds, if there is one.
        progress: Told about clips.
        fill: False if another process makes the training clips meanwhile.
    """

    def __init__(
        self,
        config: MemoryConfig,
        weights: Path,
        data: Path,
        out: Path,
        cache: Path,
        *,
        plain: Path | None = None,
        progress: Progress | None = None,
        fill: bool = True,
    ) -> None:
        self.config, self.out = config, out
        out.mkdir(parents=True, exist_ok=True)
        torch.set_num_threads(config.threads)
        torch.manual_seed(config.seed)
        model = network(weights, config)
        backgrounds = sorted(plain.glob("*.jpg")) if plain is not None else []
        self.val_clips = ClipCache(
            cache,
            ClipMaker(read_index(data, "val"), backgrounds, config.clip_settings, seed=1),
            config.val_clips,
            model,
        )
        self.clips = ClipCache(
            cache,
            ClipMaker(read_index(data, "train"), backgrounds, config.clip_settings, seed=config.seed),
            config.clips,
            model,
        )
        for clips in (self.val_clips, self.clips):
            if fill or clips is self.val_clips:
                for done in clips.fill(model):
                    if progress is not None:
                        progress(done, clips.num)
        while self.clips.ready < min(config.wait_for, config.clips):
            time.sleep(1)
        principal_keys(model, self.clips, KEY_CLIPS)
        self.learner = MemoryLearner(model, config)

    def resume(self) -> None:
        """Go on from the folder's checkpoint; InputError if there is none."""
        path = self.out / CHECKPOINT
        if not path.is_file():
            raise InputError(f"nothing to resume: {path} does not exist; leave --resume out")
        self.learner.restore(read_checkpoint(path))
        for name in ("log.csv", "scores.csv"):
            drop_rows_after(self.out / name, self.learner.step_number)

    def start_from(self, path: Path) -> None:
        """Begin with the averaged weights of another run."""
        self.learner.start_from(read_checkpoint(path))

    def train(self, stop: threading.Event | None = None) -> None:
        """Learn until the budget is used up or ``stop`` is set; leaves a checkpoint and scores either way."""
        learner, config = self.learner, self.config
        stop = stop or threading.Event()
        started = time.monotonic() - learner.elapsed
        saved = validated = learner.elapsed
        window: list[FrameLoss] = []
        while learner.progress < 1 and not stop.is_set():
            rng = np.random.default_rng((config.seed, learner.step_number))
            clip = self.clips.clip(int(rng.integers(self.clips.ready)))
            window.append(learner.step(varied(clip, config.frames, rng)))
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

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Follow the validation clips with averaged weights; a row of ``scores.csv``."""
        learner = self.learner
        model = SAM2(learner.model.config).eval()
        model.load_state_dict(learner.averaged_state())
        losses = [
            loss
            for number in range(self.val_clips.ready)
            for loss in clip_losses(model, self.val_clips.clip(number), self.config, decode=True)
        ]
        mean = FrameLoss(*(torch.stack(parts).mean() for parts in zip(*losses, strict=True)))
        row = {
            "step": learner.step_number,
            "minutes": round(learner.elapsed / 60, 2),
            "loss": round(float(mean.decoded), 4),
            "presence": round(float(mean.presence), 4),
            "drawn_iou": round(float(mean.drawn_iou), 4),
            "iou": round(float(mean.iou), 4),
        }
        append_row(self.out / "scores.csv", tuple(row), row)
        log.info("validation: %s", ", ".join(f"{name} {value:g}" for name, value in row.items()))
        return row

    def save(self) -> Path:
        """Write the checkpoint, atomically."""
        path = self.out / CHECKPOINT
        with atomic_write(path) as part:
            torch.save({**self.learner.state(), "config": asdict(self.config)}, part)
        return path

    def _write_log(self, window: list[FrameLoss]) -> None:
        means = [float(torch.stack(column).mean()) for column in zip(*window, strict=True)]
        learner = self.learner
        values = (learner.step_number, learner.elapsed / 60, learner.rate(), *means)
        row = {name: round(value, 5) for name, value in zip(COLUMNS, values, strict=True)}
        append_row(self.out / "log.csv", COLUMNS, row)
        log.info(", ".join(f"{name} {value:g}" for name, value in row.items()))


def network(weights: Path, config: MemoryConfig) -> SAM2:
    """The network of nano with the image half of a model file, and an untrained memory half."""
    found = load_checkpoint(weights)
    state = {name: value for name, value in found.state.items() if not is_memory(name)}
    return build(NANO.at(config.size), state)


def export(checkpoint: Path, weights: Path, target: Path) -> Path:
    """One fp16 file: the image half of ``weights``, bit for bit, and a checkpoint's averaged memory half."""
    from safetensors import safe_open

    state = read_checkpoint(checkpoint)
    config = MemoryConfig.from_dict(state["config"])
    with safe_open(weights, framework="pt") as file:
        image = {name: file.get_tensor(name) for name in file.keys() if not is_memory(name)}  # noqa: SIM118
        notes = dict(file.metadata() or {})
    averaged = {**state["model"], **state["average"]}
    averaged[TRUST] = averaged[TRUST].clone()
    averaged[TRUST][-1] += config.given_trust
    memory = {name: value.half() for name, value in averaged.items()}
    notes |= {"memory_steps": str(state["step"]), "memory_minutes": f"{state['elapsed'] / 60:.1f}"}
    save_checkpoint(target, NANO.at(config.size), {**image, **memory}, notes=notes)
    if target.stat().st_size > MAX_BYTES:
        raise OutputError(f"{target} has {target.stat().st_size} bytes, more than the {MAX_BYTES} allowed")
    return target
