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
    from maskwright.config import ModelConfig
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
        StateError,
        UnknownModelError,
        WeightsError,
    )
    from maskwright.facade import MaskModel, load, models
    from maskwright.masks import Masks
    from maskwright.segmenter import Embedding
    from maskwright.types import Box, MaskPrompt, Points, Prompt

__version__ = "0.1.0"

__all__ = [
    "Box",
    "CheckpointError",
    "DownloadError",
    "Embedding",
    "ImageError",
    "InputError",
    "MaskModel",
    "MaskPrompt",
    "Masks",
    "MaskwrightError",
    "MissingExtraError",
    "ModelConfig",
    "NotAvailableError",
    "OutputError",
    "Points",
    "Prompt",
    "PromptError",
    "StateError",
    "UnknownModelError",
    "WeightsError",
    "__version__",
    "load",
    "models",
]

_HOMES = {
    "config": ("ModelConfig",),
    "errors": tuple(name for name in __all__ if name.endswith("Error")),
    "facade": ("MaskModel", "load", "models"),
    "masks": ("Masks",),
    "segmenter": ("Embedding",),
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
