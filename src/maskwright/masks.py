"""What segmenting gives back: :class:`Masks`, with their scores, boxes, encodings, overlays and files.

It stands above ``types`` (the prompts), because it draws and saves itself with ``pixels`` and ``io``.

Shapes: N objects, (h, w) the picture, m the side of the low-resolution masks. With candidates every object
has three masks, and a 3 follows the N in each shape.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from maskwright.errors import InputError
from maskwright.io.files import writable_folder
from maskwright.io.images import check_ending, write_image, write_masks
from maskwright.pixels import draw, rle
from maskwright.pixels.boxes import boxes_of
from maskwright.types import BoolArray, ByteArray, FloatArray, ImageArray, IntArray, PromptLike, Size

if TYPE_CHECKING:
    import supervision as sv

    from maskwright.interop.supervision import Labels


@dataclass(frozen=True, eq=False, repr=False)
class Masks:
    """Masks of N objects in one picture, in the order of their prompts.

    ``masks[0]``, ``masks[1:3]``, ``masks[[2, 0]]`` and ``masks[masks.scores > 0.8]`` are Masks as well.
    """

    bitmaps: BoolArray
    """(N, h, w) bool, or (N, 3, h, w) with candidates: True on the object."""
    scores: FloatArray
    """(N,) float32, or (N, 3): the IoU with the true mask that the model predicts."""
    logits: FloatArray
    """(N, m, m) float32, or (N, 3, m, m): low-resolution logits, uncleaned; a ``MaskPrompt`` takes one."""
    object_scores: FloatArray
    """(N,) float32: logit of the object being there at all; above 0 it is."""
    image: ByteArray | None = None
    """(h, w, 3) RGB picture that overlays are drawn on, or None."""

    def __post_init__(self) -> None:
        shape, leading = self.bitmaps.shape, self.bitmaps.shape[:-2]
        if len(leading) not in (1, 2) or self.bitmaps.dtype != np.bool_:
            raise InputError(
                f"bitmaps are {self.bitmaps.dtype} {shape}; expected bool (N, h, w) or (N, 3, h, w)"
            )
        for name, found, expected in (
            ("scores", self.scores.shape, leading),
            ("logits", self.logits.shape[:-2], leading),
            ("object_scores", self.object_scores.shape, leading[:1]),
        ):
            if found != expected:
                raise InputError(
                    f"{name} have the leading axes {found}; for bitmaps {shape} expected {expected}"
                )
        if self.image is not None and self.image.shape != (*self.size, 3):
            raise InputError(f"the picture {self.image.shape} does not fit bitmaps {shape}")

    @property
    def size(self) -> Size:
        """Height and width of the picture in pixels."""
        h, w = self.bitmaps.shape[-2:]
        return h, w

    @property
    def has_candidates(self) -> bool:
        """Whether every object has three masks to choose from."""
        return self.bitmaps.ndim == 4

    @property
    def boxes(self) -> FloatArray:
        """(N, 4) float32, or (N, 3, 4): smallest boxes, ``xyxy`` with x1, y1 exclusive; zeros where empty."""
        return boxes_of(self.bitmaps)

    @property
    def areas(self) -> IntArray:
        """(N,) int64, or (N, 3): pixels in each mask."""
        return np.asarray(np.count_nonzero(self.bitmaps, axis=(-2, -1)), dtype=np.int64)

    def __len__(self) -> int:
        return len(self.bitmaps)

    def __iter__(self) -> Iterator[Masks]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int | slice | Sequence[int] | IntArray | BoolArray) -> Masks:
        """Some of the objects, always as Masks: ``masks[0].bitmaps`` is (1, h, w)."""
        if isinstance(index, (int, np.integer)):
            if not -len(self) <= index < len(self):
                raise IndexError(f"object {index} of {len(self)}")
            index = [int(index)]
        return Masks(
            self.bitmaps[index], self.scores[index], self.logits[index], self.object_scores[index], self.image
        )

    def __repr__(self) -> str:
        noun = "object" if len(self) == 1 else "objects"
        each = " with candidates" if self.has_candidates else ""
        scores = [f"{score:.2f}" for score in self.best().scores[:8]] + ["..."] * (len(self) > 8)
        return (
            f"Masks({len(self)} {noun}{each}, {self.size[0]} x {self.size[1]}, scores [{', '.join(scores)}])"
        )

    def best(self) -> Masks:
        """One mask per object: of the candidates, the one with the highest score."""
        if not self.has_candidates:
            return self
        rows, chosen = np.arange(len(self)), self.scores.argmax(axis=1)
        return replace(
            self,
            bitmaps=self.bitmaps[rows, chosen],
            scores=self.scores[rows, chosen],
            logits=self.logits[rows, chosen],
        )

    def rle(self) -> list[rle.Rle]:
        """COCO compressed RLE of each mask, ready for JSON; candidates in a row, object by object."""
        return rle.encode(self.bitmaps)

    def to_supervision(self, *, labels: Labels | None = None, compact: bool = False) -> sv.Detections:
        """The objects as ``supervision.Detections``, without empty masks and of candidates the best; see
        :func:`maskwright.interop.supervision.to_detections`.

        Args:
            labels: A name for each object, or by its number, 1 ...; ``class_id`` and ``data["class_name"]``.
            compact: Keep the masks as ``sv.CompactMask`` instead of (N, h, w) bool.

        Raises:
            MissingExtraError: supervision is not installed.
            InputError: labels that do not fit, or a supervision without compact masks.
        """
        from maskwright.interop.supervision import to_detections

        return to_detections(self, labels=labels, compact=compact)

    def overlay(
        self,
        *,
        alpha: float = 0.5,
        image: ImageArray | None = None,
        prompts: Sequence[PromptLike] = (),
    ) -> ByteArray:
        """The picture with every object tinted and outlined; of candidates, the best ones.

        Args:
            alpha: Strength of the tint: 0 is none (outlines only), 1 hides the object.
            image: Another picture (h, w, 3) of the same size, RGB uint8 or float in 0..1, to draw on.
            prompts: What the objects were asked for with, in the same order; clicks and boxes are marked.

        Returns:
            (h, w, 3) uint8 RGB, a new array.

        Raises:
            InputError: there is no picture, it has another size, or alpha is outside 0..1.
        """
        picture = self.image if image is None else image
        if picture is None:
            raise InputError("these masks carry no picture to draw on; pass one with image=")
        return draw.overlay(picture, self.best().bitmaps, alpha=alpha, prompts=prompts)

    def save(
        self,
        path: str | os.PathLike[str],
        *,
        stem: str = "mask",
        overwrite: bool | None = None,
        format: str | None = None,
        name: str | None = None,
        labels: Mapping[int, str] | None = None,
        ids: Sequence[int] | None = None,
        tolerance: float = 1.0,
    ) -> list[Path]:
        """Write the masks, by default a black-and-white PNG for each, or in a format that other tools read.

        ``masks.save("out")`` writes ``mask_0.png``, ..., or with candidates ``mask_0_2.png``, into a folder.
        With an ending the path is a file: ``.json`` COCO, ``.geojson``, ``.svg``, ``.xml`` CVAT, ``.npz``,
        ``.png`` a palette PNG of object numbers. ``format`` names any other, such as ``"yolo"`` or
        ``"labelme"`` (:data:`maskwright.interop.FORMATS`). For many pictures or a video in one output, see
        :func:`maskwright.interop.export`.

        Args:
            path: Folder or file. A folder is created if it is missing.
            stem: What the names of the PNGs begin with, where there is no format.
            overwrite: Replace an earlier result; False makes the first file that exists an error. Unless it
                is said, PNGs in a folder are replaced, and results in a format are not.
            format: One of :data:`maskwright.interop.FORMATS`; of candidates it has the best ones.
            name: File name of the picture, as other tools should find it; made up from ``path`` without.
            labels: What each object is, by its number: 1, 2, 3 ..., or ``ids``.
            ids: Numbers of the objects.
            tolerance: How far in pixels a polygon may leave the edge of a mask; 0 follows the pixels.

        Returns:
            The PNGs, in the order of :meth:`rle`, or with a format the path. Each file is written whole or
            not at all.

        Raises:
            InputError: an unknown format, or something that it cannot hold.
            OutputError: it cannot be written, the disk is full, or a file exists already.
            MissingExtraError: the packages of ``maskwright[export]`` are not installed.
        """
        from maskwright.interop.single import save_one

        if save_one(self, path, format, name, labels, ids, tolerance=tolerance, overwrite=bool(overwrite)):
            return [Path(path)]
        target = writable_folder(path)
        paths = [target / f"{stem}_{name}.png" for name in self._names()]
        write_masks(paths, self.bitmaps.reshape(-1, *self.size), overwrite=overwrite is not False)
        return paths

    def save_overlay(
        self,
        path: str | os.PathLike[str],
        *,
        alpha: float = 0.5,
        image: ImageArray | None = None,
        prompts: Sequence[PromptLike] = (),
        overwrite: bool = True,
    ) -> Path:
        """Write :meth:`overlay` as PNG, JPEG or WebP, by the ending of ``path``.

        Raises:
            InputError: an unknown ending, or whatever :meth:`overlay` raises.
            OutputError: it could not be written; nothing was left under that name.
        """
        path = check_ending(path)
        return write_image(path, self.overlay(alpha=alpha, image=image, prompts=prompts), overwrite=overwrite)

    def _names(self) -> list[str]:
        """Numbers with leading zeros, so that files sort as the objects do."""
        digits = len(str(max(len(self) - 1, 0)))
        objects = [f"{index:0{digits}}" for index in range(len(self))]
        if not self.has_candidates:
            return objects
        return [f"{name}_{candidate}" for name in objects for candidate in range(self.bitmaps.shape[1])]
