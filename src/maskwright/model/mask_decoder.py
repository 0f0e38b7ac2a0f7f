"""The mask decoder: features and prompts in, four masks with scores and tokens per object out.

Axes: B pictures, P objects per picture, N = B x P, M masks, T tokens, C channels, H W height and width.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maskwright.config import ModelConfig
from maskwright.model.layers import MLP, ConvNeXtBlock, LayerNorm2d
from maskwright.model.prompt_encoder import EncodedPrompts
from maskwright.model.top_down import Residual
from maskwright.model.two_way import TwoWayTransformer

NUM_MASKS = 4
"""Mask 0 answers unambiguous prompts; masks 1 to 3 are the candidates for ambiguous ones."""


class ImageFeatures(NamedTuple):
    """What the image encoder makes of a picture."""

    low_BCHW: Tensor
    """Stride 16, ``width`` channels."""
    mid_BCHW: Tensor
    """Stride 8, ``width`` / 4 channels."""
    high_BCHW: Tensor
    """Stride 4, ``width`` / 8 channels."""
    presence_B: Tensor | None = None
    """nano: logit that the recalled object is visible, which then takes the place of the decoder's own; NaN
    where the decoder's own counts."""

    @property
    def levels(self) -> tuple[Tensor, Tensor, Tensor]:
        """The three maps, coarse to fine."""
        return self.low_BCHW, self.mid_BCHW, self.high_BCHW


class DecoderOutput(NamedTuple):
    """What the decoder says of N objects."""

    logits_NMHW: Tensor
    """Mask logits at stride 4."""
    iou_NM: Tensor
    """Predicted intersection over union of each mask with the object, 0..1."""
    tokens_NMC: Tensor
    """Mask tokens, from which object pointers are made."""
    object_score_N1: Tensor
    """Logit that the object is in the picture at all."""


class MaskDecoder(nn.Module):
    """Follows ``MaskDecoder`` of the official code, with all four masks always returned."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width = config.width
        self.transformer = TwoWayTransformer(width, config.heads, config.decoder_mlp)
        self.fusion = nn.Sequential(
            *(ConvNeXtBlock(width, expansion=2, scale=0.1) for _ in range(config.fusion_layers))
        )
        self.object_token = nn.Parameter(torch.randn(1, width))
        self.iou_token = nn.Parameter(torch.randn(1, width))
        self.mask_tokens = nn.Parameter(torch.randn(NUM_MASKS, width))
        self.upscale_mid = nn.ConvTranspose2d(width, width // 4, 2, 2)
        self.upscale_norm = LayerNorm2d(width // 4)
        self.upscale_high = nn.ConvTranspose2d(width // 4, width // 8, 2, 2)
        self.high_projection = nn.Conv2d(width, width // 8, 1)
        self.mid_projection = nn.Conv2d(width, width // 4, 1)
        self.mask_heads = nn.ModuleList(MLP(width, width, width, width // 8) for _ in range(NUM_MASKS))
        self.iou_head = MLP(width, width, width, NUM_MASKS)
        self.object_head = MLP(width, width, width, 1)
        fine = config.fine_layers
        self.mid_layer = Residual(width // 4) if fine else nn.Identity()
        self.high_layer = Residual(width // 8) if fine else nn.Identity()

    def project(self, mid_BCHW: Tensor, high_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        """Neck maps to the narrow high-resolution features of ``ImageFeatures``: once per picture."""
        return self.mid_projection(mid_BCHW), self.high_projection(high_BCHW)

    def forward(self, features: ImageFeatures, place_CHW: Tensor, prompts: EncodedPrompts) -> DecoderOutput:
        """Decode; N objects belong to the B pictures in equal, consecutive shares."""
        num = len(prompts.tokens_NTC)
        own_TC = torch.cat((self.object_token, self.iou_token, self.mask_tokens))
        tokens_NTC = torch.cat((own_TC.expand(num, -1, -1), prompts.tokens_NTC), dim=1)
        visible_NT = F.pad(prompts.visible_NT, (len(own_TC), 0), value=True)
        low_NCHW = self.fusion(_plus(prompts.dense_NCHW, features.low_BCHW))
        if 1 < len(low_NCHW) < num:
            low_NCHW = low_NCHW.repeat_interleave(num // len(low_NCHW), dim=0)
        height, width = low_NCHW.shape[-2:]
        place_NIC = place_CHW.flatten(1).T[None]
        tokens_NTC, image_NIC = self.transformer(
            tokens_NTC, low_NCHW.flatten(2).transpose(1, 2), place_NIC, visible_NT
        )
        low_NCHW = image_NIC.transpose(1, 2).unflatten(2, (height, width))
        mask_tokens_NMC = tokens_NTC[:, 2 : 2 + NUM_MASKS]
        pixels_NCHW = self._upscale(low_NCHW, features, prompts.detail_NCHW)
        queries = [head(mask_tokens_NMC[:, m]) for m, head in enumerate(self.mask_heads)]
        pixels_NIC = pixels_NCHW.permute(0, 2, 3, 1).flatten(1, 2)
        logits_NIM = pixels_NIC @ torch.stack(queries, dim=2)
        logits_NMHW = logits_NIM.transpose(1, 2).contiguous().unflatten(2, pixels_NCHW.shape[-2:])
        iou_NM = self.iou_head(tokens_NTC[:, 1]).sigmoid()
        return DecoderOutput(logits_NMHW, iou_NM, mask_tokens_NMC, self.object_head(tokens_NTC[:, 0]))

    def _upscale(self, low_NCHW: Tensor, features: ImageFeatures, detail_NCHW: Tensor | None) -> Tensor:
        """Stride 16 to stride 4, taking in the picture's finer features on the way."""
        mid_NCHW = self.mid_layer(_plus(self.upscale_mid(low_NCHW), features.mid_BCHW))
        high_NCHW = _plus(self.upscale_high(F.gelu(self.upscale_norm(mid_NCHW))), features.high_BCHW)
        return F.gelu(self.high_layer(high_NCHW if detail_NCHW is None else high_NCHW + detail_NCHW))


def _plus(own_NCHW: Tensor, shared_BCHW: Tensor) -> Tensor:
    """Each object's map and its picture's, which equal, consecutive shares of the objects have in common.

    A single map stands for all objects; the sum is then the same for all objects of a picture, and B maps.
    """
    if len(own_NCHW) == 1:
        return own_NCHW + shared_BCHW
    return (own_NCHW.unflatten(0, (len(shared_BCHW), -1)) + shared_BCHW[:, None]).flatten(0, 1)
