"""Which frame stands in which slot of the memory bank: the host's copy, so that nobody has to ask the device.

Axes: O objects, S slots.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from maskwright.model.memory_bank import EMPTY
from maskwright.types import BoolArray, IntArray


@dataclass
class SlotMap:
    """One kind of slots (memories or pointers) of all objects."""

    num_recent: int
    """Frames without a prompt that one object keeps: the ring."""
    frames: IntArray
    """(O, S) number of the frame in each slot, or ``EMPTY``."""
    prompted: BoolArray
    """(O, S) True for frames that the object was prompted in; they stay."""

    @classmethod
    def empty(cls, num_objects: int, num_slots: int, num_recent: int) -> SlotMap:
        shape = (num_objects, num_slots)
        return cls(num_recent, np.full(shape, EMPTY, np.int64), np.zeros(shape, np.bool_))

    def find(self, row: int, frame: int) -> int | None:
        """Slot of a frame, if it is there."""
        found = np.flatnonzero(self.frames[row] == frame)
        return int(found[0]) if len(found) else None

    def num_prompted(self, row: int) -> int:
        return int(np.count_nonzero(self.prompted[row] & (self.frames[row] != EMPTY)))

    def claim(self, row: int, frame: int, *, prompted: bool, direction: int) -> int:
        """A slot for ``frame``: its own if it has one, an empty one, or that of the frame needed least.

        Recent frames never take more than ``num_recent`` slots, so with as many slots more as there are
        prompted frames there is always room.
        """
        slot = self.find(row, frame)
        if slot is None:
            slot = self._free(row, frame, direction) if not prompted else None
        if slot is None:
            slot = int(np.flatnonzero(self.frames[row] == EMPTY)[0])
        self.frames[row, slot] = frame
        self.prompted[row, slot] = prompted
        return slot

    def _free(self, row: int, frame: int, direction: int) -> int | None:
        """The ring's next slot once the ring is full: the one whose frame will not be looked at again."""
        ring = np.flatnonzero((self.frames[row] != EMPTY) & ~self.prompted[row])
        if len(ring) < self.num_recent:
            return None
        age = (frame + direction - self.frames[row, ring]) * direction
        useless = (age < 1) | (age > self.num_recent)
        return int(ring[np.lexsort((np.abs(age), useless))[-1]])

    def clear(self, row: int, slot: int) -> None:
        self.frames[row, slot] = EMPTY
        self.prompted[row, slot] = False

    def move(self, source: int, target: int) -> None:
        """Give one row the content of another, which becomes empty."""
        if source != target:
            self.frames[target], self.prompted[target] = self.frames[source], self.prompted[source]
        self.frames[source], self.prompted[source] = EMPTY, False

    def grown(self, num_objects: int, num_slots: int) -> SlotMap:
        """A larger map with the same content."""
        larger = SlotMap.empty(num_objects, num_slots, self.num_recent)
        rows, slots = self.frames.shape
        larger.frames[:rows, :slots], larger.prompted[:rows, :slots] = self.frames, self.prompted
        return larger

    def num_used(self, rows: IntArray) -> int:
        """Length of the prefix of slots that holds everything of these rows."""
        used = np.flatnonzero((self.frames[rows] != EMPTY).any(axis=0))
        return int(used[-1]) + 1 if len(used) else 0

    def age(self, rows: IntArray, frames: IntArray, direction: int) -> IntArray:
        """(rows, S) how long ago each slot's frame was, in the direction of time."""
        past: IntArray = (frames[:, None] - self.frames[rows]) * direction
        return past
