"""Every key of the eight official models, and of transformers' two classes, maps onto ours and back."""

import json

import pytest
import torch

from maskwright.config import PRESETS
from maskwright.model.sam2 import SAM2
from maskwright.weights.infer import infer_config
from maskwright.weights.keymaps import POSITION, SECOND_POSITION, from_ours, is_memory, rename, to_ours

OFFICIAL = [name for name in PRESETS if name != "nano"]
GOLDEN_SIZE = {"tiny": "t", "small": "s", "base+": "b+", "large": "l"}


def shapes(state):
    return {name: tuple(value.shape) for name, value in state.items()}


def ours(name):
    with torch.device("meta"):
        return SAM2(PRESETS[name]).state_dict()


@pytest.fixture
def golden(shared):
    """Official name -> shape of one official model."""

    def golden(name):
        version, _, size = name.partition("-")
        keys = json.loads((shared / f"golden/keys_{version}_{GOLDEN_SIZE[size]}.json").read_text())
        return {key: tuple(shape) for key, shape in keys.items()}

    return golden


@pytest.mark.parametrize("name", OFFICIAL)
def test_official_keys_and_shapes_are_exactly_ours(name, golden):
    assert shapes(from_ours(ours(name), "official")) == golden(name)


@pytest.mark.parametrize("name", OFFICIAL)
def test_official_keys_map_one_to_one_and_back(name, golden):
    official = golden(name)
    there = rename(official, "official", "maskwright")
    assert set(there.values()) == set(ours(name))
    assert len(set(there.values())) == len(official)
    back = rename(there.values(), "maskwright", "official")
    assert [back[there[key]] for key in official] == list(official)


@pytest.mark.parametrize("name", OFFICIAL)
def test_the_configuration_follows_from_official_shapes(name, golden):
    official = golden(name)
    there = rename(official, "official", "maskwright")
    assert infer_config({there[key]: shape for key, shape in official.items()}) == PRESETS[name]


@pytest.fixture(scope="module")
def transformers_states():
    """State dicts of small transformers models with random weights: (video, image)."""
    transformers = pytest.importorskip("transformers")
    small = {"hidden_size": 32, "num_attention_heads": 1, "embed_dim_per_stage": [32, 64, 128, 256]}
    backbone = transformers.Sam2HieraDetConfig(**small)
    vision = transformers.Sam2VisionConfig(backbone_config=backbone, backbone_channel_list=[256, 128, 64, 32])
    torch.manual_seed(0)
    video = transformers.Sam2VideoModel(transformers.Sam2VideoConfig(vision_config=vision)).state_dict()
    image = transformers.Sam2Model(transformers.Sam2Config(vision_config=vision)).state_dict()
    for state in (video, image):  # equal in every trained model, not tied before training
        state[SECOND_POSITION] = state[POSITION.transformers].clone()
    return video, image


def test_transformers_video_keys_map_onto_ours_and_back(transformers_states):
    video, _ = transformers_states
    state, strange = to_ours(video, "transformers")
    assert strange == []
    assert set(state) == set(ours("sam2.1-tiny"))
    back = from_ours(state, "transformers")
    assert set(back) == set(video)
    assert all(torch.equal(back[name], video[name]) for name in video)


def test_transformers_image_keys_are_our_image_half(transformers_states):
    _, image = transformers_states
    state, strange = to_ours(image, "transformers")
    assert strange == []
    assert set(state) == {name for name in ours("sam2.1-tiny") if not is_memory(name)}
    back = from_ours(state, "transformers")
    assert set(back) == set(image)
    assert all(torch.equal(back[name], image[name]) for name in image)


def test_transformers_shapes_of_a_preset_agree_with_ours():
    transformers = pytest.importorskip("transformers")
    with torch.device("meta"):
        video = transformers.Sam2VideoModel(transformers.Sam2VideoConfig()).state_dict()
        state, _ = to_ours(video, "transformers")
    assert shapes(state) == shapes(ours("sam2.1-tiny"))
    assert infer_config(shapes(state)) == PRESETS["sam2.1-tiny"]
