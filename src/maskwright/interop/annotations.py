"""The values that every format writes and reads: :class:`Annotation` and :class:`AnnotatedPicture`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from maskwright.errors import InputError
from maskwright.pixels import rle
from maskwright.pixels.rgb import to_uint8
from maskwright.pixels.rle import Rle
from maskwright.types import BoolArray, ByteArray, IntArray, Size

if TYPE_CHECKING:
    from maskwright.automask.found import FoundMasks
    from maskwright.frames import TrackedFrame
    from maskwright.masks import Masks

DEFAULT_LABEL = "object"
"""What an object is called that nobody has named."""
BoxXyxy: TypeAlias = tuple[int, int, int, int]
"""Smallest box in pixels: x0, y0, x1, y1; x1 and y1 are exclusive."""


@dataclass(frozen=True)
class Annotation:
    """One object in one picture.

    Raises:
        InputError: the name is blank.
    """

    id: int
    """Number of the track in a video, or of the object in a picture."""
    rle: Rle
    """Its mask."""
    label: str = DEFAULT_LABEL
    """What it is; never blank."""
    score: float | None = None
    """IoU with the true mask that the model predicts, 0..1, if known."""

    def __post_init__(self) -> None:
        if not self.label.strip():
            raise InputError(f"object {self.id} has a blank label; give it a name, or leave the label out")

    @property
    def size(self) -> Size:
        """Height and width of the picture that the mask is made for."""
        h, w = self.rle["size"]
        return int(h), int(w)

    @cached_property
    def runs(self) -> IntArray:
        """Run lengths down the columns, as in :mod:`maskwright.pixels.rle`.

        Raises:
            InputError: the mask is no run-length encoding of its size.
        """
        return rle.expand(self.rle)

    @cached_property
    def box(self) -> BoxXyxy:
        """The smallest box around the mask; zeros if it is empty."""
        boxes, _ = rle.measured([self.runs], self.size)
        x0, y0, x1, y1 = boxes[0].tolist()
        return x0, y0, x1, y1

    @cached_property
    def area(self) -> int:
        """Pixels of the mask."""
        return int(self.runs[1::2].sum())

    def bitmap(self) -> BoolArray:
        """The mask (h, w), drawn anew each time."""
        return rle.bitmap(self.runs, self.size)

    def window(self) -> BoolArray:
        """The part of the mask inside :attr:`box`: (y1 - y0, x1 - x0) bool."""
        return rle.window(self.runs, self.size, *self.box)


@dataclass(frozen=True)
class AnnotatedPicture:
    """A picture, or a frame of a video, and the objects in it.

    Raises:
        InputError: a mask of another size than the picture, or two objects of the same number.
    """

    name: str
    """File name as other tools should find it: ``truck.jpg``, ``street/00012.jpg``. Always with slashes."""
    size: Size
    """Height and width in pixels."""
    annotations: tuple[Annotation, ...] = ()
    frame: int | None = None
    """Number of the frame in its video; None for a picture."""
    time_s: float | None = None
    """Seconds from the start of the video, where they are known."""
    read: Callable[[], ByteArray] | None = field(default=None, repr=False, compare=False)
    """Gives the pixels (h, w, 3) uint8 RGB; None where they are gone."""

    def __post_init__(self) -> None:
        for annotation in self.annotations:
            if annotation.size != self.size:
                raise InputError(
                    f"the mask of object {annotation.id} is {annotation.size[0]} x {annotation.size[1]} "
                    f"(height x width), the picture {self.name} {self.size[0]} x {self.size[1]}; "
                    "pass masks of the picture's size"
                )
        twice = [
            number for number, count in Counter(item.id for item in self.annotations).items() if count > 1
        ]
        if twice:
            raise InputError(f"{self.name} has two objects {twice[0]}; give each a number of its own")

    def pixels(self) -> ByteArray:
        """The picture (h, w, 3) uint8 RGB.

        Raises:
            InputError: it is gone, or of another size than the masks.
        """
        if self.read is None:
            raise InputError(f"the pixels of {self.name} are not at hand; name the picture or video as well")
        pixels = self.read()
        if pixels.shape != (*self.size, 3):
            h, w = self.size
            raise InputError(f"{self.name} is {pixels.shape} now, and its masks {h} x {w}; has it changed?")
        return pixels


def from_masks(
    masks: Masks | FoundMasks,
    name: str,
    labels: Mapping[int, str] | None = None,
    *,
    ids: Sequence[int] | None = None,
) -> AnnotatedPicture:
    """The masks of one picture; of candidates, the best ones.

    Args:
        masks: What segmenting gave back.
        name: File name of the picture.
        labels: What each object is, by its number.
        ids: Numbers of the objects; 1, 2, 3 ... if they are not given.

    Raises:
        InputError: another number of ids than of objects, or a blank label.
    """
    best = masks.best() if hasattr(masks, "best") else masks
    numbers = range(1, len(best) + 1) if ids is None else ids
    if len(numbers) != len(best):
        raise InputError(f"{len(numbers)} ids for {len(best)} objects; give one for each")
    image = best.image
    return AnnotatedPicture(
        name,
        best.size,
        _annotations(numbers, best.rle(), best.scores.tolist(), labels),
        read=None if image is None else lambda: to_uint8(image),
    )


def to_masks(picture: AnnotatedPicture) -> Masks:
    """The objects of one picture as masks again, in their order: to be drawn, saved, corrected.

    Scores are 1 where none are known. There are no low-resolution logits, ``(N, 0, 0)``, so that a mask
    cannot be a ``MaskPrompt``.

    Raises:
        InputError: the pixels are at hand, and of another size than the masks.
    """
    from maskwright.masks import Masks

    num = len(picture.annotations)
    scores = [1.0 if item.score is None else item.score for item in picture.annotations]
    return Masks(
        bitmaps=np.stack([item.bitmap() for item in picture.annotations])
        if num
        else np.zeros((0, *picture.size), np.bool_),
        scores=np.array(scores, np.float32),
        logits=np.zeros((num, 0, 0), np.float32),
        object_scores=np.ones(num, np.float32),
        image=None if picture.read is None else picture.pixels(),
    )


def from_frame(frame: TrackedFrame, name: str, labels: Mapping[int, str] | None = None) -> AnnotatedPicture:
    """The objects that are seen in a frame of a video; those that are not are left out.

    Args:
        frame: What tracking gave back.
        name: File name of the frame; :func:`frame_name` makes one up.
        labels: What each object is, by its number.
    """
    seen = [row for row in range(len(frame)) if frame.visible[row] and frame.areas[row]]
    image = frame.image
    return AnnotatedPicture(
        name,
        frame.size,
        _annotations(
            [frame.ids[row] for row in seen],
            rle.encode(frame.bitmaps[seen]),
            frame.scores[seen].tolist(),
            labels,
        ),
        frame.index,
        frame.time,
        None if image is None else lambda: image,
    )


def from_frames(
    frames: Iterable[TrackedFrame], video: str, labels: Mapping[int, str] | None = None
) -> Iterator[AnnotatedPicture]:
    """The objects in each frame of a video, as it is tracked, with made-up names of files.

    Args:
        frames: What ``model.track`` gives.
        video: What the video is called, without an ending: the folder in the names.
        labels: What each object is, by its number.
    """
    return (from_frame(frame, frame_name(video, frame.index), labels) for frame in frames)


def frame_name(video: str, index: int) -> str:
    """A file name for a frame of a video that has none: ``street/00012.jpg``."""
    return f"{video}/{index:05}.jpg"


def relabelled(picture: AnnotatedPicture, labels: Mapping[int, str]) -> AnnotatedPicture:
    """The same with the names that ``labels`` has for its objects; the others keep theirs."""
    if not any(item.id in labels for item in picture.annotations):
        return picture
    named = (replace(item, label=labels.get(item.id, item.label)) for item in picture.annotations)
    return replace(picture, annotations=tuple(named))


def _annotations(
    ids: Sequence[int],
    codes: Sequence[Rle],
    scores: Sequence[float],
    labels: Mapping[int, str] | None,
) -> tuple[Annotation, ...]:
    named = labels or {}
    rows = zip(ids, codes, scores, strict=True)
    return tuple(Annotation(int(n), code, named.get(n, DEFAULT_LABEL), _finite(s)) for n, code, s in rows)


def _finite(score: float) -> float | None:
    """A score with the digits that float32 has; None if there is none."""
    return None if score != score else float(f"{score:.6g}")
