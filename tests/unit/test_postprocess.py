"""Cleaning and stretching mask logits against results of the official code."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from maskwright.pixels.postprocess import clean, upscale

# SAM2Transforms(256, threshold, holes, specks).postprocess_masks of sam2 1.1.0 on rough_masks(), with
# connected components by flooding in place of its CUDA kernel: pixels above the threshold per mask at
# (61, 90), and the sum of the logits.
OFFICIAL = [
    (0, 0, 0.0, [3187, 2134, 3399], 5441.599116839585),
    (6, 0, 0.0, [3595, 2198, 3502], 16747.19446978043),
    (0, 6, 0.0, [3006, 1986, 3379], -2338.8714867838426),
    (6, 12, 0.0, [3396, 2009, 3482], 8026.96205326519),
    (12, 6, 1.5, [2058, 1525, 3039], 3677.3971160755027),
]


def rough_masks() -> torch.Tensor:
    """(3, 48, 48) logits with many holes and specks."""
    y, x = np.mgrid[:48, :48].astype(np.float64)
    ripples = np.sin(x * 1.7 + y * 0.6) * np.cos(y * 1.3 - x * 0.3)
    masks = [6 * (ripples + 0.45 * np.sin(x * 0.21) * slope) for slope in (1, -2, 3)]
    return torch.from_numpy(np.stack(masks).astype(np.float32))


@pytest.mark.parametrize(("holes", "specks", "threshold", "areas", "total"), OFFICIAL)
def test_official_results(holes, specks, threshold, areas, total):
    full = upscale(clean(rough_masks(), holes, specks, threshold), (61, 90))
    assert full.shape == (3, 61, 90)
    assert (full > threshold).sum(dim=(1, 2)).tolist() == areas
    assert full.double().sum().item() == pytest.approx(total, abs=1e-1)


def test_a_hole_is_filled_and_a_speck_removed_by_ten():
    logits = torch.full((1, 12, 12), -3.0)
    logits[0, 1:9, 1:9] = 4.0
    logits[0, 4, 4] = -1.0  # a hole of one
    logits[0, 10, 10] = 2.0  # a speck of one
    cleaned = clean(logits, 1, 1)
    assert cleaned[0, 4, 4] == 10
    assert cleaned[0, 10, 10] == -10
    cleaned[0, 4, 4], cleaned[0, 10, 10] = -1.0, 2.0
    assert torch.equal(cleaned, logits)


def test_the_largest_area_counts_and_corners_connect():
    logits = torch.full((1, 8, 8), 5.0)
    logits[0, 2, 2] = logits[0, 3, 3] = -1.0  # one hole of two pixels that touch at a corner
    assert torch.equal(clean(logits, 1, 0), logits)
    assert (clean(logits, 2, 0) > 0).all()


def test_a_logit_at_the_threshold_is_background():
    logits = torch.full((1, 6, 6), 5.0)
    logits[0, 2, 2] = 0.0
    assert clean(logits, 1, 0)[0, 2, 2] == 10


def test_a_hole_in_a_speck_follows_the_official_order():
    logits = torch.full((1, 9, 9), -5.0)
    logits[0, 3:6, 3:6] = 5.0
    logits[0, 4, 4] = -5.0
    cleaned = clean(logits, 1, 8)
    assert cleaned[0, 4, 4] == 10  # found in the masks as they came in
    assert (cleaned > 0).sum() == 1


@pytest.mark.parametrize("shape", [(5, 8, 8), (2, 3, 8, 8), (8, 8), (0, 8, 8)])
def test_any_leading_axes(shape):
    logits = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    cleaned = clean(logits, 2, 2)
    assert cleaned.shape == shape
    one_by_one = [clean(mask[None], 2, 2)[0] for mask in logits.reshape(-1, 8, 8)]
    assert all(torch.equal(a, b) for a, b in zip(cleaned.reshape(-1, 8, 8), one_by_one, strict=True))
    assert upscale(logits, (5, 7)).shape == (*shape[:-2], 5, 7)


def test_cleaning_keeps_its_input_and_takes_half_precision():
    logits = rough_masks()
    before = logits.clone()
    clean(logits, 6, 6)
    assert torch.equal(logits, before)
    assert clean(logits.half(), 6, 6).dtype == torch.float32
    assert upscale(logits.bfloat16(), (48, 48)).dtype == torch.float32


def test_upscale_reads_between_cell_centres():
    logits = torch.tensor([[[0.0, 4.0], [8.0, 12.0]]])
    full = upscale(logits, (4, 4))[0]
    assert full[0].tolist() == [0, 1, 3, 4]
    assert full[:, 0].tolist() == [0, 2, 6, 8]
    assert torch.equal(upscale(logits, (2, 2)), logits)
