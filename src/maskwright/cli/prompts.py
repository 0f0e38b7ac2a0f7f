"""From the texts behind ``--point`` and ``--box`` to the prompts of objects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from maskwright.errors import PromptError
from maskwright.types import Box, Points, Prompt

POINT_FORM = "X,Y or X,Y,LABEL, after an object's number if there are several, such as 320,240 or 2:320,240,0"
BOX_FORM = "X0,Y0,X1,Y1, after an object's number if you like, such as 40,60,300,420 or 2:40,60,300,420"

_Numbered: TypeAlias = tuple[int | None, Points | Box]
"""An object's number, if it was given, and one of its prompts."""


def group(points: Sequence[str], boxes: Sequence[str]) -> dict[int, Prompt]:
    """The prompt of each object by its number, in ascending order.

    With numbers (``2:320,240``), prompts of the same number are one object. Without, every box is one object,
    clicks alone are one object together, and clicks with a single box are one object with both.

    Raises:
        PromptError: no prompt, a text that cannot be read, numbers on some prompts only, or clicks that could
            belong to any of several boxes.
    """
    clicks = [_point(text) for text in points]
    frames = [_box(text) for text in boxes]
    given = [*clicks, *frames]
    numbers = [number for number, _ in given]
    if not numbers:
        raise PromptError(
            "no prompt: say what to cut out with --point X,Y or --box X0,Y0,X1,Y1, "
            "or find everything with --auto"
        )
    if None not in numbers:
        return _numbered(given)
    if any(number is not None for number in numbers):
        raise PromptError(
            "some prompts have an object's number and some have none; number all of them or none"
        )
    if clicks and len(frames) > 1:
        raise PromptError(
            f"{len(frames)} boxes and clicks without numbers: say which object each belongs to, "
            "such as --box 1:40,60,300,420 --point 1:80,90"
        )
    if clicks:
        return {1: Prompt.of([prompt for _, prompt in given])}
    return {number: Prompt.of(frame) for number, (_, frame) in enumerate(frames, start=1)}


def _numbered(given: Sequence[_Numbered]) -> dict[int, Prompt]:
    parts: dict[int, list[Points | Box]] = {}
    for number, prompt in given:
        parts.setdefault(number or 0, []).append(prompt)
    return {number: Prompt.of(parts[number]) for number in sorted(parts)}


def _point(text: str) -> _Numbered:
    number, values = _numbers(text, "--point", POINT_FORM)
    if len(values) not in (2, 3):
        raise PromptError(f"--point {text!r} has {len(values)} numbers; write {POINT_FORM}")
    return number, Points([values[:2]], labels=values[2:] or None)


def _box(text: str) -> _Numbered:
    number, values = _numbers(text, "--box", BOX_FORM)
    if len(values) != 4:
        raise PromptError(f"--box {text!r} has {len(values)} numbers, not 4; write {BOX_FORM}")
    return number, Box(*values)


def _numbers(text: str, option: str, form: str) -> tuple[int | None, list[float]]:
    """The number before the colon, if any, and the comma-separated ones after it."""
    head, colon, tail = text.rpartition(":")
    if colon and not (head.isdecimal() and int(head) > 0):
        raise PromptError(f"{option} {text!r}: an object's number is 1, 2, 3 ...; write {form}")
    try:
        return (int(head) if colon else None), [float(value) for value in tail.split(",")]
    except ValueError:
        raise PromptError(f"{option} {text!r} cannot be read; write {form}") from None
