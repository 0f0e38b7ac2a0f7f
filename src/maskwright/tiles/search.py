"""Searching a huge picture tile by tile, each like a picture of its own."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from maskwright.automask import places
from maskwright.automask.found import FoundMasks, Sieve
from maskwright.automask.options import AutomaskOptions
from maskwright.automask.places import Crop
from maskwright.automask.search import Search, SearchStep
from maskwright.errors import InputError
from maskwright.io.rasters import Raster, reduced_size
from maskwright.io.sources.protocol import Closing
from maskwright.runtime.protocol import Runtime
from maskwright.tiles.options import TileOptions
from maskwright.tiles.parts import placed
from maskwright.tiles.plan import check_grid, tiles
from maskwright.tiles.stitch import Stitched, stitch
from maskwright.types import Size

_NOWHERE = Crop(0, 0, 0, 0, 0)
"""Shares no pixel with any tile."""


class TiledSearch(Closing, Iterator[SearchStep]):
    """The search for masks in a huge picture; iterating does the work, and leaving off cancels it.

    The whole picture comes first, reduced, for objects that no tile shows whole (``TileOptions.overview``).
    It holds one tile's pixels at a time, and the run lengths of what was found. :meth:`result` has that at
    any time, stitched together. A tile that is all of one grey, such as black around a slide, shows nothing
    and is not searched: its clicks count as answered.
    """

    def __init__(
        self, runtime: Runtime, raster: Raster, options: AutomaskOptions, tiling: TileOptions
    ) -> None:
        """Plans the search; nothing is read yet.

        Args:
            runtime: The model.
            raster: The picture.
            options: What to search each tile with; ``points_per_side`` are those of a tile.
            tiling: How to cut the picture.

        Raises:
            InputError: tiles are smaller than the grid of clicks, or ``options.refine``.
        """
        if options.refine:
            raise InputError(
                "tiles are searched at full size already: leave refine out, or use smaller tiles"
            )
        self.options, self.tiling = options, tiling
        self.size: Size = raster.size
        self.tiles = tiles(raster.size, tiling)
        """Where the tiles lie, in the order in which they are searched."""
        check_grid(raster.size, options, tiling)
        self._runtime, self._raster = runtime, raster
        h, w = raster.size
        whole = [Crop(0, 0, w, h, 0)] if tiling.overview and len(self.tiles) > 1 else []
        self._looks = whole + self.tiles
        self._num_whole = len(whole)
        here = sum(len(places.points(options, crop)) for crop in places.crops(self.tiles[0].size, options))
        self._clicks = [len(places.points(options, crop)) for crop in whole] + [here] * len(self.tiles)
        self._parts: list[FoundMasks] = []
        self._sieve = Sieve()
        self._search: Search | None = None
        self._answered = 0
        self._seconds, self._closed = 0.0, False
        self._stitched: tuple[int, Stitched] | None = None

    def __iter__(self) -> TiledSearch:
        return self

    def __next__(self) -> SearchStep:
        if self._closed or self.finished:
            raise StopIteration
        began = time.monotonic()
        new = FoundMasks.none(self.size)
        if self._search is None:
            self._search = self._begun()
        if self._search is None:
            self._settle(new, Sieve())
        else:
            step = next(self._search)
            self._answered = step.done
            new = placed(step.new, self._tile, self.size)
            if self._search.finished:
                self._settle(self._found_here(), self._search.sieve)
        self._seconds += time.monotonic() - began
        return SearchStep(self._done, self.total, self._seconds, new)

    @property
    def total(self) -> int:
        """Clicks in all tiles, and in the whole picture."""
        return sum(self._clicks)

    @property
    def tiles_done(self) -> int:
        """Tiles that were searched so far."""
        return max(0, len(self._parts) - self._num_whole)

    @property
    def finished(self) -> bool:
        """Whether every tile was searched."""
        return len(self._parts) == len(self._looks)

    @property
    def sieve(self) -> Sieve:
        """How many masks each filter took out so far, and how many went into others."""
        here = Sieve() if self._search is None else self._search.sieve
        return self._sieve + here + self._reckoned().sieve

    def result(self, *, largest_first: bool = True) -> FoundMasks:
        """What was found so far, stitched together, without duplicates; it carries no picture.

        Args:
            largest_first: Sort by area. Otherwise tile by tile.
        """
        found = self._reckoned().found
        return found[np.argsort(-found.areas, kind="stable")] if largest_first else found

    def close(self) -> None:
        """Stop after the batch that is being answered, if any; may be called from another thread."""
        self._closed = True

    @property
    def _tile(self) -> Crop:
        """The one that is being searched."""
        return self._looks[len(self._parts)]

    @property
    def _done(self) -> int:
        return sum(self._clicks[: len(self._parts)]) + self._answered

    def _begun(self) -> Search | None:
        """The search of the next tile, or of the whole picture first, unless that shows nothing."""
        whole = len(self._parts) < self._num_whole
        picture = self._raster.read(
            *self._tile[:4], size=reduced_size(self.size, self.tiling.size) if whole else None
        )
        if picture.min() == picture.max():
            return None
        options = replace(self.options, crop_layers=0) if whole else self.options
        return Search(self._runtime, picture, options, size=self._tile.size)

    def _found_here(self) -> FoundMasks:
        """What was found in the tile at hand."""
        if self._search is None:
            return FoundMasks.none(self.size)
        return placed(self._search.result(largest_first=False), self._tile, self.size)

    def _settle(self, found: FoundMasks, sieve: Sieve) -> None:
        self._parts.append(found)
        self._sieve += sieve
        self._search, self._answered = None, 0

    def _reckoned(self) -> Stitched:
        """All that was found so far, with the tile at hand taken as it stands."""
        if self._stitched is None or self._stitched[0] != self._done:
            parts = [*self._parts] if self._search is None else [*self._parts, self._found_here()]
            none, first = FoundMasks.none(self.size), self._num_whole
            stitched = stitch(
                [none, *parts[first:]],
                [_NOWHERE, *self._looks[first : len(parts)]],
                self.tiling,
                mask_size=self._runtime.config.mask_size,
                max_overlap=self.options.max_crop_overlap,
                whole=FoundMasks.joined([none, *parts[:first]]),
            )
            self._stitched = self._done, stitched
        return self._stitched[1]
