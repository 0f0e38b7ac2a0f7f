"""Odd shapes, and pictures of them, for the tests of the formats."""

from __future__ import annotations

import numpy as np

from maskwright.interop.annotations import AnnotatedPicture, Annotation
from maskwright.pixels import rle

SIZE = (120, 160)
ODD_LABELS = [
    "line\nbreak",
    "a/b\\c",
    "'single' \"double\"",
    "<b> & ]]>",
    "größe 猫 🐈",
    "- dash: {x} # %d",
    "\x01bell\x7f\x85\u2028",
    " spaces ",
]


def drawn(*rows: str) -> np.ndarray:
    """A bitmap from rows of characters; ``#`` is set."""
    return np.array([[character == "#" for character in row] for row in rows])


def disc(x: float, y: float, radius: float, size: tuple[int, int] = SIZE) -> np.ndarray:
    rows, columns = np.mgrid[: size[0], : size[1]]
    return (columns + 0.5 - x) ** 2 + (rows + 0.5 - y) ** 2 < radius**2


def ring(x: float = 70, y: float = 60, outer: float = 45, inner: float = 18) -> np.ndarray:
    return disc(x, y, outer) & ~disc(x + 5, y - 4, inner)


SHAPES = {
    "pixel": drawn("...", ".#.", "..."),
    "only pixel": drawn("#"),
    "diagonal": drawn("#..", ".#.", "..#"),
    "corner": drawn("##..", "##..", "..##", "..##"),
    "hole": drawn("####", "#..#", "####"),
    "hole touches outside diagonally": drawn(".###", "#.##", "####"),
    "hole touches outside twice": drawn(".##.", "#..#", "####", "#.#.", ".##."),
    "two holes touch": drawn("#####", "#.###", "##.##", "#####"),
    "island in hole": drawn("#####", "#...#", "#.#.#", "#...#", "#####"),
    "whole": np.ones((5, 7), bool),
    "empty": np.zeros((5, 7), bool),
    "chess": np.indices((6, 7)).sum(0) % 2 == 0,
    "frame of the picture": np.pad(np.zeros((4, 5), bool), 1, constant_values=True),
    "one row": drawn("#.##.#"),
    "one column": drawn("#", ".", "#", "#"),
}
"""Bitmaps by name."""


def annotation(
    bitmap: np.ndarray, number: int = 1, label: str = "object", score: float | None = 0.75
) -> Annotation:
    return Annotation(number, rle.encode(bitmap[None])[0], label, score)


def picture(
    *bitmaps: np.ndarray, name: str = "truck.jpg", labels: tuple[str, ...] = (), frame: int | None = None
) -> AnnotatedPicture:
    """Objects 1, 2, 3 ... in a picture whose pixels are a gradient."""
    size = bitmaps[0].shape if bitmaps else SIZE
    named = labels or ("object",) * len(bitmaps)
    found = tuple(
        annotation(bitmap, number, label)
        for number, (bitmap, label) in enumerate(zip(bitmaps, named, strict=True), start=1)
    )
    time = None if frame is None else frame / 25
    return AnnotatedPicture(name, (size[0], size[1]), found, frame, time, lambda: pixels((size[0], size[1])))


def pixels(size: tuple[int, int] = SIZE) -> np.ndarray:
    """(h, w, 3) uint8."""
    rows, columns = np.mgrid[: size[0], : size[1]]
    return np.stack([rows % 256, columns % 256, (rows + columns) % 256], axis=-1).astype(np.uint8)


def iou(a: np.ndarray, b: np.ndarray) -> float:
    union = np.count_nonzero(a | b)
    return np.count_nonzero(a & b) / union if union else 1.0


def same(before: AnnotatedPicture, after: AnnotatedPicture, *, least: float = 1.0) -> None:
    """Fails unless the pictures hold the same objects, with masks of that IoU and more."""
    assert (after.size, len(after.annotations)) == (before.size, len(before.annotations))
    for one, other in zip(before.annotations, after.annotations, strict=True):
        assert iou(one.bitmap(), other.bitmap()) >= least
