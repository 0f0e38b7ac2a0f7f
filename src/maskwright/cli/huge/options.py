"""The options of ``segment`` that belong to ``--tiles``."""

from __future__ import annotations

from typing import Annotated

import typer

_PANEL = "Huge pictures"

Tiles = Annotated[
    bool,
    typer.Option(
        "--tiles",
        help="Read the picture by windows (TIFF, BigTIFF, JPEG 2000 ...), never whole: for 10,000 pixels a "
        "side and more. Needs maskwright\\[tiles].",
        rich_help_panel=_PANEL,
    ),
]
TileSize = Annotated[
    int | None,
    typer.Option(
        metavar="PIXELS",
        help="Side of the tiles: smaller ones show smaller objects, and there are more of them.",
        show_default="1024",
        rich_help_panel=_PANEL,
    ),
]
Halo = Annotated[
    int | None,
    typer.Option(
        metavar="PIXELS",
        help="What neighbouring tiles share, at least.",
        show_default="an eighth of the tiles",
        rich_help_panel=_PANEL,
    ),
]
Channels = Annotated[
    str | None,
    typer.Option(
        metavar="R,G,B",
        help="Which channels are red, green and blue, such as 4,3,2; or one of them, as grey.",
        show_default="the first three",
        rich_help_panel=_PANEL,
    ),
]
ValueRange = Annotated[
    str | None,
    typer.Option(
        metavar="LOW,HIGH",
        help="What becomes black and what white, where samples are not 8 bits.",
        show_default="what the picture spans",
        rich_help_panel=_PANEL,
    ),
]
