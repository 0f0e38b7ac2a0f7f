"""The options of ``segment`` that belong to ``--tiles``."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import typer

_option = partial(typer.Option, rich_help_panel="Huge pictures")

Tiles = Annotated[
    bool,
    _option(
        "--tiles",
        help="Read the picture by windows (TIFF, BigTIFF, JPEG 2000 ...), never whole: for 10,000 pixels a "
        "side and more. Needs maskwright\\[tiles].",
    ),
]
TileSize = Annotated[
    int | None,
    _option(
        metavar="PIXELS",
        help="Side of the tiles: smaller ones show smaller objects, and there are more of them.",
        show_default="1024",
    ),
]
Halo = Annotated[
    int | None,
    _option(
        metavar="PIXELS",
        help="What neighbouring tiles share, at least.",
        show_default="an eighth of the tiles",
    ),
]
Channels = Annotated[
    str | None,
    _option(
        metavar="R,G,B",
        help="Which channels are red, green and blue, such as 4,3,2; or one of them, as grey.",
        show_default="the first three",
    ),
]
ValueRange = Annotated[
    str | None,
    _option(
        metavar="LOW,HIGH",
        help="What becomes black and what white, where samples are not 8 bits.",
        show_default="what the picture spans",
    ),
]
