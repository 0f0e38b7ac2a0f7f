"""One frame's work: follow objects into it, answer a prompt in it. Stateless.

Axes: O objects, B pictures, K points, C channels, H W height and width.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from maskwright.model.candidates import Chosen
from maskwright.model.mask_decoder import ImageFeatures
from maskwright.model.prompt_encoder import NO_POINT, PromptTensors
from maskwright.runtime.batching import ObjectPrompt, pack
from maskwright.runtime.protocol import Moment, Runtime
from maskwright.segmenter import LOGIT_LIMIT
from maskwright.track.memories import Memories
from maskwright.track.policy import Policy

OBJECTS_PER_CALL = 8
"""Objects that are followed as one batch; some 170 MiB of tensors each at 1024 px."""
OBJECTS_PER_CALL_ON_CPU = 2
"""The same on a processor, which one already keeps busy: eight at once took a sixth longer (docs/log.md)."""


def moment(frames: Sequence[int], direction: int, pointer_span: int) -> Moment:
    return Moment(torch.tensor(list(frames)), direction, pointer_span)


def recalled(
    runtime: Runtime, features: ImageFeatures, memories: Memories, rows: Sequence[int], now: Moment
) -> ImageFeatures:
    """A frame's features as the objects in ``rows`` remember it, B = O."""
    glance = memories.glance(rows, now)
    return runtime.recall(features, glance.bank, now, masked=glance.masked)


def follow(
    runtime: Runtime,
    features: ImageFeatures,
    memories: Memories,
    rows: Sequence[int],
    now: Moment,
    policy: Policy,
) -> Chosen:
    """Find objects in a frame from memory alone, a bounded number at a time."""
    parts = []
    most = OBJECTS_PER_CALL_ON_CPU if runtime.device.type == "cpu" else OBJECTS_PER_CALL
    for start in range(0, len(rows), most):
        some = slice(start, start + most)
        then = now._replace(frame_O=now.frame_O[some])
        seen = recalled(runtime, features, memories, rows[some], then)
        decoded = runtime.decode(seen, _nothing_asked(len(rows[some])))
        parts.append(policy.choose(decoded, runtime.config, single=False))
    return parts[0] if len(parts) == 1 else join(parts)


def answer(
    runtime: Runtime,
    features: ImageFeatures,
    prompt: ObjectPrompt,
    previous_HW: Tensor | None,
    policy: Policy,
) -> Chosen:
    """Find one object from clicks and box.

    Args:
        runtime: What runs.
        features: Of the frame, from ``recalled`` or ``without_memory`` (B = 1).
        prompt: Clicks and box in the model's frame.
        previous_HW: Mask logits that the object has in this frame so far, to be corrected.
        policy: Chooses the mask.
    """
    asked = pack([prompt])
    if previous_HW is not None:
        asked = asked._replace(masks_BPHW=previous_HW.clamp(-LOGIT_LIMIT, LOGIT_LIMIT)[None, None])
    num_points = int((prompt.labels_K != NO_POINT).sum())
    return policy.choose(runtime.decode(features, asked), runtime.config, single=num_points > 1)


def join(parts: Sequence[Chosen]) -> Chosen:
    """The answers for several sets of objects as one."""
    return Chosen(*(torch.cat(column) for column in zip(*parts, strict=True)))


def rows_of(chosen: Chosen) -> list[Chosen]:
    """The answers one by one, each with O = 1."""
    return [Chosen(*(part[row : row + 1] for part in chosen)) for row in range(len(chosen.iou_O))]


def _nothing_asked(num: int) -> PromptTensors:
    """What the decoder gets while it follows: for each of ``num`` objects two points that are none.

    The official code pads "no point" once as a prompt and once more as every point prompt.
    """
    return PromptTensors(torch.zeros(num, 1, 2, 2), torch.full((num, 1, 2), NO_POINT))
