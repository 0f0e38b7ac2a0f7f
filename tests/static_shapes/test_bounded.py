"""A stream may go on for ever: what a session holds depends on its objects, not on how long it has run."""

from __future__ import annotations

import gc
import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch

from maskwright.config import HieraConfig
from maskwright.model.memory_bank import EMPTY
from maskwright.track.session import Session
from maskwright.types import Box
from small import SMALL, small_clip, small_runtime

NUM_FRAMES = 2_500
NUM_OBJECTS = 8
TINY = replace(
    SMALL.at(32),
    trunk=HieraConfig(width=8, heads=1, depths=(1, 1, 1, 1), global_blocks=(2,)),
    decoder_mlp=16,
    memory_mlp=16,
)
MIB = 1 << 20
PROC = Path("/proc/self/statm").exists()


class Held(NamedTuple):
    """What a session and the process hold at a moment."""

    resident: int
    """Bytes of the process in memory."""
    bank: int
    """Bytes of memories."""
    shapes: tuple[torch.Size, ...]
    objects: int
    """Python objects that the garbage collector knows."""
    tensors: int


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def held(session: Session) -> Held:
    gc.collect()
    resident = resident_bytes() if PROC else 0
    known = gc.get_objects()
    shapes = tuple(part.shape for part in session._tracks.memories.bank)
    tensors = sum(issubclass(type(one), torch.Tensor) for one in known)
    return Held(resident, session.num_bytes, shapes, len(known), tensors)


def follow_for_long() -> dict[int, Held]:
    """Eight objects, followed through many frames with one correction in the beginning."""
    torch.set_num_threads(1)
    clip = small_clip(64, (24, 32))
    found = {}
    with Session(small_runtime(TINY)) as session:
        for number in range(NUM_FRAMES):
            session.push(clip[number % len(clip)])
            if number == 0:
                for one in range(NUM_OBJECTS):
                    session.prompt(one, Box(one, 2, one + 12, 20))
            if number == 5:
                session.prompt(0, Box(4, 4, 20, 20))
            if number + 1 in (20, 100, 1000, NUM_FRAMES):
                found[number + 1] = held(session)
        frames = np.array([sorted(session._tracks.memories.frames(row)) for row in range(1, NUM_OBJECTS)])
        kept = set(session._tracks.memories.frames(0))
    assert (frames == [0, *range(NUM_FRAMES - 7, NUM_FRAMES - 1)]).all()
    assert kept == {5, *frames[0].tolist()}
    return found


@pytest.fixture(scope="module")
def moments() -> dict[int, Held]:
    """In a process of its own: what other tests have left in this one moves its memory by more."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as fresh:
        return fresh.submit(follow_for_long).result()


@pytest.mark.skipif(not PROC, reason="needs /proc")
def test_resident_memory_is_flat(moments: dict[int, Held]) -> None:
    assert moments[NUM_FRAMES].resident - moments[100].resident < 2 * MIB


def test_the_bank_is_as_large_as_after_20_frames(moments: dict[int, Held]) -> None:
    assert moments[NUM_FRAMES].bank == moments[20].bank
    assert moments[NUM_FRAMES].shapes == moments[20].shapes


def test_nothing_is_left_behind_by_a_frame(moments: dict[int, Held]) -> None:
    """Neither tensors nor other objects: a handful per run may come from elsewhere, one per frame may not."""
    assert moments[NUM_FRAMES].tensors <= moments[100].tensors
    assert moments[NUM_FRAMES].objects - moments[1000].objects < 100


def test_frame_numbers_do_not_wear_out() -> None:
    """A stream of years: numbers beyond what 32 bits or a float hold are still told apart."""
    runtime, clip = small_runtime(TINY), small_clip(12, (24, 32))
    tracks = []
    for start in (0, 1 << 33):
        session = Session(runtime)
        session._next_tick = start
        session.push(clip[0])
        session.prompt(1, Box(4, 2, 16, 20))
        tracks.append([session.push(frame).logits for frame in clip[1:]])
    for early, late in zip(*tracks, strict=True):
        np.testing.assert_array_equal(early, late)
    assert abs(EMPTY) > 1 << 33
