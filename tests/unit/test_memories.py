from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch

from maskwright.model.candidates import Chosen
from maskwright.model.memory_bank import EMPTY
from maskwright.runtime.fake import Fake
from maskwright.runtime.protocol import Moment
from maskwright.track.memories import Memories
from small import SMALL

RUNTIME = Fake(SMALL)
FEATURES = RUNTIME.encode_image(torch.rand(1, 3, SMALL.image_size, SMALL.image_size))


def memories(*, num_objects: int = 1, max_prompts: int = 32, dtype: torch.dtype = torch.bfloat16) -> Memories:
    made = Memories(RUNTIME, max_prompts=max_prompts, dtype=dtype)
    for _ in range(num_objects):
        made.add()
    return made


def write(
    into: Memories, frame: int, rows: Sequence[int] = (0,), *, prompted: bool = False, direction: int = 1
) -> None:
    """Remember a frame whose pointer is the number of the frame, plus a tenth per row."""
    num, side = len(rows), SMALL.mask_size
    pointers = torch.tensor([frame + row / 10 for row in rows])[:, None].expand(-1, SMALL.width)
    chosen = Chosen(torch.ones(num, side, side), torch.ones(num), pointers, torch.ones(num))
    flags = [prompted] * num
    frames = [frame] * num
    into.write(FEATURES, chosen, rows, frames, prompted=flags, binary=flags, direction=direction)


def track(into: Memories, frames: range, *, prompted: Sequence[int], row: int = 0) -> None:
    for frame in frames:
        write(into, frame, [row], prompted=frame in prompted)


def pointers_of(of: Memories, row: int = 0) -> dict[int, float]:
    """Frame -> pointer, as they stand in the bank."""
    frames, values = of.bank.pointer_frames_OP[row], of.bank.pointers_OPC[row, :, 0]
    pairs = zip(frames.tolist(), values.tolist(), strict=True)
    return {frame: round(value, 3) for frame, value in pairs if frame != EMPTY}


def assert_map_is_the_banks(of: Memories) -> None:
    """What the host believes is what stands in the bank."""
    for row in range(of.num_objects):
        frames, prompted = of.bank.frames_OS[row].tolist(), of.bank.prompted_OS[row].tolist()
        pairs = zip(frames, prompted, strict=True)
        assert of.frames(row) == {f: p for f, p in pairs if f != EMPTY}


def now(*frames: int, direction: int = 1) -> Moment:
    return Moment(torch.tensor(frames), direction, SMALL.num_pointers - 1)


class TestWriting:
    def test_six_memories_and_fifteen_pointers_beside_the_prompted_frame(self) -> None:
        bank = memories()
        track(bank, range(40), prompted=[0])
        assert bank.frames(0) == {0: True} | dict.fromkeys(range(34, 40), False)
        assert pointers_of(bank) == {frame: frame for frame in (0, *range(25, 40))}
        assert_map_is_the_banks(bank)

    def test_several_prompted_frames_stay(self) -> None:
        bank = memories()
        track(bank, range(40), prompted=[0, 3, 11, 12])
        assert {frame for frame, kept in bank.frames(0).items() if kept} == {0, 3, 11, 12}
        assert len(bank.frames(0)) == 10
        assert set(pointers_of(bank)) == {0, 3, 11, 12, *range(25, 40)}

    def test_storage_grows_in_powers_of_two_and_not_with_time(self) -> None:
        bank = memories()
        shapes = []
        for prompt in range(0, 60, 10):
            track(bank, range(prompt, prompt + 10), prompted=[prompt])
            shapes.append(bank.bank.frames_OS.shape[1] - 6)
        assert shapes == [1, 2, 4, 4, 8, 8]
        assert bank.bank.pointer_frames_OP.shape[1] == 15 + 8
        size = bank.num_bytes
        track(bank, range(60, 200), prompted=[])
        assert bank.num_bytes == size

    def test_rows_grow_in_powers_of_two(self) -> None:
        bank = memories()
        track(bank, range(9), prompted=[0])
        before = bank.frames(0)
        rows = []
        for _ in range(8):
            bank.add()
            rows.append(len(bank.bank.frames_OS))
        assert rows == [2, 4, 4, 8, 8, 8, 8, 16]
        assert bank.frames(0) == before
        assert bank.frames(8) == {}
        assert_map_is_the_banks(bank)

    def test_too_many_prompts_drop_the_farthest_but_never_the_first(self) -> None:
        bank = memories(max_prompts=3)
        for frame in (0, 10, 20, 30, 12):
            write(bank, frame, prompted=True)
        # 10 is as far from 30 as any but the first; then 30 is the farthest from 12
        assert set(bank.frames(0)) == {0, 20, 12}
        assert set(pointers_of(bank)) == {0, 20, 12}
        assert bank.bank.frames_OS.shape[1] - 6 == 4
        assert_map_is_the_banks(bank)

    def test_one_prompt_at_most(self) -> None:
        bank = memories(max_prompts=1)
        write(bank, 3, prompted=True)
        write(bank, 9, prompted=True)
        assert bank.frames(0) == {9: True}

    def test_a_corrected_frame_becomes_permanent_in_its_slot(self) -> None:
        bank = memories()
        track(bank, range(5), prompted=[0])
        write(bank, 4, prompted=True)
        assert bank.frames(0) == {0: True, 1: False, 2: False, 3: False, 4: True}
        track(bank, range(5, 30), prompted=[])
        assert {frame for frame, kept in bank.frames(0).items() if kept} == {0, 4}
        assert_map_is_the_banks(bank)

    @pytest.mark.parametrize(("dtype", "size"), [(torch.bfloat16, 2), (torch.float32, 4)])
    def test_how_memories_are_stored(self, dtype: torch.dtype, size: int) -> None:
        bank = memories(dtype=dtype)
        assert bank.bank.memories_OSID.dtype == dtype
        assert bank.bank.pointers_OPC.dtype == torch.float32
        tokens, slots = SMALL.grid**2, 7
        spatial = slots * tokens * SMALL.memory_width * size
        pointers = 16 * SMALL.width * 4
        assert bank.num_bytes == spatial + pointers + (7 + 16) * (8 + 1)


class TestRemoving:
    def test_the_last_row_takes_the_place(self) -> None:
        bank = memories(num_objects=3)
        write(bank, 0, [0, 1, 2], prompted=True)
        write(bank, 1, [2])
        bank.remove(0)
        assert bank.num_objects == 2
        assert bank.frames(0) == {0: True, 1: False}
        assert pointers_of(bank, 0) == {0: 0.2, 1: 1.2}
        assert pointers_of(bank, 1) == {0: 0.1}
        assert pointers_of(bank, 2) == {}
        assert_map_is_the_banks(bank)

    def test_a_row_used_again_starts_empty(self) -> None:
        bank = memories(num_objects=2)
        write(bank, 0, [0, 1], prompted=True)
        bank.remove(1)
        assert bank.add() == 1
        assert bank.frames(1) == {}
        assert pointers_of(bank, 1) == {}


class TestGlance:
    def test_dense_where_all_slots_count(self) -> None:
        bank = memories(num_objects=2)
        write(bank, 0, [0, 1], prompted=True)
        for frame in range(1, 4):
            write(bank, frame, [0, 1])
        seen = bank.glance([0, 1], now(4, 4))
        assert not seen.masked
        assert seen.bank.frames_OS.tolist() == [[0, 1, 2, 3]] * 2
        assert seen.bank.pointer_frames_OP.shape == (2, 4)

    def test_neighbouring_rows_are_views_and_others_are_picked(self) -> None:
        bank = memories(num_objects=3)
        write(bank, 0, [0, 1, 2], prompted=True)
        neighbours = bank.glance([1, 2], now(1, 1)).bank
        assert neighbours.pointers_OPC.data_ptr() == bank.bank.pointers_OPC[1].data_ptr()
        picked = bank.glance([0, 2], now(1, 1)).bank
        assert picked.pointers_OPC[:, 0, 0].tolist() == pytest.approx([0, 0.2])

    def test_objects_with_different_memories_need_a_mask(self) -> None:
        bank = memories(num_objects=2)
        write(bank, 0, [0, 1], prompted=True)
        write(bank, 1, [0])
        assert bank.glance([0, 1], now(2, 2)).masked
        assert not bank.glance([0], now(2)).masked
        assert not bank.glance([1], now(2)).masked

    def test_a_mask_where_something_is_too_old_or_from_a_later_time(self) -> None:
        bank = memories()
        track(bank, range(3), prompted=[0])
        assert not bank.glance([0], now(3)).masked
        assert bank.glance([0], now(9)).masked, "the memory of frame 2 is seven frames old"
        assert bank.glance([0], now(2)).masked, "frame 2 itself is not past"
        assert bank.glance([0], now(1, direction=-1)).masked, "frame 0 is ahead, and so is its pointer"

    @pytest.mark.parametrize("direction", [1, -1])
    def test_the_rule_is_the_models(self, direction: int) -> None:
        """``masked=False`` is claimed only where ``recall`` would see every slot of the glance."""
        bank = memories()
        for frame in range(0, 30 * direction, direction):
            write(bank, frame, prompted=frame in (0, 17 * direction), direction=direction)
        for frame in range(-40, 40):
            moment = now(frame, direction=direction)
            seen = bank.glance([0], moment)
            age = (frame - seen.bank.frames_OS) * direction
            visible = (seen.bank.frames_OS != EMPTY) & (seen.bank.prompted_OS | ((age >= 1) & (age <= 6)))
            old = (frame - seen.bank.pointer_frames_OP) * direction
            past = torch.where(seen.bank.pointer_prompted_OP, old >= 0, (old >= 1) & (old <= 15))
            past &= seen.bank.pointer_frames_OP != EMPTY
            assert seen.masked == (not bool(visible.all() and past.all())), frame


class TestRestoring:
    def test_keep_only_and_restore(self) -> None:
        bank = memories()
        track(bank, range(10), prompted=[0])
        kept = {frame: bank.read(0, frame) for frame in (0, 8, 9)}
        missing = bank.keep_only(0, {0: True, 3: False, 9: False}, {0: True, 2: False, 9: False})
        assert missing == [3]
        assert bank.frames(0) == {0: True, 9: False}
        assert set(pointers_of(bank)) == {0, 2, 9}
        bank.restore(0, 8, kept[8], as_memory=False, as_pointer=False, direction=1)
        bank.restore(0, 30, kept[9], as_memory=None, as_pointer=True, direction=1)
        assert bank.frames(0) == {0: True, 8: False, 9: False}
        assert pointers_of(bank)[8] == 8
        assert pointers_of(bank)[30] == 9
        back = bank.read(0, 8)
        assert all(torch.equal(a, b) for a, b in zip(back, kept[8], strict=True))
        assert_map_is_the_banks(bank)

    def test_frames_change_sides(self) -> None:
        """A prompted frame may become a tracked one and the other way round."""
        bank = memories()
        track(bank, range(4), prompted=[0])
        assert bank.keep_only(0, {0: False, 3: True}, {0: False, 3: True}) == []
        assert bank.frames(0) == {0: False, 3: True}
        assert_map_is_the_banks(bank)

    def test_what_is_there_is_not_restored_twice(self) -> None:
        bank = memories()
        track(bank, range(3), prompted=[0])
        other = bank.read(0, 1)
        bank.restore(0, 2, other, as_memory=False, as_pointer=False, direction=1)
        assert pointers_of(bank) == {0: 0, 1: 1, 2: 2}

    def test_reading_what_is_not_there(self) -> None:
        bank = memories()
        with pytest.raises(KeyError):
            bank.read(0, 3)

    def test_a_copy_is_read(self) -> None:
        bank = memories()
        write(bank, 0, prompted=True)
        before = bank.read(0, 0).pointer_C.clone()
        bank.bank.pointers_OPC.fill_(7)
        assert torch.equal(before, torch.zeros(SMALL.width))
        assert not torch.equal(bank.read(0, 0).pointer_C, before)


class TestState:
    def test_it_comes_back_whole(self) -> None:
        bank = memories(num_objects=3)
        for row in range(3):
            track(bank, range(row, 20), prompted=[row, 10], row=row)
        state = bank.state()
        other = memories()
        other.load_state(state)
        assert other.num_objects == 3
        for row in range(3):
            assert other.frames(row) == bank.frames(row)
            assert pointers_of(other, row) == pointers_of(bank, row)
        assert len(other.bank.frames_OS) == 4
        assert_map_is_the_banks(other)
        for name, part in other.state().items():
            assert torch.equal(part, state[name]), name

    def test_it_goes_on_in_the_same_way(self) -> None:
        bank = memories()
        track(bank, range(12), prompted=[0])
        other = memories()
        other.load_state(bank.state())
        for one in (bank, other):
            track(one, range(12, 40), prompted=[20])
        assert other.frames(0) == bank.frames(0)
        assert pointers_of(other) == pointers_of(bank)

    def test_it_is_a_copy(self) -> None:
        bank = memories()
        write(bank, 0, prompted=True)
        state = bank.state()
        write(bank, 1)
        bank.bank.pointers_OPC.fill_(7)
        assert state["frames_OS"].tolist() == [[0]]
        assert state["pointers_OPC"].abs().max() == 0

    def test_an_empty_one(self) -> None:
        bank = memories(num_objects=2)
        other = memories()
        other.load_state(bank.state())
        assert other.num_objects == 2
        assert np.array_equal(other.frames(1), {})
        write(other, 0, [0, 1], prompted=True)
        assert_map_is_the_banks(other)
