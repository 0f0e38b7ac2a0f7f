"""Recorded verbs: the numbers of the plain runtime, buffers that are reused, and ways back when it fails."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from maskwright.budget import timing
from maskwright.budget.options import Budget, Task
from maskwright.budget.timing import Speed
from maskwright.config import NANO, ModelConfig
from maskwright.errors import InputError
from maskwright.mask_model import MaskModel
from maskwright.model.prompt_encoder import PromptTensors
from maskwright.runtime import captured
from maskwright.runtime.captured import Captured, Recorded
from maskwright.runtime.nested import mapped, tensors
from maskwright.track.session import Session
from maskwright.types import Box
from small import SMALL, small_clip, small_runtime


class Again:
    """Stands in for CUDA graphs: a replay calls the work again, which only sees the buffers, and overwrites
    the results in place."""

    def __init__(self) -> None:
        self.recorded = self.replayed = self.turns = 0
        self.inside = False

    def record(self, work: Callable[[], Any]) -> Recorded:
        self.recorded += 1
        results = mapped(torch.clone, work())

        def replay() -> None:
            assert self.inside
            self.replayed += 1
            for old, new in zip(tensors(results), tensors(work()), strict=True):
                old.copy_(new)

        return Recorded(replay, results)

    @contextlib.contextmanager
    def turn(self) -> Iterator[None]:
        assert not self.inside
        self.inside = True
        self.turns += 1
        yield
        self.inside = False


class Broken(Again):
    def record(self, work: Callable[[], Any]) -> Recorded:
        self.recorded += 1
        raise RuntimeError("operation not permitted when stream is capturing")


def pixels(seed: int, batch: int = 1) -> Tensor:
    return torch.randn(batch, 3, 64, 64, generator=torch.Generator().manual_seed(seed))


def clicks(x: float, objects: int = 1) -> PromptTensors:
    return PromptTensors(torch.full((1, objects, 2, 2), x), torch.tensor([[[1, -1]] * objects]))


def same(ours: Any, theirs: Any) -> bool:
    pairs = zip(tensors(ours), tensors(theirs), strict=True)
    return all(torch.equal(one, other) for one, other in pairs)


def test_a_shape_that_comes_back_is_recorded_and_results_are_the_callers_own() -> None:
    plain, recorder = small_runtime(), Again()
    runtime = Captured(plain, recorder)
    wanted = [plain.encode_image(pixels(seed)) for seed in range(4)]
    found = [runtime.encode_image(pixels(seed)) for seed in range(4)]
    assert (recorder.recorded, recorder.replayed) == (1, 3)
    for ours, theirs in zip(found, wanted, strict=True):
        assert same(ours, theirs)
    assert len({level.data_ptr() for features in found for level in features.levels}) == 12


@pytest.mark.parametrize("task", ["video", "photo"])
def test_what_is_timed_is_replayed_only(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder, recorded = Again(), []

    def timed(step: Callable[[], object], *about: object, warm_ups: int) -> Speed:
        for _ in range(warm_ups + 4):
            step()
            recorded.append(recorder.recorded)
        return Speed(1.0, warm_ups)

    monkeypatch.setattr(timing, "timed", timed)
    model = MaskModel(Captured(small_runtime(), recorder))
    warm_ups = timing.speed_of(model, Budget(10, task=task, size=(48, 64)), 0.0).samples
    assert recorded[0] < recorded[warm_ups - 1] == recorded[-1]
    assert recorder.replayed > recorder.recorded


@pytest.mark.parametrize("config", [SMALL, NANO.at(64)], ids=["official", "nano"])
def test_following_objects_gives_the_same_numbers(config: ModelConfig) -> None:
    plain, recorder = small_runtime(config), Again()
    runtime = Captured(plain, recorder)
    sessions = [Session(plain), Session(runtime)]
    for number, frame in enumerate(small_clip(24)):
        ours, theirs = (session.push(frame) for session in sessions)
        if number in (0, 3):  # another object, and so other shapes
            ours, theirs = (session.prompt(number, Box(4 + number, 8, 30, 30)) for session in sessions)
        assert (ours.logits == theirs.logits).all()
        assert (ours.object_scores == theirs.object_scores).all()
    assert recorder.replayed > 24
    assert runtime.num_graphs == recorder.recorded <= captured.MAX_GRAPHS
    wanted, found = (session._tracks.memories.bank for session in sessions)
    assert same(wanted, found)


def test_the_least_recently_used_graph_is_dropped() -> None:
    recorder = Again()
    runtime = Captured(small_runtime(), recorder, max_graphs=2)
    for batch in (1, 1, 2, 2, 1, 3, 3):
        runtime.encode_image(pixels(0, batch))
    assert (recorder.recorded, runtime.num_graphs) == (3, 2)
    runtime.encode_image(pixels(0, 1))  # used after the batch of two, and so still here
    assert recorder.recorded == 3
    runtime.encode_image(pixels(0, 2))
    assert recorder.recorded == 4


def test_shapes_that_come_once_in_a_while_are_not_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(captured, "RECENT_CALLS", 3)
    recorder = Again()
    runtime = Captured(small_runtime(), recorder)
    features = runtime.without_memory(runtime.encode_image(pixels(0)))
    for _ in range(3):
        for objects in (1, 2, 3, 4):
            runtime.decode(features, clicks(20.0, objects))
    assert recorder.recorded == recorder.replayed == 0


def test_large_batches_are_not_recorded() -> None:
    recorder = Again()
    runtime = Captured(small_runtime(), recorder)
    features = runtime.without_memory(runtime.encode_image(pixels(0)))
    for _ in range(3):
        runtime.decode(features, clicks(20.0, captured.MAX_BATCH + 1))
    assert recorder.recorded == 0
    for _ in range(3):
        runtime.decode(features, clicks(20.0, captured.MAX_BATCH))
    assert recorder.recorded == 1


def test_masks_of_a_prompt_make_another_graph() -> None:
    plain, recorder = small_runtime(), Again()
    runtime = Captured(plain, recorder)
    features = plain.without_memory(plain.encode_image(pixels(0)))
    for x in (10.0, 30.0, 50.0):
        bare = clicks(x)
        drawn = bare._replace(masks_BPHW=torch.full((1, 1, 16, 16), x / 10 - 3))
        for prompts in (bare, drawn):
            assert same(runtime.decode(features, prompts), plain.decode(features, prompts))
    assert (recorder.recorded, recorder.replayed) == (2, 4)


def test_expanded_inputs_take_no_room_and_stay_expanded() -> None:
    one = torch.arange(6.0).view(1, 2, 3)
    many = one.expand(5, -1, -1)
    buffer = captured._buffer(many, torch.device("cpu"))
    assert buffer.shape == many.shape
    assert buffer.untyped_storage().nbytes() == one.untyped_storage().nbytes()
    assert captured._form(many) != captured._form(many.contiguous())
    copy = captured._copied(many)
    assert torch.equal(copy, many)
    assert copy.stride() == many.stride()
    assert copy.data_ptr() != many.data_ptr()


def test_failing_to_record_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    plain, recorder = small_runtime(), Broken()
    runtime = Captured(plain, recorder)
    # pytest's own way of leaving a turn that an error ends: the real one is left by the same error
    recorder.turn = contextlib.nullcontext  # type: ignore[method-assign]
    with caplog.at_level(logging.WARNING):
        for batch in (1, 1, 1, 2, 2):
            assert same(runtime.encode_image(pixels(3, batch)), plain.encode_image(pixels(3, batch)))
    assert recorder.recorded == 1
    assert [record.name for record in caplog.records] == ["maskwright.runtime.captured"]
    assert "not permitted" in caplog.text


def test_threads_take_turns() -> None:
    plain, recorder = small_runtime(), Again()
    runtime = Captured(plain, recorder)
    wanted = [plain.encode_image(pixels(seed)) for seed in range(6)]
    found: dict[int, Any] = {}

    def work(seed: int) -> None:
        for _ in range(3):
            found[seed] = runtime.encode_image(pixels(seed))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert all(same(found[seed], wanted[seed]) for seed in range(6))
    assert recorder.recorded == 1


def test_only_on_cuda() -> None:
    with pytest.raises(InputError, match="CUDA device"):
        captured.wrap(small_runtime())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")
def test_on_a_gpu() -> None:
    from maskwright.runtime.eager import Eager, place
    from maskwright.runtime.select import choose
    from small import lively

    choice = choose("cuda", None)
    plain = Eager(place(lively(SMALL), choice), choice)
    sessions = [Session(plain), Session(captured.wrap(plain))]
    for number, frame in enumerate(small_clip(24)):
        ours, theirs = (session.push(frame) for session in sessions)
        if number == 0:
            ours, theirs = (session.prompt(1, Box(4, 8, 30, 30)) for session in sessions)
        torch.testing.assert_close(torch.from_numpy(ours.logits), torch.from_numpy(theirs.logits))
    assert sessions[1]._runtime.num_graphs > 2
