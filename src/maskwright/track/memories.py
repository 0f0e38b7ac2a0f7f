"""What is remembered of the objects of one session: a bank of fixed size and the map of its slots.

Rows are objects in no particular order, the used ones in front. Storage grows in steps (twice as many
objects, twice as many prompted frames), never with the number of frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from maskwright.model.candidates import Chosen
from maskwright.model.mask_decoder import ImageFeatures
from maskwright.model.memory_bank import EMPTY, MemoryBank, empty_bank
from maskwright.model.sam2 import Slots
from maskwright.runtime.protocol import Moment, Runtime
from maskwright.track.slots import SlotMap
from maskwright.types import BoolArray, IntArray

MEMORY_DTYPE = torch.bfloat16
"""How memories are stored; the official predictor rounds them in the same way."""


class Glance(NamedTuple):
    """The part of a bank that one ``recall`` looks at."""

    bank: MemoryBank
    masked: bool
    """Whether some of its slots are empty or do not count."""


class Memory(NamedTuple):
    """What is remembered of one object in one frame."""

    memory_ID: Tensor
    pointer_C: Tensor


class Memories:
    """The memory bank of a session. Not thread-safe."""

    def __init__(self, runtime: Runtime, *, max_prompts: int, dtype: torch.dtype = MEMORY_DTYPE) -> None:
        self._runtime = runtime
        self._max_prompts = max_prompts
        self._dtype = dtype
        config = runtime.config
        self._slots = SlotMap.empty(1, config.num_memories, config.num_memories - 1)
        self._pointers = SlotMap.empty(1, config.num_pointers, config.num_pointers - 1)
        self.bank = self._bank()
        self.num_objects = 0

    @property
    def num_bytes(self) -> int:
        """Bytes that the bank takes."""
        return sum(part.numel() * part.element_size() for part in self.bank)

    def add(self) -> int:
        """Room for one more object; returns its row."""
        self.num_objects += 1
        if self.num_objects > len(self._slots.frames):
            self._grow(_bucket(self.num_objects), self._num_prompt_slots)
        return self.num_objects - 1

    def remove(self, row: int) -> None:
        """Forget an object. The last row takes its place."""
        last = self.num_objects - 1
        for part in self.bank:
            part[row] = part[last]
        for map_, frames in (
            (self._slots, self.bank.frames_OS),
            (self._pointers, self.bank.pointer_frames_OP),
        ):
            map_.move(last, row)
            frames[last] = EMPTY
        self.num_objects = last

    def frames(self, row: int) -> dict[int, bool]:
        """Frames whose memory an object has now, and whether they are prompted ones."""
        frames, prompted = self._slots.frames[row], self._slots.prompted[row]
        return {int(f): bool(p) for f, p in zip(frames, prompted, strict=True) if f != EMPTY}

    def glance(self, rows: Sequence[int], now: Moment) -> Glance:
        """The bank as the objects in ``rows`` see it at a moment: dense where it can be."""
        at, frames = np.asarray(rows, np.int64), now.frame_O.numpy()
        num_memories, num_pointers = self._slots.num_used(at), self._pointers.num_used(at)
        counts = self._counting(at, frames, now)
        masked = not (counts[0][:, :num_memories].all() and counts[1][:, :num_pointers].all())
        seen = self.bank.prefix(self.num_objects, num_memories, num_pointers)
        first, last = int(at[0]), int(at[-1])
        if np.array_equal(at, np.arange(first, last + 1)):
            return Glance(MemoryBank(*(part[first : last + 1] for part in seen)), masked)
        index = torch.from_numpy(at).to(self._runtime.device)
        return Glance(MemoryBank(*(part.index_select(0, index) for part in seen)), masked)

    def _counting(self, rows: IntArray, frames: IntArray, now: Moment) -> tuple[BoolArray, BoolArray]:
        """Which slots count at a moment: the rule of ``SAM2.recall``, on the host."""
        age = self._slots.age(rows, frames, now.direction)
        recent = (age >= 1) & (age <= self._slots.num_recent)
        memories = (self._slots.frames[rows] != EMPTY) & (self._slots.prompted[rows] | recent)
        age = self._pointers.age(rows, frames, now.direction)
        recent = (age >= 1) & (age <= now.pointer_span)
        past = np.where(self._pointers.prompted[rows], age >= 0, recent)
        return memories, (self._pointers.frames[rows] != EMPTY) & past

    def write(
        self,
        features: ImageFeatures,
        chosen: Chosen,
        rows: Sequence[int],
        frames: Sequence[int],
        *,
        prompted: Sequence[bool],
        binary: Sequence[bool],
        direction: int,
    ) -> None:
        """Remember what was found in a frame, for the objects in ``rows``."""
        self._make_room(rows, frames, prompted)
        flags = list(zip(rows, frames, prompted, strict=True))
        slots = Slots(
            torch.tensor(list(rows)),
            *(
                torch.tensor([kind.claim(r, f, prompted=p, direction=direction) for r, f, p in flags])
                for kind in (self._slots, self._pointers)
            ),
        )
        self._runtime.remember(
            features,
            chosen,
            self.bank,
            slots,
            torch.tensor(list(frames)),
            torch.tensor(list(prompted)),
            torch.tensor(list(binary)),
        )

    def read(self, row: int, frame: int) -> Memory:
        """A copy of what is remembered of one object in a frame that is in the bank."""
        slot, pointer = self._slots.find(row, frame), self._pointers.find(row, frame)
        if slot is None or pointer is None:
            raise KeyError(frame)
        parts = (self.bank.memories_OSID[row, slot], self.bank.pointers_OPC[row, pointer])
        return Memory(*(part.to("cpu", copy=True) for part in parts))

    def keep_only(self, row: int, memories: dict[int, bool], pointers: dict[int, bool]) -> list[int]:
        """Make the bank hold no other frames of an object than these (frame -> prompted).

        Returns the frames that are wanted and missing, for :meth:`restore`.
        """
        missing: set[int] = set()
        for kind, wanted in ((self._slots, memories), (self._pointers, pointers)):
            for slot, frame in enumerate(kind.frames[row].tolist()):
                if frame == EMPTY:
                    continue
                if frame not in wanted:
                    self._clear(kind, row, slot)
                elif bool(kind.prompted[row, slot]) != wanted[frame]:
                    self._mark(kind, row, slot, prompted=wanted[frame])
            missing |= wanted.keys() - set(kind.frames[row].tolist())
        return sorted(missing)

    def restore(
        self,
        row: int,
        frame: int,
        memory: Memory,
        *,
        as_memory: bool | None,
        as_pointer: bool | None,
        direction: int,
    ) -> None:
        """Put back what :meth:`read` gave, as memory and as pointer: of a prompted frame (True), of a recent
        one (False), or not at all (None).
        """
        if as_memory or as_pointer:
            self._make_room([row], [frame], [True])
        parts = (
            (self._slots, as_memory, self.bank.memories_OSID, self.bank.frames_OS, self.bank.prompted_OS),
            (
                self._pointers,
                as_pointer,
                self.bank.pointers_OPC,
                self.bank.pointer_frames_OP,
                self.bank.pointer_prompted_OP,
            ),
        )
        for value, (kind, prompted, values, frames, flags) in zip(memory, parts, strict=True):
            if prompted is None or kind.find(row, frame) is not None:
                continue
            slot = kind.claim(row, frame, prompted=prompted, direction=direction)
            values[row, slot] = value.to(values.device, values.dtype)
            frames[row, slot], flags[row, slot] = frame, prompted

    def state(self) -> dict[str, Tensor]:
        """Everything remembered, for a snapshot."""
        rows = np.arange(self.num_objects)
        used = self.bank.prefix(self.num_objects, self._slots.num_used(rows), self._pointers.num_used(rows))
        return {name: part.to("cpu", copy=True) for name, part in used._asdict().items()}

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Take over what :meth:`state` gave, in place of everything remembered so far."""
        loaded = MemoryBank(**state)
        self.num_objects = len(loaded.frames_OS)
        prompts = max((int(row.sum()) for row in loaded.prompted_OS), default=0)
        self._slots = _map_of(loaded.frames_OS, loaded.prompted_OS, self._slots.num_recent)
        self._pointers = _map_of(
            loaded.pointer_frames_OP, loaded.pointer_prompted_OP, self._pointers.num_recent
        )
        spare = max(
            loaded.frames_OS.shape[1] - self._slots.num_recent,
            loaded.pointer_frames_OP.shape[1] - self._pointers.num_recent,
            prompts,
            1,
        )
        num_objects = _bucket(max(self.num_objects, 1))
        self._slots = self._slots.grown(num_objects, self._slots.num_recent + _bucket(spare))
        self._pointers = self._pointers.grown(num_objects, self._pointers.num_recent + _bucket(spare))
        self.bank = self._bank()
        _copy(loaded, self.bank)

    @property
    def _num_prompt_slots(self) -> int:
        return int(self._slots.frames.shape[1]) - self._slots.num_recent

    def _make_room(self, rows: Sequence[int], frames: Sequence[int], prompted: Sequence[bool]) -> None:
        """Slots for new prompted frames: first by growing, beyond ``max_prompts`` by forgetting old ones."""
        for row, frame, is_prompted in zip(rows, frames, prompted, strict=True):
            for kind in (self._slots, self._pointers):
                slot = kind.find(row, frame)
                if not is_prompted or (slot is not None and kind.prompted[row, slot]):
                    continue
                count = kind.num_prompted(row) + 1
                if count > self._max_prompts:
                    self._clear(kind, row, _least_needed(kind, row, frame))
                elif count > self._num_prompt_slots:
                    self._grow(len(self._slots.frames), _bucket(count))
                    self._make_room(rows, frames, prompted)
                    return

    def _grow(self, num_objects: int, num_prompt_slots: int) -> None:
        old = self.bank
        self._slots = self._slots.grown(num_objects, self._slots.num_recent + num_prompt_slots)
        self._pointers = self._pointers.grown(num_objects, self._pointers.num_recent + num_prompt_slots)
        self.bank = self._bank()
        _copy(old, self.bank)

    def _bank(self) -> MemoryBank:
        (num_objects, memories), pointers = self._slots.frames.shape, self._pointers.frames.shape[1]
        return empty_bank(
            self._runtime.config, num_objects, memories, pointers, self._runtime.device, self._dtype
        )

    def _clear(self, kind: SlotMap, row: int, slot: int) -> None:
        kind.clear(row, slot)
        frames = self.bank.frames_OS if kind is self._slots else self.bank.pointer_frames_OP
        frames[row, slot] = EMPTY

    def _mark(self, kind: SlotMap, row: int, slot: int, *, prompted: bool) -> None:
        kind.prompted[row, slot] = prompted
        flags = self.bank.prompted_OS if kind is self._slots else self.bank.pointer_prompted_OP
        flags[row, slot] = prompted


def _least_needed(kind: SlotMap, row: int, frame: int) -> int:
    """Of the prompted frames, the one farthest from ``frame``, but never the first (ADR 9)."""
    slots = np.flatnonzero(kind.prompted[row] & (kind.frames[row] != EMPTY))
    frames = kind.frames[row, slots]
    away = np.abs(frames - frame)
    if len(slots) > 1:
        away[frames.argmin()] = -1
    return int(slots[int(away.argmax())])


def _bucket(number: int) -> int:
    """The next power of two."""
    return 1 << (number - 1).bit_length()


def _map_of(frames: Tensor, prompted: Tensor, num_recent: int) -> SlotMap:
    return SlotMap(num_recent, frames.cpu().numpy().copy(), prompted.cpu().numpy().copy())


def _copy(source: MemoryBank, target: MemoryBank) -> None:
    for old, new in zip(source, target, strict=True):
        new[: old.shape[0], : old.shape[1]] = old
