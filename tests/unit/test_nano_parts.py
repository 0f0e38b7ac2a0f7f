"""What nano has and the official models do not: finer layers."""

from __future__ import annotations

from dataclasses import replace

import torch

from maskwright.model.prompt_encoder import BOX_END, BOX_START, NO_POINT, PromptTensors
from maskwright.model.sam2 import SAM2
from small import SMALL, lively

PLAIN = replace(SMALL, image_size=128, draw_prompts=True)
WHOLE = replace(PLAIN, fine_layers=True)
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
