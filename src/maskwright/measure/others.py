"""Other implementations as contestants, each in a process of its own, on the same weights and files."""

from __future__ import annotations

import importlib.util
import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from maskwright.automask.options import AutomaskOptions
from maskwright.config import HieraConfig, ModelConfig
from maskwright.io.images import read_image
from maskwright.measure.first import apart
from maskwright.measure.scene import Scene
from maskwright.measure.shots import Answer, Click, Corners, Failure, Shot
from maskwright.runtime.cpu.pages import SETTINGS
from maskwright.runtime.select import choose, dtype_name
from maskwright.weights.keymaps import from_ours, is_memory
from maskwright.weights.load import convert, load_checkpoint

WORKER = Path(__file__).parent / "outside" / "worker.py"
NAMES = {"official": "sam2", "transformers": "transformers"}
"""Implementations, and the package of each."""
LIMIT = 1800.0
"""Seconds after which an answer is no longer waited for."""
_SIZES = {"tiny": "t", "small": "s", "base+": "b+", "large": "l"}


class Other:
    """An implementation in its process.

    Raises:
        Failure: it cannot run there, or stopped; the message has its own words.
    """

    ours = False

    def __init__(self, python: str, job: dict[str, Any], folder: Path) -> None:
        self._python, self._folder, self._job = python, folder, job
        path = folder / f"{job['implementation']}.json"
        path.write_text(json.dumps(job), encoding="utf-8")
        self._process = subprocess.Popen(
            [python, str(WORKER), str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=SETTINGS | dict(os.environ),  # as for this process
            **apart(),
        )
        self._lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()
        try:
            self.who = str(self._hear()["version"])
        except BaseException:
            self.close()
            raise

    def embed(self) -> Shot:
        return Shot({"pipeline": self._ask(do="embed")["seconds"]})

    def prompt(self, click: Click) -> Shot:
        return self._seen(do="prompt", at=click)

    def begin(self, boxes: Sequence[Corners], *, full: bool = False) -> Shot:
        if full:
            raise Failure("its memories fill as it follows")
        return self._seen(do="begin", boxes=boxes)

    def next(self) -> Shot:
        return self._seen(do="next")

    def automask(self) -> Shot:
        return self._seen(do="automask")

    def fresh(self, click: Click) -> Shot:
        """Start another such process, and wait for its first mask."""
        began = time.perf_counter()
        another = Other(self._python, self._job, self._folder)
        try:
            another.embed()
            another.prompt(click)
            return Shot({"end_to_end": time.perf_counter() - began})
        finally:
            another.close()

    def peak_mib(self, *, restart: bool = False) -> float | None:
        peak: float | None = self._ask(do="peak", restart=restart)["mib"]
        return peak

    def close(self) -> None:
        """End the process: its input ends, and if that is not enough, it is killed."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.close()
            self._process.wait(10)
        except (OSError, subprocess.TimeoutExpired):
            self._process.kill()
            self._process.wait()

    def _seen(self, **request: Any) -> Shot:
        path = self._folder / f"{self._job['implementation']}.npz"
        seconds = self._ask(**request, save=str(path))["seconds"]
        with np.load(path) as file:
            masks = np.unpackbits(file["masks"], axis=-1, count=int(file["width"])).astype(bool)
            logits = file.get("logits")
        return Shot({"pipeline": seconds}, answer=Answer(masks, logits))

    def _ask(self, **request: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        except OSError as error:
            raise Failure("its process has ended") from error
        return self._hear()

    def _hear(self) -> dict[str, Any]:
        try:
            line = self._lines.get(timeout=LIMIT)
        except queue.Empty as error:
            raise Failure(f"no answer within {LIMIT:.0f} s") from error
        if not line:
            raise Failure("its process has ended")
        reply: dict[str, Any] = json.loads(line)
        if "failed" in reply:
            raise Failure(reply["failed"])
        return reply

    def _listen(self) -> None:
        """Lines of the process, and an empty one at its end."""
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                self._lines.put(line)
        self._lines.put("")


def interpreters(against: Path | None) -> dict[str, str]:
    """By implementation, what can be tried: the environment that was named if it is there, else this one.

    Where it is in neither, the named one is tried, and says what it lacks.
    """
    found = {}
    for name, package in NAMES.items():
        if against is not None and _has(against, package):
            found[name] = str(against)
        elif importlib.util.find_spec(package) is not None:
            found[name] = sys.executable
        elif against is not None:
            found[name] = str(against)
    return found


def _has(python: Path, package: str) -> bool:
    question = f"import importlib.util as u, sys; sys.exit(u.find_spec({package!r}) is None)"
    try:
        return not subprocess.run(
            [str(python), "-c", question], capture_output=True, timeout=LIMIT, check=False
        ).returncode
    except OSError:
        return False


def jobs_for(
    weights: Path, model: Any, scene: Scene, search: AutomaskOptions, folder: Path, *, threads: int
) -> dict[str, Any]:
    """What every worker is told; the weights are written in the layouts of the others.

    Args:
        weights: The model file.
        model: The :class:`MaskModel` that is measured.
        scene: What is looked at.
        search: Of automatic masks.
        folder: Where new files go.
        threads: Of a processor.

    Raises:
        CheckpointError: the model has no official form, so that no other implementation has it.
    """
    from safetensors.torch import save_file

    official = folder / "official.pt"
    convert(weights, official)
    checkpoint = load_checkpoint(weights)
    theirs = from_ours(checkpoint.state, "transformers")
    pictures = {name: value for name, value in checkpoint.state.items() if not is_memory(name)}
    save_file({name: value.contiguous().clone() for name, value in theirs.items()}, folder / "theirs.st")
    np.save(folder / "picture.npy", np.asarray(read_image(scene.photo)))
    return {
        "config_file": config_file_of(checkpoint.config.name),
        "weights": str(official),
        "weights_transformers": str(folder / "theirs.st"),
        "image_names": sorted(from_ours(pictures, "transformers")),
        "picture": str(folder / "picture.npy"),
        "film": str(scene.film),
        "size": model.config.image_size,
        "video_size": model.video_runtime.config.image_size,
        "device": str(model.device),
        "dtype": _their_dtype(model),
        "threads": threads,
        "grid": search.points_per_side,
        "search": _official_names(search),
        **_transformers(checkpoint.config),
    }


def _their_dtype(model: Any) -> str:
    """The same as ours; beside int8, which nobody else has, what is not int8 in ours."""
    return dtype_name(choose(model.device, model.dtype).maps)


def config_file_of(name: str) -> str:
    """The official configuration file of a catalogue name."""
    series, _, size = name.partition("-")
    return f"configs/{series}/{series}_hiera_{_SIZES[size]}.yaml"


def _official_names(search: AutomaskOptions) -> dict[str, Any]:
    return {
        "points_per_batch": search.points_per_batch,
        "pred_iou_thresh": search.min_score,
        "stability_score_thresh": search.min_stability,
        "stability_score_offset": search.stability_offset,
        "box_nms_thresh": search.max_overlap,
    }


def _transformers(config: ModelConfig) -> dict[str, Any]:
    """The network in the words of transformers."""
    trunk = config.trunk
    assert isinstance(trunk, HieraConfig)
    backbone = {
        "hidden_size": trunk.width,
        "num_attention_heads": trunk.heads,
        "blocks_per_stage": list(trunk.depths),
        "embed_dim_per_stage": list(trunk.channels),
        "num_attention_heads_per_stage": [trunk.heads * 2**stage for stage in range(4)],
        "window_size_per_stage": list(trunk.windows),
        "window_positional_embedding_background_size": list(trunk.position_grid),
        "global_attention_blocks": list(trunk.global_blocks),
    }
    return {
        "vision": {
            "backbone_config": backbone,
            "backbone_channel_list": list(reversed(trunk.channels)),
        },
        "video": {
            "enable_occlusion_spatial_embedding": config.occlusion_memory,
            "enable_temporal_pos_encoding_for_object_pointers": config.pointer_time,
        },
        "mean": list(config.pixel_mean),
        "std": list(config.pixel_std),
    }
