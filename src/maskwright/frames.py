"""The two values that flow through video: a :class:`Frame` goes in, a :class:`TrackedFrame` comes out.

Shapes: N objects, (h, w) the frame, m the side of the low-resolution masks.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

import numpy as np

from maskwright.errors import InputError
from maskwright.types import BoolArray, ByteArray, FloatArray, IntArray, Size

if TYPE_CHECKING:
    import supervision as sv
    from torch import Tensor

    from maskwright.interop.supervision import Labels

T = TypeVar("T")


class DevicePicture:
    """A picture in the memory of a GPU, where a frame has it from a decoder that works there.

    It comes to the host when somebody looks at it, once. Pickled it is the array.
    """

    def __init__(self, pixels_HW3: Tensor) -> None:
        """``pixels_HW3`` is uint8 RGB, just made, on the current stream of this thread."""
        self._pixels_HW3 = pixels_HW3
        self._fetched: ByteArray | None = None
        self._made: Any = None
        if pixels_HW3.is_cuda:
            import torch

            self._made = torch.cuda.current_stream(pixels_HW3.device).record_event()

    @property
    def shape(self) -> tuple[int, ...]:
        """(h, w, 3)."""
        return tuple(self._pixels_HW3.shape)

    def here(self) -> Tensor:
        """The pixels where they are, (h, w, 3) uint8, to be used on the current stream of this thread."""
        if self._made is not None:
            import torch

            stream = torch.cuda.current_stream(self._pixels_HW3.device)
            stream.wait_event(self._made)
            self._pixels_HW3.record_stream(stream)
        return self._pixels_HW3

    def fetched(self) -> ByteArray:
        """The pixels on the host."""
        if self._fetched is None:
            self._fetched = self.here().cpu().numpy()
        return self._fetched

    def __reduce__(self) -> tuple[Any, ...]:
        return np.asarray, (self.fetched(),)


class _Picture(Generic[T]):
    """A field that can be given a :class:`DevicePicture`, and that reads as the array on the host."""

    def __init__(self, *default: T) -> None:
        self._default = default

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: object, owner: type | None = None) -> T:
        if instance is None:  # dataclasses ask the class for the default
            if not self._default:
                raise AttributeError(self._name)
            return self._default[0]
        held: Any = vars(instance)[self._name]
        picture: Any = held.fetched() if isinstance(held, DevicePicture) else held
        return cast("T", picture)

    def __set__(self, instance: object, value: T | DevicePicture) -> None:
        vars(instance)[self._name] = value


@dataclass(frozen=True, eq=False)
class Frame:
    """One picture of a video."""

    index: int
    """Number of the frame in its source, from 0."""
    image: _Picture[ByteArray] = _Picture()
    """(h, w, 3) uint8 RGB, upright. From a :class:`DevicePicture` it is fetched when it is first read."""
    time: float | None = None
    """Seconds from the start of the source, where it knows."""

    @property
    def picture(self) -> ByteArray | DevicePicture:
        """The picture as it was given, without fetching it from where it is."""
        given: ByteArray | DevicePicture = vars(self)["image"]
        return given

    @property
    def size(self) -> Size:
        """Height and width in pixels."""
        return self.picture.shape[0], self.picture.shape[1]


@dataclass(frozen=True, eq=False)
class TrackedObject:
    """One object in one frame."""

    id: int
    """The number that the caller gave it."""
    bitmap: BoolArray
    """(h, w) bool: True on the object."""
    score: float
    """IoU with the true mask that the model predicts, 0..1."""
    object_score: float
    """Logit that the object is in the frame; above 0 it is."""
    box: tuple[float, float, float, float]
    """Smallest box, xyxy with x1, y1 exclusive; zeros where nothing is seen."""
    area: int
    """Pixels of the mask."""

    @property
    def visible(self) -> bool:
        """Whether the object is in the frame; otherwise it is occluded or outside."""
        return self.object_score > 0


@dataclass(frozen=True, eq=False)
class TrackedFrame:
    """The objects of one frame, in the order in which they were added."""

    index: int
    """Number of the frame in its source, or of the push, from 0."""
    ids: tuple[int, ...]
    """The numbers that the caller gave the objects."""
    bitmaps: BoolArray
    """(N, h, w) bool: True on the object."""
    scores: FloatArray
    """(N,) float32: IoU with the true mask that the model predicts, 0..1."""
    object_scores: FloatArray
    """(N,) float32: logit that the object is in the frame; above 0 it is."""
    boxes: FloatArray
    """(N, 4) float32: smallest boxes, xyxy with x1, y1 exclusive; zeros where nothing is seen."""
    areas: IntArray
    """(N,) int64: pixels of each mask."""
    logits: FloatArray
    """(N, m, m) float32: low-resolution logits, (0, 0, 0) where they were not kept."""
    time: float | None = None
    """Seconds from the start of the source, where it knows."""
    image: _Picture[ByteArray | None] = _Picture(None)
    """(h, w, 3) uint8 RGB, or None where it was not kept. Frames of a decoder on a GPU are fetched when this
    is first read, and until it is let go of, a frame takes its place in the GPU's memory."""
    prompted: frozenset[int] = frozenset()
    """Numbers of the objects that the caller prompted in this frame."""
    discovered: frozenset[int] = frozenset()
    """Numbers of the objects that were found in this frame without having been asked for."""

    @property
    def visible(self) -> BoolArray:
        """(N,) bool: True for objects that are in the frame, False for occluded ones."""
        seen: BoolArray = self.object_scores > 0
        return seen

    @property
    def size(self) -> Size:
        """Height and width in pixels."""
        return self.bitmaps.shape[1], self.bitmaps.shape[2]

    def __len__(self) -> int:
        return len(self.ids)

    def __iter__(self) -> Iterator[TrackedObject]:
        return (self._row(row) for row in range(len(self.ids)))

    def __contains__(self, object_id: int) -> bool:
        return object_id in self.ids

    def __getitem__(self, object_id: int) -> TrackedObject:
        """One object by the number that the caller gave it.

        Raises:
            InputError: the object is not in this frame.
        """
        if object_id not in self.ids:
            known = ", ".join(map(str, self.ids)) or "none"
            raise InputError(f"there is no object {object_id} in frame {self.index}; there are: {known}")
        return self._row(self.ids.index(object_id))

    def to_supervision(self, *, labels: Labels | None = None, compact: bool = False) -> sv.Detections:
        """The objects that are seen as ``supervision.Detections``, their numbers as ``tracker_id``; see
        :func:`maskwright.interop.supervision.to_detections`.

        Args:
            labels: Object number -> name; ``class_id`` and ``data["class_name"]``, the same in all frames.
            compact: Keep the masks as ``sv.CompactMask`` instead of (N, h, w) bool.

        Raises:
            MissingExtraError: supervision is not installed.
            InputError: labels that do not fit, or a supervision without compact masks.
        """
        from maskwright.interop.supervision import to_detections

        return to_detections(self, labels=labels, compact=compact)

    def save(
        self,
        path: str | os.PathLike[str],
        *,
        format: str | None = None,
        name: str | None = None,
        labels: Mapping[int, str] | None = None,
        tolerance: float = 1.0,
        overwrite: bool = False,
    ) -> Path:
        """Write the objects that are seen in this frame in a format that other tools read.

        For a whole video in one output, see :func:`maskwright.interop.export`.

        Args:
            path: A file, whose ending chooses the format as in :meth:`maskwright.Masks.save`, or a folder,
                which gets a black-and-white PNG for each object, unless ``format`` says otherwise.
            format: One of :data:`maskwright.interop.FORMATS`.
            name: File name of the frame, as other tools should find it; by default ``00012.jpg``.
            labels: What each object is, by its number.
            tolerance: How far in pixels a polygon may leave the edge of a mask; 0 follows the pixels.
            overwrite: Replace an earlier result; otherwise that is an error.

        Returns:
            The path.

        Raises:
            InputError: an unknown format, or something that it cannot hold.
            OutputError: it cannot be written, the disk is full, or a file exists already.
            MissingExtraError: the packages of ``maskwright[export]`` are not installed.
        """
        from maskwright.interop.single import save_frame

        return save_frame(self, path, format, name, labels, tolerance=tolerance, overwrite=overwrite)

    def _row(self, row: int) -> TrackedObject:
        x0, y0, x1, y1 = self.boxes[row].tolist()
        return TrackedObject(
            self.ids[row],
            self.bitmaps[row],
            float(self.scores[row]),
            float(self.object_scores[row]),
            (x0, y0, x1, y1),
            int(self.areas[row]),
        )
