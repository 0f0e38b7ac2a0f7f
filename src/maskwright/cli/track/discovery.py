"""The options of ``track`` that belong to ``--discover``."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from maskwright.cli.said import Said, check_needed

if TYPE_CHECKING:
    from maskwright.discover.options import Discover

LARGEST_ID = 255
"""Highest number that an indexed PNG holds."""
_option = partial(typer.Option, rich_help_panel="Discovering objects")
_PRESETS = "the preset's"
_SEARCH = ("min_score", "min_stability")

DiscoverFlag = Annotated[
    bool,
    _option(
        "--discover",
        help="Find and follow objects without --object, or beside those: automatic masks where none is.",
    ),
]
Every = Annotated[
    int | None,
    _option(metavar="K", help="Search every K-th frame.", show_default="15"),
]
MaxObjects = Annotated[
    int | None,
    _option(
        metavar="N",
        help="Objects followed at once, those of --object included: bounds memory and time.",
        show_default="8",
    ),
]
Preset = Annotated[
    str | None,
    _option(
        metavar="fast|balanced|dense",
        help="Search for large objects, quickly; as usual; for small ones too, about eight times as long.",
        show_default="fast",
    ),
]
MinScore = Annotated[
    float | None,
    _option(
        metavar="0..1",
        help="Leave out masks that the model is less sure of: their predicted IoU.",
        show_default=f"{_PRESETS}; nano: 0.6",
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
MinArea = Annotated[
    float | None,
    _option(
        metavar="0..1",
        help="Leave out masks below this share of the frame.",
        show_default="0.003",
    ),
]
MaxArea = Annotated[
    float | None,
    _option(
        metavar="0..1",
        help="Leave out masks above this share of the frame: background.",
        show_default="0.5",
    ),
]
ForgetAfter = Annotated[
    int | None,
    _option(
        metavar="FRAMES",
        help="A discovered object unseen for so long makes room for a new one; 0: never.",
        show_default="30",
    ),
]


@dataclass(frozen=True, kw_only=True)
class Discovering(Said):
    """How to discover, as far as it was said; None is the default."""

    every: int | None = None
    max_objects: int | None = None
    preset: str | None = None
    min_score: float | None = None
    min_stability: float | None = None
    min_area: float | None = None
    max_area: float | None = None
    forget_after: int | None = None

    def check(self, *, wanted: bool) -> None:
        """What can be said without a model.

        Raises:
            InputError: options without ``--discover``, or an impossible value.
        """
        check_needed("--discover", self.as_options(), there=wanted)
        if wanted:
            self.settings("", max_id=None)

    def settings(self, model: str, *, max_id: int | None) -> Discover:
        """What to discover with.

        Args:
            model: Name of the model whose scores the preset should suit.
            max_id: Highest number that the results hold.

        Raises:
            InputError: an unknown preset, or a value outside its range.
        """
        from maskwright.discover.options import Discover

        given = self.given
        if given.get("forget_after") == 0:
            given["forget_after"] = None
        changes = {name: given.pop(name) for name in _SEARCH if name in given}
        settings = Discover(max_id=max_id, **given)
        if not changes:
            return settings
        return replace(settings, preset="fast", options=replace(settings.search(model), **changes))


def as_json(settings: Discover, model: str) -> dict[str, Any]:
    """Everything that decides what is discovered, as JSON holds it, to tell whether a log is of this job."""
    from maskwright.cli.auto.report import settings_of

    plain = {
        field.name: getattr(settings, field.name)
        for field in fields(settings)
        if field.name not in ("preset", "options", "progress")
    }
    return plain | {"search": settings_of(settings.search(model))}
