"""Boxes drawn with ``jupyter_bbox_widget`` as box prompts::

widget = BBoxWidget(image="photo.jpg", classes=["cat", "dog"])  # show it, draw, and in a later cell:
masks = model.embed("photo.jpg").segment(*boxes(widget))
masks.to_supervision(labels=names(widget))
"""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeAlias

from PIL import Image

from maskwright.errors import PromptError
from maskwright.interop.annotations import DEFAULT_LABEL
from maskwright.interop.corners import box_prompt
from maskwright.io.images import ORIENTATION
from maskwright.types import Box, Size

log = logging.getLogger(__name__)

SIDEWAYS = range(5, 9)
"""EXIF orientations in which the stored picture lies on its side."""


class DrawnOn(Protocol):
    """A ``BBoxWidget``, or whatever has boxes as it does."""

    bboxes: Any
    """List of ``{"x", "y", "width", "height", "label"}``, in pixels."""


Drawn: TypeAlias = DrawnOn | Sequence[Mapping[str, Any]]
"""The widget, or the list that its ``bboxes`` are."""


def boxes(drawn: Drawn, *, labels: Collection[str] | None = None, size: Size | None = None) -> list[Box]:
    """Box prompts, one for each box, in the order in which they were drawn; none gives an empty list.

    Edges beyond the picture are clipped to it: the pointer slips over them easily. Boxes without area, which
    stray clicks leave, are left out with a logged warning.

    Args:
        drawn: The widget, or a list like its ``bboxes``.
        labels: Only boxes with these labels.
        size: Height and width of the picture; by default those of the picture that the widget shows, where it
            holds the file.

    Raises:
        PromptError: not boxes, or one outside the picture.
    """
    size = _shown_size(drawn) if size is None else size
    return [box_prompt(*one.edges, one.name, size) for one in _chosen(drawn, labels)]


def names(drawn: Drawn, *, labels: Collection[str] | None = None) -> list[str]:
    """The label of each box that :func:`boxes` gives; ``"object"`` where there is none.

    Raises:
        PromptError: not boxes.
    """
    return [one.label or DEFAULT_LABEL for one in _chosen(drawn, labels)]


class _Drawn(NamedTuple):
    """One box of the widget."""

    name: str
    """What to call it in messages."""
    label: str
    """Empty where it has none."""
    edges: tuple[float, float, float, float]
    """Two opposite corners, in pixels."""

    @property
    def has_area(self) -> bool:
        x0, y0, x1, y1 = self.edges
        return x0 != x1 and y0 != y1


def _chosen(drawn: Drawn, labels: Collection[str] | None) -> list[_Drawn]:
    """The boxes asked for, without stray clicks."""
    found = getattr(drawn, "bboxes", drawn)
    if not isinstance(found, (list, tuple)) or not all(isinstance(one, Mapping) for one in found):
        raise PromptError(
            f"expected a BBoxWidget or a list of boxes like its .bboxes, not a {type(found).__name__}"
        )
    wanted = {labels} if isinstance(labels, str) else labels
    read = [_read(one, place) for place, one in enumerate(found)]
    chosen = [one for one in read if wanted is None or one.label in wanted]
    for stray in chosen:
        if not stray.has_area:
            log.warning("%s has no area and is left out: a stray click?", stray.name)
    return [one for one in chosen if one.has_area]


def _read(one: Mapping[str, Any], place: int) -> _Drawn:
    label = str(one.get("label") or "")
    name = f"box {place}" + (f" ({label!r})" if label else "")
    try:
        x, y, width, height = (float(one[key]) for key in ("x", "y", "width", "height"))
    except (KeyError, TypeError, ValueError) as error:
        raise PromptError(
            f"{name} is {dict(one)}; expected numbers x, y, width and height, in pixels"
        ) from error
    return _Drawn(name, label, (x, y, x + width, y + height))


def _shown_size(drawn: Drawn) -> Size | None:
    """Height and width of the picture as the widget shows it, upright; None where it has only an address."""
    data = getattr(drawn, "image_bytes", b"")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data)) as picture:
                w, h = picture.size
                return (w, h) if picture.getexif().get(ORIENTATION) in SIDEWAYS else (h, w)
    except Exception:  # no picture, an address, or one that only browsers read: then nothing is clipped
        return None
