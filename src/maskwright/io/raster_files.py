"""Picture files of any size, read by windows through GDAL (the package rasterio)."""

from __future__ import annotations

import math
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from maskwright.errors import ImageError, InputError, MissingExtraError
from maskwright.io.files import atomic_write
from maskwright.io.images import orientation_of
from maskwright.io.rasters import RANGE_SIDE, RasterOptions, reduced_size
from maskwright.pixels.samples import Mapping, check_dtype, chosen, spread, usual_range
from maskwright.types import ByteArray, Size

FORMATS = {
    "GTiff": "TIFF",
    "JP2OpenJPEG": "JPEG 2000",
    "PNG": "PNG",
    "JPEG": "JPEG",
    "WEBP": "WebP",
    "BMP": "BMP",
}
"""GDAL's names of the formats that are read, and ours. The others may refer to further files or servers."""
CACHE = 64 << 20
"""Bytes of decoded blocks that GDAL keeps, at least; more where a row of windows needs it."""
BLOCK = 512
"""Side, in pixels, of the blocks of files that are written."""
_TURNS = {
    1: (False, False, False),
    2: (False, True, False),
    3: (False, True, True),
    4: (False, False, True),
    5: (True, False, False),
    6: (True, True, False),
    7: (True, True, True),
    8: (True, False, True),
}
"""EXIF orientation -> what makes the stored picture upright: rows for columns, then mirrored left to right,
and top to bottom."""


class FileRaster:
    """A picture file; what is stored in it lying down is upright here."""

    def __init__(self, path: Path, options: RasterOptions) -> None:
        self.name = str(path)
        self._options = options
        self._lock = threading.Lock()
        self._cache = CACHE
        self._file = _opened(path)
        try:
            file = self._file
            check_dtype(np.dtype(file.dtypes[0]), self.name)
            self._turned, self._mirrored, self._upturned = _TURNS[orientation_of(path)]
            self.size: Size = (file.width, file.height) if self._turned else (file.height, file.width)
            self._palette = _palette(file)
            if self._palette is not None and options.channels not in (None, 1):
                raise InputError(f"{path} has one channel, with a palette; leave the channels out")
            self._channels = chosen(file.count, options.channels, self.name)
        except BaseException:
            self.close()
            raise

    @property
    def georeference(self) -> dict[str, Any]:
        """Where on earth it is, as rasterio writes it into a file of the same size; may be empty."""
        if self._file.crs is None or self._turned or self._mirrored or self._upturned:
            return {}
        return {"crs": self._file.crs, "transform": self._file.transform}

    def read(self, x0: int, y0: int, x1: int, y1: int, size: Size | None = None) -> ByteArray:
        """See :class:`maskwright.io.rasters.Raster`."""
        return self._mapping.apply(self._samples((x0, y0, x1, y1), size or (y1 - y0, x1 - x0)))

    def check_window(self, side: int) -> None:
        """See :class:`maskwright.io.rasters.Raster`. Afterwards the cache has room for a row of windows."""
        item, (high, wide) = np.dtype(self._file.dtypes[0]).itemsize, self._file.block_shapes[0]
        blocks, block = (
            self._blocks(side),
            self._bands * high * wide * item,
        )  # one is decoded beside the cache
        window = min(side, self._file.height) * min(side, self._file.width) * (3 + len(self._channels) * item)
        needed = max(CACHE, blocks) + block + window
        if needed <= self._options.memory_mib << 20:
            self._cache = max(CACHE, blocks)
            return
        raise ImageError(
            f"{self.name} is stored in blocks of {wide} x {high} pixels: reading {side} x {side} of it takes "
            f"{needed >> 20} MiB, more than the {self._options.memory_mib} allowed. Write it with small "
            "blocks, with gdal_translate -co TILED=YES -co COMPRESS=DEFLATE -co BIGTIFF=IF_SAFER, "
            "or, from Python, allow more with RasterOptions(memory_mib=...)"
        )

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    @property
    def _bands(self) -> int:
        """Bands that are decoded together."""
        interleaving = self._file.interleaving
        together = interleaving is not None and interleaving.name == "pixel"
        return int(self._file.count) if together else len(self._channels)

    def _blocks(self, side: int) -> int:
        """Bytes of all blocks that a window of this side may touch."""
        covered = [
            min(length, (math.ceil(side / block) + 1) * block)
            for length, block in zip(self._file.shape, self._file.block_shapes[0], strict=True)
        ]
        return int(math.prod(covered) * self._bands * np.dtype(self._file.dtypes[0]).itemsize)

    def _samples(self, window: tuple[int, int, int, int], size: Size) -> np.ndarray:
        """Samples (h, w, c) of a window of the upright picture."""
        from rasterio.enums import Resampling
        from rasterio.windows import Window

        x0, y0, x1, y1 = self._stored(window)
        h, w = size[::-1] if self._turned else size
        whole = (h, w) == (y1 - y0, x1 - x0)
        alike = whole or self._palette is not None
        with self._lock, _gdal(self._cache), _as_image_error(self.name):
            read: np.ndarray = self._file.read(
                [channel + 1 for channel in self._channels],
                window=Window(x0, y0, x1 - x0, y1 - y0),
                out_shape=(len(self._channels), h, w),
                resampling=Resampling.nearest if alike else Resampling.average,
            )
        return self._upright(read.transpose(1, 2, 0))

    def _stored(self, window: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
        """A window of the upright picture in the one that is stored."""
        x0, y0, x1, y1 = window
        h, w = self.size
        if self._mirrored:
            x0, x1 = w - x1, w - x0
        if self._upturned:
            y0, y1 = h - y1, h - y0
        return (y0, x0, y1, x1) if self._turned else (x0, y0, x1, y1)

    def _upright(self, samples: np.ndarray) -> np.ndarray:
        if self._turned:
            samples = samples.swapaxes(0, 1)
        return samples[:: -1 if self._upturned else 1, :: -1 if self._mirrored else 1]

    @cached_property
    def _mapping(self) -> Mapping:
        file = self._file
        inverted = file.tags(ns="IMAGE_STRUCTURE").get("MINISWHITE") == "YES"
        bits = file.tags(1, ns="IMAGE_STRUCTURE").get("NBITS")
        nodata, span = file.nodata, self._options.value_range
        if self._palette is not None:
            return Mapping(palette=self._palette)
        if span is None:
            try:
                span = usual_range(np.dtype(file.dtypes[0]), None if bits is None else int(bits))
            except LookupError:
                h, w = self.size
                span = spread(self._samples((0, 0, w, h), reduced_size(self.size, RANGE_SIDE)), nodata)
        return Mapping(span, nodata, inverted=inverted)


def write_blocks(
    path: Path, size: Size, dtype: str, block: Callable[[int, int, int, int], np.ndarray], like: object = None
) -> Path:
    """Write a grey TIFF of any size, block by block, whole or not at all: tiled, deflated, BigTIFF if large.

    Args:
        path: Final name; an existing file is replaced.
        size: Height and width in pixels.
        dtype: Of the samples, such as ``"uint16"``.
        block: Returns the samples (h, w) of a window x0, y0, x1, y1.
        like: A raster of the same size, whose place on earth it gets, if that has one.

    Raises:
        OutputError: it cannot be written.
    """
    rasterio = _rasterio()
    from rasterio.windows import Window

    h, w = size
    place = like.georeference if isinstance(like, FileRaster) else {}
    profile = {
        "driver": "GTiff", "height": h, "width": w, "count": 1, "dtype": dtype, **place,
        "tiled": True, "blockxsize": BLOCK, "blockysize": BLOCK, "compress": "deflate", "BIGTIFF": "IF_SAFER",
    }  # fmt: skip
    with atomic_write(path) as target:
        try:
            with _gdal(CACHE), rasterio.open(target.name, "w", **profile) as file:
                for y0 in range(0, h, BLOCK):
                    for x0 in range(0, w, BLOCK):
                        x1, y1 = min(x0 + BLOCK, w), min(y0 + BLOCK, h)
                        file.write(block(x0, y0, x1, y1), 1, window=Window(x0, y0, x1 - x0, y1 - y0))
        except rasterio.errors.RasterioError as error:
            raise OSError(_reason(error)) from error
    return path


def _opened(path: Path) -> Any:
    """The dataset of a file that is what it should be."""
    rasterio = _rasterio()
    if path.is_dir():
        raise ImageError(f"{path} is a folder; give the name of one picture in it")
    try:
        size = path.stat().st_size
    except OSError as error:
        advice = "download it first" if "://" in str(path) else "check the path"
        raise ImageError(f"no such picture: {path}; {advice}") from error
    if not size:
        raise ImageError(f"{path} is empty (0 bytes); it may not have been saved or copied completely")
    with _gdal(CACHE):
        try:
            file = rasterio.open(path.resolve())
        except rasterio.errors.RasterioError as error:
            reason = _reason(error)
            what = (
                f"is not a picture that can be read by windows; convert it to {FORMATS['GTiff']}"
                if "not recognized" in reason
                else f"is damaged: {reason}; save or copy it again"
            )
            raise ImageError(f"{path} {what}") from error
    if file.driver not in FORMATS or not file.count:
        file.close()
        raise ImageError(f"{path} is a {file.driver} file; {', '.join(FORMATS.values())} are read by windows")
    if file.driver == "PNG" and not _is_whole_png(path):
        file.close()
        raise ImageError(f"{path} is damaged or truncated: its end is missing; copy it again")
    return file


def _rasterio() -> Any:
    try:
        import rasterio
        import rasterio.errors
    except ImportError as error:
        raise MissingExtraError(
            "reading huge pictures by windows needs rasterio: pip install 'maskwright[tiles]'"
        ) from error
    return rasterio


@contextmanager
def _gdal(cache: int) -> Iterator[None]:
    """GDAL with a cache of that many bytes.

    It does not look for cloud accounts, nor say that a photograph has no place on earth.
    """
    import rasterio
    from rasterio.errors import NotGeoreferencedWarning
    from rasterio.session import DummySession

    with warnings.catch_warnings(), rasterio.Env(DummySession(), GDAL_CACHEMAX=cache):
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        yield


@contextmanager
def _as_image_error(name: str) -> Iterator[None]:
    from rasterio.errors import RasterioError

    try:
        yield
    except RasterioError as error:
        raise ImageError(f"{name} is damaged or truncated: {_reason(error)}; copy it again") from error


def _reason(error: BaseException) -> str:
    """What GDAL says, on one line, without a full stop."""
    cause = error.__cause__
    return " ".join(str(getattr(cause, "errmsg", None) or cause or error).split()).rstrip(".")


def _palette(file: Any) -> ByteArray | None:
    """(n, 3) uint8 colours of the samples' values, if there are."""
    if file.count != 1 or file.colorinterp[0].name != "palette":
        return None
    colours = file.colormap(1)
    palette = np.zeros((max(colours) + 1, 3), np.uint8)
    for value, colour in colours.items():
        palette[value] = colour[:3]
    return palette


def _is_whole_png(path: Path) -> bool:
    """Whether the last chunk is there: GDAL takes what is missing for black."""
    with path.open("rb") as file:
        file.seek(-min(path.stat().st_size, 1024), 2)
        return b"IEND" in file.read()
