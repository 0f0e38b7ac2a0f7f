"""A task that is learnt in no time, and a script that learns it, to be killed or to run in several processes.

``python toys.py OUT [loop.field=value ...]`` trains; every process writes its weights to OUT/weights-RANK.pt.
TOY_PAUSE is a number of seconds by which every step is longer.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from threading import Event
from typing import NamedTuple

import torch
from torch import Tensor

from maskwright.model.prompt_encoder import NO_POINT, POSITIVE, PromptTensors
from maskwright.model.sam2 import SAM2
from maskwright.train.loop import Report, train
from maskwright.train.losses import dice, focal
from maskwright.train.settings import LoopConfig, overridden, parsed
from maskwright.train.task import Draw, Group, Task
from small import lively


class Scene(NamedTuple):
    """One picture with a bright square, a click on it, and its mask."""

    pixels_BCHW: Tensor
    prompts: PromptTensors
    masks_BPHW: Tensor


class Toy(Task):
    """Find the square; the mask decoder alone learns."""

    score = "iou"

    def __init__(self, rate: float = 1e-3) -> None:
        super().__init__()
        self.model, self.rate = lively(), rate
        self.pause = float(os.environ.get("TOY_PAUSE", "0"))

    def groups(self) -> list[Group]:
        parts = {n: p for n, p in self.model.named_parameters() if n.startswith("mask_decoder.")}
        return [Group("decoder", parts, self.rate, 0.01)]

    def batch(self, draw: Draw) -> Scene:
        rng = draw.generator(0)
        x, y = (int(n) for n in rng.integers(1, 9, 2))
        masks = torch.zeros(1, 1, 16, 16)
        masks[..., y : y + 6, x : x + 6] = 1
        noise = torch.from_numpy(rng.normal(0, 0.3, (1, 3, 64, 64)).astype("float32"))
        pixels = noise + masks.repeat_interleave(4, 2).repeat_interleave(4, 3)
        points = torch.tensor([[[[4.0 * x + 12, 4.0 * y + 12], [0, 0]]]])
        return Scene(pixels, PromptTensors(points, torch.tensor([[[POSITIVE, NO_POINT]]])), masks)

    def forward(self, batch: Scene, draw: Draw, progress: float) -> dict[str, Tensor]:
        time.sleep(self.pause)
        logits = self.logits(self.model, batch)
        masks = batch.masks_BPHW[:, :, None].expand_as(logits)
        overlap = dice(logits, masks).mean()
        return {"loss": 20 * focal(logits, masks, 0.25, 2.0).mean() + overlap, "dice": overlap.detach()}

    def logits(self, model: SAM2, batch: Scene) -> Tensor:
        features = model.without_memory(model.encode_image(batch.pixels_BCHW))
        return model.decode(features, batch.prompts).logits_BPMHW.float()

    def validate(self, model: SAM2) -> dict[str, float]:
        batch = self.batch(Draw(99, 0, 0))
        shown = self.logits(model, batch)[0, 0, 0] > 0
        truth = batch.masks_BPHW[0, 0] > 0
        return {"iou": float((shown & truth).sum() / (shown | truth).sum().clamp(min=1))}


def learn(
    out: Path,
    *pairs: str,
    task: Task | None = None,
    resume: bool = False,
    start: Path | None = None,
    stop: Event | None = None,
) -> tuple[Task, Report]:
    """Train the toy, or another task, with some settings of the loop, such as ``loop.steps=4``."""
    loop = parsed(LoopConfig, {"threads": 1, **overridden({}, pairs)["loop"]}, "loop")
    task = task or Toy()
    recipe = {"task": "toy", "toy": {"rate": 1e-3}}
    return task, train(task, loop, out, recipe=recipe, resume=resume, start=start, stop=stop)


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    toy, _ = learn(folder, *sys.argv[2:])
    print(f"{torch.get_num_threads()} threads")
    torch.save(toy.model.state_dict(), folder / f"weights-{os.environ.get('LOCAL_RANK', '0')}.pt")
