"""SAM 2: the owner of the networks and of the four verbs.

Axes: B pictures, P objects per picture (in a bank: slots of pointers), O objects of a video, S slots of
memories, I picture tokens, T tokens, M masks, C channels, D channels of a memory, H W height and width.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maskwright.config import HieraConfig, ModelConfig
from maskwright.model.appraisal import Appraisal, asked_box
from maskwright.model.candidates import Chosen
from maskwright.model.efficientnet import EfficientNet
from maskwright.model.hiera import Hiera
from maskwright.model.layers import MLP
from maskwright.model.mask_decoder import ImageFeatures, MaskDecoder
from maskwright.model.memory_attention import MemoryAttention
from maskwright.model.memory_bank import Ages, MemoryBank
from maskwright.model.memory_cells import MemoryCells, Recalled
from maskwright.model.memory_encoder import MASK_BIAS, MASK_SCALE, MemoryEncoder
from maskwright.model.neck import Neck
from maskwright.model.position import sine_map, sine_time
from maskwright.model.prompt_encoder import NO_POINT, PromptEncoder, PromptTensors
from maskwright.model.top_down import TopDown


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


class Slots(NamedTuple):
    """Where in a bank the memories of O objects go."""

    rows_O: Tensor
    """Row of each object, int64."""
    memory_O: Tensor
    """Slot of its memory, int64."""
    pointer_O: Tensor
    """Slot of its pointer, int64."""


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
        self.no_memory = _parameter(1, 1, width)
        self.no_object_pointer = _parameter(1, width)
        self.pointer_projection = MLP(width, width, width, width)
        self.pointer_mask = nn.Conv2d(1, 1, 4, 4)
        if config.fine_layers:
            self.top_down = TopDown(width)
        if config.appraise:
            self.appraisal = Appraisal()
        if config.match_memory:
            self.memory_cells = MemoryCells(config)
            return
        self.memory_attention = MemoryAttention(config)
        self.memory_encoder = MemoryEncoder(config)
        self.no_memory_position = _parameter(1, 1, width)
        self.memory_time = _parameter(config.num_memories, 1, 1, memory_width)
        if config.occlusion_memory:
            self.no_object_memory = _parameter(1, memory_width)
        if config.pointer_time:
            self.pointer_time_projection = nn.Linear(width, memory_width)

    def encode_image(self, pixels_BCHW: Tensor) -> ImageFeatures:
        """Normalised pixels (B, 3, image_size, image_size) to features; needs neither prompts nor memory."""
        low_BCHW, mid_BCHW, high_BCHW = self.neck(self.trunk(pixels_BCHW))
        mid_BCHW, high_BCHW = self.mask_decoder.project(mid_BCHW, high_BCHW)
        if self.config.fine_layers:
            mid_BCHW, high_BCHW = self.top_down(low_BCHW, mid_BCHW, high_BCHW)
        return ImageFeatures(low_BCHW, mid_BCHW, high_BCHW)

    def without_memory(self, features: ImageFeatures) -> ImageFeatures:
        """Features for ``decode`` where there is nothing to recall: single pictures, first frames."""
        return features._replace(low_BCHW=features.low_BCHW + self.no_memory.view(1, -1, 1, 1))

    def decode(self, features: ImageFeatures, prompts: PromptTensors) -> Decoded:
        """Masks for prompts. ``features`` come from ``without_memory`` or ``recall``."""
        encoded = self.prompt_encoder(prompts)
        height, width = features.low_BCHW.shape[-2:]
        place_CHW = self.prompt_encoder.position.grid(height, width)
        out = self.mask_decoder(features, place_CHW, encoded)
        iou_NM = out.iou_NM
        if self.config.appraise:
            points_NK2, labels_NK = prompts.points_BPK2.flatten(0, 1), prompts.labels_BPK.flatten(0, 1)
            box_N4, boxed_N = asked_box(
                points_NK2, labels_NK, out.logits_NMHW.shape[-1] / self.config.image_size
            )
            iou_NM = self.appraisal(iou_NM, out.logits_NMHW, box_N4, boxed_N)
        shape = prompts.labels_BPK.shape[:2]
        object_score_BP = out.object_score_N1[:, 0].unflatten(0, shape)
        if features.presence_B is not None:
            presence_B1 = features.presence_B[:, None]
            object_score_BP = torch.where(presence_B1.isnan(), object_score_BP, presence_B1)
        visible_N11 = (object_score_BP > 0).flatten()[:, None, None].to(out.tokens_NMC.dtype)
        pointers_NMC = self.pointer_projection(out.tokens_NMC) * visible_N11
        pointers_NMC = pointers_NMC + (1 - visible_N11) * self.no_object_pointer
        return Decoded(
            out.logits_NMHW.unflatten(0, shape),
            iou_NM.unflatten(0, shape),
            pointers_NMC.unflatten(0, shape),
            object_score_BP,
        )

    def recall(
        self,
        features: ImageFeatures,
        bank: MemoryBank,
        frame_O: Tensor,
        direction: Tensor,
        pointer_span: Tensor,
        *,
        masked: bool = True,
    ) -> ImageFeatures:
        """Condition one frame's features (B = 1) on each object's memories: features with B = O.

        Follows ``_prepare_memory_conditioned_features``: memories of prompted frames count at any age,
        earlier or later; others while they are among the last ``num_memories - 1`` frames. Pointers count if
        they come from before, from prompted frames at any age.

        Args:
            features: Of the frame, from ``encode_image``.
            bank: Memories of O objects.
            frame_O: Number of the current frame for each object, int64.
            direction: 1 where time runs forward, -1 where it runs backward, int64 scalar.
            pointer_span: Age of the oldest pointer that counts, and the unit of their temporal encoding; 15
                with 16 pointers. float scalar.
            masked: False if every slot of the bank is filled and counts, which saves the attention mask.
        """
        ages = bank.ages(frame_O, direction, pointer_span, self.config.num_memories)
        return self.look_back(features, bank.memories_OSID, bank.pointers_OPC, ages, masked=masked)

    def look_back(
        self,
        features: ImageFeatures,
        memories_OSID: Tensor,
        pointers_OPC: Tensor,
        ages: Ages,
        *,
        masked: bool = True,
    ) -> ImageFeatures:
        """The second part of :meth:`recall`, after ``MemoryBank.ages``: here no frame has a number."""
        visible_OS, row_OS = ages.visible_OS, ages.row_OS
        if self.config.match_memory:
            memories_OSID = memories_OSID.to(features.low_BCHW.dtype)
            return self.redrawn(
                features,
                self.memory_cells.read(
                    *features.levels, memories_OSID, row_OS, visible_OS if masked else None
                ),
            )
        height, width = features.low_BCHW.shape[-2:]
        place_OSID = self.memory_time[:, 0, 0][row_OS][:, :, None] + self._memory_sine(height, width)
        pointers_OTD, pointer_place_OTD, pointer_visible_OT = self._pointer_tokens(pointers_OPC, ages)
        memories_OTD = memories_OSID.flatten(1, 2).to(pointers_OTD.dtype)
        visible_OT = torch.cat(
            (visible_OS.repeat_interleave(height * width, dim=1), pointer_visible_OT), dim=1
        )
        low_OCHW = self.memory_attention(
            features.low_BCHW,
            sine_map(height, width, self.config.width, features.low_BCHW.device),
            torch.cat((memories_OTD, pointers_OTD), dim=1),
            torch.cat((place_OSID.flatten(1, 2), pointer_place_OTD), dim=1),
            visible_OT if masked else None,
            num_placeless=pointers_OTD.shape[1],
        )
        num_objects = len(low_OCHW)
        return ImageFeatures(
            low_OCHW,
            features.mid_BCHW.expand(num_objects, -1, -1, -1),
            features.high_BCHW.expand(num_objects, -1, -1, -1),
        )

    def adopt(self, features: ImageFeatures, masks_OHW: Tensor) -> Chosen:
        """Take given masks for the answer: what ``decode`` and a choice would give, had they found them.

        Follows ``_use_mask_as_output``: the decoder only makes the pointers, from the frame's own features.

        Args:
            features: Of one frame (B = 1), from ``encode_image``.
            masks_OHW: 1 on the object, else 0, at the size of the network's input, float.
        """
        num_objects = len(masks_OHW)
        prompts = PromptTensors(
            masks_OHW.new_zeros(1, num_objects, 2, 2),
            torch.full((1, num_objects, 2), NO_POINT, device=masks_OHW.device),
            self.pointer_mask(masks_OHW[:, None])[None, :, 0],
        )
        pointers_OC = self.decode(features, prompts).pointers_BPMC[0, :, 0]
        there_O = (masks_OHW > 0).flatten(1).any(1).to(masks_OHW.dtype)
        pointers_OC = there_O[:, None] * pointers_OC + (1 - there_O[:, None]) * self.no_object_pointer
        side = self.config.mask_size
        logits_O1HW = F.interpolate(
            masks_OHW[:, None] * MASK_SCALE + MASK_BIAS, (side, side), mode="bilinear", antialias=True
        )
        return Chosen(
            logits_O1HW[:, 0], torch.ones_like(there_O), pointers_OC, there_O * MASK_SCALE + MASK_BIAS
        )

    def encode_memory(
        self, features: ImageFeatures, logits_OHW: Tensor, object_score_O: Tensor, binary_O: Tensor
    ) -> Tensor:
        """Spatial memories (O, I, D) of objects in a frame.

        Args:
            features: Of the frame, from ``encode_image`` (B = 1, or one for each object).
            logits_OHW: The chosen masks at stride 4.
            object_score_O: Logit that the object is visible.
            binary_O: True where the mask enters binarised, as the official code does on clicked frames.
        """
        if self.config.match_memory:
            hard_OHW = (logits_OHW > 0).to(logits_OHW.dtype)
            chance_OHW = torch.where(binary_O.view(-1, 1, 1), hard_OHW, logits_OHW.sigmoid())
            return self.memory_cells.write(features.low_BCHW, chance_OHW[:, None], object_score_O <= 0)
        size = self.config.image_size
        full_O1HW = F.interpolate(
            logits_OHW[:, None], size=(size, size), mode="bilinear", align_corners=False
        )
        binary_O1HW = (full_O1HW > 0).to(full_O1HW.dtype)
        probability_O1HW = torch.where(binary_O.view(-1, 1, 1, 1), binary_O1HW, full_O1HW.sigmoid())
        memory_OID = self.memory_encoder(features.low_BCHW, probability_O1HW).flatten(2).transpose(1, 2)
        if self.config.occlusion_memory:
            memory_OID = memory_OID + (object_score_O <= 0).view(-1, 1, 1) * self.no_object_memory
        return memory_OID

    def remember(
        self,
        features: ImageFeatures,
        chosen: Chosen,
        bank: MemoryBank,
        slots: Slots,
        frame_O: Tensor,
        prompted_O: Tensor,
        binary_O: Tensor,
    ) -> MemoryBank:
        """Write what was found in one frame into the bank, in place, and return it.

        Args:
            features: Of the frame, from ``encode_image`` (B = 1).
            chosen: The answers for O objects.
            bank: Where to; it may hold more objects.
            slots: Where in the bank each object's memory and pointer go.
            frame_O: Number of the frame for each object, int64.
            prompted_O: True for objects that the user prompted in this frame.
            binary_O: True where the mask enters the memory binarised.
        """
        memory_OID = self.encode_memory(features, chosen.logits_OHW, chosen.object_score_O, binary_O)
        return self.store(memory_OID, chosen, bank, slots, frame_O, prompted_O)

    def store(
        self,
        memory_OID: Tensor,
        chosen: Chosen,
        bank: MemoryBank,
        slots: Slots,
        frame_O: Tensor,
        prompted_O: Tensor,
    ) -> MemoryBank:
        """The second part of :meth:`remember`, after ``encode_memory``: nothing is computed here."""
        bank.write(*slots, memory_OID, chosen.pointers_OC, frame_O, prompted_O)
        return bank

    def redrawn(self, features: ImageFeatures, found: Recalled) -> ImageFeatures:
        """Draw the mask that memory expects into the features, as a mask prompt would be (nano)."""
        dense_OCHW, detail_OCHW = self.prompt_encoder.mask_change(found.logits_NHW)
        low_BCHW = features.low_BCHW + self.no_memory.view(1, -1, 1, 1)
        return ImageFeatures(
            low_BCHW + dense_OCHW + found.low_NCHW,
            features.mid_BCHW.expand(len(dense_OCHW), -1, -1, -1),
            features.high_BCHW + detail_OCHW + found.high_NCHW,
            found.presence_N,
        )

    def _memory_sine(self, height: int, width: int) -> Tensor:
        sine_DHW = sine_map(height, width, self.config.memory_width, self.memory_time.device)
        return sine_DHW.flatten(1).T

    def _pointer_tokens(self, pointers_OPC: Tensor, ages: Ages) -> tuple[Tensor, Tensor, Tensor]:
        """Object pointers as memory tokens: each is cut into ``width / memory_width`` pieces."""
        pieces = self.config.width // self.config.memory_width
        pointers_OTD = pointers_OPC.unflatten(2, (pieces, -1)).flatten(1, 2)
        if self.config.pointer_time:
            place_OPD = self.pointer_time_projection(sine_time(ages.pointer_time_OP, self.config.width))
        else:
            place_OPD = torch.zeros_like(pointers_OTD[:, ::pieces])
        return (
            pointers_OTD,
            place_OPD.repeat_interleave(pieces, dim=1),
            ages.pointer_visible_OP.repeat_interleave(pieces, dim=1),
        )


def _parameter(*shape: int) -> nn.Parameter:
    """A learned embedding, small at the start."""
    return nn.Parameter(torch.randn(*shape) * 0.02)
