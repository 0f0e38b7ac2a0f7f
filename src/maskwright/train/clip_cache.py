"""Clips with the features of their frames, computed once: the frozen image half costs more than what learns.

One memory-mapped file of half-precision features and one of masks; a clip counts as there once its entry in
``objects.u8`` is written. One process may fill a cache while another one learns from what is there already.
Axes: T frames, K followed objects, H W the mask grid.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from maskwright.config import ModelConfig
from maskwright.model.mask_decoder import ImageFeatures
from maskwright.model.sam2 import SAM2
from maskwright.pixels.preprocess import preprocess
from maskwright.train.clips import Clip, ClipMaker


class CachedClip(NamedTuple):
    """What the memory half learns from."""

    features: list[ImageFeatures]
    """Of each of T frames, B = 1, from ``encode_image``."""
    targets_TKHW: Tensor
    """Share of each cell of the mask grid that the object's visible part covers, 0..1."""


class ClipCache:
    """``num`` clips of a maker and their features; made in order, the first ones first."""

    def __init__(self, folder: Path, maker: ClipMaker, num: int, model: SAM2) -> None:
        self.maker, self.num, self.config = maker, num, model.config
        settings = maker.settings
        place = folder / f"clips-{_fingerprint(maker, model)}"
        place.mkdir(parents=True, exist_ok=True)
        self._shapes = feature_shapes(model.config)
        length = sum(int(np.prod(shape)) for shape in self._shapes)
        side = model.config.mask_size
        self._features = _grown(place / "features.f16", np.float16, (num, settings.frames, length))
        masks = (num, settings.frames, settings.objects, side, side)
        self._masks = _grown(place / "masks.u8", np.uint8, masks)
        self._objects = _grown(place / "objects.u8", np.uint8, (num,))

    @property
    def ready(self) -> int:
        """Clips that are there: all below this number."""
        missing = np.flatnonzero(np.asarray(self._objects) == 0)
        return int(missing[0]) if len(missing) else self.num

    @torch.inference_mode()
    def fill(self, model: SAM2) -> Iterator[int]:
        """Make what is missing; yields the number of clips that are there. May be interrupted."""
        for number in range(self.ready, self.num):
            clip = self.maker.make(number)
            self._features[number] = encode(model, clip)
            count = clip.masks.shape[1]
            self._masks[number, :, :count] = clip.masks
            self._objects[number] = count
            yield number + 1

    def clip(self, number: int) -> CachedClip:
        """A clip that is there."""
        count = int(self._objects[number])
        masks = torch.from_numpy(np.array(self._masks[number, :, :count]))
        return CachedClip(
            [self._unpack(np.array(row)) for row in self._features[number]], masks.float() / 255
        )

    def _unpack(self, row: np.ndarray) -> ImageFeatures:
        maps, start = [], 0
        for shape in self._shapes:
            stop = start + int(np.prod(shape))
            maps.append(torch.from_numpy(row[start:stop]).view(1, *shape).float())
            start = stop
        return ImageFeatures(*maps)


def encode(model: SAM2, clip: Clip) -> np.ndarray:
    """Features of all frames of a clip, (T, all channels and cells of low, mid and high) fp16."""
    config = model.config
    rows = []
    for frame in clip.frames:
        pixels = preprocess(frame, config.image_size, config.pixel_mean, config.pixel_std)[None]
        features = model.encode_image(pixels.contiguous(memory_format=torch.channels_last))
        rows.append(torch.cat([part.contiguous().flatten() for part in features.levels]).half())
    return torch.stack(rows).numpy()


def feature_shapes(config: ModelConfig) -> list[tuple[int, int, int]]:
    """Channels, height and width of ``ImageFeatures``' three maps."""
    width, grid = config.width, config.grid
    return [(width, grid, grid), (width // 4, 2 * grid, 2 * grid), (width // 8, 4 * grid, 4 * grid)]


def _fingerprint(maker: ClipMaker, model: SAM2) -> str:
    """Short hash of everything that clips and features depend on, except for their number."""
    digest = hashlib.sha256(json.dumps([asdict(maker.settings), maker.seed]).encode())
    digest.update(" ".join(sample.name for sample in maker.samples).encode())
    digest.update(" ".join(path.name for path in maker.plain).encode())
    for name, value in sorted(model.state_dict().items()):
        if name.startswith(
            ("trunk.", "neck.", "top_down.", "mask_decoder.mid_projection", "mask_decoder.high_projection")
        ):
            digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:12]


def _grown(path: Path, dtype: type[np.generic], shape: tuple[int, ...]) -> np.memmap:
    """A memory-mapped array that keeps its rows when it is opened with more; new rows are zeros."""
    wanted = int(np.prod(shape)) * np.dtype(dtype).itemsize
    with path.open("ab") as file:
        if file.tell() < wanted:
            file.truncate(wanted)
    return np.memmap(path, dtype=dtype, mode="r+", shape=shape)
