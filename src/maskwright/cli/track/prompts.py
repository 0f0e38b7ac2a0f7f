"""From the texts behind ``--object`` to the prompts of each object in each frame."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from maskwright.errors import InputError, PromptError
from maskwright.frames import Frame
from maskwright.types import BoolArray, Box, Points, Prompt, Size

if TYPE_CHECKING:
    from maskwright.io.sources import Source

FORM = "ID:point=X,Y[,0|1], ID:box=X0,Y0,X1,Y1 or ID:mask=FILE.png, and @FRAME or @SECONDSs behind it"
_FORMS = {
    "point": "1:point=320,240, 1:point=320,240,0@12 (0: beside the object) or 1:point=320,240@3.5s",
    "box": "1:box=40,60,300,420, 1:box=40,60,300,420@12 or 1:box=40,60,300,420@3.5s",
    "mask": "1:mask=FILE.png, 1:mask=FILE.png@12 or 1:mask=FILE.png@3.5s",
}
_NUMBERS = {"point": ("2 or 3", (2, 3)), "box": ("4", (4,))}
_WHEN = re.compile(r"(?P<frame>\d+)|(?P<seconds>\d+(\.\d*)?|\.\d+)s")
_SAME_TIME = 5e-4
"""Seconds by which a frame may come before a time that was asked for: typed times are rounded."""

PromptInFrame: TypeAlias = "Prompt | BoolArray"
Placed: TypeAlias = dict[int, dict[int, PromptInFrame]]
"""By object, then by frame, both in ascending order."""


@dataclass(frozen=True)
class Asked:
    """One ``--object``, read but not placed in the video yet."""

    text: str
    object_id: int
    what: Points | Box | Path
    """A path is that of a mask picture."""
    frame: int | None = None
    seconds: float | None = None
    """Neither means the first frame that is tracked."""


def parse(texts: Sequence[str], *, needed: bool = True) -> list[Asked]:
    """Read every ``--object``.

    Raises:
        PromptError: there is none though it is ``needed``, or one cannot be read; the message shows the form.
    """
    if needed and not texts:
        raise PromptError(
            f"nothing to follow: say what with --object, written as {FORM}; or find it with --discover"
        )
    asked = [_parse_one(text) for text in texts]
    for place, one in enumerate(asked):
        if any(one.text == other.text for other in asked[:place]):
            raise PromptError(f"--object {one.text} is given twice; once is enough")
    return asked


def _parse_one(text: str) -> Asked:
    head, colon, rest = text.partition(":")
    kind, equals, value = rest.partition("=")
    kind = kind.strip()
    if not colon or not equals or (kind not in _FORMS and not kind.isalpha()):
        raise PromptError(f"--object {text!r} cannot be read; write {FORM}")
    if not head.strip().isdecimal() or int(head) < 1:
        raise PromptError(f"--object {text!r}: an object's number is 1, 2, 3 ...; write {FORM}")
    if kind not in _FORMS:
        raise PromptError(f"--object {text!r}: {kind!r} is none of point, box and mask; write {FORM}")
    value, frame, seconds = _split_when(text, kind, value)
    return Asked(text, int(head), _what(text, kind, value), frame, seconds)


def _split_when(text: str, kind: str, value: str) -> tuple[str, int | None, float | None]:
    """The value, and the frame or the seconds that stand behind an ``@``."""
    before, at, when = value.rpartition("@")
    if not at:
        return value, None, None
    found = _WHEN.fullmatch(when.strip())
    if found is None:
        if kind == "mask":  # names of files may have an @
            return value, None, None
        raise PromptError(
            f"--object {text!r}: {when!r} is neither a frame's number nor seconds; write {_FORMS[kind]}"
        )
    if found["frame"] is not None:
        return before, int(found["frame"]), None
    return before, None, float(found["seconds"])


def _what(text: str, kind: str, value: str) -> Points | Box | Path:
    if kind == "mask":
        if not value:
            raise PromptError(f"--object {text!r} names no file; write {_FORMS[kind]}")
        return Path(value)
    try:
        numbers = [float(number) for number in value.split(",")]
    except ValueError:
        raise PromptError(f"--object {text!r} cannot be read; write {_FORMS[kind]}") from None
    count, allowed = _NUMBERS[kind]
    if len(numbers) not in allowed:
        raise PromptError(
            f"--object {text!r} has {len(numbers)} number{'s' * (len(numbers) != 1)}, not {count}; "
            f"write {_FORMS[kind]}"
        )
    try:
        return Box(*numbers) if kind == "box" else Points([numbers[:2]], labels=numbers[2:] or None)
    except PromptError as error:
        raise PromptError(f"--object {text!r}: {error}") from error


def numbered(asked: Iterable[Asked], source: Source, *, first: int) -> list[tuple[Asked, int]]:
    """Each prompt with the number of its frame.

    Args:
        asked: What was read.
        source: The video, which tells the times of its frames.
        first: The frame of prompts that name none.

    Raises:
        InputError: seconds where frames have no times, or after the end.
    """
    frames = []
    for one in asked:
        if one.seconds is not None:
            frames.append((one, frame_at(source, one.seconds)))
        else:
            frames.append((one, first if one.frame is None else one.frame))
    return frames


def frame_at(source: Source, seconds: float) -> int:
    """Number of the first frame that is shown at or after a time.

    Found from the frames' own times, whether the rate is even or not: by halving, which reads a few frames.

    Raises:
        InputError: the frames have no times, or all of them are earlier.
    """
    if source.live:
        raise InputError(f"{source.name} is live, its times are not known beforehand; write a frame: @12")
    opening = first_of(source.frames())
    if opening is None or opening.time is None:
        raise InputError(f"the frames of {source.name} have no times; write a frame's number, such as @12")

    def reached(number: int) -> bool:
        found = first_of(source.frames(number))
        return found is None or (found.time or 0.0) >= seconds - _SAME_TIME

    low, high = 0, source.count() or 0
    guess = math.ceil((seconds - _SAME_TIME) * source.fps) if source.fps else -1
    for number in (guess, guess - 1):  # where the rate is even these two settle it
        if low <= number < high:
            low, high = (low, number) if reached(number) else (number + 1, high)
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if reached(middle) else (middle + 1, high)
    found = first_of(source.frames(low))
    if found is None:
        last = (source.count() or 1) - 1
        raise InputError(f"{source.name} ends before {seconds:g} s; its last frame is number {last}")
    return found.index


def first_of(frames: Iterator[Frame]) -> Frame | None:
    """The first frame, after which reading stops; None if there is none."""
    found = next(frames, None)
    close = getattr(frames, "close", None)
    if close is not None:
        close()
    return found


def placed(frames: Sequence[tuple[Asked, int]], source: Source, *, latest_first: bool) -> Placed:
    """The prompts of each object in each frame, checked against the frames themselves.

    Args:
        frames: Prompts and their frames.
        source: The video, of which every prompted frame is read unless it is live.
        latest_first: Whether tracking runs backward, so that an object begins in its latest frame.

    Raises:
        PromptError: outside the picture, contradictory, or an object that begins with nothing but clicks
            beside it.
        InputError: there is no such frame, or it is damaged.
    """
    sizes = _sizes(sorted({frame for _, frame in frames}), source)
    together: dict[int, dict[int, list[Asked]]] = {}
    for one, frame in frames:
        together.setdefault(one.object_id, {}).setdefault(frame, []).append(one)
    prompts: Placed = {}
    for number in sorted(together):
        by_frame = together[number]
        prompts[number] = {frame: _combined(by_frame[frame], sizes[frame]) for frame in sorted(by_frame)}
        begin = max(by_frame) if latest_first else min(by_frame)
        _check_beginning(number, begin, prompts[number][begin])
    return prompts


def _sizes(numbers: Sequence[int], source: Source) -> dict[int, Size | None]:
    """The size of each prompted frame, which must be there and readable."""
    if source.live:
        return dict.fromkeys(numbers, source.size)
    sizes: dict[int, Size | None] = {}
    for number in numbers:
        frame = first_of(source.frames(number, number + 1))
        if frame is None:
            length = source.count() or 0
            if number >= length:
                raise InputError(
                    f"there is no frame {number} in {source.name}, which has frames 0 to {length - 1}"
                )
            raise InputError(f"frame {number} of {source.name} is damaged; prompt another frame")
        sizes[number] = frame.size
    return sizes


def _combined(asked: Sequence[Asked], size: Size | None) -> PromptInFrame:
    """All prompts for one object in one frame as one."""
    if any(isinstance(one.what, Path) for one in asked):
        if len(asked) > 1:
            texts = " and ".join(one.text for one in asked)
            raise PromptError(f"{texts}: a mask says all about an object in a frame; give nothing beside it")
        return _mask(asked[0], size)
    _check_agreement(asked)
    if size is not None:
        for one in asked:
            try:
                Prompt.of(one.what).check_inside(size)  # type: ignore[arg-type]
            except PromptError as error:
                raise PromptError(f"--object {one.text}: {error}") from error
    return Prompt.of([one.what for one in asked])  # type: ignore[misc]


def _check_agreement(asked: Sequence[Asked]) -> None:
    """Two prompts for the same object in the same frame may add up, but not contradict or repeat."""
    boxes = [one for one in asked if isinstance(one.what, Box)]
    if len(boxes) > 1:
        raise PromptError(
            f"{boxes[0].text} and {boxes[1].text} are two boxes for one object in one frame; keep one, "
            "or give the second object a number of its own"
        )
    clicks: dict[tuple[float, float], Asked] = {}
    for one in asked:
        if isinstance(one.what, Points):
            x, y = one.what.coords[0].tolist()
            other = clicks.setdefault((x, y), one)
            if other is not one:
                same = other.what == one.what
                why = "ask the same twice" if same else "contradict each other: on the object, or beside it"
                raise PromptError(f"{other.text} and {one.text} {why}; keep one")


def _check_beginning(number: int, frame: int, prompt: PromptInFrame) -> None:
    if isinstance(prompt, Prompt) and prompt.box is None and prompt.points and not prompt.points.labels.any():
        raise PromptError(
            f"object {number} begins in frame {frame} with nothing but clicks beside it; "
            "add a click on it, a box or a mask there"
        )


def _mask(asked: Asked, size: Size | None) -> BoolArray:
    """A mask picture as bool (h, w): what is not black is the object."""
    from maskwright.io.images import read_image

    assert isinstance(asked.what, Path)
    bitmap: BoolArray = np.asarray(read_image(asked.what).any(axis=2))
    if size is not None and bitmap.shape != size:
        (h, w), (frame_h, frame_w) = bitmap.shape, size
        raise PromptError(
            f"--object {asked.text}: the mask is {w} x {h} pixels, the frame {frame_w} x {frame_h}; "
            "a mask has the size of the frame"
        )
    if not bitmap.any():
        raise PromptError(f"--object {asked.text}: the mask is black all over; draw the object in white")
    return bitmap


def as_json(prompts: Placed) -> dict[str, Any]:
    """The prompts in plain values, masks by their hash: they tell whether a log is of the same job."""
    return {
        str(number): {str(frame): _plain(prompt) for frame, prompt in by_frame.items()}
        for number, by_frame in prompts.items()
    }


def _plain(prompt: PromptInFrame) -> Mapping[str, Any]:
    if not isinstance(prompt, Prompt):
        return {"mask": hashlib.sha256(prompt.tobytes()).hexdigest()[:32]}
    plain: dict[str, Any] = {}
    if prompt.points is not None:
        labels = prompt.points.labels.tolist()
        coords = prompt.points.coords.astype(float).round(3).tolist()
        plain["points"] = [[*pair, label] for pair, label in zip(coords, labels, strict=True)]
    if prompt.box is not None:
        plain["box"] = [prompt.box.x0, prompt.box.y0, prompt.box.x1, prompt.box.y1]
    return plain
