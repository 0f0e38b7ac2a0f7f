"""SAM 2: the owner of the networks and of the four verbs.

Axes: B pictures, P objects per picture, O objects of a video, S memory slots, T tokens, M masks,
C channels, D channels of a memory, H W height and width.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maskwright.config import HieraConfig, ModelConfig
from maskwright.model.efficientnet import EfficientNet
from maskwright.model.hiera import Hiera
from maskwright.model.layers import MLP
from maskwright.model.mask_decoder import ImageFeatures, MaskDecoder
from maskwright.model.memory_attention import MemoryAttention
from maskwright.model.memory_bank import EMPTY, MemoryBank
from maskwright.model.memory_encoder import MemoryEncoder
from maskwright.model.neck import Neck
from maskwright.model.position import sine_map, sine_time
from maskwright.model.prompt_encoder import PromptEncoder, PromptTensors


class Decoded(NamedTuple):
    """Four masks for each of P objects in B pictures: mask 0 is the single answer, 1 to 3 the candidates."""

    logits_BPMHW: Tensor
    """Mask logits at stride 4; the mask is where they are positive."""
    iou_BPM: Tensor
    """Predicted intersection over union, 0..1."""
    pointers_BPMC: Tensor
    """Object pointer of each mask, for the memory bank."""
    object_score_BP: Tensor
    """Logit that the object is visible."""


class SAM2(nn.Module):
    """All parameters of a SAM 2 model and the four verbs, as pure functions of their arguments."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        width, memory_width = config.width, config.memory_width
        trunk = config.trunk
        self.trunk = Hiera(trunk) if isinstance(trunk, HieraConfig) else EfficientNet(trunk)
        self.neck = Neck(trunk.channels, width, config.neck_layers)
        self.prompt_encoder = PromptEncoder(config)
        self.mask_decoder = MaskDecoder(config)
        self.memory_attention = MemoryAttention(config)
        self.memory_encoder = MemoryEncoder(config)
        self.no_memory = _parameter(1, 1, width)
        self.no_memory_position = _parameter(1, 1, width)
        self.memory_time = _parameter(config.num_memories, 1, 1, memory_width)
        self.no_object_pointer = _parameter(1, width)
        self.pointer_projection = MLP(width, width, width, width)
        self.pointer_mask = nn.Conv2d(1, 1, 4, 4)
        if config.occlusion_memory:
            self.no_object_memory = _parameter(1, memory_width)
        if config.pointer_time:
            self.pointer_time_projection = nn.Linear(width, memory_width)

    def encode_image(self, pixels_BCHW: Tensor) -> ImageFeatures:
        """Normalised pixels (B, 3, image_size, image_size) to features; needs neither prompts nor memory."""
        low_BCHW, mid_BCHW, high_BCHW = self.neck(self.trunk(pixels_BCHW))
        return ImageFeatures(low_BCHW, *self.mask_decoder.project(mid_BCHW, high_BCHW))

    def without_memory(self, features: ImageFeatures) -> ImageFeatures:
        """Features for ``decode`` where there is nothing to recall: single pictures, first frames."""
        return features._replace(low_BCHW=features.low_BCHW + self.no_memory.view(1, -1, 1, 1))

    def decode(self, features: ImageFeatures, prompts: PromptTensors) -> Decoded:
        """Masks for prompts. ``features`` come from ``without_memory`` or ``recall``."""
        encoded = self.prompt_encoder(prompts)
        height, width = features.low_BCHW.shape[-2:]
        place_CHW = self.prompt_encoder.position.grid(height, width)
        out = self.mask_decoder(features, place_CHW, encoded)
        shape = prompts.labels_BPK.shape[:2]
        visible_N11 = (out.object_score_N1 > 0)[..., None].to(out.tokens_NMC.dtype)
        pointers_NMC = self.pointer_projection(out.tokens_NMC) * visible_N11
        pointers_NMC = pointers_NMC + (1 - visible_N11) * self.no_object_pointer
        return Decoded(
            out.logits_NMHW.unflatten(0, shape),
            out.iou_NM.unflatten(0, shape),
            pointers_NMC.unflatten(0, shape),
            out.object_score_N1[:, 0].unflatten(0, shape),
        )

    def recall(self, features: ImageFeatures, bank: MemoryBank, frame: Tensor) -> ImageFeatures:
        """Condition one frame's features (B = 1) on each object's memories: features with B = O.

        ``frame``: number of the current frame, int64 scalar. Slots from the prompted frames count as
        such at any age; others count while they are among the last ``num_memories - 1`` frames.
        """
        num_objects = len(bank.frames_OS)
        age_OS = frame - bank.frames_OS
        used_OS = bank.frames_OS != EMPTY
        recent_OS = (age_OS > 0) & (age_OS < self.config.num_memories)
        visible_OS = used_OS & (bank.prompted_OS | recent_OS)
        row_OS = (
            torch.where(bank.prompted_OS, self.config.num_memories, age_OS).clamp(1, self.config.num_memories)
            - 1
        )
        height, width = features.low_BCHW.shape[-2:]
        sine_ID = self._memory_sine(height, width)
        time_OS1D = self.memory_time[:, 0, 0][row_OS][:, :, None]
        place_OTD = (time_OS1D + sine_ID).flatten(1, 2)
        pointers_OTD, pointer_place_OTD, pointer_visible_OT = self._pointer_tokens(bank, age_OS, used_OS)
        low_OCHW = self.memory_attention(
            features.low_BCHW.expand(num_objects, -1, -1, -1),
            sine_map(height, width, self.config.width, features.low_BCHW.device),
            torch.cat((bank.memories_OSID.flatten(1, 2), pointers_OTD), dim=1),
            torch.cat((place_OTD, pointer_place_OTD), dim=1),
            torch.cat((visible_OS.repeat_interleave(height * width, dim=1), pointer_visible_OT), dim=1),
            num_placeless=pointers_OTD.shape[1],
        )
        return ImageFeatures(
            low_OCHW,
            features.mid_BCHW.expand(num_objects, -1, -1, -1),
            features.high_BCHW.expand(num_objects, -1, -1, -1),
        )

    def remember(
        self,
        features: ImageFeatures,
        logits_OHW: Tensor,
        object_score_O: Tensor,
        pointers_OC: Tensor,
        bank: MemoryBank,
        slot: Tensor,
        frame: Tensor,
        prompted_O: Tensor,
    ) -> MemoryBank:
        """Write one frame into ``slot`` of every object, in place, and return the bank.

        ``features``: of the frame, without memories (B = 1). ``logits_OHW``: the chosen masks at stride 4.
        ``slot`` and ``frame``: int64 scalars. A mask on a prompted frame enters binarised, as the official
        code does for clicked frames.
        """
        size = self.config.image_size
        full_O1HW = F.interpolate(
            logits_OHW[:, None], size=(size, size), mode="bilinear", align_corners=False
        )
        binary_O1HW = (full_O1HW > 0).to(full_O1HW.dtype)
        probability_O1HW = torch.where(prompted_O.view(-1, 1, 1, 1), binary_O1HW, full_O1HW.sigmoid())
        low_OCHW = features.low_BCHW.expand(len(logits_OHW), -1, -1, -1)
        memory_OID = self.memory_encoder(low_OCHW, probability_O1HW).flatten(2).transpose(1, 2)
        if self.config.occlusion_memory:
            memory_OID = memory_OID + (object_score_O <= 0).view(-1, 1, 1) * self.no_object_memory
        at = slot.view(1)
        bank.memories_OSID.index_copy_(1, at, memory_OID[:, None].to(bank.memories_OSID.dtype))
        bank.pointers_OSC.index_copy_(1, at, pointers_OC[:, None].to(bank.pointers_OSC.dtype))
        bank.frames_OS.index_copy_(1, at, frame.view(1, 1).expand(len(logits_OHW), 1))
        bank.prompted_OS.index_copy_(1, at, prompted_O[:, None])
        return bank

    def _memory_sine(self, height: int, width: int) -> Tensor:
        sine_DHW = sine_map(height, width, self.config.memory_width, self.memory_time.device)
        return sine_DHW.flatten(1).T

    def _pointer_tokens(
        self, bank: MemoryBank, age_OS: Tensor, used_OS: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Object pointers as memory tokens: each is cut into ``width / memory_width`` pieces."""
        pieces = self.config.width // self.config.memory_width
        pointers_OTD = bank.pointers_OSC.unflatten(2, (pieces, -1)).flatten(1, 2)
        recent_OS = (age_OS > 0) & (age_OS < self.config.num_pointers)
        visible_OS = used_OS & (age_OS > 0) & (bank.prompted_OS | recent_OS)
        if self.config.pointer_time:
            time_OS = age_OS.to(pointers_OTD.dtype) / (self.config.num_pointers - 1)
            place_OSD = self.pointer_time_projection(sine_time(time_OS, self.config.width))
        else:
            place_OSD = torch.zeros_like(pointers_OTD[:, ::pieces])
        return (
            pointers_OTD,
            place_OSD.repeat_interleave(pieces, dim=1),
            visible_OS.repeat_interleave(pieces, dim=1),
        )


def _parameter(*shape: int) -> nn.Parameter:
    """A learned embedding, small at the start."""
    return nn.Parameter(torch.randn(*shape) * 0.02)
