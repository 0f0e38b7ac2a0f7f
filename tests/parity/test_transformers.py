"""Live parity: small random transformers models, their weights through our key maps, same numbers out.

Both implementations are independent readings of the official code, so agreement here and with the golden
numbers leaves little room for a shared mistake.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from maskwright.model.mask_decoder import ImageFeatures
from maskwright.model.position import sine_map
from maskwright.model.prompt_encoder import BOX_END, BOX_START, NO_POINT, PromptTensors
from twins import CONFIG, SIZE, head_configs, ours, randomised, their_video_model, vision_config

transformers = pytest.importorskip("transformers")

PER_MODULE, PER_VERB = 1e-5, 1e-4


@pytest.fixture(scope="module")
def image_model() -> Any:
    config = transformers.Sam2Config(vision_config=vision_config(), **head_configs())
    return randomised(transformers.Sam2Model(config))


@pytest.fixture(scope="module")
def video_model() -> Any:
    return their_video_model()


@pytest.fixture(scope="module")
def pixels() -> Tensor:
    return torch.randn(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(3))


def assert_near(got: Tensor, wanted: Tensor, tolerance: float) -> None:
    """Largest error, as a share of the largest value."""
    assert got.shape == wanted.shape
    assert (got - wanted).abs().max() <= tolerance * wanted.abs().max()


@torch.inference_mode()
def test_trunk_and_neck(image_model: Any, pixels: Tensor) -> None:
    model = ours(image_model)
    theirs = image_model.vision_encoder.backbone(pixels).intermediate_hidden_states
    for level, wanted in zip(model.trunk(pixels), theirs, strict=True):
        assert_near(level.permute(0, 2, 3, 1), wanted, PER_MODULE)
    wanted_maps = image_model.vision_encoder(pixels).fpn_hidden_states
    for got, wanted in zip(reversed(model.neck(model.trunk(pixels))), wanted_maps, strict=True):
        assert_near(got, wanted, PER_MODULE)


@torch.inference_mode()
@pytest.mark.parametrize("kind", ["click", "clicks", "box", "box and click", "mask"])
def test_image_verbs(image_model: Any, pixels: Tensor, kind: str) -> None:
    model = ours(image_model)
    generator = torch.Generator().manual_seed(11)
    count = {"click": 1, "clicks": 3, "box": 0, "box and click": 1, "mask": 2}[kind]
    points = torch.rand(2, 3, count, 2, generator=generator) * SIZE
    labels = torch.randint(0, 2, (2, 3, count), generator=generator)
    corners = torch.tensor([[30.0, 40.0], [180.0, 200.0]]).expand(2, 3, 2, 2)
    if "box" in kind:
        points = torch.cat((corners, points), dim=2)
        labels = torch.cat((torch.tensor([BOX_START, BOX_END]).expand(2, 3, 2), labels), dim=2)
    mask = torch.randn(2, 1, SIZE // 4, SIZE // 4, generator=generator) if kind == "mask" else None
    theirs = image_model(
        pixels, input_points=points, input_labels=labels, input_masks=mask, multimask_output=True
    )
    padding = (torch.zeros(2, 3, 1, 2), torch.full((2, 3, 1), NO_POINT))
    prompts = PromptTensors(
        torch.cat((points, padding[0]), dim=2),
        torch.cat((labels, padding[1]), dim=2),
        None if mask is None else mask.expand(2, 3, -1, -1),
    )
    decoded = model.decode(model.without_memory(model.encode_image(pixels)), prompts)
    assert_near(decoded.logits_BPMHW[:, :, 1:], theirs.pred_masks, PER_VERB)
    assert_near(decoded.iou_BPM[:, :, 1:], theirs.iou_scores, PER_VERB)
    assert_near(decoded.object_score_BP, theirs.object_score_logits.squeeze(-1), PER_VERB)


@torch.inference_mode()
def test_memory_encoder(video_model: Any) -> None:
    model = ours(video_model)
    generator = torch.Generator().manual_seed(5)
    features = torch.randn(2, CONFIG.width, CONFIG.grid, CONFIG.grid, generator=generator)
    chance = torch.rand(2, 1, SIZE, SIZE, generator=generator)
    memory, sine = video_model.memory_encoder(features, chance * 20 - 10)
    assert_near(model.memory_encoder(features, chance), memory, PER_MODULE)
    assert_near(sine_map(CONFIG.grid, CONFIG.grid, CONFIG.memory_width, chance.device), sine[0], PER_MODULE)


@torch.inference_mode()
@pytest.mark.parametrize("pointers", [0, 8])
def test_memory_attention(video_model: Any, pointers: int) -> None:
    model = ours(video_model)
    generator = torch.Generator().manual_seed(6)
    tokens = CONFIG.grid**2
    image = torch.randn(1, CONFIG.width, CONFIG.grid, CONFIG.grid, generator=generator)
    memory, place = torch.randn(2, 1, 2 * tokens + pointers, CONFIG.memory_width, generator=generator)
    sine = sine_map(CONFIG.grid, CONFIG.grid, CONFIG.width, image.device)
    theirs = video_model.memory_attention(
        current_vision_features=image.flatten(2).permute(2, 0, 1),
        current_vision_position_embeddings=sine.flatten(1).T[:, None],
        memory=memory.transpose(0, 1),
        memory_posision_embeddings=place.transpose(0, 1),
        num_object_pointer_tokens=pointers,
    )
    visible = torch.ones(1, memory.shape[1], dtype=torch.bool)
    got = model.memory_attention(image, sine, memory, place, visible, pointers)
    wanted = theirs.reshape(tokens, CONFIG.width).T.unflatten(1, (CONFIG.grid, CONFIG.grid))[None]
    assert_near(got, wanted, PER_MODULE)


@torch.inference_mode()
def test_pointers(video_model: Any, pixels: Tensor) -> None:
    """Object pointers of visible and of vanished objects, as the video model stores them."""
    model = ours(video_model)
    features = model.without_memory(
        ImageFeatures(*(level[:1] for level in model.encode_image(pixels).levels))
    )
    points = torch.rand(1, 6, 2, 2, generator=torch.Generator().manual_seed(8)) * SIZE
    labels = torch.tensor([1, NO_POINT]).expand(1, 6, 2)
    decoded = model.decode(features, PromptTensors(points, labels))
    scores, pointers = decoded.object_score_BP[0], decoded.pointers_BPMC[0]
    raw = model.mask_decoder(
        features,
        model.prompt_encoder.position.grid(CONFIG.grid, CONFIG.grid),
        model.prompt_encoder(PromptTensors(points, labels)),
    )
    wanted = video_model.object_pointer_proj(raw.tokens_NMC)
    absent = video_model.no_object_pointer.expand_as(wanted)
    assert_near(pointers, torch.where((scores > 0)[:, None, None], wanted, absent), PER_MODULE)
