"""What every data set gives, whatever its layout: scenes of pictures, and clips of videos.

Masks of a scene are kept as few flat *layers*, not as one bitmap each: in layer (h, w) the value ``i + 1``
marks object ``i``, and 0 none. Objects that overlap lie in different layers, so a label map of hundreds of
stones is one layer and a COCO picture rarely has more than three. Whoever moves, stores or draws on masks
works on layers; bitmaps are made when they are asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
import numpy.typing as npt

from maskwright.errors import ImageError, InputError
from maskwright.types import BoolArray, ByteArray, IntArray, Size

Layers: TypeAlias = npt.NDArray[np.uint16]
"""(L, h, w): object ``i`` is where one of the layers is ``i + 1``."""
MAX_OBJECTS = 65_535
"""Objects that a scene can have."""


class Scene:
    """One picture and the masks of its labelled objects. Treat its arrays as read-only.

    ``Scene(picture, masks, ids)`` takes bitmaps, :meth:`from_layers` and :meth:`from_labels` what is flat.
    """

    picture: ByteArray
    """(h, w, 3) uint8 RGB."""
    ids: tuple[int, ...]
    """The data set's own number of each object, n of them."""

    def __init__(self, picture: ByteArray, masks: BoolArray, ids: Sequence[int]) -> None:
        """See the class.

        Args:
            picture: (h, w, 3) uint8.
            masks: (n, h, w) bool; they may overlap.
            ids: n numbers.

        Raises:
            ImageError: masks and picture are of different sizes, or there are more or fewer masks than ids.
        """
        _check(picture, masks, len(ids))
        if len(masks) != len(ids):
            raise ImageError(f"{len(masks)} masks for {len(ids)} ids; each mask has one")
        self.picture, self.ids = picture, tuple(ids)
        self.masks = masks

    @classmethod
    def from_layers(cls, picture: ByteArray, layers: Layers, ids: Sequence[int]) -> Scene:
        """A scene of masks in layers (L, h, w), whose values are places in ``ids``, from 1."""
        _check(picture, layers, len(ids))
        scene = cls.__new__(cls)
        scene.picture, scene.ids = picture, tuple(ids)
        scene.layers = layers
        return scene

    @classmethod
    def from_labels(cls, picture: ByteArray, labels: npt.NDArray[Any], ids: Sequence[int] = ()) -> Scene:
        """A scene of a label map (h, w), where 0 is unlabelled and masks cannot overlap.

        Args:
            picture: (h, w, 3) uint8.
            labels: Whole numbers up to 65535.
            ids: Which labels are objects, in this order; all that occur if it is empty.
        """
        counts = np.bincount(labels.ravel())
        found = tuple(ids) or tuple(int(label) for label in np.flatnonzero(counts) if label)
        places = np.zeros(max(len(counts), *(number + 1 for number in (0, *found))), np.uint16)
        places[list(found)] = np.arange(1, len(found) + 1)
        return cls.from_layers(picture, places[labels][None], found)

    @property
    def size(self) -> Size:
        """Height and width in pixels."""
        return self.picture.shape[0], self.picture.shape[1]

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        h, w = self.size
        return f"Scene({w} x {h}, {len(self)} objects)"

    @cached_property
    def masks(self) -> BoolArray:
        """(n, h, w) bool; hundreds of them are large, so :meth:`select` the ones that are needed first."""
        return self._bitmaps(range(len(self)))

    @cached_property
    def layers(self) -> Layers:
        """(L, h, w): the masks, packed; L is at least 1."""
        return pack(self.masks, self.size)

    @cached_property
    def areas(self) -> IntArray:
        """Set pixels of each mask, (n,)."""
        return areas_of(self.layers, len(self))

    def mask(self, index: int) -> BoolArray:
        """(h, w) bool: one object's mask."""
        if "masks" in self.__dict__:
            bitmap: BoolArray = self.masks[index]
            return bitmap
        return np.asarray((self.layers == index + 1).any(axis=0))

    def select(self, indices: Sequence[int]) -> Scene:
        """The same picture with some of its objects, by their places in ``ids``."""
        ids = [self.ids[index] for index in indices]
        if "masks" in self.__dict__ and "layers" not in self.__dict__:
            return Scene(self.picture, self.masks[list(indices)], ids)
        places = np.zeros(len(self) + 1, np.uint16)
        places[np.asarray(indices, np.int64) + 1] = np.arange(1, len(ids) + 1)
        return Scene.from_layers(self.picture, places[self.layers], ids)

    def packed(self) -> Scene:
        """The same scene without bitmaps in memory."""
        return Scene.from_layers(self.picture, self.layers, self.ids)

    def _bitmaps(self, indices: Sequence[int]) -> BoolArray:
        masks = np.zeros((len(indices), *self.size), np.bool_)
        for layer in self.layers:
            here = set(np.flatnonzero(np.bincount(layer.ravel(), minlength=1)).tolist())
            for place, index in enumerate(indices):
                if index + 1 in here:
                    np.equal(layer, index + 1, out=masks[place])
        return masks


class Clip:
    """Some frames of one video, and the masks of the same objects in each."""

    scenes: tuple[Scene, ...]
    """Every frame with its masks, T of them, all of the same objects in the same order."""
    known: BoolArray
    """(T,): False where the data set says nothing about a frame, whose masks are then empty."""

    def __init__(
        self,
        frames: Sequence[ByteArray],
        masks: BoolArray,
        ids: Sequence[int],
        known: BoolArray | None = None,
    ) -> None:
        """See the class.

        Args:
            frames: T pictures (h, w, 3) uint8.
            masks: (T, n, h, w) bool; an empty mask says that the object is not to be seen.
            ids: n numbers.
            known: (T,) bool; None: all.
        """
        if len(frames) != len(masks):
            raise ImageError(f"{len(frames)} frames, but masks of {len(masks)}; each frame has its masks")
        scenes = [Scene(frame, mask, ids) for frame, mask in zip(frames, masks, strict=True)]
        self._set(scenes, known)

    @classmethod
    def from_scenes(cls, scenes: Sequence[Scene], known: BoolArray | None = None) -> Clip:
        """A clip of scenes that show the same objects in the same order."""
        clip = cls.__new__(cls)
        clip._set(scenes, known)
        return clip

    def _set(self, scenes: Sequence[Scene], known: BoolArray | None) -> None:
        if not scenes:
            raise InputError("a clip has at least one frame")
        if any(scene.ids != scenes[0].ids for scene in scenes):
            raise InputError("the frames of a clip show the same objects in the same order; these do not")
        self.scenes = tuple(scenes)
        self.known = np.ones(len(scenes), np.bool_) if known is None else np.asarray(known, np.bool_)

    @property
    def ids(self) -> tuple[int, ...]:
        """The data set's own number of each object."""
        return self.scenes[0].ids

    @property
    def frames(self) -> list[ByteArray]:
        """T pictures (h, w, 3) uint8."""
        return [scene.picture for scene in self.scenes]

    @property
    def masks(self) -> BoolArray:
        """(T, n, h, w) bool, made anew on every call. Frames must be of one size."""
        return np.stack([scene.masks for scene in self.scenes])

    @property
    def areas(self) -> IntArray:
        """Set pixels of each object in each frame, (T, n)."""
        return np.stack([scene.areas for scene in self.scenes])

    def __len__(self) -> int:
        return len(self.scenes)

    def __repr__(self) -> str:
        return f"Clip({len(self)} frames, {len(self.ids)} objects)"

    def select(self, indices: Sequence[int]) -> Clip:
        """The same frames with some of the objects, by their places in ``ids``."""
        return Clip.from_scenes([scene.select(indices) for scene in self.scenes], self.known)


@runtime_checkable
class Pictures(Protocol):
    """A data set of single pictures. Reading is safe from several threads."""

    @property
    def names(self) -> Sequence[str]:
        """A name for each picture, unlike all others."""

    @property
    def sources(self) -> Sequence[str]:
        """The collection that each picture is from: what reports group by and sampling balances."""

    def __len__(self) -> int:
        """Number of pictures."""

    def read(self, index: int) -> Scene:
        """One picture with its masks; ImageError says what is wrong with it."""


@runtime_checkable
class Videos(Protocol):
    """A data set of videos. Reading is safe from several threads."""

    @property
    def names(self) -> Sequence[str]:
        """A name for each video, unlike all others."""

    def __len__(self) -> int:
        """Number of videos."""

    def num_frames(self, index: int) -> int:
        """Frames of one video."""

    def annotated(self, index: int) -> Sequence[int]:
        """The frames of one video whose masks are known, by number from 0, ascending."""

    def read(self, index: int, frames: Sequence[int]) -> Clip:
        """Frames of one video, in this order, with the masks of all objects that it has anywhere."""


def pack(masks: Iterable[BoolArray], size: Size) -> Layers:
    """Masks (h, w), one by one, as as few layers as a single pass finds; ``i + 1`` marks mask ``i``."""
    layers = [np.zeros(size, np.uint16)]
    for index, mask in enumerate(masks):
        window = window_of(mask)
        part = mask[window]
        for layer in layers:
            if not layer[window][part].any():
                break
        else:
            layer = np.zeros(size, np.uint16)
            layers.append(layer)
        layer[window][part] = index + 1
    return np.stack(layers)


def window_of(mask: BoolArray) -> tuple[slice, slice]:
    """Rows and columns of the smallest box around a mask; empty slices if it is empty."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return slice(0, 0), slice(0, 0)
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def areas_of(layers: Layers, num_objects: int) -> IntArray:
    """Set pixels of each object, (n,)."""
    counts = sum(np.bincount(layer.ravel(), minlength=num_objects + 1) for layer in layers)
    areas: IntArray = np.asarray(counts, np.int64)[1 : num_objects + 1]
    return areas


def _check(picture: ByteArray, flat: npt.NDArray[Any], num_objects: int) -> None:
    if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8:
        raise ImageError(f"a scene's picture is (h, w, 3) uint8, not {picture.shape} {picture.dtype}")
    if flat.ndim != 3 or flat.shape[1:] != picture.shape[:2]:
        raise ImageError(f"masks of shape {flat.shape} do not fit a picture of {picture.shape[:2]}")
    if num_objects > MAX_OBJECTS:
        raise ImageError(f"{num_objects} objects in one picture; at most {MAX_OBJECTS} are possible")
