"""A runtime that sees colours: at a click the masks are what has the same colour and hangs together."""

from __future__ import annotations

import torch
from scipy import ndimage
from torch import Tensor

from maskwright.config import PRESETS, ModelConfig
from maskwright.model.mask_decoder import ImageFeatures
from maskwright.model.prompt_encoder import BOX_START, NEGATIVE, POSITIVE, PromptTensors
from maskwright.model.sam2 import Decoded
from maskwright.runtime.fake import LOGIT, Fake

GROUND = 0.25
"""RGB of the ground, which is no object, as a share of white: grey 64."""


class Painted:
    """As much of the ``Runtime`` protocol as pictures need; what it does not draw itself is the fake's.

    All four masks of a prompt are the same. A click on the ground finds nothing; a click beside the object
    takes away what it is on; a box finds what is in its middle.
    """

    def __init__(self, image_size: int = 256, near: float = 0.08) -> None:
        self._fake = Fake(PRESETS["nano"].at(image_size))
        self._near = near
        self.encoded = 0

    @property
    def config(self) -> ModelConfig:
        return self._fake.config

    @property
    def device(self) -> torch.device:
        return self._fake.device

    @property
    def dtype(self) -> torch.dtype:
        return self._fake.dtype

    def fingerprint(self) -> str:
        return "painted"

    def encode_image(self, pixels_B3HW: Tensor) -> ImageFeatures:
        """The finest features begin with the picture itself, on the mask grid."""
        self.encoded += len(pixels_B3HW)
        features = self._fake.encode_image(pixels_B3HW)
        mean, std = (
            torch.tensor(value).view(3, 1, 1) for value in (self.config.pixel_mean, self.config.pixel_std)
        )
        features.high_BCHW[:, :3] = (pixels_B3HW * std + mean)[..., 2::4, 2::4]
        return features

    def without_memory(self, features: ImageFeatures) -> ImageFeatures:
        return features

    def decode(self, features: ImageFeatures, prompts: PromptTensors) -> Decoded:
        picture_3HW = features.high_BCHW[0, :3]
        inside_PHW = torch.stack(
            [
                self._inside(picture_3HW, points_K2, labels_K)
                for points_K2, labels_K in zip(prompts.points_BPK2[0], prompts.labels_BPK[0], strict=True)
            ]
        )
        logits_BPMHW = torch.where(inside_PHW, LOGIT, -LOGIT)[None, :, None].repeat(1, 1, 4, 1, 1)
        num = len(inside_PHW)
        found_P1 = inside_PHW.flatten(1).any(1)[:, None].float()
        pointers = torch.zeros(1, num, 4, self.config.width)
        return Decoded(
            logits_BPMHW, (0.9 * found_P1).expand(1, num, 4).clone(), pointers, torch.full((1, num), LOGIT)
        )

    def _inside(self, picture_3HW: Tensor, points_K2: Tensor, labels_K: Tensor) -> Tensor:
        inside = torch.zeros(picture_3HW.shape[1:], dtype=torch.bool)
        for place, (point, label) in enumerate(zip(points_K2, labels_K.tolist(), strict=True)):
            if label == BOX_START:
                inside |= self._alike(picture_3HW, (point + points_K2[place + 1]) / 2)
            elif label == POSITIVE:
                inside |= self._alike(picture_3HW, point)
        for point, label in zip(points_K2, labels_K.tolist(), strict=True):
            if label == NEGATIVE:
                inside &= ~self._alike(picture_3HW, point)
        return inside

    def _alike(self, picture_3HW: Tensor, point_2: Tensor) -> Tensor:
        x, y = (int(value) for value in (point_2 / 4).clamp(max=picture_3HW.shape[-1] - 1))
        colour_311 = picture_3HW[:, y, x].view(3, 1, 1)
        if (colour_311 - GROUND).abs().max() < self._near:
            return torch.zeros(picture_3HW.shape[1:], dtype=torch.bool)
        alike_HW = ((picture_3HW - colour_311).abs() < self._near).all(0).numpy()
        numbers, _ = ndimage.label(alike_HW)
        return torch.from_numpy(numbers == numbers[y, x])
