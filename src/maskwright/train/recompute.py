"""Less memory for more time: activations that are computed again in the backward pass instead of being kept.

Axes: T frames, C channels, H W height and width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Literal, TypeVar

from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.utils.checkpoint import checkpoint

from maskwright.model.mask_decoder import ImageFeatures
from maskwright.model.sam2 import SAM2
from maskwright.train.finetune import trunk_steps

Recompute = Literal["none", "trunk", "all"]
"""What is computed again: nothing, the blocks of the trunk, or those and the other verbs, frame by frame."""

Result = TypeVar("Result")


def encode_frames(model: SAM2, pixels_TCHW: Tensor, *, chunk: int, recompute: bool) -> list[ImageFeatures]:
    """Features of every frame by itself (B = 1), from ``encode_image`` on ``chunk`` frames at a time.

    Args:
        model: Its trunk keeps nothing for the backward pass where it does not learn.
        pixels_TCHW: Normalised frames.
        chunk: More of them are faster and need more memory.
        recompute: Keep only what goes into each block of the trunk.
    """
    learns = any(parameter.requires_grad for parameter in model.trunk.parameters())
    found: list[ImageFeatures] = []
    # weights with adapters are made once for all frames; recomputed blocks make and drop their own
    with computed_again(trunk_steps(model)) if recompute and learns else parametrize.cached():
        for pixels_BCHW in pixels_TCHW.split(chunk):
            features = model.encode_image(pixels_BCHW)
            found += [
                ImageFeatures(*(level[number : number + 1] for level in features.levels))
                for number in range(len(pixels_BCHW))
            ]
    return found


@contextmanager
def computed_again(modules: Iterable[nn.Module]) -> Iterator[None]:
    """Inside, these modules keep only their inputs; the rest comes again in the backward pass."""
    changed = list(modules)
    for module in changed:
        again = partial(checkpoint, module.forward, use_reentrant=False, preserve_rng_state=False)
        module.__dict__["forward"] = again
    try:
        yield
    finally:
        for module in changed:
            del module.__dict__["forward"]


def kept_or_not(verb: Callable[..., Result], again: bool) -> Callable[..., Result]:
    """The same function; with ``again`` it keeps only its arguments for the backward pass."""
    if not again:
        return verb

    def recomputed(*args: Any, **keywords: Any) -> Result:
        result: Result = checkpoint(verb, *args, use_reentrant=False, preserve_rng_state=False, **keywords)
        return result

    return recomputed
