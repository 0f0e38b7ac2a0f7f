"""Everything that was found in every frame, as the official predictor keeps it, but not all of it in memory.

The official predictor can go on from any frame that it ever saw, so it keeps every frame's memory of every
object. Here the latest ones are kept in memory and the others in a temporary file, which goes away with them.
"""

from __future__ import annotations

import tempfile
import weakref
from collections import OrderedDict
from typing import BinaryIO, NamedTuple

import torch
from torch import Tensor

from maskwright.config import ModelConfig
from maskwright.io.files import output_error
from maskwright.track.memories import Memory

IN_MEMORY = 96
"""Traces kept in memory; 0.8 MiB each at 1024 px."""

Key = tuple[int, int]
"""Serial number of an object, and frame."""


class Trace(NamedTuple):
    """What was found of one object in one frame, on the CPU."""

    memory_ID: Tensor
    """Spatial memory, bfloat16."""
    pointer_C: Tensor
    logits_HW: Tensor
    """Low-resolution mask logits as shown: with holes filled."""
    object_score: Tensor
    """Logit that the object is visible, a scalar."""

    @property
    def memory(self) -> Memory:
        return Memory(self.memory_ID, self.pointer_C)


class History:
    """Traces by object and frame; the least recently used ones are on the disk."""

    def __init__(self, config: ModelConfig) -> None:
        tokens, side = config.grid**2, config.mask_size
        self._layout = (
            ((tokens, config.memory_width), torch.bfloat16),
            ((config.width,), torch.float32),
            ((side, side), torch.float32),
            ((), torch.float32),
        )
        self._recent: OrderedDict[Key, Trace] = OrderedDict()
        self._places: dict[Key, int] = {}
        self._free: list[int] = []
        self._file: BinaryIO | None = None

    def __contains__(self, key: Key) -> bool:
        return key in self._recent or key in self._places

    def put(self, key: Key, trace: Trace) -> None:
        """Keep a trace, in place of an earlier one of the same key.

        Raises:
            OutputError: the disk is full.
        """
        self._release(key)
        self._keep(key, trace)

    def get(self, key: Key) -> Trace:
        """The trace of a key that is there."""
        trace = self._recent.get(key)
        if trace is None:
            trace = self._read(self._places[key])
            self._release(key)
            self._keep(key, trace)
        self._recent.move_to_end(key)
        return trace

    def discard(self, key: Key) -> None:
        self._recent.pop(key, None)
        self._release(key)

    def clear(self) -> None:
        """Forget everything and remove the file."""
        self._recent.clear()
        self._places.clear()
        self._free.clear()
        if self._file is not None:
            self._file.close()
            self._file = None

    def _keep(self, key: Key, trace: Trace) -> None:
        self._recent[key] = trace
        self._recent.move_to_end(key)
        while len(self._recent) > IN_MEMORY:
            oldest = next(iter(self._recent))
            self._write(oldest, self._recent[oldest])
            del self._recent[oldest]

    def _release(self, key: Key) -> None:
        place = self._places.pop(key, None)
        if place is not None:
            self._free.append(place)

    @property
    def _record_bytes(self) -> int:
        return sum(torch.Size(shape).numel() * dtype.itemsize for shape, dtype in self._layout)

    def _write(self, key: Key, trace: Trace) -> None:
        place = self._free.pop() if self._free else len(self._places)
        parts = (
            part.to(dtype).contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
            for part, (_, dtype) in zip(trace, self._layout, strict=True)
        )
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile(prefix="maskwright-history-")  # noqa: SIM115 (outlives this)
                weakref.finalize(self, self._file.close)
            self._file.seek(place * self._record_bytes)
            self._file.write(b"".join(parts))
            self._file.flush()
        except OSError as error:
            raise output_error(f"{tempfile.gettempdir()} (memories of earlier frames)", error) from error
        self._places[key] = place

    def _read(self, place: int) -> Trace:
        assert self._file is not None
        self._file.seek(place * self._record_bytes)
        record = bytearray(self._file.read(self._record_bytes))
        parts, start = [], 0
        for shape, dtype in self._layout:
            count = torch.Size(shape).numel()
            parts.append(torch.frombuffer(record, dtype=dtype, count=count, offset=start).reshape(shape))
            start += count * dtype.itemsize
        return Trace(*parts)
