"""Short clips made from labelled still pictures: video to learn from, where there is none.

A photograph becomes the background that a moving camera looks at; objects cut out of other photographs move
over it on their own ways, hide things and each other, and leave the frame. Every layer's motion is a smoothly
accumulating affine map and a mild elastic warp, so the true mask of every object is known in every frame.
Label 0 is unlabelled: nothing is ever said about it but that it is none of the followed objects.
Axes: T frames, K followed objects, S side of the square frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from maskwright.io.datasets.labelled import Labelled, read_labels
from maskwright.io.images import read_image
from maskwright.types import ByteArray

MIN_SHARE = 0.004
"""Share of the frame that an object covers at least in a clip's first frame."""
CUT_SHARE = 0.015
"""Share of its photograph that an object covers at least to be cut out of it."""


@dataclass(frozen=True)
class ClipSettings:
    """What clips look like."""

    size: int = 512
    """Side of the square frames, a multiple of 32."""
    frames: int = 5
    """Frames per clip."""
    objects: int = 3
    """Most objects that are followed in a clip."""
    plain_share: float = 0.2
    """Share of clips whose background has no labels."""
    camera: float = 0.03
    """Standard deviation of the camera's way per frame, as a share of the frame."""
    motion: float = 0.05
    """The same for objects that are pasted in."""
    joined_share: float = 0.0
    """Share of clips with two pasted objects or more in which two go together and count as one."""
    elastic: float = 0.012
    """Standard deviation of the elastic warp's change per frame, as a share of the frame."""


@dataclass(frozen=True)
class Clip:
    """Frames and what is to be followed in them."""

    frames: ByteArray
    """(T, S, S, 3) RGB."""
    masks: ByteArray
    """(T, K, S/4, S/4): how much of each cell the object's visible part covers, 0..255."""


class Layer(NamedTuple):
    """A picture with labels that moves as a whole."""

    colour_3HW: Tensor
    """0..1, float."""
    labels_HW: Tensor
    """Numbers of objects, float; 0 is none."""
    alpha_HW: Tensor | None
    """1 where the layer is solid; None for the background."""
    joined: bool = False
    """Goes with the layer below, as a rider goes with a horse, and has the same number."""


class ClipMaker:
    """Makes clip number ``n``: the same one whenever it is asked for it.

    Args:
        samples: Labelled pictures to take objects from, and backgrounds.
        plain: More backgrounds, without labels.
        settings: What clips look like.
        seed: Starts every random choice together with the clip's number.
    """

    def __init__(
        self, samples: Sequence[Labelled], plain: Sequence[Path], settings: ClipSettings, seed: int = 0
    ) -> None:
        self.samples, self.plain = list(samples), list(plain)
        self.settings, self.seed = settings, seed
        self._sources = sorted({sample.source for sample in self.samples})
        self._of = {name: [s for s in self.samples if s.source == name] for name in self._sources}

    def make(self, number: int) -> Clip:
        """One clip with at least one object to follow."""
        rng = np.random.default_rng((self.seed, number))
        while True:
            clip = self._try(rng)
            if clip is not None:
                return clip

    def _try(self, rng: np.random.Generator) -> Clip | None:
        settings = self.settings
        home = self._draw(rng)
        use_plain = bool(self.plain) and rng.random() < settings.plain_share
        layers = [self._plain(rng) if use_plain else _background(home, rng)]
        for _ in range(int(rng.choice(4, p=(0.0, 0.5, 0.35, 0.15) if use_plain else (0.2, 0.45, 0.25, 0.1)))):
            cut = cut_out(self._partner(home, rng), rng)
            if cut is not None:
                layers.append(cut)
        if len(layers) > 2 and rng.random() < settings.joined_share:
            layers[2] = layers[2]._replace(joined=True)
        frames, labels = render(layers, settings, rng)
        found = [key for key in _keys(layers) if float((labels[0] == key).float().mean()) >= MIN_SHARE]
        if not found:
            return None
        # what was pasted in moves by itself and comes first; of the background's objects, any
        pasted = [key for key in found if key >= LAYER]
        rest = [key for key in found if key < LAYER]
        keys = (pasted + [rest[i] for i in rng.permutation(len(rest))])[: settings.objects]
        masks = torch.stack([F.avg_pool2d((labels == key).float()[:, None], 4)[:, 0] for key in keys], dim=1)
        shown = _photographed(frames, rng).permute(0, 2, 3, 1)
        return Clip((shown * 255).round().byte().numpy(), (masks * 255).round().byte().numpy())

    def _draw(self, rng: np.random.Generator) -> Labelled:
        """A picture; large sources count a little less than their size."""
        weights = np.array([len(self._of[name]) ** 0.8 for name in self._sources])
        source = self._of[self._sources[int(rng.choice(len(weights), p=weights / weights.sum()))]]
        return source[int(rng.integers(len(source)))]

    def _partner(self, home: Labelled, rng: np.random.Generator) -> Labelled:
        """Where to cut an object out: now and then something of the same kind, which is easily mistaken."""
        if rng.random() < 0.4:
            source = self._of[home.source]
            return source[int(rng.integers(len(source)))]
        return self._draw(rng)

    def _plain(self, rng: np.random.Generator) -> Layer:
        colour = _colour(self.plain[int(rng.integers(len(self.plain)))])
        return _flip(Layer(colour, torch.zeros(colour.shape[-2:]), None), rng)


LAYER = 10_000
"""Objects of layer n are numbered from n times this."""


def _keys(layers: Sequence[Layer]) -> list[int]:
    """Numbers of all objects in the rendered label maps."""
    background = [int(value) for value in layers[0].labels_HW.unique() if value]
    return background + [n * LAYER + 1 for n, layer in enumerate(layers) if n and not layer.joined]


@lru_cache(maxsize=64)
def _colour(path: Path) -> Tensor:
    return torch.from_numpy(read_image(path).copy()).permute(2, 0, 1).float() / 255


def _background(sample: Labelled, rng: np.random.Generator) -> Layer:
    labels = torch.from_numpy(read_labels(sample.labels).astype(np.float32))
    return _flip(Layer(_colour(sample.image), labels, None), rng)


def _flip(layer: Layer, rng: np.random.Generator) -> Layer:
    if rng.random() < 0.5:
        return layer
    alpha_HW = None if layer.alpha_HW is None else layer.alpha_HW.flip(-1)
    return Layer(layer.colour_3HW.flip(-1), layer.labels_HW.flip(-1), alpha_HW)


def cut_out(sample: Labelled, rng: np.random.Generator) -> Layer | None:
    """One object of a picture with its surroundings made transparent, None if no object is large enough."""
    labels = read_labels(sample.labels)
    areas = np.bincount(labels.ravel())
    fits = [int(n) for n in np.flatnonzero(areas >= CUT_SHARE * labels.size) if n]
    if not fits:
        return None
    mask = labels == fits[int(rng.integers(len(fits)))]
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    window = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    solid = torch.from_numpy(mask[window].astype(np.float32))
    colour = _colour(sample.image)[:, window[0], window[1]]
    pad = (2, 2, 2, 2)
    return _flip(
        Layer(F.pad(colour[None], pad, mode="replicate")[0], F.pad(solid, pad), F.pad(solid, pad)), rng
    )


def render(
    layers: Sequence[Layer], settings: ClipSettings, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """All frames of a clip: colours (T, 3, S, S) and label maps (T, S, S), upper layers over lower ones."""
    speed = float(np.exp(rng.normal(0, 0.6)))
    colours, labels, key = torch.empty(0), torch.empty(0), 0
    start, walk = _camera_start(rng), np.zeros((settings.frames, 4))
    for number, layer in enumerate(layers):
        if number == 0:
            walk = _walk(rng, settings.frames, settings.camera * speed, start.room)
            grids = _looks(rng, settings, start, walk)
            picture = _sample(layer.colour_3HW, grids, "reflection")
            colours, labels = picture, _sample(layer.labels_HW[None], grids, "reflection", "nearest")[:, 0]
            continue
        if layer.joined:
            start, own = _beside(start, layer, rng), _walk(rng, settings.frames, 0.2 * settings.motion, 0.7)
            walk = walk * (1, 1, 0.3, 1) + own
        else:
            start, walk = _paste_start(layer, rng), _walk(rng, settings.frames, settings.motion * speed, 1.0)
            key = number * LAYER + 1
        grids = _looks(rng, settings, start, walk)
        assert layer.alpha_HW is not None
        picture = _sample(layer.colour_3HW, grids, "border")
        alpha = _sample(layer.alpha_HW[None], grids, "zeros")
        # half a pixel of the old surroundings would give every pasted object away
        alpha = ((alpha - 0.4) / 0.5).clamp(0, 1)
        colours = colours + alpha * (picture - colours)
        labels = torch.where(alpha[:, 0] > 0.5, float(key), labels)
    return colours, labels


class Start(NamedTuple):
    """Where a layer lies in the first frame: its picture's -1..1 square in the frame's."""

    centre: np.ndarray
    """(x, y) of the layer's middle, -1..1."""
    half: np.ndarray
    """Half width and height of the layer, 1 is half the frame."""
    room: float
    """Turning and stretching per frame, relative to the usual."""


def _camera_start(rng: np.random.Generator) -> Start:
    zoom = rng.uniform(1.0, 1.7)
    centre = rng.uniform(-1, 1, 2) * (zoom - 1)
    return Start(centre, np.array((zoom, zoom)) * np.exp(rng.normal(0, 0.06, 2)), 0.5)


def _paste_start(layer: Layer, rng: np.random.Generator) -> Start:
    height, width = layer.labels_HW.shape
    share = np.exp(rng.uniform(np.log(0.012), np.log(0.22)))
    half = np.sqrt(share * np.array((width / height, height / width)).clip(0.25, 4))
    return Start(rng.uniform(-0.75, 0.75, 2), half, 1.0)


def _beside(start: Start, layer: Layer, rng: np.random.Generator) -> Start:
    """Where a layer lies that goes with another one: overlapping it or next to it, and of a similar size."""
    height, width = layer.labels_HW.shape
    shape = np.array((width / height, height / width)).clip(0.25, 4)
    half = np.sqrt(np.prod(start.half) * shape) * np.exp(rng.normal(0, 0.25))
    return Start(start.centre + rng.uniform(-0.9, 0.9, 2) * start.half, half, start.room)


def _walk(rng: np.random.Generator, frames: int, pace: float, room: float) -> np.ndarray:
    """Moves to the right and down, turn, and growth (log) of a layer since the first frame: (T, 4).

    Velocities keep their direction for the most part, so ways are smooth. ``pace`` is a share of the frame.
    """
    steady = rng.normal(0, 1, 4)
    spread = np.array((2 * pace, 2 * pace, 0.06 * room, 0.07 * room))
    walk = np.cumsum(spread * (0.8 * steady + 0.6 * rng.normal(0, 1, (frames, 4))), axis=0)
    return np.asarray(walk - walk[:1])


def _looks(rng: np.random.Generator, settings: ClipSettings, start: Start, walk: np.ndarray) -> Tensor:
    """Where every frame's pixels look into the layer: (T, S, S, 2) for ``grid_sample``, with a warp."""
    size, frames = settings.size, settings.frames
    bends = np.cumsum(rng.normal(0, settings.elastic * 2, (frames, 2, 5, 5)), axis=0)
    warp = F.interpolate(
        torch.from_numpy(bends.astype(np.float32)), (size, size), mode="bicubic", align_corners=True
    ).permute(0, 2, 3, 1)
    steps = (torch.arange(size) + 0.5) / size * 2 - 1
    y, x = torch.meshgrid(steps, steps, indexing="ij")
    place = torch.stack((x, y), dim=-1) + warp
    grids = []
    for number, (dx, dy, turn, grow) in enumerate(walk):
        away = place[number] - torch.tensor(start.centre + np.array((dx, dy)), dtype=torch.float32)
        turned = torch.tensor(
            ((np.cos(turn), -np.sin(turn)), (np.sin(turn), np.cos(turn))), dtype=torch.float32
        )
        grids.append((away @ turned) / torch.tensor(start.half * np.exp(grow), dtype=torch.float32))
    return torch.stack(grids)


def _sample(maps_CHW: Tensor, grids: Tensor, padding: str, mode: str = "bilinear") -> Tensor:
    """(C, h, w) seen through (T, S, S, 2): (T, C, S, S).."""
    expanded = maps_CHW.expand(len(grids), -1, -1, -1)
    return F.grid_sample(expanded, grids, mode=mode, padding_mode=padding, align_corners=False)


def _photographed(frames: Tensor, rng: np.random.Generator) -> Tensor:
    """Light, colour, blur and noise of a camera: some once per clip, some changing from frame to frame."""
    count = len(frames)

    def wander(first: float, then: float) -> Tensor:
        walk = np.cumsum(rng.normal(0, then, count)) + rng.normal(0, first)
        return torch.from_numpy(walk.astype(np.float32)).view(-1, 1, 1, 1)

    frames = frames * wander(0.1, 0.02).exp() + wander(0.04, 0.01)
    mean = frames.mean(dim=(1, 2, 3), keepdim=True)
    frames = mean + (frames - mean) * wander(0.1, 0.02).exp()
    grey = frames.mean(dim=1, keepdim=True)
    frames = grey + (frames - grey) * wander(0.15, 0.02).exp()
    if rng.random() < 0.35:
        frames = _smear(frames, int(rng.integers(2, 7)), along=-1 if rng.random() < 0.7 else -2)
    noise = rng.uniform(0, 0.02)
    seed = int(rng.integers(2**31))
    return (frames + noise * torch.randn(frames.shape, generator=torch.Generator().manual_seed(seed))).clamp(
        0, 1
    )


def _smear(frames: Tensor, length: int, along: int) -> Tensor:
    """Motion blur along one axis."""
    kernel = (length, 1) if along == -2 else (1, length)
    pad = [0, 0, length // 2, (length - 1) // 2] if along == -2 else [length // 2, (length - 1) // 2, 0, 0]
    return F.avg_pool2d(F.pad(frames, pad, mode="replicate"), kernel, stride=1)
