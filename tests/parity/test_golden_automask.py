"""The official automatic masks, record by record: golden vectors of the official generator.

Every case is the tiny network at 1024 px. Its masks are noise, of which some pixels lie at the threshold
within rounding, so areas may differ by a few pixels of 300,000.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from golden import golden_model, golden_picture
from maskwright.sam2.automatic_mask_generator import SAM2AutomaticMaskGenerator
from maskwright.sam2.base import SAM2Base

AREA_TOLERANCE = 2e-4
"""Of the area."""
SCORE_TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def model(shared: Path) -> SAM2Base:
    return golden_model("t")


def key(record: dict[str, Any]) -> tuple[float, ...]:
    """An order for records: where scores are equal, that of the golden file depends on a sort."""
    return (*record["crop_box"], *record["point_coords"][0], round(record["predicted_iou"], 3))


@pytest.mark.parametrize("case", ["plain", "nms", "crops", "m2m"])
def test_records(model: SAM2Base, shared: Path, case: str) -> None:
    golden = json.loads((shared / f"golden/amg_sam2.1_t_{case}.json").read_text())
    generator = SAM2AutomaticMaskGenerator(model, output_mode="uncompressed_rle", **golden["settings"])
    records = generator.generate(golden_picture(480, 640))
    wanted = golden["masks"]
    assert len(records) == len(wanted)
    if case != "crops":  # there all scores between crops are equal
        scores = [record["predicted_iou"] for record in records]
        assert scores == sorted(scores, reverse=True)
    for got, want in zip(sorted(records, key=key), sorted(wanted, key=key), strict=True):
        assert got.keys() == want.keys()
        assert got["bbox"] == want["bbox"]
        assert got["crop_box"] == want["crop_box"]
        np.testing.assert_allclose(got["point_coords"], want["point_coords"], atol=1e-4)
        for name in ("predicted_iou", "stability_score"):
            np.testing.assert_allclose(got[name], want[name], atol=SCORE_TOLERANCE, err_msg=name)
        np.testing.assert_allclose(got["area"], want["area"], rtol=AREA_TOLERANCE)
        assert got["area"] == sum(got["segmentation"]["counts"][1::2])
