"""What a part of bench_gpu.py is told, and where it says what it found."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maskwright.config import ModelConfig
from maskwright.mask_model import MaskModel
from maskwright.measure.weights import Weights, weights_of
from maskwright.runtime import captured, compiled
from maskwright.runtime.absorb_memory import absorb_memory, plain_attend
from maskwright.runtime.eager import Eager, place
from maskwright.runtime.kernels.attention import attend_split
from maskwright.runtime.protocol import Runtime
from maskwright.runtime.select import COMPILED, choose
from maskwright.weights import fetch
from maskwright.weights.load import build, load_checkpoint

WAYS = {
    "eager": (None, False),
    "absorbed": (plain_attend, False),
    "triton": (attend_split, False),
    "graphs": (None, True),
    "triton, graphs": (attend_split, True),
}
"""Ways to run the same model: attention to memories, and whether CUDA graphs are recorded."""


@dataclass
class Found:
    """Everything that a part says, on disk as soon as it is known."""

    path: Path
    content: dict[str, Any]

    def row(self, title: str, **cells: object) -> None:
        self.content["tables"].setdefault(title, []).append(cells)
        self.save()

    def note(self, line: str) -> None:
        self.content["notes"].append(line)
        self.save()

    def save(self) -> None:
        aside = self.path.with_suffix(".part")
        aside.write_text(json.dumps(self.content))
        aside.replace(self.path)


class Job:
    """What to measure, and where."""

    def __init__(self, settings: dict[str, Any], folder: Path) -> None:
        self.quick: bool = settings["quick"]
        self.device: str = settings["device"]
        self.image_size: int | None = settings["image_size"]
        self.models: list[str] = settings["models"]
        self.python = Path(settings["reference_python"]) if settings["reference_python"] else None
        self.seconds: float = settings["seconds"]
        self.folder = folder
        self.on_gpu = self.device.startswith("cuda")

    @property
    def half(self) -> str:
        """The fast dtype of the device."""
        return choose(self.device, "fast").dtype_name if self.on_gpu else "bfloat16"

    def ways(self) -> list[str]:
        return list(WAYS) if self.on_gpu else ["eager", "absorbed"]

    def weights(self, name: str) -> Weights:
        return weights_of(name, self.folder, random=True)

    def load(self, weights: Weights, *, way: str = "eager", device: str = "", dtype: str) -> MaskModel:
        """As ``maskwright.load``, run in one of the ways, or compiled."""
        choice = choose(device or self.device, dtype)
        path = Path(weights.source)
        checkpoint = load_checkpoint(path if path.exists() else fetch.locate(weights.source))
        attend, graphs = WAYS.get(way, (None, False))

        def runtime(shape: ModelConfig) -> Runtime:
            if way == COMPILED:
                return compiled.wrap(build(shape, checkpoint.state), choice)
            network = place(build(shape, checkpoint.state), choice)
            plain = Eager(network if attend is None else absorb_memory(network, attend), choice)
            return captured.wrap(plain) if graphs else plain

        config = checkpoint.config
        if self.image_size is not None:
            return MaskModel(runtime(config.at(self.image_size)))
        video = (lambda: runtime(config.for_video)) if config.video_size else None
        return MaskModel(runtime(config), make_video_runtime=video)
