"""Each verb as a module whose inputs and outputs are plain tensors, as an exporter wants it.

Numbers of pictures to encode, of objects to decode, of points and of slots are free; memories are those of
one object; sides are those of the configuration. What may be missing in PyTorch is always there in a graph:
masks that were not given are zeros beside ``mask_given``, no presence is NaN, and slots that do not count are
not ``visible``.

Axes: B pictures, P objects per picture, K points, O objects of a video, S slots of memories, Q slots of
pointers, M masks, I picture tokens, D channels of a memory, C channels, H W height and width.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maskwright.config import ModelConfig
from maskwright.model.mask_decoder import ImageFeatures
from maskwright.model.memory_bank import Ages
from maskwright.model.memory_encoder import MASK_BIAS, MASK_SCALE
from maskwright.model.prompt_encoder import PromptTensors
from maskwright.model.sam2 import SAM2

Axes = Mapping[int, str]
"""Number of a free axis -> its letter; axes with the same letter are equally long."""


class Graph(NamedTuple):
    """One verb, ready to be exported."""

    module: nn.Module
    inputs: dict[str, Tensor]
    """By name, in order: examples, in which no free axis has a length of 0 or 1."""
    axes: dict[str, Axes]
    """Free axes of each input that has any."""
    outputs: tuple[str, ...]


class EncodeImage(nn.Module):
    def __init__(self, network: SAM2) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels_B3HW: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return self.network.encode_image(pixels_B3HW).levels


class WithoutMemory(nn.Module):
    def __init__(self, network: SAM2) -> None:
        super().__init__()
        self.no_memory = network.no_memory

    def forward(self, low_BCHW: Tensor) -> Tensor:
        return low_BCHW + self.no_memory.view(1, -1, 1, 1)


class Decode(nn.Module):
    """Of the objects in one picture."""

    def __init__(self, network: SAM2) -> None:
        super().__init__()
        self.network = network

    def forward(
        self,
        low_1CHW: Tensor,
        mid_1CHW: Tensor,
        high_1CHW: Tensor,
        presence_1: Tensor,
        points_1PK2: Tensor,
        labels_1PK: Tensor,
        masks_1PHW: Tensor,
        mask_given_1P: Tensor,
    ) -> tuple[Tensor, ...]:
        features = ImageFeatures(low_1CHW, mid_1CHW, high_1CHW, presence_1)
        prompts = PromptTensors(points_1PK2, labels_1PK, masks_1PHW, mask_given_1P)
        return tuple(self.network.decode(features, prompts))


class Adopt(nn.Module):
    """Shrinks masks by two products of matrices: OpenVINO's resizing with antialiasing is not PyTorch's."""

    shrink_SL: Tensor

    def __init__(self, network: SAM2) -> None:
        super().__init__()
        self.network = network
        small, large = network.config.mask_size, network.config.image_size
        eye_11LL = torch.eye(large)[None, None]
        shrunk_11SL = F.interpolate(eye_11LL, (small, large), mode="bilinear", antialias=True)
        self.register_buffer("shrink_SL", shrunk_11SL[0, 0], persistent=False)

    def forward(
        self, low_1CHW: Tensor, mid_1CHW: Tensor, high_1CHW: Tensor, masks_OHW: Tensor
    ) -> tuple[Tensor, ...]:
        chosen = self.network.adopt(ImageFeatures(low_1CHW, mid_1CHW, high_1CHW), masks_OHW)
        share_OHW = self.shrink_SL @ masks_OHW @ self.shrink_SL.T
        return tuple(chosen._replace(logits_OHW=share_OHW * MASK_SCALE + MASK_BIAS))


class RecallByAttention(nn.Module):
    """One object, of networks with memory attention: the finer levels stay what they are."""

    def __init__(self, network: SAM2) -> None:
        super().__init__()
        self.network = network

    def forward(
        self,
        low_1CHW: Tensor,
        memories_1SID: Tensor,
        pointers_1QC: Tensor,
        visible_1S: Tensor,
        row_1S: Tensor,
        pointer_visible_1Q: Tensor,
        pointer_time_1Q: Tensor,
    ) -> Tensor:
        ages = Ages(visible_1S, row_1S, pointer_visible_1Q, pointer_time_1Q)
        # the finer levels pass through, so it does not matter what stands in for them
        features = ImageFeatures(low_1CHW, low_1CHW, low_1CHW)
        return self.network.look_back(features, memories_1SID, pointers_1QC, ages).low_BCHW


class RecallByMatching(nn.Module):
    """One object, of networks that redraw the mask (nano)."""

    def __init__(self, network: SAM2) -> None:
        super().__init__()
        self.network = network

    def forward(
        self,
        low_1CHW: Tensor,
        mid_1CHW: Tensor,
        high_1CHW: Tensor,
        memories_1SID: Tensor,
        visible_1S: Tensor,
        row_1S: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        features = ImageFeatures(low_1CHW, mid_1CHW, high_1CHW)
        none = low_1CHW.new_zeros(0)
        ages = Ages(visible_1S, row_1S, none, none)
        recalled = self.network.look_back(features, memories_1SID, none, ages)
        assert recalled.presence_B is not None
        return recalled.low_BCHW, recalled.high_BCHW, recalled.presence_B


class EncodeMemory(nn.Module):
    """Of one object."""

    def __init__(self, network: SAM2) -> None:
        super().__init__()
        self.network = network

    def forward(
        self, low_1CHW: Tensor, logits_1HW: Tensor, object_score_1: Tensor, binary_1: Tensor
    ) -> Tensor:
        # only the coarsest level is looked at
        features = ImageFeatures(low_1CHW, low_1CHW, low_1CHW)
        return self.network.encode_memory(features, logits_1HW, object_score_1, binary_1)


def _encode_image(network: SAM2) -> Graph:
    side = network.config.image_size
    pixels = {"pixels": torch.rand(2, 3, side, side)}
    return Graph(EncodeImage(network), pixels, {"pixels": {0: "B"}}, LEVELS)


def _without_memory(network: SAM2) -> Graph:
    low = _levels(network.config, 2)["low"]
    return Graph(WithoutMemory(network), {"low": low}, {"low": {0: "B"}}, ("low_without_memory",))


def _decode(network: SAM2) -> Graph:
    config, objects, points = network.config, 3, 4
    inputs = {
        **_levels(config, 1),
        "presence": torch.zeros(1),
        "points": torch.rand(1, objects, points, 2) * config.image_size,
        "labels": torch.ones(1, objects, points, dtype=torch.int64),
        "masks": torch.zeros(1, objects, config.mask_size, config.mask_size),
        "mask_given": torch.ones(1, objects, dtype=torch.bool),
    }
    axes: dict[str, Axes] = {name: {1: "P", 2: "K"} for name in ("points", "labels")}
    axes |= {"masks": {1: "P"}, "mask_given": {1: "P"}}
    return Graph(Decode(network), inputs, axes, ("logits", "iou", "pointers", "object_score"))


def _adopt(network: SAM2) -> Graph:
    side = network.config.image_size
    inputs = {**_levels(network.config, 1), "masks": torch.ones(2, side, side)}
    return Graph(Adopt(network), inputs, {"masks": {0: "O"}}, ("logits", "iou", "pointers", "object_score"))


def _recall(network: SAM2) -> Graph:
    config, objects, slots, pointers = network.config, 1, 3, 4
    levels = _levels(config, 1)
    memories: dict[str, Tensor] = {
        "memories": torch.randn(objects, slots, config.grid**2, config.memory_width),
        "visible": torch.ones(objects, slots, dtype=torch.bool),
        "row": torch.zeros(objects, slots, dtype=torch.int64),
    }
    axes: dict[str, Axes] = {name: {1: "S"} for name in memories}
    if config.match_memory:
        outputs = ("recalled_low", "recalled_high", "presence")
        return Graph(RecallByMatching(network), {**levels, **memories}, axes, outputs)
    inputs = {
        "low": levels["low"],
        "memories": memories["memories"],
        "pointers": torch.randn(objects, pointers, config.width),
        "visible": memories["visible"],
        "row": memories["row"],
        "pointer_visible": torch.ones(objects, pointers, dtype=torch.bool),
        "pointer_time": torch.rand(objects, pointers),
    }
    axes |= {name: {1: "Q"} for name in ("pointers", "pointer_visible", "pointer_time")}
    return Graph(RecallByAttention(network), inputs, axes, ("recalled_low",))


def _encode_memory(network: SAM2) -> Graph:
    config = network.config
    inputs = {
        "low": _levels(config, 1)["low"],
        "logits": torch.randn(1, config.mask_size, config.mask_size),
        "object_score": torch.ones(1),
        "binary": torch.zeros(1, dtype=torch.bool),
    }
    return Graph(EncodeMemory(network), inputs, {}, ("memory",))


def _levels(config: ModelConfig, pictures: int) -> dict[str, Tensor]:
    """Example features."""
    grid, width = config.grid, config.width
    sizes = ((width, grid), (width // 4, 2 * grid), (width // 8, 4 * grid))
    return {
        name: torch.randn(pictures, channels, side, side)
        for name, (channels, side) in zip(LEVELS, sizes, strict=True)
    }


LEVELS = ("low", "mid", "high")
PICTURE_GRAPHS: Mapping[str, Callable[[SAM2], Graph]] = {
    "encode_image": _encode_image,
    "without_memory": _without_memory,
    "decode": _decode,
}
"""What pictures need, by name of the graph."""
VIDEO_GRAPHS: Mapping[str, Callable[[SAM2], Graph]] = {
    "adopt": _adopt,
    "recall": _recall,
    "encode_memory": _encode_memory,
}
"""What videos need besides."""
