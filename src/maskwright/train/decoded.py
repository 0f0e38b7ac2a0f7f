"""Decoded pictures and frames kept in memory, so that an epoch pays for reading and decoding once.

Scenes are kept compact: the picture and its flat layers, in a byte per pixel where 255 objects suffice.
What was not used for longest goes first once a bound in bytes is reached. Everything is safe from several
threads; two that want the same picture at once may both decode it.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from maskwright.errors import InputError
from maskwright.io.datasets.protocol import Clip, Layers, Pictures, Scene, Videos
from maskwright.types import ByteArray

GIBIBYTE = 1 << 30
"""Bytes that are kept unless the caller says otherwise."""


class _Kept(NamedTuple):
    """A scene, compact."""

    picture: ByteArray
    layers: npt.NDArray[np.uint8] | Layers
    ids: tuple[int, ...]
    known: bool

    @property
    def num_bytes(self) -> int:
        return self.picture.nbytes + self.layers.nbytes

    def expanded(self) -> Scene:
        return Scene.from_layers(self.picture, self.layers.astype(np.uint16), self.ids)


class _Store:
    """Compact scenes by key, of so many bytes at most."""

    def __init__(self, max_bytes: int) -> None:
        if max_bytes < 0:
            raise InputError(f"a cache of {max_bytes} bytes is not possible; give 0 for none, or more")
        self._max_bytes, self.num_bytes = max_bytes, 0
        self._kept: OrderedDict[Hashable, _Kept] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable) -> _Kept | None:
        with self._lock:
            found = self._kept.get(key)
            if found is not None:
                self._kept.move_to_end(key)
            return found

    def put(self, key: Hashable, kept: _Kept) -> None:
        with self._lock:
            former = self._kept.pop(key, None)
            self.num_bytes += kept.num_bytes - (former.num_bytes if former else 0)
            self._kept[key] = kept
            while self.num_bytes > self._max_bytes:
                _, dropped = self._kept.popitem(last=False)
                self.num_bytes -= dropped.num_bytes


class DecodedPictures:
    """The same pictures, decoded once as long as they fit.

    Args:
        pictures: What to read from.
        max_bytes: Most that is kept; 0 keeps nothing.
        side: Longest side to which pictures are reduced when they are read; 0 leaves them as they are.
    """

    def __init__(self, pictures: Pictures, *, max_bytes: int = GIBIBYTE, side: int = 0) -> None:
        self._pictures, self._side, self._store = pictures, side, _Store(max_bytes)
        self.names, self.sources = pictures.names, pictures.sources

    def __len__(self) -> int:
        return len(self._pictures)

    @property
    def num_bytes(self) -> int:
        """Bytes kept at the moment."""
        return self._store.num_bytes

    def read(self, index: int) -> Scene:
        """One picture with its masks; see :class:`Pictures`."""
        kept = self._store.get(index)
        if kept is None:
            kept = _compact(shrunk(self._pictures.read(index), self._side), known=True)
            self._store.put(index, kept)
        return kept.expanded()


class DecodedVideos:
    """The same videos, each frame decoded once while it fits; arguments as for :class:`DecodedPictures`."""

    def __init__(self, videos: Videos, *, max_bytes: int = GIBIBYTE, side: int = 0) -> None:
        self._videos, self._side, self._store = videos, side, _Store(max_bytes)
        self.names = videos.names

    def __len__(self) -> int:
        return len(self._videos)

    @property
    def num_bytes(self) -> int:
        """Bytes kept at the moment."""
        return self._store.num_bytes

    def num_frames(self, index: int) -> int:
        """Frames of one video."""
        return self._videos.num_frames(index)

    def annotated(self, index: int) -> Sequence[int]:
        """The frames of one video whose masks are known."""
        return self._videos.annotated(index)

    def read(self, index: int, frames: Sequence[int]) -> Clip:
        """Frames of one video with the masks of all its objects; see :class:`Videos`."""
        wanted = dict.fromkeys(frames)
        found = {number: kept for number in wanted if (kept := self._store.get((index, number))) is not None}
        missing = [number for number in wanted if number not in found]
        if missing or not frames:
            found.update(self._decode(index, missing))
        shown = [found[number] for number in frames]
        return Clip.from_scenes([kept.expanded() for kept in shown], np.array([kept.known for kept in shown]))

    def _decode(self, index: int, frames: Sequence[int]) -> dict[int, _Kept]:
        clip = self._videos.read(index, frames)
        found = {}
        for number, scene, known in zip(frames, clip.scenes, clip.known.tolist(), strict=True):
            found[number] = _compact(shrunk(scene, self._side), known=known)
            self._store.put((index, number), found[number])
        return found


def shrunk(scene: Scene, side: int) -> Scene:
    """The scene with its longest side at most ``side`` pixels, never enlarged; 0 leaves it as it is.

    The picture is antialiased, masks are taken by nearest neighbour with pixel centres aligned: objects of
    few pixels may vanish, and then have an empty mask.
    """
    h, w = scene.size
    if not side or max(h, w) <= side:
        return scene
    height, width = (max(1, round(length * side / max(h, w))) for length in (h, w))
    picture = Image.fromarray(scene.picture).resize(
        (width, height), Image.Resampling.BILINEAR, reducing_gap=2.0
    )
    rows, columns = (
        ((np.arange(new) + 0.5) * old / new).astype(np.int64) for new, old in ((height, h), (width, w))
    )
    layers = scene.layers[:, rows][:, :, columns]
    return Scene.from_layers(np.array(picture), np.ascontiguousarray(layers), scene.ids)


def _compact(scene: Scene, *, known: bool) -> _Kept:
    layers = scene.layers.astype(np.uint8) if len(scene) < 256 else scene.layers
    return _Kept(scene.picture, layers, scene.ids, known)
