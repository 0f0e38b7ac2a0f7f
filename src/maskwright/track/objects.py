"""The only place where an object's number (the caller's) meets its row in the memory bank (ours)."""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from typing import NewType

from maskwright.errors import InputError

ObjectId = NewType("ObjectId", int)
"""The number that the caller gave an object."""
Slot = NewType("Slot", int)
"""Row of an object in the memory bank; changes when another object is removed."""


@dataclass(frozen=True)
class Discovery:
    """How an object that nobody asked for came in."""

    frame: int
    """Number of the frame that it was found in."""
    unseen: int = 0
    """Frames in a row, up to the current one, in which it was not seen."""


@dataclass
class FollowedObject:
    """What is known of an object besides its memories."""

    id: ObjectId
    slot: Slot
    not_remembered: int = 0
    """Frames that the policy left out of the object's memory; its clock is behind by that many."""
    discovery: Discovery | None = None
    """None for an object that the caller has prompted."""


class Objects:
    """Objects by number, in the order in which they were added."""

    def __init__(self) -> None:
        self._by_id: dict[ObjectId, FollowedObject] = {}
        self.highest = 0
        """Highest number that any object has had, also those that were removed; at least 0."""

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[FollowedObject]:
        return iter(self._by_id.values())

    def __contains__(self, number: object) -> bool:
        return number in self._by_id

    @property
    def ids(self) -> tuple[ObjectId, ...]:
        return tuple(self._by_id)

    def __getitem__(self, number: int) -> FollowedObject:
        found = self._by_id.get(ObjectId(number))
        if found is None:
            raise InputError(unknown(number, self.ids))
        return found

    def add(self, number: ObjectId, slot: Slot) -> FollowedObject:
        added = self._by_id[number] = FollowedObject(number, slot)
        self.highest = max(self.highest, number)
        return added

    def tally(self, seen: Container[int]) -> None:
        """Count for discovered objects in how many frames they were not seen; once for each frame."""
        for one in self:
            if one.discovery is not None:
                unseen = 0 if one.id in seen else one.discovery.unseen + 1
                one.discovery = Discovery(one.discovery.frame, unseen)

    def remove(self, number: int, last: Slot) -> Slot:
        """Take an object out; the one in the ``last`` row moves to its row, which is returned."""
        slot = self[number].slot
        del self._by_id[ObjectId(number)]
        for other in self:
            if other.slot == last:
                other.slot = slot
        return slot

    def clear(self) -> None:
        self._by_id.clear()


def unknown(number: int, known: Sequence[int]) -> str:
    """What to tell somebody who asks for an object that is not there."""
    listed = ", ".join(map(str, known)) or "none"
    return f"there is no object {number}; there are: {listed}"


def checked_id(number: object) -> ObjectId:
    """The object's number as given by a caller.

    Raises:
        InputError: not a whole number.
    """
    if isinstance(number, bool) or not hasattr(number, "__index__"):
        raise InputError(f"an object's number is a whole number, not {number!r}")
    return ObjectId(number.__index__())
