"""A picture too large for memory: :class:`TiledImage`, which is asked like a model with that picture."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from maskwright.automask.found import FoundMasks
from maskwright.automask.options import AutomaskOptions
from maskwright.automask.search import SearchStep, whole_result
from maskwright.errors import ImageError, InputError
from maskwright.io.images import check_ending, write_image
from maskwright.io.rasters import Raster, reduced_size
from maskwright.io.sources.protocol import Closing
from maskwright.pixels import draw
from maskwright.pixels.rle import MOST_PIXELS
from maskwright.runtime.protocol import Runtime
from maskwright.tiles.options import TileOptions
from maskwright.tiles.prompted import Prompted, moved
from maskwright.tiles.search import TiledSearch
from maskwright.types import ByteArray, Prompt, PromptLike, Size

Extent: TypeAlias = tuple[int, int, int, int]
"""Columns x0 to x1 and rows y0 to y1, exclusive, as (x0, y0, x1, y1)."""
OVERVIEW = 2048
"""Longest side, in pixels, of the reduced picture that masks are drawn on."""


class TiledImage(Closing):
    """A huge picture that is read by windows; nothing is read before it is asked for.

    Any number of threads may use one. A context manager: leaving it closes the file.
    """

    def __init__(self, runtime: Runtime, raster: Raster, options: TileOptions | None = None) -> None:
        """See :meth:`maskwright.MaskModel.tiled`.

        Raises:
            ImageError: tiles of it cannot be read within the memory allowed, or it has too many pixels.
        """
        self.options = options or TileOptions()
        h, w = raster.size
        if h * w >= MOST_PIXELS:
            raise ImageError(
                f"{raster.name} has {w} x {h} pixels, more than the {MOST_PIXELS - 1} that run lengths can "
                "count; cut it into parts"
            )
        raster.check_window(self.options.size)
        self.raster = raster
        """What the picture is read from."""
        self._runtime = runtime
        self._prompted = Prompted(runtime, raster, self.options)

    @property
    def size(self) -> Size:
        """Height and width of the picture in pixels."""
        return self.raster.size

    def __repr__(self) -> str:
        return (
            f"TiledImage({self.raster.name!r}, {self.size[0]} x {self.size[1]}, tiles of {self.options.size})"
        )

    def segment(
        self,
        *prompts: PromptLike,
        max_hole_area: float = 0,
        max_speck_area: float = 0,
        threshold: float = 0.0,
    ) -> FoundMasks:
        """Masks for prompts: every positional argument is one object, as for :meth:`Embedding.segment`.

        Each is looked for in a window of a tile's size around it, and in larger ones, read reduced, if the
        prompt or the object reaches beyond. Windows are kept for further prompts in the same place.

        Args:
            prompts: Clicks and boxes, in pixels of the whole picture.
            max_hole_area: Fill holes up to this many cells of the window's low-resolution mask.
            max_speck_area: Remove separate specks up to this many cells.
            threshold: Mask logit above which a pixel belongs to the object.

        Returns:
            One mask per prompt, in their order, as run lengths; ``crops`` are the windows.

        Raises:
            PromptError: no prompt, or one that is malformed, outside the picture, or a mask.
            InputError: an option outside its range.
            ImageError: that part of the file is damaged.
        """
        return self._prompted.segment(
            prompts, max_hole_area=max_hole_area, max_speck_area=max_speck_area, threshold=threshold
        )

    def automask(
        self,
        preset: str = "balanced",
        *,
        options: AutomaskOptions | None = None,
        progress: Callable[[SearchStep], object] | None = None,
        **changes: Any,
    ) -> FoundMasks:
        """Find every object, tile by tile, and stitch together what their edges cut.

        Args:
            preset: As for :meth:`MaskModel.automask`; clicks are per tile.
            options: See there.
            progress: See there.
            changes: See there.

        Returns:
            The masks, largest first.

        Raises:
            InputError: as for :meth:`MaskModel.automask`, or tiles smaller than the grid of clicks.
            ImageError: a part of the file is damaged.
        """
        with self.search(preset, options=options, **changes) as search:
            return whole_result(search, progress)

    def search(
        self, preset: str = "balanced", *, options: AutomaskOptions | None = None, **changes: Any
    ) -> TiledSearch:
        """:meth:`automask` step by step, as :meth:`MaskModel.search`; leaving off keeps what was found."""
        chosen = AutomaskOptions.of(options, preset, self._runtime.config.name, changes)
        return TiledSearch(self._runtime, self.raster, chosen, self.options)

    def overview(self, longest: int = OVERVIEW, window: Extent | None = None) -> ByteArray:
        """The picture, or a window (x0, y0, x1, y1) of it, reduced so that one can look at it.

        Returns:
            (h, w, 3) uint8 RGB, the longer side at most ``longest`` pixels.

        Raises:
            InputError: ``longest`` is below 1, or the window reaches outside the picture.
            ImageError: a part of the file is damaged.
        """
        h, w = self.size
        x0, y0, x1, y1 = window = window or (0, 0, w, h)
        if longest < 1 or not (0 <= x0 < x1 <= w and 0 <= y0 < y1 <= h):
            raise InputError(
                f"a view of {window} with {longest} pixels: it must have one pixel at least and lie in the "
                f"picture, which is {w} pixels wide and {h} high"
            )
        return self.raster.read(*window, size=reduced_size((y1 - y0, x1 - x0), longest))

    def overlay(
        self,
        found: FoundMasks,
        *,
        longest: int = OVERVIEW,
        window: Extent | None = None,
        alpha: float = 0.5,
        prompts: Sequence[PromptLike] = (),
    ) -> ByteArray:
        """The reduced picture, or a window of it, with the masks on it.

        Args:
            found: Masks of this picture.
            longest: As for :meth:`overview`.
            window: See there.
            alpha: Strength of the tint.
            prompts: What the masks were asked for with, in the same order; clicks and boxes are marked.

        Returns:
            (h, w, 3) uint8 RGB.

        Raises:
            InputError: as for :meth:`overview`, or ``alpha`` is outside 0..1.
        """
        picture = self.overview(longest, window)
        canvas = found.reduced(longest, picture, window=window).overlay(alpha=alpha)
        (h, w), extent = picture.shape[:2], window or (0, 0, self.size[1], self.size[0])
        scale = w / (extent[2] - extent[0]), h / (extent[3] - extent[1])
        marks = [moved(Prompt.of(one), extent[:2], scale) for one in prompts]
        return draw.overlay(canvas, np.zeros((0, h, w), np.bool_), prompts=marks)

    def save_overlay(
        self, path: str | os.PathLike[str], found: FoundMasks, *, overwrite: bool = True, **options: Any
    ) -> Path:
        """Write :meth:`overlay`, which takes the options, as PNG, JPEG or WebP, by the ending of ``path``.

        Raises:
            InputError: an unknown ending, or whatever :meth:`overlay` raises.
            OutputError: it could not be written; nothing was left under that name.
        """
        path = check_ending(path)
        return write_image(path, self.overlay(found, **options), overwrite=overwrite)

    def save_numbers(
        self, path: str | os.PathLike[str], found: FoundMasks, numbers: Sequence[int] | None = None
    ) -> Path:
        """Write a TIFF of the picture's size: at each pixel the number of the smallest mask on it, else 0.

        It is written window by window, tiled and compressed, a BigTIFF if need be, of 16 bits or, for numbers
        above 65535, 32; and lies in the same place on earth, if the picture has one.

        Args:
            path: Final name; an existing file is replaced.
            found: Masks of this picture.
            numbers: Of the masks, from 1 on; by default their places, as :meth:`FoundMasks.numbers` has them.

        Raises:
            OutputError: it could not be written; nothing was left under that name.
            MissingExtraError: rasterio is not installed.
        """
        from maskwright.io.raster_files import write_blocks

        table = np.array([0, *(range(1, len(found) + 1) if numbers is None else numbers)])
        table = table.astype(np.uint16 if table.max() < 1 << 16 else np.uint32)
        return write_blocks(
            Path(path), self.size, str(table.dtype), lambda *window: table[found.numbers(window)], self.raster
        )

    def close(self) -> None:
        """Close the file; an array stays as it is."""
        self.raster.close()
