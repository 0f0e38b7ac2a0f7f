"""Learning to follow: nano's memory half on clips with cached features, the image half frozen bit for bit.

A clip's first frame is given as a mask, the others are followed as the tracker would: recall, decode without
prompts, choose, remember. The loss reaches through time by way of the memories.
Axes: T frames, O followed objects, S memories so far, M masks, H W the mask grid.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from maskwright.model.candidates import Chosen, choose_tracked
from maskwright.model.mask_decoder import ImageFeatures
from maskwright.model.memory_cells import Recalled
from maskwright.model.prompt_encoder import NO_POINT, PromptTensors
from maskwright.model.sam2 import SAM2, Decoded
from maskwright.train.clip_cache import CachedClip, ClipCache
from maskwright.train.losses import mask_losses, true_iou
from maskwright.train.memory_settings import MemoryConfig
from maskwright.train.task import Draw, Group, Task, to_device
from maskwright.weights.keymaps import is_memory

VISIBLE_CELLS = 2.0
"""Mask cells from which an object counts as visible; fewer, but not none, are not judged."""


class FrameLoss(NamedTuple):
    """Losses of one followed frame, scalars; all but ``total`` are for the log."""

    total: Tensor
    drawn: Tensor
    """Mask loss of what memory redrew."""
    decoded: Tensor
    """Mask loss of the three candidates."""
    presence: Tensor
    drawn_iou: Tensor
    iou: Tensor
    """IoU of the mask that the tracker would take, over visible objects."""


class Followed(NamedTuple):
    """What was found in one frame."""

    found: Recalled
    decoded: Decoded | None
    """None while only the redrawn mask is trained."""
    chosen: Chosen


class MemoryTask(Task):
    """The memory half learns from clips with cached features; nothing else is trained, saved or exported."""

    score = "iou"

    def __init__(self, model: SAM2, config: MemoryConfig, clips: ClipCache, val_clips: ClipCache) -> None:
        super().__init__()
        self.model, self.config = model, config
        self.clips, self.val_clips = clips, val_clips

    def groups(self) -> list[Group]:
        """Matching learns slower than the rest, because it begins well."""
        config = self.config
        named = {
            name: value for name, value in self.model.named_parameters() if name.startswith("memory_cells.")
        }
        keys = {name: value for name, value in named.items() if name.startswith("memory_cells.key.")}
        rest = {name: value for name, value in named.items() if name not in keys}
        return [
            Group("keys", keys, config.key_rate, config.weight_decay),
            Group("memory", rest, config.learning_rate, config.weight_decay),
        ]

    def batch(self, draw: Draw) -> CachedClip:
        """One clip, some of its frames."""
        rng = draw.generator(0)
        clip = self.clips.clip(int(rng.integers(self.clips.num)))
        return varied(clip, self.config.frames, rng)

    def forward(self, batch: CachedClip, draw: Draw, progress: float) -> dict[str, Tensor]:
        """Mean losses of the frames that are learnt from."""
        decode = progress >= self.config.decode_from
        losses = clip_losses(self.model, batch, self.config, decode=decode, rng=draw.generator(1))
        total, *parts = mean_loss(losses)
        return {"loss": total, **dict(zip(FrameLoss._fields[1:], (p.detach() for p in parts), strict=True))}

    @torch.no_grad()
    def validate(self, model: SAM2) -> dict[str, float]:
        """Follow all validation clips."""
        device = model.no_memory.device
        clips = (to_device(self.val_clips.clip(number), device) for number in range(self.val_clips.num))
        mean = mean_loss(
            [loss for clip in clips for loss in clip_losses(model, clip, self.config, decode=True)]
        )
        found = {
            "loss": mean.decoded,
            "presence": mean.presence,
            "drawn_iou": mean.drawn_iou,
            "iou": mean.iou,
        }
        return {name: float(value) for name, value in found.items()}

    def saved(self) -> Callable[[str], bool]:
        """The memory half: the file that the run began with has the rest."""
        return is_memory


def mean_loss(losses: Sequence[FrameLoss]) -> FrameLoss:
    """Mean of each part over frames."""
    return FrameLoss(*(torch.stack(parts).mean() for parts in zip(*losses, strict=True)))


def clip_losses(
    model: SAM2,
    clip: CachedClip,
    config: MemoryConfig,
    *,
    decode: bool,
    rng: np.random.Generator | None = None,
) -> list[FrameLoss]:
    """Follow all objects of a clip from its first frame on; losses of the frames that are learnt from.

    With a generator, as in training, up to ``free_frames`` frames are followed before those that are learnt
    from, and some masks are smudged; without one, all frames count.
    """
    free = int(rng.integers(config.free_frames + 1)) if rng is not None else 0
    share = config.smudge_share if rng is not None else 0.0
    followed = follow(model, clip, decode=decode, free=free, smudge=partial(smudged, share=share, rng=rng))
    return [
        frame_loss(one, clip.targets_TKHW[number], config)
        for number, one in enumerate(followed, start=1)
        if number > free
    ]


def follow(
    model: SAM2,
    clip: CachedClip,
    *,
    decode: bool,
    free: int = 0,
    smudge: Callable[[Tensor], Tensor] | None = None,
) -> list[Followed]:
    """Follow all objects of a clip as the tracker does.

    Args:
        model: With a memory half that matches.
        clip: Features and truth; only the first frame's truth is used.
        decode: False stops at what memory redraws.
        free: Frames after the first that are followed without gradients.
        smudge: Applied to followed masks (O, H, W) before they are remembered.
    """
    memories = [first_memory(model, clip.features[0], clip.targets_TKHW[0])]
    oldest = model.config.num_memories - 1
    found = []
    for number, features in enumerate(clip.features[1:], start=1):
        kept = [0, *range(max(1, number - oldest), number)]
        # a memory's row: the prompted frame has its own, others go by age
        ages = [oldest if n == 0 else number - n - 1 for n in kept]
        rows = torch.tensor(ages, device=features.low_BCHW.device)
        with torch.set_grad_enabled(torch.is_grad_enabled() and number > free):
            followed = follow_frame(
                model,
                features,
                torch.stack([memories[n] for n in kept], dim=1),
                rows.expand(len(memories[0]), -1),
                decode=decode,
            )
        chosen = followed.chosen
        logits_OHW = chosen.logits_OHW if smudge is None else smudge(chosen.logits_OHW)
        unsure = logits_OHW.new_zeros(len(logits_OHW), dtype=torch.bool)
        memories.append(model.encode_memory(features, logits_OHW, chosen.object_score_O, unsure))
        found.append(followed)
    return found


def smudged(logits_OHW: Tensor, *, share: float, rng: np.random.Generator | None) -> Tensor:
    """Some masks with a part wiped out, a part filled in, or moved: what a tracker's errors may look like."""
    if rng is None or share == 0:
        return logits_OHW
    height, width = logits_OHW.shape[1:]
    masks = []
    for logits_HW in logits_OHW:
        if rng.random() < share:
            if rng.random() < 0.3:
                moves = [int(n) for n in rng.integers(-height // 24, height // 24 + 1, 2)]
                logits_HW = logits_HW.roll(moves, (0, 1))
            else:
                inside = (logits_HW > 0).nonzero()
                middle = inside[int(rng.integers(len(inside)))].tolist() if len(inside) else (0, 0)
                half_h, half_w = (int(side * rng.uniform(0.02, 0.15)) + 1 for side in (height, width))
                patch = torch.zeros(height, width, dtype=torch.bool, device=logits_HW.device)
                patch[
                    max(0, middle[0] - half_h) : middle[0] + half_h,
                    max(0, middle[1] - half_w) : middle[1] + half_w,
                ] = True
                logits_HW = logits_HW.masked_fill(patch, 8.0 if rng.random() < 0.4 else -8.0)
        masks.append(logits_HW)
    return torch.stack(masks)


def first_memory(model: SAM2, features: ImageFeatures, masks_OHW: Tensor) -> Tensor:
    """Memories (O, I, D) of the given frame."""
    yes_O = masks_OHW.new_ones(len(masks_OHW))
    return model.encode_memory(features, masks_OHW * 20 - 10, yes_O, yes_O.bool())


def follow_frame(
    model: SAM2, features: ImageFeatures, memories_OSID: Tensor, rows_OS: Tensor, *, decode: bool
) -> Followed:
    """One frame, from memories that all count."""
    found = model.memory_cells.read(*features.levels, memories_OSID, rows_OS, None, together=True)
    if not decode:
        unused = found.presence_N.new_zeros(len(found.presence_N), model.config.width)
        return Followed(
            found, None, Chosen(found.logits_NHW, found.presence_N, unused, torch.ones_like(found.presence_N))
        )
    num = len(memories_OSID)
    points, device = features.low_BCHW.new_zeros(num, 1, 2, 2), features.low_BCHW.device
    prompts = PromptTensors(points, torch.full((num, 1, 2), NO_POINT, device=device))
    decoded = model.decode(model.redrawn(features, found), prompts)
    chosen = choose_tracked(*decoded, single=False, delta=0.0, threshold=None)
    return Followed(found, decoded, chosen)


def frame_loss(followed: Followed, targets_OHW: Tensor, config: MemoryConfig) -> FrameLoss:
    """All losses of one frame."""
    found, decoded, chosen = followed
    drawn = mask_losses(found.logits_NHW, targets_OHW, config.losses)[0].mean()
    area_O = targets_OHW.sum((1, 2))
    judged_O = (area_O == 0) | (area_O >= VISIBLE_CELLS)
    there_O = (area_O > 0).float()
    presence_O = F.binary_cross_entropy_with_logits(found.presence_N, there_O, reduction="none")
    presence = (presence_O * judged_O).mean()
    total = config.drawn_weight * drawn + config.presence_weight * presence
    decoded_loss = torch.zeros_like(drawn)
    if decoded is not None:
        logits_OMHW = decoded.logits_BPMHW[:, 0, 1:]
        targets_OMHW = targets_OHW[:, None].expand_as(logits_OMHW)
        # memory leaves no doubt about what is meant, so every candidate should be right
        decoded_loss = mask_losses(logits_OMHW, targets_OMHW, config.losses)[0].mean()
        total = total + decoded_loss
        if config.iou_weight:
            error = (decoded.iou_BPM[:, 0, 1:] - true_iou(logits_OMHW, targets_OMHW)).abs().mean()
            total = total + config.iou_weight * error
    seen_O = area_O >= VISIBLE_CELLS
    return FrameLoss(
        total,
        drawn,
        decoded_loss,
        presence,
        _mean_where(true_iou(found.logits_NHW, targets_OHW), seen_O),
        _mean_where(true_iou(chosen.logits_OHW, targets_OHW), seen_O),
    )


@torch.no_grad()
def _mean_where(values_O: Tensor, where_O: Tensor) -> Tensor:
    """Mean over some; 1 if there are none, which leaves a mean over frames nearly as it is."""
    return values_O[where_O].mean() if where_O.any() else values_O.new_ones(())


def varied(clip: CachedClip, frames: int, rng: np.random.Generator) -> CachedClip:
    """``frames`` of the clip's frames in order, sometimes backward where all objects are in the last one."""
    count = len(clip.features)
    picks = [
        0,
        *sorted(int(n) for n in rng.choice(np.arange(1, count), min(frames, count) - 1, replace=False)),
    ]
    if rng.random() < 0.5 and bool((clip.targets_TKHW[-1].sum((1, 2)) >= VISIBLE_CELLS).all()):
        picks = [count - 1 - n for n in picks]
    return CachedClip([clip.features[n] for n in picks], clip.targets_TKHW[picks])


@torch.no_grad()
def principal_keys(model: SAM2, cache: ClipCache, clips: int) -> None:
    """Let keys begin as the principal directions of the features, so that matching begins as likeness."""
    parts = [
        cache.clip(number).features[frame].low_BCHW[0].flatten(1).T[::8]
        for number in range(min(clips, cache.ready))
        for frame in (0, -1)
    ]
    cells_NC = torch.cat(parts)
    mean_C = cells_NC.mean(dim=0)
    directions_CC = torch.linalg.eigh(torch.cov(cells_NC.T))[1].flip(1)
    key = model.memory_cells.key
    key.weight.copy_(directions_CC[:, : key.out_features].T)
    key.bias.copy_(-key.weight @ mean_C)
