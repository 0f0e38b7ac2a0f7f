"""The options of ``segment`` that belong to ``--auto``."""

from __future__ import annotations

from typing import Annotated

import typer

_PANEL = "Automatic masks"
_PRESETS = "the preset's"

Auto = Annotated[
    bool,
    typer.Option(
        "--auto",
        help="Find every object, without prompts; in a folder, in all its pictures.",
        rich_help_panel=_PANEL,
    ),
]
Preset = Annotated[
    str | None,
    typer.Option(
        metavar="fast|balanced|dense",
        help="Large objects, quickly; the usual settings; small objects too, about eight times as long.",
        show_default="balanced",
        rich_help_panel=_PANEL,
    ),
]
PointsPerSide = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        help="Clicks along each side of the picture: twice as many take four times as long.",
        show_default=_PRESETS,
        rich_help_panel=_PANEL,
    ),
]
MinScore = Annotated[
    float | None,
    typer.Option(
        metavar="0..1",
        help="Leave out masks that the model is less sure of: their predicted IoU.",
        show_default=_PRESETS,
        rich_help_panel=_PANEL,
    ),
]
MinStability = Annotated[
    float | None,
    typer.Option(
        metavar="0..1",
        help="Leave out masks whose outline is less firm.",
        show_default=_PRESETS,
        rich_help_panel=_PANEL,
    ),
]
MaxOverlap = Annotated[
    float | None,
    typer.Option(
        metavar="0..1",
        help="Two masks whose boxes overlap more than this, as IoU, are one.",
        show_default=_PRESETS,
        rich_help_panel=_PANEL,
    ),
]
CropLayers = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        help="Search parts of the picture as well, for small objects: 1 is 2 x 2 parts, 2 also 4 x 4.",
        show_default=_PRESETS,
        rich_help_panel=_PANEL,
    ),
]
Overwrite = Annotated[
    bool,
    typer.Option(
        "--overwrite",
        help="With a folder: start over, and replace results that exist.",
        rich_help_panel=_PANEL,
    ),
]
