"""What automatic masks are: :class:`FoundMasks`, kept as run lengths, and :class:`Sieve`, what was left out.

A picture of 6 megapixels with 150 objects would be 0.9 GB of bitmaps; as runs it is a few megabytes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from maskwright.errors import InputError
from maskwright.io.files import writable_folder
from maskwright.io.images import check_ending, write_image, write_masks
from maskwright.io.rasters import reduced_size
from maskwright.pixels import draw, rle
from maskwright.pixels.palette import colour
from maskwright.pixels.rgb import to_uint8
from maskwright.pixels.rle import RunLengths
from maskwright.types import BoolArray, ByteArray, FloatArray, ImageArray, IntArray, Size

if TYPE_CHECKING:
    import supervision as sv

    from maskwright.interop.supervision import Labels


@dataclass(frozen=True, eq=False, repr=False)
class FoundMasks:
    """N masks that were found in one picture without being asked for.

    It has what ``Masks`` has, where that makes sense, and where each mask was found. ``found[0]``,
    ``found[1:3]``, ``found[[2, 0]]`` and ``found[found.areas > 500]`` are FoundMasks as well.
    """

    size: Size
    """Height and width of the picture in pixels."""
    runs: tuple[rle.RunLengths, ...]
    """For each mask its run lengths down the columns, (R,) int32: not set, set, and so on in turn."""
    scores: FloatArray
    """(N,) float32: the IoU with the true mask that the model predicts."""
    stabilities: FloatArray
    """(N,) float32: IoU of the mask at a higher and at a lower threshold; NaN if it is empty at both."""
    boxes: FloatArray
    """(N, 4) float32: smallest boxes, ``xyxy`` with x1, y1 exclusive; zeros where a mask is empty."""
    areas: IntArray
    """(N,) int64: pixels in each mask."""
    points: FloatArray
    """(N, 2) float32: the click ``(x, y)`` that found it."""
    crops: IntArray
    """(N, 4) int64: the part of the picture that was searched, ``xyxy`` with x1, y1 exclusive; of what was
    stitched together, the box around all parts."""
    image: ByteArray | None = None
    """(h, w, 3) RGB picture that overlays are drawn on, or None; of an array that was searched, no copy."""

    @classmethod
    def none(cls, size: Size, image: ByteArray | None = None) -> FoundMasks:
        """No masks, in a picture of that size."""
        numbers, boxes = np.zeros(0, np.float32), np.zeros((0, 4), np.float32)
        whole = np.zeros(0, np.int64)
        return cls(size, (), numbers, numbers, boxes, whole, boxes[:, :2], whole.reshape(0, 4), image)

    @classmethod
    def joined(cls, parts: Sequence[FoundMasks]) -> FoundMasks:
        """All masks of one or more parts, of the same picture, one part after the other."""
        first = parts[0]
        columns = {name: np.concatenate([getattr(part, name) for part in parts]) for name in _COLUMNS}
        return cls(
            first.size, tuple(run for part in parts for run in part.runs), image=first.image, **columns
        )

    @property
    def bitmaps(self) -> BoolArray:
        """(N, h, w) bool, drawn anew each time: N * h * w bytes. ``found[3].bitmaps`` draws one."""
        bitmaps = np.empty((len(self), *self.size), np.bool_)
        for bitmap, runs in zip(bitmaps, self.runs, strict=True):
            bitmap[:] = rle.bitmap(runs, self.size)
        return bitmaps

    def __len__(self) -> int:
        return len(self.runs)

    def __iter__(self) -> Iterator[FoundMasks]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int | slice | Sequence[int] | IntArray | BoolArray) -> FoundMasks:
        """Some of the masks, always as FoundMasks: ``found[0].bitmaps`` is (1, h, w)."""
        if isinstance(index, (int, np.integer)) and not -len(self) <= index < len(self):
            raise IndexError(f"mask {index} of {len(self)}")
        empty = isinstance(index, Sequence) and not index  # which numpy would take for floats
        rows = np.atleast_1d(np.arange(len(self))[slice(0) if empty else index])
        columns = {name: getattr(self, name)[rows] for name in _COLUMNS}
        return FoundMasks(self.size, tuple(self.runs[row] for row in rows), image=self.image, **columns)

    def __repr__(self) -> str:
        noun = "mask" if len(self) == 1 else "masks"
        scores = [f"{score:.2f}" for score in self.scores[:8]] + ["..."] * (len(self) > 8)
        return (
            f"FoundMasks({len(self)} {noun}, {self.size[0]} x {self.size[1]}, scores [{', '.join(scores)}])"
        )

    def rle(self) -> list[rle.Rle]:
        """COCO compressed RLE of each mask, ready for JSON."""
        return [rle.compress(runs, self.size) for runs in self.runs]

    def to_supervision(self, *, labels: Labels | None = None, compact: bool = False) -> sv.Detections:
        """The masks as ``supervision.Detections``, with ``data["stability"]`` and ``data["point"]``; see
        :func:`maskwright.interop.supervision.to_detections`.

        Args:
            labels: A name for each mask, or by its number, 1 ...; ``class_id`` and ``data["class_name"]``.
            compact: Keep the masks as ``sv.CompactMask`` instead of (N, h, w) bool.

        Raises:
            MissingExtraError: supervision is not installed.
            InputError: labels that do not fit, or a supervision without compact masks.
        """
        from maskwright.interop.supervision import to_detections

        return to_detections(self, labels=labels, compact=compact)

    def redrawn(self, runs: Sequence[RunLengths]) -> FoundMasks:
        """The same objects with other masks, one for each, and the boxes and areas of those."""
        boxes, areas = rle.measured(runs, self.size)
        return replace(self, runs=tuple(runs), boxes=boxes.astype(np.float32), areas=areas)

    def reduced(
        self, longest: int, image: ByteArray | None = None, *, window: tuple[int, int, int, int] | None = None
    ) -> FoundMasks:
        """The same masks in a picture whose longer side is at most ``longest`` pixels, to look at.

        What is too small to be seen there is an empty mask; scores stay.

        Args:
            longest: At least 1.
            image: The reduced picture, for overlays.
            window: Only the columns x0 to x1 and rows y0 to y1, exclusive, given as (x0, y0, x1, y1).
        """
        x0, y0, x1, y1 = window = window or (0, 0, self.size[1], self.size[0])
        size = reduced_size((y1 - y0, x1 - x0), longest)
        runs = [rle.reduced(one, self.size, window, size) for one in self.runs]
        corner, scale = np.array((x0, y0)), np.array(size[::-1]) / (x1 - x0, y1 - y0)
        points = ((self.points - corner) * scale).astype(np.float32)
        crops = ((self.crops - np.tile(corner, 2)) * np.tile(scale, 2)).astype(np.int64)
        return replace(self, size=size, points=points, crops=crops, image=image).redrawn(runs)

    def numbers(self, window: tuple[int, int, int, int] | None = None) -> npt.NDArray[np.int32]:
        """(h, w) int32: at each pixel the place of the smallest mask that covers it, from 1 on, else 0.

        Args:
            window: Only the columns x0 to x1 and rows y0 to y1, exclusive, given as (x0, y0, x1, y1).
        """
        left, top, right, bottom = window or (0, 0, self.size[1], self.size[0])
        canvas = np.zeros((bottom - top, right - left), np.int32)
        boxes = self.boxes.astype(np.int64)
        low, high = np.maximum(boxes[:, :2], (left, top)), np.minimum(boxes[:, 2:], (right, bottom))
        reaching: BoolArray = np.asarray((low < high).all(axis=1))
        for index in self._large_first():
            if reaching[index]:
                (x0, y0), (x1, y1) = low[index].tolist(), high[index].tolist()
                bitmap = rle.window(self.runs[index], self.size, x0, y0, x1, y1)
                canvas[y0 - top : y1 - top, x0 - left : x1 - left][bitmap] = index + 1
        return canvas

    def overlay(self, *, alpha: float = 0.5, image: ImageArray | None = None) -> ByteArray:
        """The picture with every mask tinted and outlined, smaller ones on top of larger ones.

        Args:
            alpha: Strength of the tint: 0 is none (outlines only), 1 hides the object.
            image: Another picture (h, w, 3) of the same size, RGB uint8 or float in 0..1, to draw on.

        Returns:
            (h, w, 3) uint8 RGB, a new array.

        Raises:
            InputError: there is no picture, it has another size, or alpha is outside 0..1.
        """
        source = self.image if image is None else image
        if source is None:
            raise InputError("these masks carry no picture to draw on; pass one with image=")
        picture = to_uint8(source)
        canvas = draw.overlay(picture, np.zeros((0, *self.size), np.bool_), alpha=alpha)  # checks, and copies
        width = draw.line_width(*self.size)
        for index in self._large_first():
            window, bitmap = self._window(index, draw.margin_of(width))
            draw.paint(canvas[window], picture[window], bitmap, colour(index), alpha, width)
        return canvas

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
        """Write a black-and-white PNG per mask: ``mask_000.png``, ..., or a format that other tools read.

        Arguments, results and errors are those of :meth:`maskwright.Masks.save`.
        """
        from maskwright.interop.single import save_one

        if save_one(self, path, format, name, labels, ids, tolerance=tolerance, overwrite=bool(overwrite)):
            return [Path(path)]
        target = writable_folder(path)
        digits = len(str(max(len(self) - 1, 0)))
        paths = [target / f"{stem}_{index:0{digits}}.png" for index in range(len(self))]
        write_masks(
            paths, (rle.bitmap(runs, self.size) for runs in self.runs), overwrite=overwrite is not False
        )
        return paths

    def save_overlay(
        self,
        path: str | os.PathLike[str],
        *,
        alpha: float = 0.5,
        image: ImageArray | None = None,
        overwrite: bool = True,
    ) -> Path:
        """Write :meth:`overlay` as PNG, JPEG or WebP, by the ending of ``path``.

        Raises:
            InputError: an unknown ending, or whatever :meth:`overlay` raises.
            OutputError: it could not be written; nothing was left under that name.
        """
        path = check_ending(path)
        return write_image(path, self.overlay(alpha=alpha, image=image), overwrite=overwrite)

    def _large_first(self) -> list[int]:
        """Places of the masks that are not empty, by area."""
        order: list[int] = np.argsort(-self.areas, kind="stable").tolist()
        return [index for index in order if self.areas[index]]

    def _window(self, index: int, margin: int) -> tuple[tuple[slice, slice], BoolArray]:
        """The part of the picture around a mask, and the mask there."""
        h, w = self.size
        x0, y0, x1, y1 = self.boxes[index].astype(int).tolist()
        top, bottom = max(0, y0 - margin), min(h, y1 + margin)
        left, right = max(0, x0 - margin), min(w, x1 + margin)
        bitmap = rle.window(self.runs[index], self.size, left, top, right, bottom)
        return (slice(top, bottom), slice(left, right)), bitmap


_COLUMNS = ("scores", "stabilities", "boxes", "areas", "points", "crops")
"""Fields of :class:`FoundMasks` with one row for each mask."""


@dataclass(frozen=True)
class Sieve:
    """How many masks each filter took out, in the order in which they are applied."""

    decoded: int = 0
    """Masks that the model made."""
    low_score: int = 0
    """Left out for ``min_score``."""
    unstable: int = 0
    """Left out for ``min_stability``."""
    cut_off: int = 0
    """Left out because they reach the edge of a crop, or of a tile, inside the picture."""
    empty: int = 0
    """Left out because they have no pixel."""
    duplicates: int = 0
    """Left out for ``max_overlap``, within the picture or a crop."""
    crop_duplicates: int = 0
    """Left out for ``max_crop_overlap``, between crops or tiles."""
    stitched: int = 0
    """Parts of an object, or the same one found again, that went into the mask of another tile; and what was
    found in the whole picture, reduced, and is small enough for a tile."""

    @property
    def kept(self) -> int:
        taken: int = sum(getattr(self, name) for name in _REASONS)
        return self.decoded - taken

    def __add__(self, other: Sieve) -> Sieve:
        return Sieve(*(getattr(self, field.name) + getattr(other, field.name) for field in fields(self)))

    def __str__(self) -> str:
        """``kept 12 of 768 masks: 700 below min_score, ...``."""
        taken = [f"{getattr(self, name)} {why}" for name, why in _REASONS.items() if getattr(self, name)]
        return f"kept {self.kept} of {self.decoded} masks" + (f": {', '.join(taken)}" if taken else "")

    @property
    def advice(self) -> str:
        """What to change so that more masks are kept: the setting of the filter that took most."""
        name = max(_ADVICE, key=lambda name: int(getattr(self, name)))
        return _ADVICE[name]


_REASONS = {
    "low_score": "not above min_score",
    "unstable": "below min_stability",
    "cut_off": "cut off by a crop's or tile's edge",
    "empty": "empty",
    "duplicates": "above max_overlap",
    "crop_duplicates": "above max_crop_overlap",
    "stitched": "seen by another tile as well",
}
_ADVICE = {
    "low_score": "lower min_score",
    "unstable": "lower min_stability or stability_offset",
    "cut_off": "use fewer crop_layers",
    "empty": "lower threshold",
}
"""What helps where nothing was kept; of duplicates one always stays."""
