"""A network of the official kind that is small enough for tests to build and run in no time."""

from __future__ import annotations

from maskwright.config import HieraConfig, ModelConfig

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
