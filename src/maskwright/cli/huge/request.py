"""What was asked for with ``--tiles``, and whether it makes sense."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maskwright.cli.said import Said, check_needed
from maskwright.errors import InputError

if TYPE_CHECKING:
    from maskwright.io.rasters import Raster, RasterOptions
    from maskwright.tiles.options import TileOptions


@dataclass(frozen=True, kw_only=True)
class Tiling(Said):
    """How to cut and read the picture, as it was typed; None is the usual."""

    tile_size: int | None = None
    halo: int | None = None
    channels: str | None = None
    value_range: str | None = None

    def tiles(self) -> TileOptions:
        """How to cut it.

        Raises:
            InputError: a value outside its range, or a halo that does not suit the tiles.
        """
        from maskwright.tiles.options import TileOptions

        given: dict[str, Any] = {} if self.tile_size is None else {"size": self.tile_size}
        return TileOptions(**given, halo=self.halo)

    def reading(self) -> RasterOptions:
        """How to read it.

        Raises:
            InputError: a text that is no such numbers.
        """
        from maskwright.io.rasters import RasterOptions

        channels = _numbers("--channels", self.channels, (1, 3), "three numbers such as 4,3,2, or one")
        span = _numbers("--value-range", self.value_range, (2,), "two numbers such as 0,4095")
        whole: Any = [int(number) if number.is_integer() else number for number in channels]
        return RasterOptions(
            channels=None if not whole else whole[0] if len(whole) == 1 else tuple(whole),
            value_range=(span[0], span[1]) if span else None,
        )


def check_tiling(*, tiles: bool, tiling: Tiling, others: Sequence[str]) -> None:
    """Refuse options that say nothing, or the opposite of each other.

    Args:
        tiles: Whether ``--tiles`` was given.
        tiling: What goes with it.
        others: Of the options that do not go with it, those that were given.

    Raises:
        InputError: the former without ``--tiles``, or one of the latter with it.
    """
    check_needed("--tiles", tiling.as_options(), there=tiles)
    if tiles and others:
        raise InputError(
            f"{others[0]} needs the whole picture, and --tiles never reads it whole; leave one of them out"
        )


@contextmanager
def opened(photo: Path, tiling: Tiling) -> Iterator[Raster]:
    """The picture, open while this lasts, once it is sure that its tiles can be read.

    Raises:
        InputError: it cannot be read so, or the memory does not suffice for such tiles.
    """
    from maskwright.io.rasters import open_raster

    tiles = tiling.tiles()
    raster = open_raster(photo, tiling.reading())
    try:
        raster.check_window(tiles.size)
        yield raster
    except MemoryError as error:
        raise InputError(
            f"there is not enough memory for tiles of {tiles.size} pixels; use a smaller --tile-size, a "
            "smaller model, or a machine with more memory"
        ) from error
    finally:
        raster.close()


def _numbers(option: str, text: str | None, counts: Sequence[int], form: str) -> list[float]:
    """Numbers separated by commas; none where there is no text."""
    if text is None:
        return []
    try:
        found = [float(part) for part in text.split(",")]
    except ValueError:
        found = []
    if len(found) not in counts:
        raise InputError(f"{option} {text!r} cannot be read; write {form}")
    return found
