"""Label maps as palette pictures, in the layout of the DAVIS data set."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable

import numpy as np
from PIL import Image

from maskwright.errors import InputError
from maskwright.frames import TrackedFrame
from maskwright.io.files import writable_folder, write_bytes
from maskwright.io.sinks.numbered import check_no_frames, frame_name
from maskwright.io.sinks.protocol import Sink, check_open
from maskwright.types import BoolArray, ByteArray

_LARGEST = 255


class IndexedPngs(Sink):
    """A palette PNG for each frame, ``00042.png`` by its number, whose values are the objects' numbers.

    0 is the background. Where objects overlap, the smaller one is on top, as in overlays (of two equal ones
    the later). Each file is written whole or not at all, in any order of the frames.

    Args:
        folder: Is created if it is missing.
        ids: Numbers of objects that are known to come, to be checked before any work.
        overwrite: Replace frames of an earlier run. Those that are not written anew stay as they are.

    Raises:
        InputError: a number that a byte does not hold.
        OutputError: the folder cannot be written into, or has frames and ``overwrite`` is False.
    """

    def __init__(
        self, folder: str | os.PathLike[str], *, ids: Iterable[int] = (), overwrite: bool = True
    ) -> None:
        check_ids(ids)
        self._folder = writable_folder(folder)
        self._overwrite = overwrite
        self._closed = False
        if not overwrite:
            check_no_frames(self._folder)

    def write(self, frame: TrackedFrame) -> None:
        """Write the label map of one frame; its picture is not needed."""
        check_open(self._closed, self._folder)
        check_ids(frame.ids)
        data = palette_png(label_map(frame.bitmaps, frame.ids))
        write_bytes(self._folder / frame_name(frame.index), data, overwrite=self._overwrite)

    def close(self) -> None:
        """Every file is complete already; no frame may follow."""
        self._closed = True

    def abandon(self) -> None:
        """Every file is complete already; no frame may follow."""
        self._closed = True


def label_map(bitmaps: BoolArray, ids: Iterable[int]) -> ByteArray:
    """(h, w) uint8: the number of the smallest object at each pixel, 0 where there is none.

    Args:
        bitmaps: (N, h, w) bool.
        ids: N numbers, 1..255.
    """
    numbers = list(ids)
    labels = np.zeros(bitmaps.shape[1:], np.uint8)
    areas = np.count_nonzero(bitmaps, axis=(1, 2))
    for row in np.argsort(-areas, kind="stable"):
        labels[bitmaps[row]] = numbers[row]
    return labels


def palette_png(labels: ByteArray) -> bytes:
    """A PNG of a label map (h, w), in the usual colours."""
    picture = Image.fromarray(labels)
    picture.putpalette(davis_palette().tobytes())
    encoded = io.BytesIO()
    picture.save(encoded, format="PNG", compress_level=4)
    return encoded.getvalue()


def davis_palette() -> ByteArray:
    """(256, 3) uint8 RGB: the usual colours of label maps since PASCAL VOC.

    Of a number's bits every third one, from the lowest, goes into the same channel, the highest bit first:
    1 is dark red, 2 dark green, 4 dark blue, 3 their mixture, and neighbours always differ.
    """
    numbers = np.arange(256)
    palette = np.zeros((256, 3), np.uint8)
    for bit in range(8):
        palette[:, bit % 3] |= (((numbers >> bit) & 1) << (7 - bit // 3)).astype(np.uint8)
    return palette


def check_ids(ids: Iterable[int]) -> None:
    """InputError for a number that a byte does not hold."""
    for number in ids:
        if not 1 <= number <= _LARGEST:
            raise InputError(
                f"object {number} does not fit into an indexed PNG, which holds the numbers 1 to {_LARGEST}; "
                "give it another number, or write a log instead"
            )
