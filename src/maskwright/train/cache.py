"""The feature cache: trunk levels and label maps of every training picture, computed once.

The frozen trunk costs more than everything that is trained on top of it, so each picture passes it twice
(as it is, and mirrored) and the levels are kept in one memory-mapped fp16 file, channels last. The folder's
name carries a hash of the files, the size and the trunk's weights: a change of any of them makes a new cache.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from maskwright.io.files import write_text
from maskwright.io.images import read_image
from maskwright.io.labelled import Labelled, read_labels, resize_labels
from maskwright.pixels.boxes import boxes_of
from maskwright.pixels.clicks import centre

VIEWS = 2
"""Views per picture: as it is, and mirrored."""
BATCH = 4
"""Pictures that pass the trunk together."""


@dataclass(frozen=True)
class Objects:
    """Objects of one picture, at the network's input size."""

    ids: np.ndarray
    """Label of each object, (n,) int32."""
    areas: np.ndarray
    """Set pixels, (n,) int32."""
    boxes: np.ndarray
    """Tight boxes, (n, 4) int32, half-open xyxy."""
    centres: np.ndarray
    """Farthest pixel from the outside, (n, 2) int32, (x, y)."""

    def mirrored(self, size: int) -> Objects:
        """The same objects in the picture flipped left to right."""
        x0, y0, x1, y1 = self.boxes.T
        boxes = np.stack((size - x1, y0, size - x0, y1), axis=1)
        centres = np.stack((size - 1 - self.centres[:, 0], self.centres[:, 1]), axis=1)
        return Objects(self.ids, self.areas, boxes, centres)


def find_objects(labels: np.ndarray, min_pixels: int) -> Objects:
    """Objects of a label map (size, size) with at least ``min_pixels`` pixels; label 0 is no object."""
    areas = np.bincount(labels.ravel())
    ids = [number for number in np.flatnonzero(areas >= min_pixels) if number]
    masks = [labels == number for number in ids]
    return Objects(
        np.array(ids, np.int32),
        areas[ids].astype(np.int32) if ids else np.zeros(0, np.int32),
        np.array([boxes_of(mask) for mask in masks], np.int32).reshape(-1, 4),
        np.array([centre(mask) for mask in masks], np.int32).reshape(-1, 2),
    )


class FeatureCache:
    """Trunk levels, label maps and object tables of a list of pictures, filled picture by picture.

    ``levels`` are the trunk levels to keep, as (channels, side); a picture's view is one row of the file.
    """

    def __init__(
        self, folder: Path, samples: Sequence[Labelled], size: int, shapes: Sequence[tuple[int, int]]
    ) -> None:
        self.samples, self.size, self.shapes = list(samples), size, list(shapes)
        folder.mkdir(parents=True, exist_ok=True)
        length = sum(channels * side * side for channels, side in shapes)
        self._features = _memmap(folder / "features.f16", np.float16, (len(samples), VIEWS, length))
        self._labels = _memmap(folder / "labels.u16", np.uint16, (len(samples), size, size))
        self._done = _memmap(folder / "done.u8", np.uint8, (len(samples),))
        self._folder = folder
        self._objects: dict[int, Objects] = {}

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def missing(self) -> list[int]:
        """Numbers of pictures that are not cached yet."""
        return [int(index) for index in np.flatnonzero(np.asarray(self._done) == 0)]

    def fill(
        self, encode: Callable[[Tensor], Sequence[Tensor]], preprocess: Callable[[np.ndarray], Tensor]
    ) -> Iterator[int]:
        """Compute what is missing; yields the number of pictures done after each batch. May be interrupted.

        ``encode`` maps pixels (B, 3, size, size) to the levels to keep, ``preprocess`` one picture
        (h, w, 3) uint8 to (3, size, size).
        """
        todo = self.missing
        for start in range(0, len(todo), BATCH):
            batch = todo[start : start + BATCH]
            pixels = torch.stack([preprocess(read_image(self.samples[index].image)) for index in batch])
            for view, shown in enumerate((pixels, pixels.flip(-1))):
                rows = _pack(encode(shown.contiguous(memory_format=torch.channels_last)))
                for index, row in zip(batch, rows, strict=True):
                    self._features[index, view] = row
            for index in batch:
                self._labels[index] = resize_labels(read_labels(self.samples[index].labels), self.size)
            self._features.flush()
            self._labels.flush()
            self._done[batch] = 1
            self._done.flush()
            yield len(self) - len(todo) + start + len(batch)

    def index_objects(self, min_pixels: int) -> None:
        """Find the objects of all pictures (kept in a JSON file, so that later runs start at once)."""
        path = self._folder / f"objects-{min_pixels}.json"
        if path.is_file():
            stored = json.loads(path.read_text(encoding="utf-8"))
        else:
            found = [find_objects(np.asarray(self._labels[index]), min_pixels) for index in range(len(self))]
            stored = [[part.tolist() for part in (o.ids, o.areas, o.boxes, o.centres)] for o in found]
            write_text(path, json.dumps(stored))
        shapes = ((-1,), (-1,), (-1, 4), (-1, 2))
        for index, parts in enumerate(stored):
            arrays = [np.array(p, np.int32).reshape(s) for p, s in zip(parts, shapes, strict=True)]
            self._objects[index] = Objects(*arrays)

    def objects(self, index: int, view: int) -> Objects:
        """Objects of one view of a picture; ``index_objects`` comes first."""
        objects = self._objects[index]
        return objects.mirrored(self.size) if view else objects

    def labels(self, index: int, view: int) -> np.ndarray:
        """Label map (size, size) uint16 of one view of a picture."""
        labels = np.asarray(self._labels[index])
        return labels[:, ::-1] if view else labels

    def levels(self, picks: Sequence[tuple[int, int]]) -> list[Tensor]:
        """Trunk levels of some (picture, view) pairs: fp16 maps (B, C, side, side), channels last."""
        rows = np.stack([self._features[index, view] for index, view in picks])
        return _unpack(torch.from_numpy(rows), self.shapes)


def fingerprint(samples: Sequence[Labelled], size: int, trunk: nn.Module, num_levels: int) -> str:
    """Short hash of everything a cache depends on: names and sizes of files, input size, trunk weights."""
    digest = hashlib.sha256(f"{size} {num_levels} ".encode())
    for sample in samples:
        digest.update(f"{sample.name} {sample.image.stat().st_size} {sample.labels.stat().st_size} ".encode())
    for name, value in sorted(trunk.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:12]


def _memmap(path: Path, dtype: type[np.generic], shape: tuple[int, ...]) -> np.memmap:
    """Open a memory-mapped array for writing; a new file is zeros and takes no disk space until written."""
    wanted = int(np.prod(shape)) * np.dtype(dtype).itemsize
    fits = path.is_file() and path.stat().st_size == wanted
    return np.memmap(path, dtype=dtype, mode="r+" if fits else "w+", shape=shape)


def _pack(levels: Sequence[Tensor]) -> np.ndarray:
    """Levels (B, C, s, s) as rows (B, sum of C s s) fp16, each level channels last."""
    flat = [level.permute(0, 2, 3, 1).flatten(1).half() for level in levels]
    return torch.cat(flat, dim=1).numpy()


def _unpack(rows: Tensor, shapes: Sequence[tuple[int, int]]) -> list[Tensor]:
    levels, start = [], 0
    for channels, side in shapes:
        part = rows[:, start : start + channels * side * side]
        levels.append(part.unflatten(1, (side, side, channels)).permute(0, 3, 1, 2))
        start += channels * side * side
    return levels
