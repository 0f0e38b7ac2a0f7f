"""What is asked of a clip: which frames are prompted and how, and the clicks that follow.

Axes: O objects, B x P the same objects as the decoder has them, H W the network's input or the mask grid.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from maskwright.model.prompt_encoder import BOX_END, BOX_START, NO_POINT, PADDING, PromptTensors
from maskwright.train.clip_settings import ClipConfig
from maskwright.train.prompts import correction_prompts
from maskwright.types import BoolArray

Kind = Literal["mask", "box", "click"]

MAX_BOX_NOISE = 20.0
"""Pixels that the edge of a box is moved at most (``sample_box_points`` of the official code)."""


class Plan(NamedTuple):
    """How one clip is prompted."""

    prompts: dict[int, Kind]
    """Prompted frames: these are looked at first, in this order, and without memories."""
    corrected: frozenset[int]
    """Frames that get corrective clicks."""

    def order(self, num_frames: int) -> list[int]:
        """All frames in the order in which they are looked at."""
        return [*self.prompts, *(frame for frame in range(num_frames) if frame not in self.prompts)]


def draw_plan(known_T: BoolArray, config: ClipConfig, rng: np.random.Generator) -> Plan:
    """A plan as ``SAM2Train.prepare_prompt_inputs`` of the official code draws it.

    Masks or points is a choice for the whole clip; pictures always get points. With points, some more frames
    than those that begin with a prompt may get corrective clicks. Only known frames are prompted, the first
    one always, and with masks at least one of them is left to be followed.
    """
    others = [int(frame) for frame in rng.permutation(np.flatnonzero(known_T)) if frame]
    use_masks = len(others) > 0 and rng.random() < config.mask_prompts
    most = len(others) + (not use_masks)
    num_prompts = int(rng.integers(1, min(config.prompt_frames, most) + 1))
    kinds: list[Kind] = [
        "mask" if use_masks else "box" if rng.random() < config.box_prompts else "click"
        for _ in range(num_prompts)
    ]
    frames = [0, *others[: num_prompts - 1]]
    prompts = dict(zip(frames, kinds, strict=True))
    most = min(config.correct_frames, len(others) + 1)
    if use_masks or not config.clicks or not most:
        return Plan(prompts, frozenset())
    num_corrected = int(rng.integers(min(num_prompts, most), most + 1))
    return Plan(prompts, frozenset([0, *others][:num_corrected]))


def nothing_asked(shape: tuple[int, int]) -> PromptTensors:
    """What the decoder gets while it follows: two points that are none, as in ``track.step``."""
    return PromptTensors(torch.zeros(*shape, 2, 2), torch.full((*shape, 2), NO_POINT))


def clicks_only(shape: tuple[int, int]) -> PromptTensors:
    """Where clicks are added to: the padding point that the official code always sends along."""
    return PromptTensors(torch.zeros(*shape, 1, 2), torch.full((*shape, 1), NO_POINT))


def first_question(
    kind: Kind, masks_OHW: BoolArray, targets_BPHW: np.ndarray, config: ClipConfig, rng: np.random.Generator
) -> PromptTensors:
    """A loose box or one click for each object, B = 1; an object that is hidden gets a click beside it.

    Args:
        kind: ``box`` or ``click``.
        masks_OHW: True masks at the network's input size.
        targets_BPHW: The same as shares of the cells of the mask grid, B = 1.
        config: How loose boxes are.
        rng: Draws.
    """
    shape = (1, len(masks_OHW))
    seen_O = np.asarray(masks_OHW.any(axis=(1, 2)))
    clicked = correction_prompts(clicks_only(shape), _none_or_all(targets_BPHW, seen_O), targets_BPHW, rng)
    if kind == "click":
        return clicked
    points_O32 = np.zeros((len(masks_OHW), 3, 2), np.float32)
    labels_O3 = np.full((len(masks_OHW), 3), NO_POINT)
    for row in range(len(masks_OHW)):
        if seen_O[row]:
            points_O32[row, :2] = loose_box(masks_OHW[row], config.box_noise, rng)
            labels_O3[row, :2] = BOX_START, BOX_END
        else:
            points_O32[row, 0] = clicked.points_BPK2[0, row, 1]
            labels_O3[row] = int(clicked.labels_BPK[0, row, 1]), PADDING, NO_POINT
    return PromptTensors(torch.from_numpy(points_O32)[None], torch.from_numpy(labels_O3)[None])


def loose_box(mask_HW: BoolArray, noise: float, rng: np.random.Generator) -> np.ndarray:
    """Corners (2, 2) of a mask's box in pixels, each edge moved a little, inside the picture."""
    rows, columns = np.flatnonzero(mask_HW.any(1)), np.flatnonzero(mask_HW.any(0))
    corners = np.array(((columns[0], rows[0]), (columns[-1], rows[-1])), np.float32)
    most = np.minimum((corners[1] - corners[0]) * noise, MAX_BOX_NOISE)
    moved = corners + rng.uniform(-1, 1, (2, 2)) * most
    return np.asarray(moved.clip(0, (mask_HW.shape[1] - 1, mask_HW.shape[0] - 1)), np.float32)


def num_points(prompts: PromptTensors) -> Tensor:
    """Clicks and box corners of each object, (B, P)."""
    return (prompts.labels_BPK >= 0).sum(dim=2)


def _none_or_all(targets_BPHW: np.ndarray, seen_O: BoolArray) -> BoolArray:
    """A mask to correct that makes the first click: empty, so that a click on the object follows, or for a
    hidden object full, so that one beside it does.
    """
    hidden_BPHW: BoolArray = np.broadcast_to(~seen_O[None, :, None, None], targets_BPHW.shape)
    return hidden_BPHW
