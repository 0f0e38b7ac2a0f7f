"""Parts that nano has and the official models do not: finer layers, and the judge of candidates."""

from __future__ import annotations

from dataclasses import replace

import torch

from maskwright.model.judge import Judge
from maskwright.model.prompt_encoder import BOX_END, BOX_START, NO_POINT, PromptTensors
from maskwright.model.sam2 import SAM2
from small import SMALL, lively

PLAIN = replace(SMALL, image_size=128, draw_prompts=True)
WHOLE = replace(PLAIN, fine_layers=True, judge_masks=True)
PROMPTS = PromptTensors(
    torch.tensor([[[[20.0, 30], [70, 80], [0, 0]], [[64.0, 64], [100, 90], [0, 0]]]]),
    torch.tensor([[[BOX_START, BOX_END, NO_POINT]] * 2]),
)


def pixels(num: int = 1) -> torch.Tensor:
    return torch.randn(num, 3, 128, 128, generator=torch.Generator().manual_seed(0))


@torch.inference_mode()
def test_new_layers_begin_as_nothing():
    fresh = SAM2(WHOLE).eval()
    old = lively(PLAIN)
    missing, unexpected = fresh.load_state_dict(old.state_dict(), strict=False)
    assert not unexpected
    assert {name.split(".")[0] for name in missing} == {"top_down", "mask_decoder"}
    fresh.top_down.mid_block.gain.zero_()
    fresh.top_down.high_block.gain.zero_()
    answers = [
        network.decode(network.without_memory(network.encode_image(pixels())), PROMPTS)
        for network in (old, fresh)
    ]
    for before, after in zip(*answers, strict=True):
        torch.testing.assert_close(after, before)


@torch.inference_mode()
def test_objects_of_a_batch_do_not_see_each_other():
    network = lively(WHOLE)
    two = PromptTensors(*(part.expand(2, *part.shape[1:]) for part in PROMPTS[:2]))
    features = network.without_memory(network.encode_image(pixels(2)))
    together = network.decode(features, two)
    alone = network.decode(
        network.without_memory(network.encode_image(pixels(2)[1:])),
        PromptTensors(PROMPTS.points_BPK2[:, 1:], PROMPTS.labels_BPK[:, 1:]),
    )
    torch.testing.assert_close(together.logits_BPMHW[1, 1], alone.logits_BPMHW[0, 0], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(together.iou_BPM[1, 1], alone.iou_BPM[0, 0], rtol=1e-4, atol=1e-5)


def test_the_judge_is_told_what_the_mask_covers_and_teaches_no_mask():
    torch.manual_seed(0)
    judge = Judge(8)
    torch.nn.init.normal_(judge.score.layers[-1].weight)
    image = torch.zeros(1, 16, 8)
    image[:, :8] = 1  # the upper half of the picture looks different
    logits = torch.full((1, 2, 16, 16), -6.0)
    logits[0, 0, :8] = 6
    logits[0, 1, 8:] = 6
    logits.requires_grad_(True)
    judged = judge(image, torch.zeros(1, 2, 8), logits)
    assert judged.shape == (1, 2)
    assert (judged[0, 0] - judged[0, 1]).abs() > 1e-3
    judged.sum().backward()
    assert logits.grad is None


def test_empty_and_full_masks_are_judged_by_finite_numbers():
    torch.manual_seed(0)
    judge = Judge(8)
    torch.nn.init.normal_(judge.score.layers[-1].weight)
    logits = torch.stack((torch.full((16, 16), -50.0), torch.full((16, 16), 50.0), torch.zeros(16, 16)))
    assert judge(torch.randn(1, 16, 8), torch.randn(1, 3, 8), logits[None]).isfinite().all()
