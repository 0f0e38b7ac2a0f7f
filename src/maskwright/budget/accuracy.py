"""What is known of the accuracy of models at their own and at smaller input sizes, and what is not.

The official models' figures are J&F on the SA-V test set as their authors published them. nano's were
measured here, on other videos: the two do not compare, and every official model comes before nano.
"""

from __future__ import annotations

from typing import NamedTuple

from maskwright.budget.options import Task

PUBLISHED: dict[str, float] = {
    "sam2.1-large": 79.5,
    "sam2.1-base+": 78.2,
    "sam2.1-small": 76.6,
    "sam2.1-tiny": 76.5,
    "sam2-large": 76.0,
    "sam2-tiny": 75.0,
    "sam2-small": 74.9,
    "sam2-base+": 74.7,
}
"""J&F in per cent on SA-V test, from the table in the official README (SAM 2.1, 2024-09-29)."""
SMALLER = (768, 512)
"""Input sizes that are tried of every other model than nano, besides its own; below, nobody knows."""
UNMEASURED = "what it costs in accuracy was not measured"


class Table(NamedTuple):
    """nano's figures for one task, by input size; the first is its own size."""

    what: str
    """What they are, on what, with a place for the figure."""
    float32: dict[int, float]
    bfloat16: dict[int, float]
    """Where that was measured."""


NANO: dict[Task, Table] = {
    "video": Table(
        "J&F {} on 11 videos (vos_dev)",
        {640: 0.815, 512: 0.797, 448: 0.785, 384: 0.760, 320: 0.730, 256: 0.660},
        {512: 0.797},
    ),
    "photo": Table(
        "mean IoU by box {} on 532 objects",
        {704: 0.782, 512: 0.769, 384: 0.746, 256: 0.670},
        {704: 0.783},
    ),
}
"""Measured 2026-11-24 with ``maskwright eval davis vos_dev --image-size N``, and for photographs with
``maskwright eval clicks train --split val --image-size N``."""


def sizes(name: str, own: int, task: Task) -> list[int]:
    """Input sizes worth trying for a model, its own among them."""
    if name == "nano":
        known = NANO[task].float32
        return list(dict.fromkeys([*known, own]))
    return [own, *(side for side in SMALLER if side < own)]


def figure(side: int, dtype: str, task: Task) -> float:
    """Figure of nano at a setting; without one, that in float32, or 0."""
    table = NANO[task]
    exact = table.float32.get(side, 0.0)
    return table.bfloat16.get(side, exact) if dtype == "bfloat16" else exact


def cost(name: str, side: int, own: int, dtype: str, task: Task) -> str:
    """What a setting gives up against the same model at its own size in float32, in words."""
    if side == own and dtype == "float32":
        return "nothing given up"
    if name == "nano":
        what, exact, _ = table = NANO[task]
        figures = exact if dtype == "float32" else table.bfloat16 if dtype == "bfloat16" else {}
        if side in figures and own in exact:
            return what.format(f"{figures[side]:.3f} instead of {exact[own]:.3f}")
    return UNMEASURED


def standing(name: str, own: int, task: Task) -> str:
    """What is known of a model at its own size, in words."""
    if name in PUBLISHED:
        return f"J&F {PUBLISHED[name]:.1f} on SA-V test as published"
    if name == "nano" and own in NANO[task].float32:
        what, exact, _ = NANO[task]
        return what.format(f"{exact[own]:.3f}")
    return "its accuracy is not known here"
