"""The official masks, number by number: golden vectors of the official code with deterministic weights.

``../shared/golden/README.md`` says how weights, picture and vectors are made.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from golden import assert_near, golden_model, golden_picture
from maskwright.sam2.sam2_image_predictor import SAM2ImagePredictor

LOGIT_TOLERANCE = 2e-4
"""Of the largest logit."""
IOU_TOLERANCE = 1e-4
PROMPTS: dict[str, dict[str, Any]] = {
    "point": {"point_coords": [[500, 300]], "point_labels": [1]},
    "points": {"point_coords": [[500, 300], [100, 600], [900, 80]], "point_labels": [1, 0, 1]},
    "box": {"box": [200, 150, 700, 600]},
    "box_point": {"box": [200, 150, 700, 600], "point_coords": [[400, 400]], "point_labels": [0]},
    "boxes": {"box": [[200, 150, 700, 600], [10, 20, 300, 400], [500, 100, 1079, 719]]},
}


@pytest.fixture(params=["t", "s", "b+", "l"], scope="module")
def case(request: pytest.FixtureRequest, shared: Path) -> tuple[SAM2ImagePredictor, dict[str, np.ndarray]]:
    """A predictor with the picture set, and the numbers that it should give."""
    with np.load(shared / f"golden/image_sam2.1_{request.param}.npz") as file:
        golden = dict(file)
    predictor = SAM2ImagePredictor(golden_model(request.param))
    predictor.set_image(golden_picture(720, 1080))
    return predictor, golden


def test_features(case: tuple[SAM2ImagePredictor, dict[str, np.ndarray]]) -> None:
    predictor, golden = case
    features = predictor._features
    assert features is not None
    embedding = predictor.get_image_embedding()
    assert embedding.shape == (1, 256, 64, 64)
    assert_near(embedding[0, ::4, ::4, ::4].numpy(), golden["image_embed"], LOGIT_TOLERANCE, "image_embed")
    stats = np.array([embedding.mean(), embedding.std(), embedding.abs().max()])
    assert_near(stats, golden["image_embed_stats"], LOGIT_TOLERANCE, "image_embed_stats")
    for level, maps in enumerate(features["high_res_feats"]):
        name = f"high_res_{level}"
        assert_near(maps[0, :, ::16, ::16].numpy(), golden[name], LOGIT_TOLERANCE, name)


def test_predictions(case: tuple[SAM2ImagePredictor, dict[str, np.ndarray]]) -> None:
    predictor, golden = case
    for name, prompt in PROMPTS.items():
        arrays = {key: np.array(value) for key, value in prompt.items()}
        for multimask in (True, False):
            masks, iou, low = predictor.predict(multimask_output=multimask, return_logits=True, **arrays)
            assert masks.dtype == iou.dtype == low.dtype == np.float32
            key = f"{name}_mm{int(multimask)}"
            assert_near(low[..., ::4, ::4], golden[f"{key}_lowres"], LOGIT_TOLERANCE, key)
            assert_near(masks[..., ::45, ::45], golden[f"{key}_full_sub"], LOGIT_TOLERANCE, key)
            np.testing.assert_allclose(iou, golden[f"{key}_iou"], atol=IOU_TOLERANCE, rtol=0)
            positive = (masks > 0).reshape(-1, 720 * 1080).mean(-1)
            np.testing.assert_allclose(positive, golden[f"{key}_fullpos"], atol=1e-4)


def test_a_second_round_with_a_mask_prompt(case: tuple[SAM2ImagePredictor, dict[str, np.ndarray]]) -> None:
    predictor, golden = case
    arrays = {key: np.array(value) for key, value in PROMPTS["points"].items()}
    _, iou, low = predictor.predict(
        mask_input=golden["mask_input"], multimask_output=False, return_logits=True, **arrays
    )
    assert_near(low[..., ::4, ::4], golden["mask_input_lowres"], LOGIT_TOLERANCE, "mask_input")
    np.testing.assert_allclose(iou, golden["mask_input_iou"], atol=IOU_TOLERANCE, rtol=0)


def test_binary_masks_are_the_logits_above_the_threshold(
    case: tuple[SAM2ImagePredictor, dict[str, np.ndarray]],
) -> None:
    predictor, _ = case
    box = np.array([200, 150, 700, 600])
    logits, _, _ = predictor.predict(box=box, return_logits=True)
    masks, _, _ = predictor.predict(box=box)
    np.testing.assert_array_equal(masks, (logits > 0).astype(np.float32))
