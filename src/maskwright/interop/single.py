"""One picture or frame in a format: what ``save`` of ``Masks``, ``FoundMasks`` and ``TrackedFrame`` is."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from maskwright.errors import InputError
from maskwright.interop.annotations import from_frame, from_masks
from maskwright.interop.formats import ending_format, export

if TYPE_CHECKING:
    from maskwright.automask.found import FoundMasks
    from maskwright.frames import TrackedFrame
    from maskwright.masks import Masks


def save_one(
    masks: Masks | FoundMasks,
    path: str | os.PathLike[str],
    format: str | None,
    name: str | None,
    labels: Mapping[int, str] | None,
    ids: Sequence[int] | None,
    *,
    tolerance: float,
    overwrite: bool,
) -> bool:
    """Write the masks in a format, named or by the ending of the path; see ``Masks.save``.

    Returns:
        False, with nothing written, where neither names a format.
    """
    kind = ending_format(path) if format is None else format
    if kind is None:
        if name is not None or labels is not None or ids is not None:
            raise InputError(
                f"name, labels and ids are for formats that hold them; name one with format=, "
                f"or end {os.fspath(path)} in .json, .geojson, .svg, .xml or .npz"
            )
        return False
    picture = from_masks(masks, name or f"{Path(path).stem}.jpg", labels, ids=ids)
    export([picture], path, format=kind, labels=labels, tolerance=tolerance, overwrite=overwrite)
    return True


def save_frame(
    frame: TrackedFrame,
    path: str | os.PathLike[str],
    format: str | None,
    name: str | None,
    labels: Mapping[int, str] | None,
    *,
    tolerance: float,
    overwrite: bool,
) -> Path:
    """Write the objects that are seen in a frame; see ``TrackedFrame.save``."""
    kind = format or ending_format(path) or "png"
    picture = from_frame(frame, name or f"{frame.index:05}.jpg", labels)
    export([picture], path, format=kind, labels=labels, tolerance=tolerance, overwrite=overwrite)
    return Path(path)
