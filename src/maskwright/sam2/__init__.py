"""The names of the official ``sam2`` package, over this one.

An existing script runs unchanged after :func:`install`, or from outside::

    python -m maskwright.sam2 script.py [args]

or one imports from here: ``from maskwright.sam2.build_sam import build_sam2``. Signatures, argument order,
return types and shapes are the official ones; the work is done by the native API.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.machinery import ModuleSpec
from types import ModuleType

from maskwright.errors import StateError

__all__ = ["install"]

MODULES = ("automatic_mask_generator", "build_sam", "sam2_image_predictor", "sam2_video_predictor")
"""Modules of the official package that are offered."""


def install() -> None:
    """Register this package as ``sam2``, so that ``from sam2.build_sam import build_sam2`` finds it.

    Importing a part of ``sam2`` that is not offered then fails with a message that says so. Calling it again
    changes nothing.

    Raises:
        StateError: another package is already imported as ``sam2``.
    """
    here = sys.modules[__name__]
    if sys.modules.get("sam2", here) is not here:
        raise StateError("another sam2 package is already imported; call maskwright.sam2.install() before it")
    sys.modules["sam2"] = here
    for name in MODULES:
        sys.modules[f"sam2.{name}"] = import_module(f"{__name__}.{name}")
    if not any(isinstance(finder, _Guard) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Guard())


class _Guard:
    """Keeps ``import sam2.anything_else`` from loading a file of ours twice, and says what is offered."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname.startswith("sam2.") and sys.modules.get("sam2") is sys.modules[__name__]:
            offered = ", ".join(f"sam2.{name}" for name in MODULES)
            raise ModuleNotFoundError(
                f"{fullname} is not yet available in maskwright, which offers {offered}", name=fullname
            )
        return None
