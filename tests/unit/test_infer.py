from dataclasses import replace

import pytest
import torch

from maskwright.config import PRESETS, HieraConfig
from maskwright.errors import CheckpointError
from maskwright.model.sam2 import SAM2
from maskwright.weights import metadata
from maskwright.weights.infer import infer_config
from maskwright.weights.keymaps import is_memory


def shapes(config):
    with torch.device("meta"):
        return {name: tuple(value.shape) for name, value in SAM2(config).state_dict().items()}


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_recognised(name):
    assert infer_config(shapes(PRESETS[name])) == PRESETS[name]


def test_the_numbers_of_other_networks_on_a_known_trunk():
    changed = replace(
        PRESETS["sam2.1-tiny"],
        name="custom",
        width=128,
        decoder_mlp=512,
        mask_channels=8,
        memory_width=32,
        memory_layers=2,
        memory_mlp=256,
        num_memories=5,
        occlusion_memory=False,
        neck_layers=1,
        fusion_layers=3,
        draw_prompts=True,
    )
    assert infer_config(shapes(changed)) == changed


def test_without_a_memory_half_the_release_stays_open():
    image = {name: shape for name, shape in shapes(PRESETS["sam2-small"]).items() if not is_memory(name)}
    config = infer_config(image)
    assert config.name == "sam2-small-image"
    assert config.trunk == PRESETS["sam2-small"].trunk


def test_a_gap_does_not_hide_which_network_it_is():
    found = shapes(PRESETS["sam2.1-tiny"])
    for name in ("trunk.blocks.4.norm2.weight", "trunk.blocks.4.attention.out.weight", "memory_time"):
        del found[name]
    assert infer_config(found) == PRESETS["sam2.1-tiny"]


def test_an_unknown_trunk_is_told_with_the_known_ones():
    trunk = HieraConfig(width=48, heads=1, depths=(1, 1, 2, 1), global_blocks=())
    with pytest.raises(CheckpointError) as caught:
        infer_config(shapes(replace(PRESETS["sam2.1-tiny"], trunk=trunk)))
    message = str(caught.value)
    assert "width 48 with (1, 1, 2, 1) blocks per stage" in message
    assert "sam2.1-base+ 112 (2, 3, 16, 3)" in message


def test_no_trunk_at_all():
    with pytest.raises(CheckpointError, match="no image trunk"):
        infer_config({"no_memory": (1, 1, 256)})


@pytest.mark.parametrize("name", ["nano", "sam2-base+"])
def test_metadata_round_trip(name):
    config = PRESETS[name].at(256)
    described = metadata.encode(config)
    assert all(isinstance(value, str) for value in described.values())
    assert metadata.decode({**described, "licence": "Apache-2.0"}) == config


def test_metadata_of_others():
    assert metadata.decode({"format": "pt"}) is None


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({metadata.FORMAT_KEY: "2"}, "its format is '2'.*update maskwright"),
        ({metadata.CONFIG_KEY: "{"}, "unreadable"),
        ({metadata.CONFIG_KEY: "[1]"}, "unreadable"),
        ({metadata.CONFIG_KEY: '{"trunk": {"kind": "vit"}}'}, "unreadable"),
        (
            {metadata.CONFIG_KEY: '{"name": "x", "novelty": 1, "trunk": {"kind": "efficientnet-lite0"}}'},
            "novelty",
        ),
    ],
)
def test_metadata_that_cannot_be_read(change, match):
    with pytest.raises(CheckpointError, match=match):
        metadata.decode({**metadata.encode(PRESETS["nano"]), **change})
