"""Huge pictures, read by windows: files through GDAL, and arrays of any kind.

Whatever the samples are, a window comes as 8-bit RGB, by a rule that is the same for all windows of a
picture (``docs/huge-images.md``).
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image

from maskwright.errors import ImageError, InputError
from maskwright.pixels.samples import Mapping, check_dtype, chosen, spread, usual_range
from maskwright.types import ByteArray, Size

RANGE_SIDE = 1024
"""Longest side of the reduced picture that the range of samples is taken from."""
_PART = 1 << 11
"""Side, in pixels, of the parts that an array is reduced by."""


@dataclass(frozen=True, kw_only=True)
class RasterOptions:
    """How a picture of any kind is read.

    Raises:
        InputError: a value outside its range.
    """

    channels: int | tuple[int, int, int] | None = None
    """Numbers, from 1 on, of the channels that become red, green and blue, or of one that is shown as grey.
    None: one channel, or one with an alpha channel, is grey; of three and more the first three are RGB."""
    value_range: tuple[float, float] | None = None
    """Samples that become black and white. None: 8-bit samples stay as they are, others are stretched from
    the range of all but a thousandth at each end of the picture's own."""
    memory_mib: int = 1024
    """What reading a window may take, in MiB: GDAL's cache and the window itself. A file whose strips or
    blocks need more is refused."""

    def __post_init__(self) -> None:
        given: Any = self.channels
        channels = list(given) if isinstance(given, Sequence) else [1 if given is None else given]
        if len(channels) not in (1, 3) or not all(isinstance(one, int) and one >= 1 for one in channels):
            raise InputError(
                f"channels is {given!r}; give three numbers, for red, green and blue, or one for grey; the "
                "first channel is 1"
            )
        if self.value_range is not None:
            try:
                low, high = (float(edge) for edge in self.value_range)
            except (TypeError, ValueError):
                low = high = math.nan
            if not -math.inf < low < high < math.inf:
                raise InputError(
                    f"value_range is {self.value_range!r}; give what becomes black and what becomes white, "
                    "the lower one first"
                )
        if self.memory_mib < 96:
            raise InputError(
                f"memory_mib is {self.memory_mib!r}; GDAL alone takes 64, so it must be 96 or more"
            )


class Raster(Protocol):
    """A picture that is read by windows. Any number of threads may read; one does at a time."""

    @property
    def name(self) -> str:
        """What to call it in messages."""

    @property
    def size(self) -> Size:
        """Height and width in pixels, upright."""

    def read(self, x0: int, y0: int, x1: int, y1: int, size: Size | None = None) -> ByteArray:
        """A window, columns x0 to x1 and rows y0 to y1, exclusive, as RGB (h, w, 3).

        Args:
            x0: Within the picture, as the others are.
            y0: See there.
            x1: See there.
            y1: See there.
            size: Height and width to reduce it to, by averaging; not larger than the window.

        Raises:
            ImageError: that part of the file is damaged.
        """

    def check_window(self, side: int) -> None:
        """Make sure that windows of this side can be read within the memory allowed.

        Raises:
            ImageError: they cannot; the message says what to do.
        """

    def close(self) -> None:
        """Let go of the file."""


def open_raster(source: Any, options: RasterOptions | None = None) -> Raster:
    """A huge picture, opened but not read.

    Args:
        source: The path of a TIFF or BigTIFF, JPEG 2000, PNG, JPEG, WebP or BMP file, which needs rasterio;
            or an array (h, w) or (h, w, c): numpy, a memory map, or anything with ``shape``, ``dtype`` and
            windows by ``[y0:y1, x0:x1]``, such as of zarr or HDF5.
        options: How to read it.

    Raises:
        ImageError: missing, empty, not a picture, damaged, or samples that are no numbers.
        InputError: it has no such channels.
        MissingExtraError: rasterio is not installed.
    """
    options = options or RasterOptions()
    if isinstance(source, (str, os.PathLike)):
        from maskwright.io.raster_files import FileRaster

        return FileRaster(Path(source), options)
    if all(hasattr(source, name) for name in ("shape", "dtype", "__getitem__")):
        return ArrayRaster(source, options)
    raise ImageError(
        f"cannot read a {type(source).__name__} by windows; pass the path of a file, or an array (h, w, c)"
    )


class ArrayRaster:
    """An array, of which only the window at hand is converted."""

    name = "the array"

    def __init__(self, source: Any, options: RasterOptions) -> None:
        shape, dtype = tuple(source.shape), np.dtype(source.dtype)
        if len(shape) not in (2, 3) or 0 in shape:
            raise ImageError(f"the array has shape {shape}; a picture is (h, w) or (h, w, channels)")
        if len(shape) == 3 and shape[0] in (1, 3, 4) and shape[2] not in (1, 3, 4):
            raise ImageError(f"the array has shape {shape}, channels first; pass it as (h, w, channels)")
        check_dtype(dtype, self.name)
        self.size: Size = (int(shape[0]), int(shape[1]))
        self._channels = chosen(shape[2] if len(shape) == 3 else 1, options.channels, self.name)
        self._source, self._dtype, self._options = source, dtype, options

    def read(self, x0: int, y0: int, x1: int, y1: int, size: Size | None = None) -> ByteArray:
        """See :class:`Raster`."""
        if size is not None and size != (y1 - y0, x1 - x0):
            return averaged(self.read, (x0, y0, x1, y1), size)
        return self._mapping.apply(self._samples(slice(y0, y1), slice(x0, x1)))

    def check_window(self, side: int) -> None:
        """Nothing is needed but the window."""

    def close(self) -> None:
        """The array is the caller's."""

    def _samples(self, rows: slice, columns: slice) -> np.ndarray:
        part = np.asarray(self._source[rows, columns])
        return part[..., None] if part.ndim == 2 else part[..., self._channels]

    @cached_property
    def _mapping(self) -> Mapping:
        if self._options.value_range is not None:
            return Mapping(self._options.value_range)
        try:
            return Mapping(usual_range(self._dtype))
        except LookupError:
            every = slice(None, None, max(1, max(self.size) // RANGE_SIDE))
            return Mapping(spread(self._samples(every, every), None))


def averaged(
    read: Callable[[int, int, int, int], ByteArray], window: tuple[int, int, int, int], size: Size
) -> ByteArray:
    """A window reduced to ``size`` by averaging, part by part, so that it is never held whole.

    Args:
        read: Reads any part (x0, y0, x1, y1) as RGB.
        window: Which one.
        size: Height and width of the result.
    """
    x0, y0, x1, y1 = window
    (h, w), down, across = size, (y1 - y0) / size[0], (x1 - x0) / size[1]
    rows, columns = max(1, int(_PART / down)), max(1, int(_PART / across))
    reduced = np.empty((h, w, 3), np.uint8)
    for top in range(0, h, rows):
        for left in range(0, w, columns):
            bottom, right = min(top + rows, h), min(left + columns, w)
            edges = left * across, top * down, right * across, bottom * down
            corner = math.floor(edges[0]), math.floor(edges[1])
            far = min(math.ceil(edges[2]), x1 - x0), min(math.ceil(edges[3]), y1 - y0)
            part = Image.fromarray(read(x0 + corner[0], y0 + corner[1], x0 + far[0], y0 + far[1]))
            left_edge, top_edge = edges[0] - corner[0], edges[1] - corner[1]
            right_edge = min(edges[2] - corner[0], part.width)
            bottom_edge = min(edges[3] - corner[1], part.height)
            box = (left_edge, top_edge, right_edge, bottom_edge)
            small = part.resize((right - left, bottom - top), Image.Resampling.BOX, box=box)
            reduced[top:bottom, left:right] = np.asarray(small)
    return reduced


def reduced_size(size: Size, longest: int) -> Size:
    """The size of a picture reduced so that its longer side is at most ``longest``; at least one pixel."""
    scale = min(1.0, longest / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))
