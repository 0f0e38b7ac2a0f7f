"""Compiled verbs: the numbers of the plain runtime, few compilations, and ways back when compiling fails."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor

import maskwright as mw
from maskwright.config import NANO, ModelConfig
from maskwright.errors import InputError
from maskwright.model.candidates import Chosen
from maskwright.model.mask_decoder import ImageFeatures
from maskwright.model.memory_bank import MemoryBank, empty_bank
from maskwright.model.prompt_encoder import NO_POINT, PADDING, PromptTensors
from maskwright.model.sam2 import Slots
from maskwright.runtime import compiled, select
from maskwright.runtime.compiled import Compiled, Compiler
from maskwright.runtime.eager import Eager, place
from maskwright.runtime.nested import tensors
from maskwright.runtime.protocol import Moment, Runtime
from maskwright.runtime.select import choose
from maskwright.track.session import Session
from maskwright.types import Box
from small import SMALL, lively, small_clip, small_runtime

CONFIGS = {"official": SMALL, "nano": NANO.at(64)}
CLOSE = {"rtol": 1e-4, "atol": 1e-4}
"""Padding changes the order of sums, and fused operators their last bits; values are about 1, mask logits
about 10."""


class Counting:
    """A backend that runs graphs as they are, and how many it was given."""

    def __init__(self) -> None:
        self.graphs = 0

    def __call__(self, graph: torch.fx.GraphModule, _inputs: list[Tensor]) -> Callable[..., Any]:
        self.graphs += 1
        return graph.forward


class Pair(NamedTuple):
    """The plain runtime, the compiled one with the same weights, and what counts graphs and forms."""

    plain: Eager
    runtime: Eager
    network: Compiled
    backend: Counting


def pair(config: ModelConfig = SMALL) -> Pair:
    choice, backend = choose("cpu", None), Counting()
    runtime = compiled.wrap(lively(config), choice, backend=backend)
    assert isinstance(runtime._network, Compiled)
    return Pair(small_runtime(config), runtime, runtime._network, backend)


@pytest.fixture(autouse=True)
def from_scratch() -> Iterator[None]:
    """Nothing compiled stays for other tests."""
    yield
    torch._dynamo.reset()


@pytest.fixture
def untraced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without tracing, which takes seconds for a verb: functions run as they are, one for each form."""
    monkeypatch.setattr(torch, "compile", lambda work, **_: work)


@pytest.fixture(params=list(CONFIGS))
def config(request: pytest.FixtureRequest) -> ModelConfig:
    return CONFIGS[request.param]


def pixels(seed: int, batch: int = 1) -> Tensor:
    return torch.randn(batch, 3, 64, 64, generator=torch.Generator().manual_seed(seed))


def prompts(
    objects: int, points: int, *, pictures: int = 1, masks: str = "none", seed: int = 0
) -> PromptTensors:
    random = torch.Generator().manual_seed(seed)
    places = 64 * torch.rand(pictures, objects, points, 2, generator=random)
    labels = torch.randint(PADDING, 4, (pictures, objects, points), generator=random)
    labels[..., 0] = 1
    if masks == "none":
        return PromptTensors(places, labels)
    drawn = 4 * torch.randn(pictures, objects, 16, 16, generator=random)
    some = torch.rand(pictures, objects, generator=random) > 0.5
    return PromptTensors(places, labels, drawn, some if masks == "some" else None)


def close(ours: Any, theirs: Any) -> None:
    torch.testing.assert_close(list(tensors(ours)), list(tensors(theirs)), **CLOSE)


def filled(runtime: Runtime, objects: int, memories: int, pointers: int) -> MemoryBank:
    """A bank whose first memory and pointer are of a prompted frame 0, the others of frames before 20."""
    config, random = runtime.config, torch.Generator().manual_seed(3)
    bank = empty_bank(config, objects, memories + 1, pointers + 2, "cpu", torch.float32)
    bank = bank.prefix(objects, memories, pointers)
    bank.memories_OSID.copy_(torch.randn(bank.memories_OSID.shape, generator=random))
    bank.pointers_OPC.copy_(torch.randn(bank.pointers_OPC.shape, generator=random))
    for frames, prompted in (
        (bank.frames_OS, bank.prompted_OS),
        (bank.pointer_frames_OP, bank.pointer_prompted_OP),
    ):
        frames.copy_(20 - torch.arange(frames.shape[1]))
        frames[:, 0], prompted[:, 0] = 0, True
    return bank


def moment(objects: int) -> Moment:
    return Moment(torch.full((objects,), 20), 1, 15)


def chosen_of(config: ModelConfig, objects: int) -> Chosen:
    random = torch.Generator().manual_seed(objects)
    return Chosen(
        4 * torch.randn(objects, 16, 16, generator=random),
        torch.rand(objects, generator=random),
        torch.randn(objects, config.width, generator=random),
        torch.randn(objects, generator=random),
    )


def remembered(runtime: Runtime, features: ImageFeatures, objects: int) -> MemoryBank:
    """A bank with one frame in its second slot of memories."""
    row, flags = torch.arange(objects), torch.arange(objects) % 2 == 0
    slots = Slots(row, torch.ones_like(row), torch.zeros_like(row))
    bank = empty_bank(runtime.config, objects, 2, 2, "cpu", torch.float32)
    chosen, frame_O = chosen_of(runtime.config, objects), torch.full((objects,), 5)
    runtime.remember(features, chosen, bank, slots, frame_O, flags, ~flags)
    assert bank.memories_OSID[:, 1].any()
    return bank


def nothing_asked(objects: int) -> PromptTensors:
    return PromptTensors(torch.zeros(objects, 1, 2, 2), torch.full((objects, 1, 2), NO_POINT))


def test_all_verbs_for_several_numbers_in_one_graph_each(config: ModelConfig) -> None:
    plain, runtime, network, backend = pair(config)
    features = plain.encode_image(pixels(0))
    for batch in (1, 2):
        close(runtime.encode_image(pixels(0, batch)), plain.encode_image(pixels(0, batch)))
    for objects, points in ((3, 3), (4, 4)):
        asked = prompts(objects, points, masks=("some", "all")[objects - 3], seed=objects)
        close(runtime.decode(features, asked), plain.decode(features, asked))
        close(remembered(runtime, features, objects), remembered(plain, features, objects))
    for objects, memories, pointers in ((3, 3, 4), (4, 7, 16), (4, 7, 15)):
        bank, now = filled(plain, objects, memories, pointers), moment(objects)
        ours = runtime.recall(features, bank, now, masked=True)
        close(ours, plain.recall(features, bank, now, masked=True))
    assert backend.graphs == network.num_compiled == 4


def test_following_an_object_in_few_graphs(one_thread: None) -> None:
    """While memories fill up and after."""
    plain, runtime, network, backend = pair(replace(SMALL, image_size=32))
    sessions = [Session(plain), Session(runtime)]
    for number, frame in enumerate(small_clip(20)):
        ours, theirs = (session.push(frame) for session in sessions)
        if number == 0:
            ours, theirs = (session.prompt(1, Box(4, 8, 30, 30)) for session in sessions)
        np.testing.assert_allclose(ours.logits, theirs.logits, rtol=1e-3, atol=1e-2)
    # encode, decode a box, remember, recall with a mask and without, decode without a prompt
    assert backend.graphs == network.num_compiled == 6


@pytest.mark.usefixtures("untraced")
def test_following_several_objects(config: ModelConfig) -> None:
    plain, runtime, network, _ = pair(config)
    sessions = [Session(plain), Session(runtime)]
    for number, frame in enumerate(small_clip(24)):
        ours, theirs = (session.push(frame) for session in sessions)
        if number in (0, 3, 6, 9):
            ours, theirs = (session.prompt(number % 9, Box(4 + number, 8, 30, 30)) for session in sessions)
        np.testing.assert_allclose(ours.logits, theirs.logits, rtol=1e-3, atol=1e-2)
    held = network.num_compiled
    assert held <= 18
    for frame in small_clip(6, seed=1):
        sessions[1].push(frame)
    assert network.num_compiled == held


@pytest.mark.usefixtures("untraced")
@pytest.mark.parametrize("masks", ["none", "some", "all"])
def test_decode(config: ModelConfig, masks: str) -> None:
    plain, runtime, network, _ = pair(config)
    for pictures in (1, 3):
        features = plain.without_memory(plain.encode_image(pixels(0, pictures)))
        for objects, points in ((3, 3), (4, 4), (3, 4), (4, 3)):
            asked = prompts(objects, points, pictures=pictures, masks=masks, seed=objects)
            close(runtime.decode(features, asked), plain.decode(features, asked))
    assert network.num_compiled == 2


@pytest.mark.usefixtures("untraced")
def test_decode_what_was_recalled(config: ModelConfig) -> None:
    """Where some features are those of the frame for all objects, and nano knows who is there."""
    plain, runtime, network, _ = pair(config)
    features = plain.encode_image(pixels(1))
    for objects in (3, 4):
        bank, now = filled(plain, objects, 7, 16), moment(objects)
        ours = runtime.recall(features, bank, now, masked=False)
        theirs = plain.recall(features, bank, now, masked=False)
        close(ours, theirs)
        close(runtime.decode(ours, nothing_asked(objects)), plain.decode(theirs, nothing_asked(objects)))
    assert network.num_compiled == 2


@pytest.mark.usefixtures("untraced")
def test_few_compilations_for_many_numbers() -> None:
    plain, runtime, network, _ = pair()
    features = plain.encode_image(pixels(0))
    for objects in range(1, 9):
        for points in range(1, 9):
            runtime.decode(features, prompts(objects, points))
    assert network.num_compiled == 4 * 3  # of 64
    for objects in range(1, 9):
        for memories in range(1, 9):
            for masked in (False, True) if memories < 8 else (True,):  # the eighth is too old to count
                bank, now = filled(plain, objects, memories, min(2 * memories + 2, 16)), moment(objects)
                ours = runtime.recall(features, bank, now, masked=masked)
                close(ours, plain.recall(features, bank, now, masked=masked))
    # of 128: one prompted frame with a mask and, where that fills the slots, without; two with a mask
    assert network.num_compiled == 12 + 4 * 3


@pytest.mark.usefixtures("untraced")
def test_large_numbers_are_not_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    plain, runtime, network, _ = pair()
    features = plain.encode_image(pixels(0))
    for asked in (prompts(65, 2), prompts(1, 17)):
        close(runtime.decode(features, asked), plain.decode(features, asked))
    bank, now = filled(plain, 9, 7, 16), moment(9)
    close(runtime.recall(features, bank, now, masked=False), plain.recall(features, bank, now, masked=False))
    assert network.num_compiled == 0
    monkeypatch.setattr(compiled, "MAX_COMPILED", 1)
    for objects in (1, 2, 1):
        asked = prompts(objects, 2)
        close(runtime.decode(features, asked), plain.decode(features, asked))
    assert network.num_compiled == 1


class Piece:
    """Something very small to compile."""

    def work(self, values: Tensor) -> Tensor:
        return values.sin() * 2 + 1


def test_models_do_not_share_a_limit() -> None:
    """PyTorch compiles one function eight times for all models together; here every form has a copy."""
    backend = Counting()
    for _ in range(2):
        piece, compiler = Piece(), Compiler(backend)
        for length in range(1, 8):
            values = torch.arange(float(length))
            torch.testing.assert_close(compiler.run(piece.work, values), piece.work(values))
    assert backend.graphs == 14


def test_tensors_of_all_kinds_are_one_form() -> None:
    piece, backend = Piece(), Counting()
    compiler = Compiler(backend)
    plain = torch.randn(1, 4, 6)
    with torch.inference_mode():
        kinds = [plain, plain + 0, plain.transpose(1, 2).contiguous().transpose(1, 2)]
        kinds += [torch.stack((plain[0], plain[0]))[:1], torch.cat((plain, plain), 2)[:, :, :6]]
        found = [compiler.run(piece.work, one) for one in kinds]
    for one in found:
        torch.testing.assert_close(one, piece.work(plain))
        assert not one.is_inference()
    assert backend.graphs == compiler.num_compiled == 1


def test_failing_to_compile_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    calls = 0

    def broken(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> Callable[..., Any]:
        nonlocal calls
        calls += 1
        raise FileNotFoundError("no C++ compiler here")

    plain, runtime = small_runtime(), compiled.wrap(lively(), choose("cpu", None), backend=broken)
    with caplog.at_level(logging.WARNING):
        for batch in (1, 2, 1):
            features = runtime.encode_image(pixels(3, batch))
            close(features, plain.encode_image(pixels(3, batch)))
        close(runtime.decode(features, prompts(1, 2)), plain.decode(features, prompts(1, 2)))
    assert calls == 1
    assert [record.name for record in caplog.records] == ["maskwright.runtime.compiled"]
    assert "no C++ compiler here" in caplog.text
    assert "runtime='compiled'" in caplog.text


def test_errors_of_the_caller_are_no_failures_to_compile(caplog: pytest.LogCaptureFixture) -> None:
    _, runtime, network, _ = pair()
    with pytest.raises(RuntimeError, match="channels"):
        runtime.encode_image(torch.zeros(1, 4, 64, 64))
    assert not [record for record in caplog.records if record.name.startswith("maskwright")]
    runtime.encode_image(pixels(0))
    assert network.num_compiled == 1


def test_threads_share_what_is_compiled() -> None:
    piece, backend = Piece(), Counting()
    compiler, found = Compiler(backend), {}

    def work(number: int) -> None:
        for _ in range(3):
            found[number] = compiler.run(piece.work, torch.full((5,), float(number)))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
    for number in range(4):
        torch.testing.assert_close(found[number], piece.work(torch.full((5,), float(number))))
    assert backend.graphs == compiler.num_compiled == 1


def test_half_precision() -> None:
    choice, backend = choose("cpu", "bfloat16"), Counting()
    plain = Eager(place(lively(), choice, packed=False), choice)
    runtime = compiled.wrap(lively(), choice, backend=backend)
    theirs, ours = (one.encode_image(pixels(0)) for one in (plain, runtime))
    assert ours.low_BCHW.dtype == torch.bfloat16
    close(ours, theirs)
    ours, theirs = (one.decode(theirs, prompts(3, 3)).logits_BPMHW for one in (runtime, plain))
    assert (ours - theirs).norm() < 0.02 * theirs.norm()  # bfloat16 has 8 bits
    assert backend.graphs == 2


def test_the_same_network_has_the_same_fingerprint() -> None:
    plain, runtime, *_ = pair()
    assert runtime.fingerprint() == plain.fingerprint()
    assert (runtime.config, runtime.device, runtime.dtype) == (plain.config, plain.device, plain.dtype)


def test_no_int8(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(select, "instruction_sets", lambda: frozenset({"avx512_vnni"}))
    with pytest.raises(InputError, match="leave out runtime='compiled'"):
        mw.load("nano", device="cpu", dtype="int8", runtime="compiled")


def test_not_on_other_devices() -> None:
    with pytest.raises(InputError, match="not for mps"):
        compiled.wrap(lively(), select.Choice(torch.device("mps"), torch.float32, ""))


def test_nothing_is_measured_for_a_frame_rate() -> None:
    with pytest.raises(InputError, match="leave out runtime='compiled'"):
        mw.load("nano", target_fps=5, runtime="compiled")


def test_loading_compiles_nothing_yet(nano_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(compiled.CACHE_VARIABLE, raising=False)
    model = mw.load("nano", device="cpu", runtime="compiled")
    assert isinstance(model.runtime, Eager)
    assert isinstance(model.runtime._network, Compiled)
    assert model.runtime.fingerprint() == mw.load("nano", device="cpu").runtime.fingerprint()
    assert model.runtime._network.num_compiled == 0
    assert compiled.CACHE_VARIABLE not in os.environ


@pytest.mark.skipif(shutil.which("g++") is None and shutil.which("clang++") is None, reason="no C++ compiler")
@pytest.mark.skipif(sys.platform != "linux", reason="compilers of other systems are found in other ways")
def test_inductor_keeps_what_it_compiles_in_our_cache(tmp_path: Path) -> None:
    """What was compiled is found again by who has forgotten it."""
    script = """
import logging, torch
from torch._dynamo.utils import counters
from maskwright.runtime.compiled import Compiler

class Piece:
    def work(self, values):
        return values.sin() * 2 + 1

logging.basicConfig()
values = torch.arange(20.0)
for _ in range(2):
    torch.testing.assert_close(Compiler("inductor").run(Piece().work, values), Piece().work(values))
    torch._dynamo.reset()
    found = counters["inductor"]["fxgraph_cache_hit"], counters["aot_autograd"]["autograd_cache_hit"]
    print(counters["inductor"]["fxgraph_cache_miss"], sum(found))
"""
    own = {compiled.CACHE_VARIABLE, compiled.CACHE_SWITCH}
    environment = {name: value for name, value in os.environ.items() if name not in own}
    environment |= {"MASKWRIGHT_CACHE": str(tmp_path), "TORCHINDUCTOR_COMPILE_THREADS": "1"}
    environment |= {"TORCHINDUCTOR_CPP_CACHE_PRECOMPILE_HEADERS": "0"}  # pays for more than one kernel
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "fails here" not in done.stderr
    (missed, found), (missed_later, found_later) = (
        map(int, line.split()) for line in done.stdout.splitlines()
    )
    assert (missed, found) == (1, 0)
    assert (missed_later, found_later > 0) == (1, True)
    assert any((tmp_path / "inductor" / "fxgraph").iterdir())


@pytest.mark.usefixtures("untraced")
@pytest.mark.parametrize("ours", [True, False])
def test_a_folder_that_the_user_has_set_stays(
    ours: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    before = Path(tempfile.gettempdir()) / "torchinductor_somebody" if ours else tmp_path / "own"
    monkeypatch.setenv("MASKWRIGHT_CACHE", str(tmp_path))
    monkeypatch.setenv(compiled.CACHE_VARIABLE, str(before))
    Compiler("inductor").run(Piece().work, torch.zeros(1))
    assert os.environ[compiled.CACHE_VARIABLE] == str(tmp_path / "inductor" if ours else before)
