"""``sam2.sam2_image_predictor``: set a picture once, then predict masks for prompts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from maskwright.errors import ImageError, PromptError, StateError
from maskwright.mask_model import MaskModel
from maskwright.model.candidates import shown
from maskwright.model.sam2 import Decoded
from maskwright.runtime.batching import decode_chunks, full_size_chunks
from maskwright.sam2.base import SAM2Base
from maskwright.sam2.build_sam import build_sam2_hf
from maskwright.sam2.prompts import split_objects
from maskwright.segmenter import LOGIT_LIMIT, Embedding
from maskwright.types import FloatArray, Size

Prediction = tuple[FloatArray, FloatArray, FloatArray]
"""Masks at the picture's size, predicted IoU, low-resolution logits."""


class SAM2ImagePredictor:
    """Masks for prompts on one picture or on each of a batch. Holds the picture: use one per thread."""

    def __init__(
        self,
        sam_model: SAM2Base | MaskModel,
        mask_threshold: float = 0.0,
        max_hole_area: float = 0.0,
        max_sprinkle_area: float = 0.0,
        **kwargs: Any,
    ) -> None:
        """``sam_model``: what ``build_sam2`` returns, or a native model (``maskwright.load``).

        Args:
            sam_model: The model.
            mask_threshold: Logit above which a pixel belongs to a mask.
            max_hole_area: Fill holes up to this many cells of the low-resolution mask. Unlike in the official
                package this needs no compiled extension and works on every device.
            max_sprinkle_area: Remove specks up to this many cells.
            kwargs: Ignored, as in the official class.
        """
        self.model = sam_model
        self.mask_threshold = mask_threshold
        self.max_hole_area = max_hole_area
        self.max_sprinkle_area = max_sprinkle_area
        self._embeddings: list[Embedding] = []
        self._is_batch = False

    @classmethod
    def from_pretrained(cls, model_id: str, **kwargs: Any) -> SAM2ImagePredictor:
        """A predictor by the name of a Hugging Face repository; ``kwargs`` go to builder and class."""
        return cls(build_sam2_hf(model_id, **kwargs), **kwargs)

    @property
    def device(self) -> torch.device:
        return self.model.device

    def set_image(self, image: npt.NDArray[Any] | Image.Image) -> None:
        """Encode a picture: RGB array (h, w, 3) with values 0..255, or a PIL image, whose EXIF is ignored.

        Raises:
            ImageError: neither of the two, or an unusable one.
        """
        self.reset_predictor()
        self._embeddings = [self.native().embed(_array(image))]

    def set_image_batch(self, image_list: list[npt.NDArray[Any]]) -> None:
        """Encode several pictures together, for ``predict_batch``."""
        self.reset_predictor()
        if not isinstance(image_list, list):
            raise ImageError(
                f"set_image_batch takes a list of arrays (h, w, 3), not a {type(image_list).__name__}"
            )
        self._embeddings = self.native().embed_batch([_array(image) for image in image_list])
        self._is_batch = True

    def predict(
        self,
        point_coords: npt.ArrayLike | None = None,
        point_labels: npt.ArrayLike | None = None,
        box: npt.ArrayLike | None = None,
        mask_input: npt.ArrayLike | None = None,
        multimask_output: bool = True,
        return_logits: bool = False,
        normalize_coords: bool = True,
    ) -> Prediction:
        """Masks for the prompts of one object, or of B objects at once.

        Args:
            point_coords: (N, 2) or (B, N, 2), ``(x, y)`` pixels of the picture.
            point_labels: (N,) or (B, N): 1 on the object, 0 not on it.
            box: (4,) or (B, 4), xyxy pixels of the picture.
            mask_input: (1, m, m) or (B, 1, m, m), low-resolution logits of an earlier prediction.
            multimask_output: Return three candidates instead of one mask.
            return_logits: Return mask logits instead of 0 and 1.
            normalize_coords: False if coordinates are given in 0..1.

        Returns:
            float32 arrays: masks (C, h, w), scores (C,), low-resolution logits (C, m, m), where C is 3 or 1;
            for B > 1 objects each has a leading axis B.

        Raises:
            StateError: no picture was set.
            PromptError: malformed prompts.
        """
        if not self._embeddings:
            raise StateError("call set_image(...) before predict(...)")
        parts = (point_coords, point_labels, box, mask_input)
        return self._predict(self._embeddings[-1], parts, multimask_output, return_logits, normalize_coords)

    def predict_batch(
        self,
        point_coords_batch: Sequence[npt.ArrayLike | None] | None = None,
        point_labels_batch: Sequence[npt.ArrayLike | None] | None = None,
        box_batch: Sequence[npt.ArrayLike | None] | None = None,
        mask_input_batch: Sequence[npt.ArrayLike | None] | None = None,
        multimask_output: bool = True,
        return_logits: bool = False,
        normalize_coords: bool = True,
    ) -> tuple[list[FloatArray], list[FloatArray], list[FloatArray]]:
        """``predict`` for every picture of the batch, with one entry per picture in each argument.

        Raises:
            StateError: no batch was set.
            PromptError: malformed prompts, or not one entry per picture.
        """
        if not self._is_batch:
            raise StateError("call set_image_batch(...) before predict_batch(...)")
        num = len(self._embeddings)
        given = (point_coords_batch, point_labels_batch, box_batch, mask_input_batch)
        columns = [_entries(column, num) for column in given]
        results = [
            self._predict(embedding, parts, multimask_output, return_logits, normalize_coords)
            for embedding, parts in zip(self._embeddings, zip(*columns, strict=True), strict=True)
        ]
        masks, scores, logits = ([result[i] for result in results] for i in range(3))
        return masks, scores, logits

    def get_image_embedding(self) -> Tensor:
        """Features of stride 16, (1, C, H, W), or (B, C, H, W) for a batch: C = 256, H = W = 64 by default.

        Raises:
            StateError: no picture was set.
        """
        if not self._embeddings:
            raise StateError("call set_image(...) before get_image_embedding()")
        return torch.cat([one.features.low_BCHW for one in self._embeddings])

    def reset_predictor(self) -> None:
        """Forget the picture or the batch."""
        self._embeddings = []
        self._is_batch = False

    @property
    def _features(self) -> dict[str, Any] | None:
        """All features under their official names, which notebooks reach for."""
        if not self._embeddings:
            return None
        pairs = zip(*(one.features.levels[:0:-1] for one in self._embeddings), strict=True)
        high = [torch.cat(maps) for maps in pairs]
        return {"image_embed": self.get_image_embedding(), "high_res_feats": high}

    @property
    def _orig_hw(self) -> list[Size] | None:
        return [one.size for one in self._embeddings] or None

    @property
    def _is_image_set(self) -> bool:
        return bool(self._embeddings)

    def native(self) -> MaskModel:
        """The model behind the native API."""
        return self.model.native() if isinstance(self.model, SAM2Base) else self.model

    def _predict(
        self,
        embedding: Embedding,
        parts: tuple[npt.ArrayLike | None, ...],
        multimask_output: bool,
        return_logits: bool,
        normalize_coords: bool,
    ) -> Prediction:
        config = embedding.runtime.config
        size = embedding.size if normalize_coords else (1, 1)
        objects = split_objects(*parts, size=size, image_size=config.image_size, mask_size=config.mask_size)
        chosen = [
            self._select(decoded, multimask_output)
            for decoded in decode_chunks(embedding.runtime, embedding.features, objects)
        ]
        logits_PMHW, iou_PM = (torch.cat(part) for part in zip(*chosen, strict=True))
        masks = self._masks(logits_PMHW, embedding.size, return_logits)
        low = logits_PMHW.clamp(-LOGIT_LIMIT, LOGIT_LIMIT).cpu().numpy()
        scores = iou_PM.cpu().numpy()
        return (masks[0], scores[0], low[0]) if len(objects) == 1 else (masks, scores, low)

    def _select(self, decoded: Decoded, multimask_output: bool) -> tuple[Tensor, Tensor]:
        """Three candidates or one mask per object: logits (P, M, H, W) and predicted IoU (P, M)."""
        logits, iou, config = decoded.logits_BPMHW, decoded.iou_BPM, self.native().config
        return shown(logits, iou, config, multimask=multimask_output, dynamic=self.dynamic)

    @property
    def dynamic(self) -> bool:
        """Whether the best of three masks steps in where the single one is unstable."""
        if isinstance(self.model, SAM2Base):
            return self.model.dynamic_multimask_via_stability and not self.model.training
        return True

    def _masks(self, logits_PMHW: Tensor, size: Size, return_logits: bool) -> FloatArray:
        masks = np.empty((*logits_PMHW.shape[:2], *size), np.float32)
        flat = masks.reshape(-1, *size)
        chunks = full_size_chunks(
            logits_PMHW.flatten(0, 1),
            size,
            max_hole_area=self.max_hole_area,
            max_speck_area=self.max_sprinkle_area,
            threshold=self.mask_threshold,
        )
        for rows, full_NHW in chunks:
            flat[rows] = (full_NHW if return_logits else full_NHW > self.mask_threshold).cpu().numpy()
        return masks


def _array(image: object) -> npt.NDArray[Any]:
    """An RGB array of what the official predictor takes. Like there, EXIF orientation does not count."""
    if isinstance(image, Image.Image):
        return np.asarray(image.convert("RGB"))
    if isinstance(image, np.ndarray):
        return image
    raise ImageError(f"the picture is a {type(image).__name__}; pass an RGB array (h, w, 3) or a PIL image")


def _entries(column: Sequence[npt.ArrayLike | None] | None, num: int) -> Sequence[npt.ArrayLike | None]:
    if column is None:
        return [None] * num
    if len(column) != num:
        raise PromptError(
            f"{len(column)} entries for {num} pictures; give one per picture, None for no prompt"
        )
    return column
