"""Which clip is learnt from: drawn from videos, from pictures (clips of one frame) or from moving stills.

Axes: T frames, O followed objects, C channels, H W the network's input.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
import torch
from torch import Tensor

from maskwright.config import ModelConfig
from maskwright.errors import InputError
from maskwright.io.datasets.protocol import Clip, Pictures, Videos
from maskwright.pixels.preprocess import preprocess
from maskwright.train.augment import AugmentConfig, augment_clip, stretched
from maskwright.train.clip_settings import ClipConfig
from maskwright.train.clips import ClipMaker
from maskwright.train.prompts import picture_weights

Source: TypeAlias = Videos | Pictures | ClipMaker
"""Where clips come from: real videos, single pictures, or clips made of stills."""

TRIES = 50
"""Clips that are drawn until one shows an object in its first frame."""
SOURCE_POWER = 0.9
"""A collection of n pictures is drawn in proportion to n to this power."""
HALF_COVERED = 128
"""Coverage, of 255, from which a cell of a made clip belongs to its object."""


class ClipBatch(NamedTuple):
    """One clip as the network takes it."""

    pixels_TCHW: Tensor
    """Normalised frames."""
    masks_TOHW: Tensor
    """True masks, bool; every object is visible in the first frame."""
    known_T: Tensor
    """False for frames of which nothing is known; they are followed and not judged."""


class ClipDrawer:
    """Draws clips from one source; every draw depends on the generator that is passed in and nothing else."""

    def __init__(self, source: Source, config: ClipConfig, model: ModelConfig) -> None:
        self.source, self.config, self.model = source, config, model
        if not isinstance(source, ClipMaker) and not len(source):
            raise InputError("there is nothing to learn from: the data set is empty")
        self._weights = (
            None if isinstance(source, ClipMaker | Videos) else picture_weights(source.sources, SOURCE_POWER)
        )

    @property
    def moves(self) -> bool:
        """Whether clips have more frames than one."""
        return self.config.frames > 1 and isinstance(self.source, ClipMaker | Videos)

    def draw(self, augment: AugmentConfig, rng: np.random.Generator) -> ClipBatch:
        """A random clip, changed at random.

        Raises:
            InputError: clip after clip shows no object in its first frame.
        """
        size = self.model.image_size
        for _ in range(TRIES):
            clip = self._read(self._any(rng), rng)
            if rng.random() < self.config.reverse:
                clip = Clip.from_scenes(clip.scenes[::-1], clip.known[::-1])
            changed = augment_clip(clip, augment, size, rng)
            found = self._followed(changed, rng)
            if not len(found):  # the window has lost the first frame's objects
                changed = Clip.from_scenes([stretched(scene, size) for scene in clip.scenes], clip.known)
                found = self._followed(changed, rng)
            if len(found):
                return self._batch(changed, changed.select(found))
        raise InputError(f"{TRIES} clips in a row show no object in their first frame; check the annotations")

    def fixed(self, count: int, seed: int) -> Iterator[ClipBatch]:
        """The same ``count`` clips for every validation, unchanged, spread over the source.

        Those that show no object in their first frame are left out. A source of fewer videos gives several
        clips of each, one of fewer pictures each picture once.
        """
        available = count if isinstance(self.source, ClipMaker) else len(self.source)
        if not self.moves:
            count = min(count, available)
        for number in range(count):
            index = number * available // count if available >= count else number % available
            batch = self._unchanged(index, np.random.default_rng((seed, number)))
            if batch is not None:
                yield batch

    def _unchanged(self, index: int, rng: np.random.Generator) -> ClipBatch | None:
        clip = self._read(index, rng)
        found = self._followed(clip, rng)
        if not len(found):
            return None
        size = self.model.image_size
        shown = [stretched(scene, size) for scene in clip.select(found).scenes]
        return self._batch(clip, Clip.from_scenes(shown, clip.known))

    def _any(self, rng: np.random.Generator) -> int:
        if isinstance(self.source, ClipMaker):
            return int(rng.integers(1 << 31))
        return int(rng.choice(len(self.source), p=self._weights))

    def _read(self, index: int, rng: np.random.Generator) -> Clip:
        """A clip of up to ``frames`` frames of video, picture or maker's clip number ``index``."""
        if isinstance(self.source, ClipMaker):
            return _made(self.source, index, self.config.frames)
        if isinstance(self.source, Videos):
            return self.source.read(index, self._frames(self.source.annotated(index), rng))
        return Clip.from_scenes([self.source.read(index)])

    def _frames(self, annotated: Sequence[int], rng: np.random.Generator) -> list[int]:
        """A run of annotated frames, in order."""
        if not len(annotated):
            raise InputError("a video has no annotated frames; leave it out")
        count = min(self.config.frames, len(annotated))
        room = (len(annotated) - 1) // max(1, count - 1)
        step = int(rng.integers(1, min(self.config.stride, max(1, room)) + 1))
        start = int(rng.integers(len(annotated) - (count - 1) * step))
        return [int(annotated[start + number * step]) for number in range(count)]

    def _followed(self, clip: Clip, rng: np.random.Generator) -> list[int]:
        """Some of the objects that the first frame shows, at random, in order."""
        first = clip.scenes[0]
        if not clip.known[0] or not len(first):
            return []
        least = max(1.0, self.config.min_area * first.size[0] * first.size[1])
        seen = np.flatnonzero(first.areas >= least)
        return sorted(int(place) for place in rng.permutation(seen)[: self.config.objects])

    def _batch(self, shown: Clip, truth: Clip) -> ClipBatch:
        model = self.model
        pixels = [
            preprocess(scene.picture, model.image_size, model.pixel_mean, model.pixel_std)
            for scene in shown.scenes
        ]
        return ClipBatch(
            torch.stack(pixels), torch.from_numpy(truth.masks), torch.from_numpy(truth.known.copy())
        )


def _made(maker: ClipMaker, number: int, frames: int) -> Clip:
    """A clip of moving stills; its masks come at a quarter of the size."""
    made = maker.make(number)
    masks = (made.masks[:frames] >= HALF_COVERED).repeat(4, axis=2).repeat(4, axis=3)
    return Clip(list(made.frames[:frames]), masks, range(masks.shape[1]))
