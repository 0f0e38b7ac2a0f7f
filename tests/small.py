"""A network of the official kind that is small enough for tests to build and run in no time."""

from __future__ import annotations

import numpy as np
import torch

from maskwright.config import HieraConfig, ModelConfig
from maskwright.model.sam2 import SAM2
from maskwright.runtime.eager import Eager, place
from maskwright.runtime.select import choose

SMALL = ModelConfig(
    name="small-test",
    trunk=HieraConfig(width=16, heads=1, depths=(1, 1, 2, 1), global_blocks=(3,)),
    image_size=64,
    width=64,
    decoder_mlp=64,
    memory_width=16,
    memory_layers=1,
    memory_mlp=64,
)


def lively(config: ModelConfig = SMALL, seed: int = 1) -> SAM2:
    """A random network in which every weight matters: masks are neither empty nor full, memories count."""
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = SAM2(config).eval()
    with torch.no_grad():
        for name, weight in network.named_parameters():
            noise = torch.randn(weight.shape, generator=generator)
            if weight.dim() < 2:
                weight.copy_(0.1 * noise if name.endswith("bias") else 0.8 + 0.1 * noise)
            else:
                weight.copy_(noise / weight[0].numel() ** 0.5)
            if "memory_attention" in name and name.endswith(("query.weight", "key.weight")):
                weight.mul_(2)
    return network


def small_runtime(config: ModelConfig = SMALL, seed: int = 1) -> Eager:
    """The plain runtime with such a network, on the CPU."""
    choice = choose("cpu", None)
    return Eager(place(lively(config, seed), choice), choice)


def small_clip(num_frames: int, size: tuple[int, int] = (48, 64), *, seed: int = 0) -> np.ndarray:
    """(t, h, w, 3) uint8: a bright square that moves over noise of its own for every frame."""
    random = np.random.default_rng(seed)
    frames = random.integers(0, 120, (num_frames, *size, 3), dtype=np.uint8)
    for number, frame in enumerate(frames):
        left = 4 + 2 * number % (size[1] // 2)
        frame[10:30, left : left + 20] = (230, 200, 40 + 5 * number % 200)
    return frames
