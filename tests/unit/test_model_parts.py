"""Small facts about the networks that the parity tests would only show as a wrong number somewhere."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from maskwright.config import NANO, PRESETS, HieraConfig
from maskwright.errors import InputError
from maskwright.model.attention import Attention
from maskwright.model.candidates import best_of_three, stability, stable_single, take
from maskwright.model.efficientnet import ConvNorm, EfficientNet
from maskwright.model.hiera import from_windows, plan_blocks, to_windows
from maskwright.model.position import rotary_table, rotate
from maskwright.model.prompt_encoder import PromptEncoder, PromptTensors


@pytest.mark.parametrize(("height", "width", "side"), [(16, 16, 8), (14, 20, 8), (5, 7, 7), (6, 6, 4)])
def test_windows_there_and_back(height: int, width: int, side: int) -> None:
    maps = torch.rand(2, height, width, 3)
    windows = to_windows(maps, side)
    assert windows.shape == (2 * -(-height // side) * -(-width // side), side, side, 3)
    torch.testing.assert_close(windows[0, : min(side, height), : min(side, width)], maps[0, :side, :side])
    torch.testing.assert_close(from_windows(windows, side, height, width), maps)


def test_first_block_of_a_stage_keeps_the_window_before() -> None:
    tiny = PRESETS["sam2.1-tiny"].trunk
    assert isinstance(tiny, HieraConfig)
    plans = plan_blocks(tiny)
    assert [plan.window for plan in plans] == [8, 8, 4, 4, 14, 0, 14, 0, 14, 0, 14, 7]
    assert [i for i, plan in enumerate(plans) if plan.pool] == [1, 3, 10]
    assert [i for i, plan in enumerate(plans) if plan.tap] == [0, 2, 9, 11]
    assert [plan.heads for plan in plans] == [1, 2, 2, 4, 4, 4, 4, 4, 4, 4, 8, 8]


def test_rotary_products_depend_on_the_offset_alone() -> None:
    cos, sin = rotary_table(4, 4, 16, torch.device("cpu"))
    query, key = torch.randn(16), torch.randn(16)
    turned_query, turned_key = rotate(query.expand(16, 16), cos, sin), rotate(key.expand(16, 16), cos, sin)
    products = turned_query @ turned_key.T
    torch.testing.assert_close(products[0, 5], products[5, 10])
    torch.testing.assert_close(products[1, 6], products[9, 14])
    assert not torch.isclose(products[0, 5], products[0, 4])


def test_masked_keys_do_not_matter() -> None:
    attention = Attention(8, heads=2)
    tokens = torch.randn(1, 5, 8)
    mask = torch.tensor([True, True, True, False, False])[None, None, None]
    changed = tokens.clone()
    changed[:, 3:] = 100
    kept = attention(tokens[:, :3], tokens, tokens, mask=mask)
    torch.testing.assert_close(kept, attention(tokens[:, :3], changed, changed, mask=mask))


@pytest.mark.parametrize(("side", "kernel", "stride"), [(12, 3, 2), (13, 5, 2), (12, 5, 1), (7, 3, 2)])
def test_same_padding_is_that_of_tensorflow(side: int, kernel: int, stride: int) -> None:
    """ceil(side / stride) cells, and where the padding is odd the extra row is at the end."""
    layer = ConvNorm(1, 1, kernel, stride=stride, activate=False).eval()
    x = torch.randn(1, 1, side, side)
    out = -(-side // stride)
    total = max((out - 1) * stride + kernel - side, 0)
    padded = F.pad(x, (total // 2, total - total // 2) * 2)
    expected = F.conv2d(padded, layer.conv.weight, stride=stride) / (1 + 1e-3) ** 0.5
    with torch.no_grad():
        torch.testing.assert_close(layer(x), expected)
    assert layer(x).shape[-1] == out


def test_efficientnet_levels() -> None:
    levels = EfficientNet(NANO.trunk).eval()(torch.rand(1, 3, 64, 96))  # type: ignore[arg-type]
    assert [tuple(level.shape[1:]) for level in levels] == [
        (24, 16, 24),
        (40, 8, 12),
        (112, 4, 6),
        (320, 2, 3),
    ]


def test_stability_by_hand() -> None:
    logits = torch.tensor([[1.0, 1.0], [0.01, -1.0]])
    assert stability(logits, 0.05) == pytest.approx(2 / 3)
    assert stability(torch.full((2, 2), -1.0), 0.05) == 1.0


def test_unstable_single_gives_way_to_the_best_candidate() -> None:
    stable, unstable = torch.full((4, 4), 5.0), torch.zeros(4, 4)
    unstable[0, 0] = 1
    logits = torch.stack((torch.stack((stable, *[unstable] * 3)), torch.stack((unstable, *[stable] * 3))))[
        None
    ]
    iou = torch.tensor([[[0.1, 0.2, 0.9, 0.3], [0.9, 0.2, 0.3, 0.8]]])
    index = stable_single(logits, iou, 0.05, 0.98)
    assert index.tolist() == [[0, 3]]
    assert best_of_three(iou).tolist() == [[2, 3]]
    torch.testing.assert_close(take(iou, index), torch.tensor([[0.1, 0.8]]))
    assert take(logits, index).shape == (1, 2, 4, 4)


def test_nano_draws_boxes_and_clicks_where_they_are() -> None:
    encoder = PromptEncoder(NANO.at(64))
    points = torch.tensor([[[16.0, 8.0], [47.0, 31.0], [30.0, 50.0], [0.0, 0.0]]])
    mask, box, positive, negative = encoder._drawing(
        points + 0.5, torch.tensor([[2, 3, 1, -1]]), torch.full((1, 1, 16, 16), 2.0), None
    )[0]
    assert mask.unique().tolist() == [2.0]
    inside = torch.zeros(16, 16, dtype=torch.bool)
    inside[2:8, 4:12] = True
    assert torch.equal(box > 0, inside)
    assert divmod(int(positive.argmax()), 16) == (12, 7)
    assert negative.abs().max() == 0


def test_objects_without_a_mask_get_the_learned_nothing() -> None:
    encoder = PromptEncoder(PRESETS["sam2.1-tiny"].at(64))
    prompts = PromptTensors(
        torch.zeros(1, 2, 1, 2),
        torch.ones(1, 2, 1, dtype=torch.int64),
        torch.randn(1, 2, 16, 16),
        torch.tensor([[True, False]]),
    )
    dense = encoder(prompts).dense_NCHW
    torch.testing.assert_close(dense[1], encoder.no_mask.view(-1, 1, 1).expand(-1, 4, 4))
    torch.testing.assert_close(dense[0], encoder(prompts._replace(mask_given_BP=None)).dense_NCHW[0])


@pytest.mark.parametrize("size", [0, -32, 100, 1000])
def test_image_size_must_be_a_multiple_of_32(size: int) -> None:
    with pytest.raises(InputError, match="multiple of 32"):
        NANO.at(size)
    if size:
        with pytest.raises(InputError, match="video_size must be a positive multiple of 32"):
            replace(NANO, video_size=size)
    assert NANO.for_video == NANO.at(512)
