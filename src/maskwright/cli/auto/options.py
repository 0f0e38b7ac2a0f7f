"""The options of ``segment`` that belong to ``--auto``."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import typer

_option = partial(typer.Option, rich_help_panel="Automatic masks")
_PRESETS = "the preset's"

Auto = Annotated[
    bool,
    _option(
        "--auto",
        help="Find every object, without prompts; in a folder, in all its pictures.",
    ),
]
Preset = Annotated[
    str | None,
    _option(
        metavar="fast|balanced|dense",
        help="Large objects, quickly; the usual settings; small objects too, about eight times as long.",
        show_default="balanced",
    ),
]
PointsPerSide = Annotated[
    int | None,
    _option(
        metavar="N",
        help="Clicks along each side of the picture: twice as many take four times as long.",
        show_default=_PRESETS,
    ),
]
MinScore = Annotated[
    float | None,
    _option(
        metavar="0..1",
        help="Leave out masks that the model is less sure of: their predicted IoU.",
        show_default=_PRESETS,
    ),
]
MinStability = Annotated[
    float | None,
    _option(
        metavar="0..1",
        help="Leave out masks whose outline is less firm.",
        show_default=_PRESETS,
    ),
]
MaxOverlap = Annotated[
    float | None,
    _option(
        metavar="0..1",
        help="Two masks whose boxes overlap more than this, as IoU, are one.",
        show_default=_PRESETS,
    ),
]
CropLayers = Annotated[
    int | None,
    _option(
        metavar="N",
        help="Search parts of the picture as well, for small objects: 1 is 2 x 2 parts, 2 also 4 x 4.",
        show_default=_PRESETS,
    ),
]
Overwrite = Annotated[
    bool,
    _option(
        "--overwrite",
        help="Replace other formats that exist; with a folder also start over, and replace results.",
    ),
]
