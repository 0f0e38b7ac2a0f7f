"""Labelled videos and pictures in memory, as data sets give them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from maskwright.io.datasets.protocol import Clip, Scene

LabelledFrame = tuple[np.ndarray, np.ndarray | None]
"""A picture (h, w, 3), and its label map (h, w), if it is known."""


class Drawn:
    """Fulfils ``Videos``: sequences by name."""

    def __init__(self, sequences: dict[str, Sequence[LabelledFrame]]) -> None:
        self._sequences = list(sequences.values())
        self.names = list(sequences)

    def __len__(self) -> int:
        return len(self.names)

    def num_frames(self, index: int) -> int:
        return len(self._sequences[index])

    def annotated(self, index: int) -> Sequence[int]:
        return [number for number, (_, labels) in enumerate(self._sequences[index]) if labels is not None]

    def read(self, index: int, frames: Sequence[int]) -> Clip:
        everything = [labels for _, labels in self._sequences[index] if labels is not None]
        ids = sorted({int(label) for labels in everything for label in np.unique(labels) if label})
        scenes, known = [], []
        for number in frames:
            picture, labels = self._sequences[index][number]
            nothing = np.zeros(picture.shape[:2], np.uint8)
            scenes.append(Scene.from_labels(picture, nothing if labels is None else labels, ids))
            known.append(labels is not None)
        return Clip.from_scenes(scenes, np.array(known))


class DrawnPictures:
    """Fulfils ``Pictures``: pictures by name; the part of the name before ``_`` is the source."""

    def __init__(self, pictures: dict[str, tuple[np.ndarray, np.ndarray]]) -> None:
        self._pictures = list(pictures.values())
        self.names = list(pictures)
        self.sources = [name.partition("_")[0] for name in pictures]

    def __len__(self) -> int:
        return len(self.names)

    def read(self, index: int) -> Scene:
        picture, labels = self._pictures[index]
        return Scene.from_labels(picture, labels)
