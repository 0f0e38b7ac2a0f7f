"""Low-rank adapters: they start as nothing, learn alone, and fold into the weights."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from maskwright.config import NANO
from maskwright.errors import InputError
from maskwright.model.sam2 import SAM2
from maskwright.train.lora import add_adapters, has_adapters, is_adapter, merged
from small import SMALL, lively

PIXELS = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))


@pytest.fixture(params=["official", "nano"])
def model(request: pytest.FixtureRequest) -> SAM2:
    if request.param == "official":
        return lively(SMALL)
    torch.manual_seed(0)
    return SAM2(NANO.at(64)).eval()


def stir(model: SAM2) -> None:
    """Adapters as they may be after training."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if is_adapter(name):
                parameter.copy_(0.1 * torch.randn(parameter.shape, generator=generator))


def test_adapters_start_as_identity(model: SAM2):
    with torch.no_grad():
        before = model.encode_image(PIXELS).levels
        add_adapters(model.trunk, 4)
        after = model.encode_image(PIXELS).levels
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))


def test_merging_gives_plain_layers_with_the_same_results(model: SAM2):
    names = list(model.state_dict())
    add_adapters(model.trunk, 4)
    start = copy.deepcopy(model)
    stir(model)
    folded = merged(model)
    assert list(folded.state_dict().keys() ^ set(names)) == []
    assert not has_adapters(folded)
    assert has_adapters(model), "the model itself stays as it was"
    with torch.no_grad():
        ours, theirs = folded.encode_image(PIXELS).levels, model.encode_image(PIXELS).levels
        untrained = start.encode_image(PIXELS).levels
    for one, other, old in zip(ours, theirs, untrained, strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-6)
        assert float((one - old).abs().max()) > 30 * float((one - other).abs().max()), "adapters do something"


def test_every_linear_layer_of_the_blocks_has_one_and_nothing_else_learns():
    model = lively(SMALL)
    found = add_adapters(model.trunk, 4)
    linear = [module for module in model.trunk.modules() if isinstance(module, nn.Linear)]
    assert len(found) == 2 * len(linear)
    assert {name for name, one in model.trunk.named_parameters() if one.requires_grad} == set(found)
    share = sum(one.numel() for one in found.values()) / sum(one.numel() for one in model.trunk.parameters())
    assert share < 0.3
    convolutional = SAM2(NANO.at(64))
    found = add_adapters(convolutional.trunk, 4)
    assert any(".expand.conv." in name for name in found)
    assert not any(".depthwise." in name or ".stem." in name for name in found)


def test_adapters_begin_with_the_same_numbers_every_time(model: SAM2):
    twin = copy.deepcopy(model)
    first, second = add_adapters(model.trunk, 4), add_adapters(twin.trunk, 4)
    assert all(torch.equal(first[name], second[name]) for name in first)
    downs = [one for name, one in first.items() if name.endswith("blocks.0.mlp.layers.0.down")]
    assert all(float(one.std()) > 0 for one in downs)


def test_gradients_reach_adapters_and_leave_weights_alone(model: SAM2):
    found = add_adapters(model.trunk, 2)
    stir(model)
    model.encode_image(PIXELS).low_BCHW.square().mean().backward()
    # the last stage's widest level may not reach a level that is used; all others must have learnt something
    reached = [
        name for name, one in found.items() if one.grad is not None and float(one.grad.abs().sum()) > 0
    ]
    assert len(reached) > 0.8 * len(found)
    frozen = [one for name, one in model.trunk.named_parameters() if name not in found]
    assert all(one.grad is None for one in frozen)


def test_ranks_beyond_a_layer_are_cut_and_nonsense_is_refused():
    model = lively(SMALL)
    found = add_adapters(model.trunk, 1000)
    assert max(one.shape[0] for name, one in found.items() if name.endswith("down")) <= 128
    with pytest.raises(InputError, match="adapters already"):
        add_adapters(model.trunk, 4)
    with pytest.raises(InputError, match="1 or more"):
        add_adapters(lively(SMALL).trunk, 0)
    with pytest.raises(InputError, match="no linear layers"):
        add_adapters(nn.Sequential(nn.Conv2d(3, 3, 3)), 2)
