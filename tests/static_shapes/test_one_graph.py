"""Every verb is one graph: no Python decision depends on a tensor's value."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from maskwright.config import NANO, HieraConfig, ModelConfig
from maskwright.model.candidates import Chosen
from maskwright.model.mask_decoder import ImageFeatures
from maskwright.model.memory_bank import EMPTY, empty_bank
from maskwright.model.prompt_encoder import PromptTensors
from maskwright.model.sam2 import SAM2, Slots

SMALL_HIERA = ModelConfig(
    name="small-test",
    trunk=HieraConfig(width=16, heads=1, depths=(1, 2, 3, 2), global_blocks=(4, 5)),
    image_size=96,
    width=64,
    decoder_mlp=64,
    memory_width=16,
    memory_layers=2,
    memory_mlp=64,
)
CONFIGS = {
    "hiera-2.1": SMALL_HIERA,
    "hiera-2.0": replace(SMALL_HIERA, occlusion_memory=False, pointer_time=False),
    "nano": NANO.at(96),
}
NUM_OBJECTS = 2


@pytest.fixture(params=CONFIGS, scope="module")
def model(request: pytest.FixtureRequest) -> SAM2:
    torch.manual_seed(0)
    return SAM2(CONFIGS[request.param]).eval()


@pytest.fixture(autouse=True)
def fresh_compiler() -> Iterator[None]:
    torch.compiler.reset()
    yield
    torch.compiler.reset()


def features_of(model: SAM2) -> ImageFeatures:
    size = model.config.image_size
    with torch.inference_mode():
        return model.encode_image(torch.rand(1, 3, size, size))


def decodable(model: SAM2) -> ImageFeatures:
    with torch.inference_mode():
        return model.without_memory(features_of(model))


def prompts_of(model: SAM2, *, masks: bool) -> PromptTensors:
    size = model.config.image_size
    points = torch.rand(1, NUM_OBJECTS, 4, 2) * size
    labels = torch.tensor([[[2, 3, -1, -2], [1, 0, 1, -1]]])
    if not masks:
        return PromptTensors(points, labels)
    mask = torch.randn(1, NUM_OBJECTS, size // 4, size // 4)
    return PromptTensors(points, labels, mask, torch.tensor([[True, False]]))


def assert_one_graph(verb: Callable[..., Any], *inputs: Any) -> Any:
    """Trace with ``fullgraph=True`` (any graph break raises) and compare with the plain call."""
    compiled = torch.compile(verb, backend="eager", fullgraph=True)
    with torch.inference_mode():
        expected, got = verb(*inputs), compiled(*inputs)
    for a, b in zip(expected, got, strict=True):
        if a is None:
            assert b is None
        else:
            torch.testing.assert_close(a, b)
    return got


def test_encode_image(model: SAM2) -> None:
    size = model.config.image_size
    features = assert_one_graph(model.encode_image, torch.rand(2, 3, size, size))
    assert [f.shape[-1] for f in features.levels] == [size // 16, size // 8, size // 4]


@pytest.mark.parametrize("masks", [False, True])
def test_decode(model: SAM2, masks: bool) -> None:
    features = decodable(model)
    decoded = assert_one_graph(model.decode, features, prompts_of(model, masks=masks))
    assert decoded.logits_BPMHW.shape == (1, NUM_OBJECTS, 4, model.config.mask_size, model.config.mask_size)


def test_decode_does_not_recompile_for_other_values(model: SAM2) -> None:
    features = decodable(model)
    graphs = 0

    def count(graph: torch.fx.GraphModule, _inputs: list[Tensor]) -> Callable[..., Any]:
        nonlocal graphs
        graphs += 1
        return graph.forward

    compiled = torch.compile(model.decode, backend=count, fullgraph=True)
    with torch.inference_mode():
        for _ in range(3):
            prompts = prompts_of(model, masks=True)
            compiled(features, prompts._replace(labels_BPK=torch.randint(-2, 4, prompts.labels_BPK.shape)))
    assert graphs == 1


def chosen_of(config: ModelConfig) -> Chosen:
    return Chosen(
        torch.randn(NUM_OBJECTS, config.mask_size, config.mask_size),
        torch.rand(NUM_OBJECTS),
        torch.randn(NUM_OBJECTS, config.width),
        torch.tensor([1.0, -1.0]),
    )


def slots_of(number: int) -> Slots:
    return Slots(torch.arange(NUM_OBJECTS), *(torch.full((NUM_OBJECTS,), number) for _ in range(2)))


def frame_of(number: int) -> Tensor:
    return torch.full((NUM_OBJECTS,), number)


def flags_of(value: bool) -> Tensor:
    return torch.full((NUM_OBJECTS,), value)


FORWARD = (torch.tensor(1), torch.tensor(15.0))
"""Direction of time and span of pointers."""


def test_recall_and_remember(model: SAM2) -> None:
    config = model.config
    features = features_of(model)
    bank = empty_bank(config, NUM_OBJECTS, 3, 4, "cpu", torch.float32)
    for number, prompted in enumerate([True, False]):
        frame, flags = frame_of(number), flags_of(prompted)
        bank = assert_one_graph(
            model.remember, features, chosen_of(config), bank, slots_of(number), frame, flags, flags
        )
        bank = type(bank)(*bank)
    assert bank.frames_OS.tolist() == [[0, 1, EMPTY]] * NUM_OBJECTS
    assert bank.pointer_frames_OP.tolist() == [[0, 1, EMPTY, EMPTY]] * NUM_OBJECTS
    recalled = assert_one_graph(model.recall, features, bank, frame_of(2), *FORWARD)
    assert recalled.low_BCHW.shape == (NUM_OBJECTS, config.width, config.grid, config.grid)


def test_adopt(model: SAM2) -> None:
    size = model.config.image_size
    masks = (torch.rand(NUM_OBJECTS, size, size) > 0.5).float()
    chosen = assert_one_graph(model.adopt, features_of(model), masks)
    assert chosen.logits_OHW.shape == (NUM_OBJECTS, model.config.mask_size, model.config.mask_size)
    assert chosen.object_score_O.tolist() == [10.0, 10.0]


def test_empty_slots_change_nothing(model: SAM2) -> None:
    """Spare slots are masked, not attended to: the same as a bank without them, and as no mask at all."""
    config = model.config
    features, chosen = features_of(model), chosen_of(config)
    with torch.inference_mode():
        bank = empty_bank(config, NUM_OBJECTS + 1, 4, 5, "cpu", torch.float32)
        flags = flags_of(True)
        bank = model.remember(features, chosen, bank, slots_of(0), frame_of(0), flags, flags)
        wide, tight = bank.prefix(NUM_OBJECTS, 4, 5), bank.prefix(NUM_OBJECTS, 1, 1)
        frame = frame_of(1)
        expected = model.recall(features, tight, frame, *FORWARD, masked=False).low_BCHW
        for banks, masked in ((tight, True), (wide, True)):
            got = model.recall(features, banks, frame, *FORWARD, masked=masked).low_BCHW
            torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)


def test_forgotten_frames_change_nothing(model: SAM2) -> None:
    """Memories that are too old, or from a later time, are not attended to; prompted ones always are."""
    config = model.config
    features = features_of(model)
    with torch.inference_mode():
        bank = empty_bank(config, NUM_OBJECTS, 2, 2, "cpu", torch.float32)
        chosen, flags = chosen_of(config), flags_of(True)
        bank = model.remember(features, chosen, bank, slots_of(0), frame_of(100), flags, flags)
        frame = frame_of(130)
        expected = model.recall(features, bank.prefix(NUM_OBJECTS, 1, 1), frame, *FORWARD).low_BCHW
        for other in (130 - 16, 131):
            flags = flags_of(False)
            bank = model.remember(
                features, chosen_of(config), bank, slots_of(1), frame_of(other), flags, flags
            )
            got = model.recall(features, bank, frame, *FORWARD).low_BCHW
            torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)


def test_our_padding_points_change_nothing(model: SAM2) -> None:
    features = decodable(model)
    prompts = prompts_of(model, masks=False)
    padded = PromptTensors(
        torch.cat((prompts.points_BPK2, torch.rand(1, NUM_OBJECTS, 3, 2) * 50), dim=2),
        torch.cat((prompts.labels_BPK, torch.full((1, NUM_OBJECTS, 3), -2)), dim=2),
    )
    with torch.inference_mode():
        for a, b in zip(model.decode(features, prompts), model.decode(features, padded), strict=True):
            torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)
