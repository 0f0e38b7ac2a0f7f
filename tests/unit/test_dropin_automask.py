"""``SAM2AutomaticMaskGenerator`` under its official name."""

from __future__ import annotations

import inspect
import json
from typing import Any

import numpy as np
import pytest
import torch

import maskwright as mw
from maskwright.mask_model import MaskModel
from maskwright.pixels import rle
from maskwright.runtime.fake import Fake
from maskwright.sam2 import automatic_mask_generator
from maskwright.sam2.automatic_mask_generator import SAM2AutomaticMaskGenerator
from maskwright.sam2.build_sam import build_sam2

OFFICIAL = [
    ("model", inspect.Parameter.empty),
    ("points_per_side", 32),
    ("points_per_batch", 64),
    ("pred_iou_thresh", 0.8),
    ("stability_score_thresh", 0.95),
    ("stability_score_offset", 1.0),
    ("mask_threshold", 0.0),
    ("box_nms_thresh", 0.7),
    ("crop_n_layers", 0),
    ("crop_nms_thresh", 0.7),
    ("crop_overlap_ratio", 512 / 1500),
    ("crop_n_points_downscale_factor", 1),
    ("point_grids", None),
    ("min_mask_region_area", 0),
    ("output_mode", "binary_mask"),
    ("use_m2m", False),
    ("multimask_output", True),
    ("kwargs", inspect.Parameter.empty),
]
"""Names, order and defaults of the class in sam2 1.1.0."""


@pytest.fixture
def discs() -> SAM2AutomaticMaskGenerator:
    """Three discs around each of four clicks."""
    return SAM2AutomaticMaskGenerator(
        MaskModel(Fake()), points_per_side=2, pred_iou_thresh=0.5, box_nms_thresh=1.0
    )


def test_the_signature_is_the_official_one() -> None:
    def given(function: Any) -> list[tuple[str, Any]]:
        return [(name, one.default) for name, one in inspect.signature(function).parameters.items()]

    assert given(SAM2AutomaticMaskGenerator) == OFFICIAL
    assert [name for name, _ in given(SAM2AutomaticMaskGenerator.generate)] == ["self", "image"]
    assert [name for name, _ in given(SAM2AutomaticMaskGenerator.from_pretrained)] == ["model_id", "kwargs"]


def test_records(discs: SAM2AutomaticMaskGenerator, picture: np.ndarray) -> None:
    records = discs.generate(picture)
    assert len(records) == 12
    assert [record["predicted_iou"] for record in records] == sorted(
        (record["predicted_iou"] for record in records), reverse=True
    )
    kinds = {
        "segmentation": np.ndarray,
        "area": int,
        "bbox": list,
        "predicted_iou": float,
        "point_coords": list,
        "stability_score": float,
        "crop_box": list,
    }
    for record in records:
        assert {name: type(value) for name, value in record.items()} == kinds
        mask = record["segmentation"]
        assert (mask.shape, mask.dtype, int(mask.sum())) == ((96, 128), np.bool_, record["area"])
        rows, columns = np.nonzero(mask)
        x, y, w, h = record["bbox"]
        assert (x, y, x + w, y + h) == (columns.min(), rows.min(), columns.max(), rows.max())
        assert record["crop_box"] == [0.0, 0.0, 128.0, 96.0]
        (point,) = record["point_coords"]
        assert mask[int(point[1]), int(point[0])]
        assert record["stability_score"] == 1.0


def test_output_modes(discs: SAM2AutomaticMaskGenerator, picture: np.ndarray) -> None:
    bitmaps = [record["segmentation"] for record in discs.generate(picture)]
    for mode in ("coco_rle", "uncompressed_rle"):
        discs.output_mode = mode
        codes = json.loads(json.dumps([record["segmentation"] for record in discs.generate(picture)]))
        assert type(codes[0]["counts"]) is (str if mode == "coco_rle" else list)
        np.testing.assert_array_equal(rle.decode(codes), bitmaps)


def test_settings_may_be_changed_between_pictures(
    discs: SAM2AutomaticMaskGenerator, picture: np.ndarray
) -> None:
    discs.pred_iou_thresh = 0.85
    discs.points_per_batch = 1
    assert len(discs.generate(picture)) == 4
    discs.point_grids = [np.array([[0.5, 0.5]])]
    assert len(discs.generate(picture)) == 1
    discs.pred_iou_thresh = 2.0
    with pytest.raises(mw.InputError, match="min_score is 2.0"):
        discs.generate(picture)


def test_grids_are_those_of_the_layers() -> None:
    generator = SAM2AutomaticMaskGenerator(
        MaskModel(Fake()), points_per_side=9, crop_n_layers=2, crop_n_points_downscale_factor=2
    )
    assert [len(grid) for grid in generator.point_grids] == [81, 16, 4]
    own = [np.array([[0.5, 0.5]])]
    given = SAM2AutomaticMaskGenerator(MaskModel(Fake()), points_per_side=None, point_grids=own)
    assert given.point_grids[0] is own[0]


def test_pictures_smaller_than_the_grid_work_as_officially() -> None:
    generator = SAM2AutomaticMaskGenerator(MaskModel(Fake()))
    assert generator.generate(np.zeros((9, 7, 3), np.uint8))


def test_specks_and_holes_are_cleaned_without_an_extension(picture: np.ndarray) -> None:
    generator = SAM2AutomaticMaskGenerator(
        MaskModel(Fake()), 2, pred_iou_thresh=0.5, box_nms_thresh=1.0, min_mask_region_area=40
    )
    areas = [record["area"] for record in generator.generate(picture)]
    assert len(areas) == 4  # the two smaller discs of each click are specks
    assert min(areas) > 40 * 12


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (
            {"output_mode": "polygons"},
            "output_mode is 'polygons'; choose one of binary_mask, uncompressed_rle",
        ),
        ({"points_per_side": None}, "give either points_per_side or point_grids"),
        ({"point_grids": [np.zeros((1, 2))]}, "give either"),
        ({"points_per_side": 2, "crop_n_layers": 2, "crop_n_points_downscale_factor": 2}, "leaves no points"),
        ({"points_per_batch": 0}, "points_per_batch is 0"),
    ],
)
def test_settings_that_make_no_sense(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(mw.InputError, match=words):
        SAM2AutomaticMaskGenerator(MaskModel(Fake()), **settings)


def test_only_arrays_are_pictures(discs: SAM2AutomaticMaskGenerator) -> None:
    with pytest.raises(mw.ImageError, match="the picture is a str"):
        discs.generate("truck.jpg")  # type: ignore[arg-type]


def test_the_dynamic_rule_is_that_of_the_model(picture: np.ndarray) -> None:
    """``multimask_output=False`` answers with mask 0, unless the model replaces it where it is unstable."""
    torch.manual_seed(0)
    found = {}
    for dynamic in (False, True):
        model = build_sam2(
            "sam2.1_hiera_t.yaml",
            device="cpu",
            hydra_overrides_extra=["++model.image_size=64"],
            apply_postprocessing=dynamic,
        )
        generator = SAM2AutomaticMaskGenerator(
            model, 3, pred_iou_thresh=0, stability_score_thresh=0, box_nms_thresh=1.0, multimask_output=False
        )
        assert generator.predictor.dynamic is dynamic
        found[dynamic] = generator.generate(picture)
    assert len(found[False]) <= 9


def test_from_pretrained_passes_what_it_gets(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def build(model_id: str, **kwargs: Any) -> MaskModel:
        asked.append((model_id, kwargs))
        return MaskModel(Fake())

    monkeypatch.setattr(automatic_mask_generator, "build_sam2_hf", build)
    generator = SAM2AutomaticMaskGenerator.from_pretrained("facebook/sam2.1-hiera-tiny", points_per_side=3)
    assert asked == [("facebook/sam2.1-hiera-tiny", {"points_per_side": 3})]
    assert len(generator.point_grids[0]) == 9
