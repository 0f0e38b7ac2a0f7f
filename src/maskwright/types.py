"""Frozen values that a caller passes in: :class:`Points`, :class:`Box`, :class:`MaskPrompt`, :class:`Prompt`.

Points are ``(x, y)`` pixels of the original picture, boxes are ``xyxy``, sizes are ``(h, w)``. Pixel ``i``
covers ``i`` to ``i + 1``, so a picture of width ``w`` reaches from 0 to ``w``. Everything is checked when it
is made, and what is wrong is a :class:`PromptError` that says what to do. The results that come back are
:class:`maskwright.masks.Masks`, some layers up, because they can encode, draw and save themselves.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, Union

import numpy as np
import numpy.typing as npt

from maskwright.errors import PromptError

FloatArray: TypeAlias = npt.NDArray[np.float32]
"""Coordinates, scores and logits."""
IntArray: TypeAlias = npt.NDArray[np.int64]
"""Labels and areas."""
BoolArray: TypeAlias = npt.NDArray[np.bool_]
"""Bitmaps."""
ByteArray: TypeAlias = npt.NDArray[np.uint8]
"""Pictures of 8 bits per channel."""
ImageArray: TypeAlias = ByteArray | FloatArray
"""A picture (h, w, 3), RGB: uint8, or float32 in 0..1."""
Size: TypeAlias = tuple[int, int]
"""Height and width in pixels."""
PromptLike: TypeAlias = Union["Points", "Box", "MaskPrompt", "Prompt", Sequence["PromptLike"]]
"""What describes one object: any prompt, or several of them in any order."""


class _Addable:
    """``a + b`` of any two prompts is the :class:`Prompt` of one object that has both."""

    def __add__(self, other: PromptLike) -> Prompt:
        if not isinstance(other, (_Addable, list, tuple)):
            return NotImplemented
        return Prompt.of((self, other))  # type: ignore[arg-type]

    def __radd__(self, other: PromptLike) -> Prompt:
        if not isinstance(other, (list, tuple)):
            return NotImplemented
        return Prompt.of((other, self))  # type: ignore[arg-type]


@dataclass(frozen=True, eq=False, init=False)
class Points(_Addable):
    """Clicks on one object, and next to it.

    ``Points([(500, 375)])`` is one click on the object; ``Points([(500, 375), (80, 40)], labels=[1, 0])``
    adds one beside it. A single pair ``Points((500, 375))`` and a single label for all are fine too.
    """

    coords: FloatArray
    """(n, 2) float32, ``(x, y)`` pixels of the original picture; read-only."""
    labels: IntArray
    """(n,) int64: 1 = on the object, 0 = not on it; read-only."""

    def __init__(self, coords: npt.ArrayLike, labels: npt.ArrayLike | None = None) -> None:
        """See the class.

        Raises:
            PromptError: no points, not pairs, NaN or infinite, or labels of the wrong length or other than
                0 and 1.
        """
        object.__setattr__(self, "coords", _pairs(coords))
        object.__setattr__(self, "labels", _labels(labels, len(self.coords)))

    def __len__(self) -> int:
        return len(self.coords)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Points):
            return NotImplemented
        return np.array_equal(self.coords, other.coords) and np.array_equal(self.labels, other.labels)

    def __hash__(self) -> int:
        return hash((tuple(self.coords.ravel().tolist()), self.labels.tobytes()))

    def __repr__(self) -> str:
        coords = [(_plain(x), _plain(y)) for x, y in self.coords.tolist()]
        return f"Points({coords}, labels={self.labels.tolist()})"


@dataclass(frozen=True)
class Box(_Addable):
    """A rectangle around one object: left, top, right and bottom edge in pixels of the original picture.

    Raises:
        PromptError: a coordinate is NaN, infinite or not a number, the box is inverted, or it has no area.
    """

    x0: float
    y0: float
    x1: float
    y1: float

    def __post_init__(self) -> None:
        for name in ("x0", "y0", "x1", "y1"):
            value = getattr(self, name)
            try:
                number = float(value)
            except (TypeError, ValueError, OverflowError) as error:
                raise PromptError(
                    f"Box: {name} is {_short(value)}, not a number; a box is Box(x0, y0, x1, y1)"
                ) from error
            if not math.isfinite(number):
                raise PromptError(f"Box: {name} is {number}; coordinates must be finite pixel numbers")
            object.__setattr__(self, name, number)
        self._check_order()

    def _check_order(self) -> None:
        (left, right), (top, bottom) = sorted((self.x0, self.x1)), sorted((self.y0, self.y1))
        if left == right or top == bottom:
            raise PromptError(f"{self!r} has no area; x1 must be greater than x0, and y1 greater than y0")
        if (left, top) != (self.x0, self.y0):
            meant = f"Box({_plain(left)}, {_plain(top)}, {_plain(right)}, {_plain(bottom)})"
            raise PromptError(
                f"{self!r} is inverted; a box is left, top, right, bottom: did you mean {meant}?"
            )

    @property
    def corners(self) -> FloatArray:
        """(2, 2) float32: the top left and the bottom right corner, ``(x, y)``."""
        return np.array([(self.x0, self.y0), (self.x1, self.y1)], dtype=np.float32)

    def __repr__(self) -> str:
        return f"Box({_plain(self.x0)}, {_plain(self.y0)}, {_plain(self.x1)}, {_plain(self.y1)})"


@dataclass(frozen=True, eq=False, init=False)
class MaskPrompt(_Addable):
    """A mask from an earlier prediction to start from: ``MaskPrompt(masks.logits[0])``.

    Raises:
        PromptError: not one square array of finite numbers, or a bitmap instead of logits.
    """

    logits: FloatArray
    """(m, m) float32, where m is the model's ``mask_size``: as in ``Masks.logits``; read-only."""

    def __init__(self, logits: npt.ArrayLike) -> None:
        """Accepts (m, m) and (1, m, m)."""
        array = _numbers(logits, "MaskPrompt")
        if array.dtype == np.bool_:
            raise PromptError("MaskPrompt: got a bitmap; pass low-resolution logits as in Masks.logits")
        if array.ndim == 3 and array.shape[0] == 1:
            array = array[0]
        if array.ndim != 2 or array.shape[0] != array.shape[1] or not array.size:
            raise PromptError(
                f"MaskPrompt: the array has shape {array.shape}; expected (m, m) or (1, m, m), "
                "the Masks.logits of one object"
            )
        object.__setattr__(self, "logits", _frozen(array, np.float32))
        if not np.isfinite(self.logits).all():
            raise PromptError("MaskPrompt: the logits contain NaN or infinity; pass finite numbers")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, MaskPrompt):
            return NotImplemented
        return np.array_equal(self.logits, other.logits)

    def __hash__(self) -> int:
        return hash(tuple(self.logits.sum(axis=1).tolist()))

    def __repr__(self) -> str:
        return f"MaskPrompt({self.logits.shape[0]} x {self.logits.shape[1]} logits)"


@dataclass(frozen=True)
class Prompt(_Addable):
    """Everything that describes one object: any number of clicks, at most one box, at most one mask.

    Made by adding prompts in any order (``Box(...) + Points(...)``) or with :meth:`of`.
    """

    points: Points | None = None
    box: Box | None = None
    mask: MaskPrompt | None = None

    def __post_init__(self) -> None:
        for name, kind in (("points", Points), ("box", Box), ("mask", MaskPrompt)):
            value = getattr(self, name)
            if value is not None and not isinstance(value, kind):
                raise PromptError(f"Prompt: {name} is {_short(value)}; expected {kind.__name__} or None")
        if self.points is None and self.box is None and self.mask is None:
            raise PromptError("the prompt is empty; give at least one of Points, Box and MaskPrompt")

    @classmethod
    def of(cls, value: PromptLike) -> Prompt:
        """The one prompt that ``value`` (a prompt, or a list or tuple of them in any order) amounts to.

        Clicks are joined in the order in which they come; the rest has no order.

        Raises:
            PromptError: nothing in it, two boxes, two masks, or something that is no prompt.
        """
        parts = _flatten(value)
        points = [part for part in parts if isinstance(part, Points)]
        boxes = [part for part in parts if isinstance(part, Box)]
        masks = [part for part in parts if isinstance(part, MaskPrompt)]
        for found, what in ((boxes, "boxes"), (masks, "mask prompts")):
            if len(found) > 1:
                raise PromptError(
                    f"{len(found)} {what} for one object, which takes one; "
                    "for several objects pass each as an argument of its own"
                )
        return cls(_joined(points), boxes[0] if boxes else None, masks[0] if masks else None)

    def check_inside(self, size_hw: Size) -> None:
        """Make sure that clicks and box lie in the picture of size ``size_hw``, its border included.

        Raises:
            PromptError: one lies outside; the message names it and the size, and notices swapped x and y.
        """
        h, w = size_hw
        picture = f"outside the picture, which is {w} pixels wide and {h} high"
        for x, y in self.points.coords.tolist() if self.points else ():
            if not (0 <= x <= w and 0 <= y <= h):
                swapped = "; points are (x, y): are x and y swapped?" if 0 <= y <= w and 0 <= x <= h else ""
                raise PromptError(f"the point ({_plain(x)}, {_plain(y)}) lies {picture}{swapped}")
        box = self.box
        if box and not (box.x0 >= 0 and box.y0 >= 0 and box.x1 <= w and box.y1 <= h):
            raise PromptError(f"{box!r} reaches {picture}; clip it to the picture first")

    def check_mask(self, mask_size: int) -> None:
        """Make sure that a mask prompt has the side that the model wants.

        Raises:
            PromptError: another shape than (mask_size, mask_size).
        """
        if self.mask and self.mask.logits.shape != (mask_size, mask_size):
            raise PromptError(
                f"MaskPrompt: the logits are {self.mask.logits.shape}, this model wants "
                f"{(mask_size, mask_size)}; pass Masks.logits of the same model at the same image_size"
            )


def _flatten(value: PromptLike) -> list[Points | Box | MaskPrompt]:
    if isinstance(value, Prompt):
        return [part for part in (value.points, value.box, value.mask) if part is not None]
    if isinstance(value, (Points, Box, MaskPrompt)):
        return [value]
    numeric = (int, float, np.number)
    if not isinstance(value, (list, tuple)) or any(isinstance(part, numeric) for part in value):
        raise PromptError(
            f"{_short(value)} is not a prompt; "
            "wrap it: Points([(x, y)]), Box(x0, y0, x1, y1) or MaskPrompt(logits)"
        )
    if not value:
        raise PromptError("the prompt is empty; give at least one of Points, Box and MaskPrompt")
    return [part for item in value for part in _flatten(item)]


def _joined(points: list[Points]) -> Points | None:
    if len(points) < 2:
        return points[0] if points else None
    return Points(np.concatenate([p.coords for p in points]), np.concatenate([p.labels for p in points]))


def _pairs(coords: npt.ArrayLike) -> FloatArray:
    array = _numbers(coords, "Points")
    if array.size == 0:
        raise PromptError("Points: no points given; pass at least one (x, y)")
    if array.shape == (2,):
        array = array[None]
    if array.ndim != 2 or array.shape[1] != 2:
        raise PromptError(
            f"Points: the coordinates have shape {array.shape}; expected (n, 2), a list of (x, y)"
        )
    pairs: FloatArray = _frozen(array, np.float32)
    bad = np.flatnonzero(~np.isfinite(pairs).all(axis=1))
    if len(bad):
        x, y = array[bad[0]].tolist()
        raise PromptError(f"Points: point {bad[0]} is ({x}, {y}); coordinates must be finite pixel numbers")
    return pairs


def _labels(labels: npt.ArrayLike | None, num_points: int) -> IntArray:
    array = _numbers(1 if labels is None else labels, "Points: labels")
    if array.ndim == 0:
        array = np.full(num_points, array)
    if array.shape != (num_points,):
        count = f"{len(array)} labels" if array.ndim == 1 else f"labels of shape {array.shape}"
        raise PromptError(f"Points: {count} for {num_points} points; give one label (1 or 0) per point")
    bad = np.flatnonzero((array != 0) & (array != 1))
    if len(bad):
        raise PromptError(
            f"Points: label {bad[0]} is {array[bad[0]]}; a label is 1 (on the object) or 0 (not on it)"
        )
    kept: IntArray = _frozen(array, np.int64)
    return kept


def _numbers(value: npt.ArrayLike, what: str) -> npt.NDArray[Any]:
    """Any array of real numbers or booleans; everything else is a PromptError."""
    try:
        array: npt.NDArray[Any] = np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise PromptError(f"{what}: {_short(value)} is not an array of numbers; is it ragged?") from error
    if array.dtype.kind not in "biuf":
        raise PromptError(f"{what}: {_short(value)} is not an array of numbers")
    return array


def _frozen(array: npt.NDArray[Any], dtype: type) -> npt.NDArray[Any]:
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, which the callers report
        copy: npt.NDArray[Any] = np.array(array, dtype=dtype)
    copy.setflags(write=False)
    return copy


def _plain(number: float) -> int | float:
    """A coordinate as one would write it: ``3`` and not ``3.0``, and no digits that float32 invented."""
    return int(number) if float(number).is_integer() else float(f"{number:.6g}")


def _short(value: object) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{text[:57]}..."
