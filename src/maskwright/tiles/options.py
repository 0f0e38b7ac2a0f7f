"""How a huge picture is cut into tiles, and when what two tiles show is one object."""

from __future__ import annotations

import math
from dataclasses import dataclass

from maskwright.errors import InputError

LEAST, MOST = 32, 16_384
"""Sides of tiles in pixels."""


@dataclass(frozen=True, kw_only=True)
class TileOptions:
    """Tiles, and how their masks are put together.

    Raises:
        InputError: a value outside its range, or a halo that does not suit the size.
    """

    size: int = 1024
    """Side of the square tiles in pixels, 32 to 16384. Each is shown to the network like a picture of its
    own: smaller tiles show smaller objects, and there are more of them. A picture smaller than a tile is one
    tile."""
    halo: int | None = None
    """Pixels that neighbouring tiles share at least, 1 to half the size; None: an eighth of it. Objects that
    are not larger than this are whole in some tile."""
    stitch_iou: float = 0.5
    """Where two tiles overlap, IoU from which their masks are parts of one object, above 0 to 1."""
    overview: bool = True
    """Search the whole picture as well, reduced to the size of a tile, for objects that no tile shows whole.
    Of what is found so, only masks longer than ``size`` less the halo count."""
    contained: float = 0.9
    """A mask that ends at its tile's edge and continues in none goes, if this share of it lies in a mask of
    a neighbouring tile; above 0 to 1."""
    embeddings: int = 8
    """Windows that are kept, encoded, for further prompts in the same places; 1 or more."""

    def __post_init__(self) -> None:
        _check_whole("size", self.size, LEAST, MOST)
        if self.halo is not None:
            _check_whole("halo", self.halo, 1, MOST)
            if 2 * self.halo > self.size:
                raise InputError(
                    f"halo is {self.halo}, and tiles of {self.size} pixels may share at most half, "
                    f"{self.size // 2}; use a smaller halo or larger tiles"
                )
        for name in ("stitch_iou", "contained"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= 1:
                raise InputError(f"{name} is {value!r}; it must be a number above 0, up to 1")
        _check_whole("embeddings", self.embeddings, 1, math.inf)

    @property
    def shared(self) -> int:
        """Pixels that neighbouring tiles share at least."""
        return self.size // 8 if self.halo is None else self.halo


def _check_whole(name: str, value: object, least: int, most: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        span = f"from {least} to {most}" if math.isfinite(most) else f"from {least} on"
        raise InputError(f"{name} is {value!r}; it must be a whole number {span}")
