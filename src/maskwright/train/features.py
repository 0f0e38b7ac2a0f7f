"""Open feature caches, filling what is missing, and split the trunk where training begins."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from maskwright.config import ModelConfig
from maskwright.io.labelled import Labelled
from maskwright.model.efficientnet import TAPPED_STAGES, EfficientNet
from maskwright.pixels.preprocess import preprocess
from maskwright.train.cache import FeatureCache, fingerprint
from maskwright.types import ImageArray

Progress = Callable[[int, int], None]
"""Called with pictures done and pictures in all."""

TAIL_STAGE = TAPPED_STAGES[1] + 1
"""First stage of the trunk's tail: everything after the stride-8 level."""


def open_cache(
    folder: Path,
    samples: Sequence[Labelled],
    config: ModelConfig,
    trunk: EfficientNet,
    progress: Progress | None = None,
) -> FeatureCache:
    """The cache of ``samples`` below ``folder``, complete; an interrupted one goes on where it stopped."""
    channels = config.trunk.channels
    shapes = [(c, config.image_size // stride) for c, stride in zip(channels, (4, 8, 16, 32), strict=True)]
    key = fingerprint(samples, config.image_size, trunk, len(shapes))
    cache = FeatureCache(folder / f"{config.image_size}-{key}", samples, config.image_size, shapes)
    trunk = trunk.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def prepare(picture: ImageArray) -> Tensor:
        return preprocess(picture, config.image_size, config.pixel_mean, config.pixel_std)

    with torch.inference_mode():
        for done in cache.fill(trunk, prepare):
            if progress is not None:
                progress(done, len(cache))
    return cache


def run_tail(trunk: EfficientNet, levels: Sequence[Tensor]) -> list[Tensor]:
    """Recompute the levels at strides 16 and 32 from the one at stride 8, as the whole trunk would."""
    high, mid = levels[:2]
    found, x = [high, mid], mid
    for index in range(TAIL_STAGE, len(trunk.stages)):
        x = trunk.stages[index](x)
        if index in TAPPED_STAGES:
            found.append(x)
    return found
