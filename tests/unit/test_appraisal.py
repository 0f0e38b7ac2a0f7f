"""Predicted IoU from what masks look like: extents, firmness, fit to the box, and the readout of them."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from maskwright.config import NANO
from maskwright.model.appraisal import Appraisal, asked_box, box_iou, extent
from maskwright.model.prompt_encoder import BOX_END, BOX_START, NO_POINT, POSITIVE, PromptTensors
from maskwright.model.sam2 import SAM2
from maskwright.weights.infer import infer_config
from small import SMALL, lively

SIDE = 40
APPRAISED = replace(SMALL, image_size=128, draw_prompts=True, appraise=True)


def blob(x: float, y: float, radius: float, slope: float = 1.0) -> torch.Tensor:
    """Logits (SIDE, SIDE) of a disc, in cells."""
    rows, columns = torch.meshgrid(torch.arange(SIDE) + 0.5, torch.arange(SIDE) + 0.5, indexing="ij")
    return slope * (radius - torch.hypot(columns - x, rows - y))


@pytest.mark.parametrize(("x", "y", "radius"), [(18.0, 20.0, 7.3), (4.0, 30.0, 6.0), (20.0, 20.0, 60.0)])
def test_extents_to_a_fraction_of_a_cell(x: float, y: float, radius: float) -> None:
    times = 16
    logits = blob(x, y, radius)[None, None]
    fine = F.interpolate(logits, scale_factor=times, mode="bilinear")[0, 0] > 0
    columns, rows = fine.any(0).nonzero()[:, 0], fine.any(1).nonzero()[:, 0]
    ends = (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
    expected = torch.tensor([int(end) / times for end in ends])
    torch.testing.assert_close(extent(logits)[0, 0], expected, atol=1.5 / times, rtol=0)


def test_an_empty_mask_has_no_extent() -> None:
    box = extent(torch.full((1, 2, SIDE, SIDE), -3.0))
    assert (box[..., 2:] <= box[..., :2]).all()
    assert box_iou(box, torch.tensor([3.0, 3, 9, 9])).tolist() == [[0, 0]]


def test_overlap_of_boxes() -> None:
    one = torch.tensor([[[0.0, 0, 10, 10], [5, 0, 15, 10], [20, 20, 30, 30]]])
    torch.testing.assert_close(box_iou(one, torch.tensor([0.0, 0, 10, 10])), torch.tensor([[1, 1 / 3, 0]]))


def test_the_box_among_the_prompts() -> None:
    points = torch.tensor([[[8.0, 12], [80, 40], [20, 20]], [[9.0, 9], [0, 0], [0, 0]]])
    labels = torch.tensor([[BOX_START, BOX_END, POSITIVE], [POSITIVE, NO_POINT, NO_POINT]])
    box, boxed = asked_box(points, labels, 0.25)
    assert box[0].tolist() == [2, 3, 20, 10]
    assert boxed.tolist() == [True, False]


@torch.inference_mode()
def test_at_first_it_changes_nothing() -> None:
    iou = torch.tensor([[0.2, 0.5, 0.9]])
    logits = torch.stack([blob(18, 20, radius) for radius in (3, 8, 12)])[None]
    given = Appraisal()(iou, logits, torch.zeros(1, 4), torch.tensor([False]))
    torch.testing.assert_close(given, iou)


def test_it_learns_what_masks_tell() -> None:
    """Of two masks predicted to be alike, the firmer one is better, and the one that fits the box."""
    torch.manual_seed(0)
    layer = Appraisal()
    firm = torch.stack((blob(18, 20, 8, slope=4), blob(18, 20, 8, slope=0.3)))
    sizes = torch.stack((blob(18, 20, 8), blob(18, 20, 4)))
    logits = torch.stack((firm, sizes, sizes))
    iou = torch.full((3, 2), 0.5)
    box = torch.tensor([[14.0, 16, 22, 24]]).expand(3, 4)
    boxed = torch.tensor([False, True, False])
    wanted = torch.tensor([[0.9, 0.3], [0.3, 0.9], [0.8, 0.8]])
    optimiser = torch.optim.Adam(layer.parameters(), lr=0.01)
    for _ in range(150):
        loss = (layer(iou, logits, box, boxed) - wanted).abs().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    given = layer(iou, logits, box, boxed)
    assert given[0, 0] > given[0, 1] + 0.3
    assert given[1, 1] > given[1, 0] + 0.3
    assert (given[2, 0] - given[2, 1]).abs() < 0.2


def test_judging_a_mask_does_not_change_it() -> None:
    layer = Appraisal()
    layer.change.weight.data.normal_()
    logits = blob(18, 20, 8)[None, None].requires_grad_()
    iou = torch.full((1, 1), 0.5, requires_grad=True)
    layer(iou, logits, torch.tensor([[14.0, 16, 22, 24]]), torch.tensor([True])).sum().backward()
    assert iou.grad is not None
    assert logits.grad is None


@torch.inference_mode()
def test_in_the_network_only_the_predicted_iou_differs() -> None:
    plain = lively(replace(APPRAISED, appraise=False))
    network = SAM2(APPRAISED).eval()
    missing, unexpected = network.load_state_dict(plain.state_dict(), strict=False)
    assert {name.split(".")[0] for name in missing} == {"appraisal"}
    assert not unexpected
    network.appraisal.change.weight.normal_()
    points = torch.tensor([[[[20.0, 30], [70, 80]], [[64.0, 64], [0, 0]]]])
    prompts = PromptTensors(points, torch.tensor([[[BOX_START, BOX_END], [POSITIVE, NO_POINT]]]))
    pixels = torch.randn(1, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    before, after = (
        one.decode(one.without_memory(one.encode_image(pixels)), prompts) for one in (plain, network)
    )
    torch.testing.assert_close(after._replace(iou_BPM=before.iou_BPM), before)
    assert not torch.allclose(after.iou_BPM, before.iou_BPM, atol=1e-3)
    assert ((after.iou_BPM > 0) & (after.iou_BPM < 1)).all()


def test_weights_tell_whether_it_is_there() -> None:
    shapes = {"trunk.stem.conv.weight": (32, 3, 3, 3), "appraisal.change.weight": (1, 16)}
    assert infer_config(shapes).appraise
    assert not infer_config({"trunk.stem.conv.weight": (32, 3, 3, 3)}).appraise
    assert NANO.appraise
