"""``sam2.automatic_mask_generator``: masks of everything in a picture, as records."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from maskwright.automask import places
from maskwright.automask.found import FoundMasks
from maskwright.automask.options import AutomaskOptions
from maskwright.automask.search import Search
from maskwright.errors import ImageError, InputError
from maskwright.io.images import read_image
from maskwright.mask_model import MaskModel
from maskwright.pixels import rle
from maskwright.sam2.base import SAM2Base
from maskwright.sam2.build_sam import build_sam2_hf
from maskwright.sam2.sam2_image_predictor import SAM2ImagePredictor
from maskwright.types import Size

OUTPUT_MODES = ("binary_mask", "uncompressed_rle", "coco_rle")


class SAM2AutomaticMaskGenerator:
    """Finds masks from a grid of clicks. Its settings are attributes and may be changed between pictures."""

    def __init__(
        self,
        model: SAM2Base | MaskModel,
        points_per_side: int | None = 32,
        points_per_batch: int = 64,
        pred_iou_thresh: float = 0.8,
        stability_score_thresh: float = 0.95,
        stability_score_offset: float = 1.0,
        mask_threshold: float = 0.0,
        box_nms_thresh: float = 0.7,
        crop_n_layers: int = 0,
        crop_nms_thresh: float = 0.7,
        crop_overlap_ratio: float = 512 / 1500,
        crop_n_points_downscale_factor: int = 1,
        point_grids: list[npt.NDArray[Any]] | None = None,
        min_mask_region_area: int = 0,
        output_mode: str = "binary_mask",
        use_m2m: bool = False,
        multimask_output: bool = True,
        **kwargs: Any,
    ) -> None:
        """``model``: what ``build_sam2`` returns, or a native model (``maskwright.load``).

        Args:
            model: The model.
            points_per_side: Clicks along each side of the picture; None with ``point_grids``.
            points_per_batch: Clicks that are decoded together, at most: memory is bounded in any case.
            pred_iou_thresh: Leave out masks with a predicted IoU of this or less; 0 keeps all.
            stability_score_thresh: Leave out masks less stable than this; 0 keeps all.
            stability_score_offset: How far from ``mask_threshold`` stability is measured, in logits.
            mask_threshold: Logit above which a pixel belongs to a mask.
            box_nms_thresh: IoU of boxes above which two masks of a crop count as one.
            crop_n_layers: Layers of crops that are searched besides the picture.
            crop_nms_thresh: The same as ``box_nms_thresh`` between crops; smaller crops win.
            crop_overlap_ratio: Overlap of the crops of the first layer, as a share of the shorter side.
            crop_n_points_downscale_factor: Layer n has this to the power of n fewer clicks per side.
            point_grids: Instead of ``points_per_side``: (n, 2) arrays in 0..1, one for each layer.
            min_mask_region_area: Fill holes and remove specks up to this many cells of the low-resolution
                mask. Unlike in the official package this needs no compiled extension.
            output_mode: What ``segmentation`` is: one of ``OUTPUT_MODES``.
            use_m2m: Give every mask back to the model once, as a prompt beside its click.
            multimask_output: Three masks per click instead of one.
            kwargs: Ignored, as in the official class.

        Raises:
            InputError: settings that make no sense or contradict each other.
        """
        if output_mode not in OUTPUT_MODES:
            raise InputError(f"output_mode is {output_mode!r}; choose one of {', '.join(OUTPUT_MODES)}")
        self.predictor = SAM2ImagePredictor(
            model, max_hole_area=min_mask_region_area, max_sprinkle_area=min_mask_region_area
        )
        self.points_per_batch = points_per_batch
        self.pred_iou_thresh = pred_iou_thresh
        self.stability_score_thresh = stability_score_thresh
        self.stability_score_offset = stability_score_offset
        self.mask_threshold = mask_threshold
        self.box_nms_thresh = box_nms_thresh
        self.crop_n_layers = crop_n_layers
        self.crop_nms_thresh = crop_nms_thresh
        self.crop_overlap_ratio = crop_overlap_ratio
        self.crop_n_points_downscale_factor = crop_n_points_downscale_factor
        self.min_mask_region_area = min_mask_region_area
        self.output_mode = output_mode
        self.use_m2m = use_m2m
        self.multimask_output = multimask_output
        self.point_grids = self._grids(points_per_side, point_grids)

    @classmethod
    def from_pretrained(cls, model_id: str, **kwargs: Any) -> SAM2AutomaticMaskGenerator:
        """A generator by the name of a Hugging Face repository; ``kwargs`` go to builder and class."""
        return cls(build_sam2_hf(model_id, **kwargs), **kwargs)

    def generate(self, image: npt.NDArray[Any]) -> list[dict[str, Any]]:
        """Find the masks of a picture: RGB array (h, w, 3), uint8.

        Returns:
            One record for each mask: ``segmentation`` (h, w) bool or RLE; ``area`` in pixels; ``bbox`` and
            ``crop_box`` as ``[x, y, w, h]``, the former up to the last pixel; ``predicted_iou``;
            ``point_coords``, the click that found it; ``stability_score``.

        Raises:
            ImageError: not such an array.
        """
        if not isinstance(image, np.ndarray):
            raise ImageError(f"the picture is a {type(image).__name__}; pass an RGB array (h, w, 3)")
        native = self.predictor.native()
        search = Search(
            native.runtime, read_image(image, copy=False), self._options(), dynamic=self.predictor.dynamic
        )
        for _ in search:
            pass
        found = search.result(largest_first=False)
        return [self._record(found, index) for index in range(len(found))]

    def _options(self, **changes: Any) -> AutomaskOptions:
        """The settings under their native names."""
        settings: dict[str, Any] = {
            "points_per_side": None,
            "point_grids": getattr(self, "point_grids", None),
            "points_per_batch": self.points_per_batch,
            "min_score": self.pred_iou_thresh,
            "min_stability": self.stability_score_thresh,
            "stability_offset": self.stability_score_offset,
            "threshold": self.mask_threshold,
            "max_overlap": self.box_nms_thresh,
            "crop_layers": self.crop_n_layers,
            "max_crop_overlap": self.crop_nms_thresh,
            "crop_overlap": self.crop_overlap_ratio,
            "crop_points_divisor": self.crop_n_points_downscale_factor,
            "max_hole_area": self.predictor.max_hole_area,
            "max_speck_area": self.predictor.max_sprinkle_area,
            "second_look": self.use_m2m,
            "candidates": self.multimask_output,
        }
        return AutomaskOptions(**settings | changes)

    def _grids(
        self, points_per_side: int | None, point_grids: Sequence[npt.NDArray[Any]] | None
    ) -> list[npt.NDArray[Any]]:
        """The clicks of each layer; checks all settings on the way."""
        options = self._options(points_per_side=points_per_side, point_grids=point_grids)
        if point_grids is not None:
            return list(point_grids)
        return [places.grid(options.points_in_layer(layer)) for layer in range(self.crop_n_layers + 1)]

    def _record(self, found: FoundMasks, index: int) -> dict[str, Any]:
        x0, y0, x1, y1 = found.boxes[index].tolist()
        left, top, right, bottom = found.crops[index].astype(float).tolist()
        return {
            "segmentation": self._segmentation(found.runs[index], found.size),
            "area": int(found.areas[index]),
            "bbox": [x0, y0, x1 - 1 - x0, y1 - 1 - y0],
            "predicted_iou": float(found.scores[index]),
            "point_coords": [found.points[index].tolist()],
            "stability_score": float(found.stabilities[index]),
            "crop_box": [left, top, right - left, bottom - top],
        }

    def _segmentation(self, runs: rle.RunLengths, size: Size) -> Any:
        if self.output_mode == "binary_mask":
            return rle.bitmap(runs, size)
        if self.output_mode == "coco_rle":
            return rle.compress(runs, size)
        return {"size": list(size), "counts": runs.tolist()}
