from __future__ import annotations

import numpy as np
import pytest

from maskwright.model.memory_bank import EMPTY
from maskwright.track.slots import SlotMap


def ring(num_recent: int = 6, num_prompts: int = 1, num_objects: int = 1) -> SlotMap:
    return SlotMap.empty(num_objects, num_recent + num_prompts, num_recent)


def held(slots: SlotMap, row: int = 0) -> set[int]:
    return set(slots.frames[row].tolist()) - {EMPTY}


def claim_all(slots: SlotMap, frames: range, *, prompted: tuple[int, ...] = ()) -> None:
    direction = frames.step // abs(frames.step)
    for frame in frames:
        slots.claim(0, frame, prompted=frame in prompted, direction=direction)


@pytest.mark.parametrize("num_recent", [6, 15])
@pytest.mark.parametrize("frames", [range(50), range(50, -50, -1)], ids=["forward", "backward"])
def test_the_ring_holds_the_latest_frames_and_the_prompted_one(num_recent: int, frames: range) -> None:
    slots = ring(num_recent)
    claim_all(slots, frames, prompted=(frames[0],))
    assert held(slots) == {frames[0], *frames[-num_recent:]}
    assert slots.num_prompted(0) == 1


def test_slots_fill_from_the_front_and_are_used_again() -> None:
    slots = ring(3)
    places = [slots.claim(0, frame, prompted=frame == 0, direction=1) for frame in range(8)]
    assert places[:4] == [0, 1, 2, 3]
    assert set(places[4:]) == {1, 2, 3}, "the slot of the prompted frame was taken"
    assert slots.num_used(np.array([0])) == 4


def test_a_frame_keeps_its_slot() -> None:
    slots = ring()
    first = slots.claim(0, 5, prompted=False, direction=1)
    assert slots.claim(0, 5, prompted=True, direction=1) == first
    assert slots.num_prompted(0) == 1
    assert slots.find(0, 5) == first
    assert slots.find(0, 6) is None


def test_what_will_not_be_looked_at_again_goes_first() -> None:
    """After a turn, frames that lie ahead or too far back are of no use; the nearest ones are."""
    slots = ring(3)
    claim_all(slots, range(10, 13))
    slots.claim(0, 9, prompted=False, direction=-1)
    assert held(slots) == {9, 10, 11}
    slots.claim(0, 30, prompted=False, direction=1)
    slots.claim(0, 31, prompted=False, direction=1)
    slots.claim(0, 32, prompted=False, direction=1)
    assert held(slots) == {30, 31, 32}


def test_rows_are_independent() -> None:
    slots = ring(2, num_objects=2)
    slots.claim(0, 1, prompted=True, direction=1)
    slots.claim(1, 7, prompted=False, direction=1)
    assert (held(slots, 0), held(slots, 1)) == ({1}, {7})
    slots.move(1, 0)
    assert (held(slots, 0), held(slots, 1)) == ({7}, set())
    assert not slots.prompted.any()
    slots.move(0, 0)
    assert not held(slots, 0), "a row that moves onto itself is the last one, and removed"


def test_growing_keeps_everything_in_place() -> None:
    slots = ring(2, num_prompts=1)
    claim_all(slots, range(4), prompted=(0,))
    larger = slots.grown(4, 6)
    assert larger.frames.shape == larger.prompted.shape == (4, 6)
    np.testing.assert_array_equal(larger.frames[:1, :3], slots.frames)
    np.testing.assert_array_equal(larger.prompted[:1, :3], slots.prompted)
    assert (larger.frames[1:] == EMPTY).all()
    assert (larger.frames[:, 3:] == EMPTY).all()


def test_the_used_prefix_is_that_of_the_rows_asked_about() -> None:
    slots = ring(4, num_objects=2)
    for frame in range(3):
        slots.claim(1, frame, prompted=False, direction=1)
    assert slots.num_used(np.array([0])) == 0
    assert slots.num_used(np.array([0, 1])) == 3
    slots.clear(1, 2)
    assert slots.num_used(np.array([1])) == 2


def test_ages_follow_the_direction_of_time() -> None:
    slots = ring(2, num_prompts=0)
    claim_all(slots, range(3, 5))
    rows, now = np.array([0]), np.array([6])
    assert slots.age(rows, now, 1).tolist() == [[3, 2]]
    assert slots.age(rows, now, -1).tolist() == [[-3, -2]]
