"""Which weights a model is measured with: its own, or random ones where only the time matters."""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from maskwright.config import PRESETS, ModelConfig
from maskwright.errors import DownloadError
from maskwright.model.sam2 import SAM2
from maskwright.weights import catalog, fetch
from maskwright.weights.load import save_checkpoint

_THERE = "mask_decoder.object_head.layers.2.bias"
"""Large enough, every object is there: masks that are not empty can be compared."""


@dataclass(frozen=True)
class Weights:
    """What ``maskwright.load`` is given for a model."""

    name: str
    """As it was asked for: a catalogue name or a file."""
    source: str
    """A catalogue name or a file."""
    random: bool


def weights_of(name: str, folder: Path, *, random: bool) -> Weights:
    """The model's own weights, or with ``random`` such in a new file where its own are not on this machine.

    Raises:
        DownloadError: the weights are not here and cannot be fetched.
        UnknownModelError: neither a known name nor a file.
    """
    known = None if Path(name).exists() else catalog.find(name).name
    if known is None:
        return Weights(name, name, random=False)
    if random and fetch.present(known) is None:
        path = folder / f"{known.replace('+', '-plus')}-random.safetensors"
        config = PRESETS[known]
        return Weights(known, str(save_checkpoint(path, config, random_state(config))), random=True)
    try:
        fetch.locate(known)
    except DownloadError as error:
        raise DownloadError(f"{error}; or measure its speed with random weights: --random-weights") from error
    return Weights(known, known, random=False)


def random_state(config: ModelConfig) -> dict[str, Tensor]:
    """Weights that give logits of a usual size and masks of noise, each drawn from its name: always the same.

    Times do not depend on weights, but for automatic masks, where filters do less for masks of objects.
    """
    with torch.device("meta"):
        shapes = SAM2(config).state_dict()
    return {name: drawn(name, tuple(value.shape)) for name, value in shapes.items()}


def drawn(name: str, shape: tuple[int, ...]) -> Tensor:
    """One weight of a shape, drawn from its name."""
    if name == _THERE:
        return torch.full(shape, 20.0)
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(zlib.crc32(name.encode())))
    if name.endswith(".weight") and len(shape) >= 2:
        return noise / math.sqrt(math.prod(shape[1:]))
    if name.endswith((".weight", ".gamma")):
        return 0.8 + 0.1 * noise
    return noise * (0.1 if name.endswith(".bias") else 0.5)
