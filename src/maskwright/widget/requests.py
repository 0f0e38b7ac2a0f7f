"""What the page asks for: untrusted JSON on one side, checked changes of a :class:`Sheet` on the other."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from maskwright.errors import InputError
from maskwright.types import Box, Prompt, Size
from maskwright.widget.sheet import LabelledObject, Sheet

Request: TypeAlias = Mapping[str, Any]
"""A message of the page: ``kind`` and what belongs to it; points in pixels of the picture."""


def number(request: Request, name: str) -> float:
    """A finite number.

    Raises:
        InputError: it is missing or no number.
    """
    value = request.get(name)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise InputError(f"the page sent {name}={value!r}, which is no number; load it again")
    return value


def whole(request: Request, name: str) -> int:
    """A whole number.

    Raises:
        InputError: it is missing or none.
    """
    value = number(request, name)
    if value != int(value):
        raise InputError(f"the page sent {name}={value!r}, which is no whole number; load it again")
    return int(value)


def box_of(request: Request, size: Size) -> Box:
    """The box ``x0, y0, x1, y1``, whichever way it was drawn, as far as it lies in the picture.

    Raises:
        PromptError: nothing is left of it.
    """
    h, w = size
    x0, x1 = sorted(min(max(number(request, name), 0.0), w) for name in ("x0", "x1"))
    y0, y1 = sorted(min(max(number(request, name), 0.0), h) for name in ("y0", "y1"))
    return Box(x0, y0, x1, y1)


def changed(sheet: Sheet, request: Request, frame: int, size: Size) -> Sheet:
    """The sheet after a request that changes it.

    Raises:
        InputError: the request is malformed, or it cannot be done; the sheet is as it was.
    """
    kind = request.get("kind")
    change = _CHANGES.get(str(kind))
    if change is None:
        raise InputError(f"the page asked for {kind!r}, which is not known here; load it again")
    after = change(sheet, request, frame, size)
    if after.selected is not None and (prompt := after[after.selected].prompts.get(frame)):
        prompt.check_inside(size)
    return after


def clicked(sheet: Sheet, request: Request, frame: int) -> Sheet:
    """The sheet with one click more: ``x, y, label``; ``new`` for another object than the selected one."""
    x, y, label = number(request, "x"), number(request, "y"), whole(request, "label")
    return _pointed(sheet, request, lambda one: one.with_click(frame, x, y, label))


def _boxed(sheet: Sheet, request: Request, frame: int, size: Size) -> Sheet:
    box = box_of(request, size)
    return _pointed(sheet, request, lambda one: one.with_box(frame, box))


def _pointed(sheet: Sheet, request: Request, change: Callable[[LabelledObject], LabelledObject]) -> Sheet:
    ready = sheet.added() if request.get("new") else sheet.ready()
    assert ready.selected is not None
    return ready.changed(ready.selected, change)


def _retracted(sheet: Sheet, request: Request, frame: int, size: Size) -> Sheet:
    """Without one of the clicks, by its ``place``, or without the box where there is no place."""
    return sheet.changed(
        whole(request, "object"), lambda one: one.with_prompt(frame, _less(one, request, frame))
    )


def _less(one: LabelledObject, request: Request, frame: int) -> Prompt | None:
    prompt = one.prompts.get(frame)
    if prompt is None:
        raise InputError(f"nothing points at {one.name} in this frame")
    points, box = prompt.points, prompt.box
    if request.get("place") is None:
        box = None
    elif points is not None:
        place = whole(request, "place")
        kept = [n for n in range(len(points)) if n != place]
        points = type(points)(points.coords[kept], points.labels[kept]) if kept else None
    left = points is not None or box is not None or prompt.mask is not None
    return Prompt(points, box, prompt.mask) if left else None


_CHANGES: dict[str, Callable[[Sheet, Request, int, Size], Sheet]] = {
    "click": lambda sheet, request, frame, size: clicked(sheet, request, frame),
    "box": _boxed,
    "retract": _retracted,
    "add": lambda sheet, request, frame, size: sheet.added(request.get("name")),
    "remove": lambda sheet, request, frame, size: sheet.removed(whole(request, "object")),
    "rename": lambda sheet, request, frame, size: sheet.renamed(
        whole(request, "object"), str(request.get("name") or "")
    ),
    "select": lambda sheet, request, frame, size: sheet.selecting(
        None if request.get("object") is None else whole(request, "object")
    ),
    "clear": lambda sheet, request, frame, size: sheet.changed(
        whole(request, "object"), lambda one: one.with_prompt(frame, None)
    ),
}
