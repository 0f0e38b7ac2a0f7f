"""maskwright: SAM 2 as software to rely on.

>>> import maskwright as mw
>>> model = mw.load()                                   # the bundled nano model
>>> image = model.embed("truck.jpg")                    # encode once, prompt many times
>>> masks = image.segment(mw.Points([(500, 375)]))      # .bitmaps .scores .boxes .areas .rle() .save()

Importing this package does nothing heavy: every public name is loaded on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from maskwright.automask.found import FoundMasks, Sieve
    from maskwright.automask.options import AutomaskOptions
    from maskwright.automask.search import Search, SearchStep
    from maskwright.budget.options import Budget
    from maskwright.config import ModelConfig
    from maskwright.discover.options import Discover
    from maskwright.errors import (
        CheckpointError,
        DownloadError,
        ImageError,
        InputError,
        MaskwrightError,
        MissingExtraError,
        NotAvailableError,
        OutputError,
        PromptError,
        SourceError,
        StateError,
        UnknownModelError,
        WeightsError,
    )
    from maskwright.facade import export_model, load, models
    from maskwright.frames import Frame, TrackedFrame, TrackedObject
    from maskwright.io.rasters import RasterOptions
    from maskwright.mask_model import MaskModel
    from maskwright.masks import Masks
    from maskwright.segmenter import Embedding
    from maskwright.tiles.image import TiledImage
    from maskwright.tiles.options import TileOptions
    from maskwright.tiles.search import TiledSearch
    from maskwright.track.options import TrackOptions
    from maskwright.track.policy import ConfidentPolicy, OfficialPolicy, Policy
    from maskwright.track.session import Session
    from maskwright.track.tracker import Tracking
    from maskwright.types import Box, MaskPrompt, Points, Prompt

__version__ = "0.1.0"

__all__ = [
    "AutomaskOptions",
    "Box",
    "Budget",
    "CheckpointError",
    "ConfidentPolicy",
    "Discover",
    "DownloadError",
    "Embedding",
    "FoundMasks",
    "Frame",
    "ImageError",
    "InputError",
    "MaskModel",
    "MaskPrompt",
    "Masks",
    "MaskwrightError",
    "MissingExtraError",
    "ModelConfig",
    "NotAvailableError",
    "OfficialPolicy",
    "OutputError",
    "Points",
    "Policy",
    "Prompt",
    "PromptError",
    "RasterOptions",
    "Search",
    "SearchStep",
    "Session",
    "Sieve",
    "SourceError",
    "StateError",
    "TileOptions",
    "TiledImage",
    "TiledSearch",
    "TrackOptions",
    "TrackedFrame",
    "TrackedObject",
    "Tracking",
    "UnknownModelError",
    "WeightsError",
    "__version__",
    "export_model",
    "load",
    "models",
]

_HOMES = {
    "automask.found": ("FoundMasks", "Sieve"),
    "automask.options": ("AutomaskOptions",),
    "automask.search": ("Search", "SearchStep"),
    "budget.options": ("Budget",),
    "config": ("ModelConfig",),
    "discover.options": ("Discover",),
    "errors": tuple(name for name in __all__ if name.endswith("Error")),
    "facade": ("export_model", "load", "models"),
    "frames": ("Frame", "TrackedFrame", "TrackedObject"),
    "io.rasters": ("RasterOptions",),
    "mask_model": ("MaskModel",),
    "masks": ("Masks",),
    "segmenter": ("Embedding",),
    "tiles.image": ("TiledImage",),
    "tiles.options": ("TileOptions",),
    "tiles.search": ("TiledSearch",),
    "track.options": ("TrackOptions",),
    "track.policy": ("ConfidentPolicy", "OfficialPolicy", "Policy"),
    "track.session": ("Session",),
    "track.tracker": ("Tracking",),
    "types": ("Box", "MaskPrompt", "Points", "Prompt"),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Load a public name when it is first asked for (PEP 562)."""
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
