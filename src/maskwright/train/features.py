"""Open the feature caches of a data set, filling what is missing, and split the trunk where training begins."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from maskwright.config import ModelConfig
from maskwright.io.labelled import Labelled
from maskwright.model.efficientnet import TAPPED_STAGES, EfficientNet
from maskwright.train.cache import FeatureCache, fingerprint

log = logging.getLogger(__name__)

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
    trunk = trunk.eval().to(memory_format=torch.channels_last)

    def preprocess(picture: np.ndarray) -> Tensor:
        return _preprocess(picture, config)

    with torch.inference_mode():
        for done in cache.fill(trunk, preprocess):
            if progress is not None:
                progress(done, len(cache))
    return cache


def _preprocess(picture: np.ndarray, config: ModelConfig) -> Tensor:
    pixels = torch.from_numpy(picture.copy()).permute(2, 0, 1)[None].float() / 255
    size = (config.image_size, config.image_size)
    pixels = F.interpolate(pixels, size=size, mode="bilinear", antialias=True, align_corners=False)[0]
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (config.pixel_mean, config.pixel_std))
    return (pixels - mean) / std


def run_tail(trunk: EfficientNet, levels: Sequence[Tensor]) -> list[Tensor]:
    """Recompute the levels at strides 16 and 32 from the one at stride 8, as the whole trunk would."""
    high, mid = levels[:2]
    found, x = [high, mid], mid
    for index in range(TAIL_STAGE, len(trunk.stages)):
        x = trunk.stages[index](x)
        if index in TAPPED_STAGES:
            found.append(x)
    return found
