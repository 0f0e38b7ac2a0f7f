"""Absorbed projections give the same numbers, in double precision to its last digits."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from maskwright.config import NANO, ModelConfig
from maskwright.model.attention import Attention
from maskwright.model.prompt_encoder import PromptTensors
from maskwright.model.sam2 import SAM2
from maskwright.runtime.absorb import _FewKeys, _FewQueries, absorb_decoder
from small import SMALL, lively


def random(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def attention(width: int = 32, inner: int = 16) -> Attention:
    layer = Attention(width, 4, inner=inner).double()
    for number, parameter in enumerate(layer.parameters()):
        parameter.data.copy_(random(*parameter.shape, seed=number))
    return layer.requires_grad_(False)


@pytest.mark.parametrize("pictures", [1, 3])
@pytest.mark.parametrize("tokens", [1, 5, 50])
def test_each_direction(tokens: int, pictures: int) -> None:
    plain = attention()
    few, many, other = random(3, tokens, 32, seed=5), *(random(pictures, 70, 32, seed=n) for n in (6, 7))
    mask = torch.ones(3, 1, 1, tokens, dtype=torch.bool)
    mask[1, ..., 1:] = False
    exact = {"rtol": 1e-11, "atol": 1e-11}
    torch.testing.assert_close(_FewQueries(plain)(few, many, other), plain(few, many, other), **exact)
    torch.testing.assert_close(_FewKeys(plain)(many, few, few), plain(many, few, few), **exact)
    found = _FewKeys(plain)(many, few, few, mask=mask)
    torch.testing.assert_close(found, plain(many, few, few, mask=mask), **exact)
    if tokens > 1:
        assert not torch.allclose(found, plain(many, few, few))


@pytest.mark.parametrize("config", [SMALL, NANO.at(64)], ids=["official", "nano"])
@torch.inference_mode()
def test_the_whole_decoder(config: ModelConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    network: SAM2 = lively(config).double()
    names = list(network.state_dict())
    features = network.without_memory(network.encode_image(random(1, 3, 64, 64, seed=0)))
    prompts = PromptTensors(
        torch.tensor([[[[9.0, 30.0], [40.0, 50.0]], [[22.0, 20.0], [0.0, 0.0]]]]).double(),
        torch.tensor([[[2, 3], [1, -1]]]),
    )
    wanted = network.decode(features, prompts)
    absorb_decoder(network)
    assert list(network.state_dict()) == names
    monkeypatch.setattr(Attention, "forward", _refuse_pictures(Attention.forward, cells=16))
    for ours, theirs in zip(network.decode(features, prompts), wanted, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


def _refuse_pictures(plain, cells: int):
    """The plain attention, which fails where a picture of an object's own takes part."""

    def checked(self: Attention, query_NTC: Tensor, key_NTC: Tensor, value_NTC: Tensor, **options) -> Tensor:
        assert query_NTC.shape[1] != cells
        assert key_NTC.shape[1] != cells or len(key_NTC) < len(query_NTC)
        return plain(self, query_NTC, key_NTC, value_NTC, **options)

    return checked
