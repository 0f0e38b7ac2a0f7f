"""Which part of a data set is used: splits by name, and evenly spaced samples."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TypeVar

from maskwright.errors import InputError

Item = TypeVar("Item")

SPLITS = ("train", "val")
"""What a data set without splits of its own is divided into."""
_EVERY = 10


def split_of(name: str) -> str:
    """The split of a picture or video that its data set puts into none: a tenth of all names is ``val``.

    It depends on the name alone, so nothing moves from one split to the other as a data set grows.
    """
    return "val" if _hash(name) % _EVERY == 0 else "train"


def _hash(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")


def check_split(split: str) -> None:
    """InputError unless it is a split or, for everything, empty."""
    if split and split not in SPLITS:
        raise InputError(f"no split {split!r} here; choose train, val or, for everything, an empty name")


def in_split(items: Sequence[Item], names: Sequence[str], split: str) -> list[Item]:
    """Items whose names belong to a split, in their order; all of them for an empty split.

    Of two items or more, each split has one at least: where chance leaves one empty, as with a handful of
    pictures, it gets the item whose name has the lowest hash.
    """
    check_split(split)
    if not split:
        return list(items)
    places = range(len(names))
    chosen = [place for place in places if split_of(names[place]) == split]
    if len(names) > 1 and len(chosen) in (0, len(names)):
        lonely = min(places, key=lambda place: _hash(names[place]))
        chosen = [place for place in places if (place == lonely) != bool(chosen)]
    return [items[place] for place in chosen]


def spread(available: int, wanted: int) -> list[int]:
    """At most ``wanted`` of ``available`` numbers, evenly spaced from the first to the last."""
    if available <= wanted:
        return list(range(available))
    step = (available - 1) / max(wanted - 1, 1)
    return [round(number * step) for number in range(wanted)]
