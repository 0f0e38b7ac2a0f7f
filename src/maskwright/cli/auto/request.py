"""What was asked for with ``--auto``, and whether it makes sense."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from maskwright.cli.export.request import Exports
from maskwright.cli.pace import Wanted
from maskwright.cli.said import Said, check_needed
from maskwright.errors import InputError

if TYPE_CHECKING:
    from maskwright.automask.options import AutomaskOptions
    from maskwright.mask_model import MaskModel


@dataclass(frozen=True, kw_only=True)
class Settings(Said):
    """How to search, as far as it was said; None is what the preset has."""

    preset: str | None = None
    points_per_side: int | None = None
    min_score: float | None = None
    min_stability: float | None = None
    max_overlap: float | None = None
    crop_layers: int | None = None
    refine: bool | None = None


@dataclass(frozen=True, kw_only=True)
class Request:
    """What was asked for on the command line, as it was typed."""

    source: Path
    """A picture, a folder of pictures, or a pattern."""
    settings: Settings
    clean: float | None
    """Cells up to which holes are filled and specks removed; None is what the preset has."""
    model: str
    device: str | None
    dtype: str | None
    image_size: int | None
    out: Path | None
    overwrite: bool
    as_json: bool
    exports: Exports
    runtime: str | None = None

    @property
    def folder(self) -> Path:
        """Where the results of one picture go: ``-o``, else ``PHOTO-masks`` in the working directory."""
        return self.out if self.out is not None else Path(f"{self.source.stem}-masks")

    def options(self, model: str = "") -> AutomaskOptions:
        """What to search with.

        Args:
            model: Name of the model whose scores the preset should suit.

        Raises:
            InputError: an unknown preset, or a value outside its range.
        """
        from maskwright.automask.options import AutomaskOptions

        changes = self.settings.given
        if self.clean is not None:
            changes |= {"max_hole_area": self.clean, "max_speck_area": self.clean}
        return AutomaskOptions.preset(changes.pop("preset", "balanced"), model=model, **changes)

    def load(self) -> MaskModel:
        """The model."""
        return Wanted(self.model, self.device, self.dtype, self.image_size, self.runtime).load()


def find_masks(request: Request) -> bool:
    """Find everything in a photograph, or in all pictures of a folder or pattern.

    Returns:
        False if Ctrl-C ended it early and that was said.

    Raises:
        MaskwrightError: wrong input, an unusable model, or results that cannot be written.
    """
    from maskwright.cli.auto.listing import is_many

    if is_many(request.source):
        from maskwright.cli.auto.folder import find_in_folder

        return find_in_folder(request)
    from maskwright.cli.auto.photo import find_in_photo

    find_in_photo(request)
    return True


def check_together(*, auto: bool, prompting: Sequence[str], searching: Sequence[str]) -> None:
    """Refuse options that say nothing, or the opposite of each other.

    Args:
        auto: Whether ``--auto`` was given.
        prompting: Of the options that ask for one object, those that were given.
        searching: Of the options that need ``--auto``, those that were given.

    Raises:
        InputError: one of ``prompting`` with ``--auto``, or one of ``searching`` without.
    """
    if auto and prompting:
        raise InputError(
            f"--auto finds every object by itself, and {prompting[0]} is for one that is asked for; "
            "leave one of them out"
        )
    check_needed("--auto", searching, there=auto)
