"""Samples of any kind -> 8-bit RGB, by one rule for all parts of a picture.

Axes: H W rows and columns, C the channels that were chosen: one, shown as grey, or red, green and blue.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from maskwright.errors import ImageError, InputError
from maskwright.types import BoolArray, ByteArray

Samples = npt.NDArray[Any]
"""(h, w, c) of any real dtype."""
LOW_SHARE, HIGH_SHARE = 0.1, 99.9
"""Per cent of a picture's samples that the usual stretch makes black and leaves below white."""
SAMPLES_PER_STEP = 1 << 20
"""Wide samples that are converted at once (about 24 bytes each); at least one row."""


@dataclass(frozen=True, eq=False)
class Mapping:
    """What makes RGB of a picture's samples."""

    value_range: tuple[float, float] | None = None
    """What becomes black and what white, with a straight line between; None: samples are 8-bit already."""
    nodata: float | None = None
    """Pixels with this in all channels are no part of the picture, and become black. NaN always does."""
    palette: ByteArray | None = None
    """(n, 3) RGB of each sample, where these are indices."""
    inverted: bool = False
    """Whether the lowest sample is white."""

    def apply(self, samples_HWC: Samples) -> ByteArray:
        """(h, w, 3) uint8, C-contiguous, in memory of its own."""
        if self.palette is not None:
            coloured: ByteArray = self.palette[np.minimum(samples_HWC[..., 0], len(self.palette) - 1)]
            return coloured
        missing_HW = self._missing(samples_HWC)
        bytes_HWC = self._eight(samples_HWC)
        if self.inverted:
            bytes_HWC = 255 - bytes_HWC
        rgb = np.repeat(bytes_HWC, 3, axis=2) if bytes_HWC.shape[2] == 1 else np.array(bytes_HWC, order="C")
        if missing_HW is not None:
            rgb[missing_HW] = 0
        return rgb

    def _missing(self, samples_HWC: Samples) -> BoolArray | None:
        if self.nodata is None or math.isnan(self.nodata):
            return None
        missing: BoolArray = (samples_HWC == self.nodata).all(axis=2)
        return missing

    def _eight(self, samples_HWC: Samples) -> ByteArray:
        if self.value_range is None:
            return samples_HWC.astype(np.uint8, copy=False)
        low, high = self.value_range
        dtype = samples_HWC.dtype
        if dtype == np.bool_:
            return _stretched(samples_HWC, low, high)
        if dtype.kind in "iu" and dtype.itemsize <= 2:  # by a table of all values that there are
            code = np.dtype(f"u{dtype.itemsize}")
            table = _stretched(np.arange(1 << 8 * dtype.itemsize, dtype=code).view(dtype), low, high)
            looked_up: ByteArray = table[np.ascontiguousarray(samples_HWC).view(code)]
            return looked_up
        eight = np.empty(samples_HWC.shape, np.uint8)
        step = max(1, SAMPLES_PER_STEP // max(1, samples_HWC[0].size))
        for top in range(0, len(eight), step):
            eight[top : top + step] = _stretched(samples_HWC[top : top + step], low, high)
        return eight


def _stretched(samples: Samples, low: float, high: float) -> ByteArray:
    with np.errstate(over="ignore", invalid="ignore"):  # what is infinite is clipped, what is NaN becomes 0
        values = (samples.astype(np.float64) - low) * (255 / (high - low))
    eight: ByteArray = np.rint(np.nan_to_num(values, posinf=255, neginf=0).clip(0, 255)).astype(np.uint8)
    return eight


def spread(samples: Samples, nodata: float | None) -> tuple[float, float]:
    """The range that a picture is stretched from: all but the extremes of its samples, of all channels alike.

    Args:
        samples: Some or all of the picture's, any shape.
        nodata: Left out, as NaN and infinity are.
    """
    values = samples[np.isfinite(samples)] if samples.dtype.kind == "f" else samples.ravel()
    if nodata is not None:
        values = values[values != nodata]
    if not len(values):
        return 0.0, 1.0
    low, high = (float(edge) for edge in np.percentile(values, (LOW_SHARE, HIGH_SHARE)))
    if low == high:
        low, high = float(values.min()), float(values.max())
    return (low, high) if low < high else (low, low + 1)


def usual_range(dtype: np.dtype[Any], bits: int | None = None) -> tuple[float, float] | None:
    """The range of samples that need no looking at, such as those of a few bits; None: 8-bit as they are.

    Raises:
        LookupError: the range has to be taken from the picture.
    """
    if dtype == np.bool_:
        return 0.0, 1.0
    if dtype != np.uint8:
        raise LookupError(f"samples are {dtype}")
    return None if bits is None or bits == 8 else (0.0, 2.0**bits - 1)


def chosen(count: int, channels: int | tuple[int, int, int] | None, name: str) -> list[int]:
    """Which channels of a picture are shown, from 0 on: one, or red, green and blue.

    Args:
        count: How many it has.
        channels: Their numbers from 1 on, or None: the first of one or two, else the first three.
        name: What to call the picture.

    Raises:
        InputError: it has no such channel.
    """
    if channels is None:
        return [0] if count < 3 else [0, 1, 2]
    wanted = [channels] if isinstance(channels, int) else list(channels)
    for channel in wanted:
        if channel > count:
            raise InputError(f"{name} has no channel {channel}; its channels are 1 to {count}")
    return [channel - 1 for channel in wanted]


def check_dtype(dtype: np.dtype[Any], name: str) -> None:
    """Make sure that samples are real numbers.

    Raises:
        ImageError: complex numbers, or no numbers.
    """
    if dtype.kind not in "buif":
        advice = "; take their magnitude first" if dtype.kind == "c" else ""
        raise ImageError(f"the samples of {name} are {dtype}, which cannot be shown as a picture{advice}")
