"""Live parity of whole tracks: a small random ``Sam2VideoModel`` and ours with its weights, 20 frames."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from maskwright.config import ModelConfig
from maskwright.pixels.preprocess import preprocess
from maskwright.runtime.eager import Eager, place
from maskwright.runtime.select import choose
from maskwright.track.options import TrackOptions
from maskwright.track.session import Session
from maskwright.types import Box, Points
from twins import CONFIG, SIZE, ours, their_video_model

transformers = pytest.importorskip("transformers")

NUM_FRAMES = 20
TOLERANCE = 1e-3
"""Of the largest mask logit, and in units of the object's score. Reached: 2e-4 and 1e-4.

Both store memories as bfloat16, so what differs in the last bit may differ by a step of that type later on.
"""
CONFIGS = {"2.1": CONFIG, "2.0": replace(CONFIG, occlusion_memory=False, pointer_time=False)}
CLICK, CLICKS, BOX = Points((100, 120)), Points([(100, 120), (30, 200)], labels=[1, 0]), Box(90, 30, 220, 140)


class Found(NamedTuple):
    logits: np.ndarray
    """(N, m, m)"""
    scores: np.ndarray
    """(N,): that the objects are visible."""


def clip() -> np.ndarray:
    """(NUM_FRAMES, SIZE, SIZE, 3) uint8: patterns that move over each other, and a few blank frames."""
    y, x = np.mgrid[:SIZE, :SIZE].astype(np.float64)
    frames = []
    for t in range(NUM_FRAMES):
        red = 127 + 100 * np.sin((x + 3 * t) / 17 + y / 31)
        green = 127 + 100 * np.cos(x / 23 - (y - 2 * t) / 13)
        blue = ((x + 5 * t) // 32 + y // 24) % 2 * 200
        frames.append(np.stack([red, green, blue], -1) * (t not in (6, 7, 8)))
    return np.clip(frames, 0, 255).astype(np.uint8)


def bitmap() -> np.ndarray:
    """The left half, which is the same after shrinking to mask logits and back.

    Their memory is made of the mask itself, the official predictor's and ours of its low-resolution logits.
    """
    return np.arange(SIZE) + np.zeros((SIZE, 1)) < SIZE // 2


def add_prompt(session: Any, number: int, frame: int, prompt: Points | Box | np.ndarray) -> None:
    """Prompt their session; the picture has the network's size, so coordinates stay as they are."""
    row = session.obj_id_to_idx(number)
    session.obj_with_new_inputs.append(number)
    if isinstance(prompt, np.ndarray):
        session.add_mask_inputs(row, frame, torch.from_numpy(prompt)[None, None])
        return
    if isinstance(prompt, Box):
        coords, labels = prompt.corners, np.array([2, 3])
    else:
        coords, labels = prompt.coords, prompt.labels
    inputs = {
        "point_coords": torch.tensor(coords)[None, None],
        "point_labels": torch.tensor(labels, dtype=torch.int32)[None, None],
    }
    session.add_point_inputs(row, frame, inputs)


@torch.inference_mode()
def theirs(
    model: Any, config: ModelConfig, frames: np.ndarray, prompts: Mapping[int, Any], order: range
) -> list[Found]:
    """What their model finds in frames in that order, with prompts in the first of them."""
    pixels = [preprocess(one, SIZE, config.pixel_mean, config.pixel_std) for one in frames]
    session = transformers.Sam2VideoInferenceSession(torch.stack(pixels), SIZE, SIZE, dtype=torch.float32)
    for number, prompt in prompts.items():
        add_prompt(session, number, order[0], prompt)
    found = []
    for index in order:
        model(session, frame_idx=index, reverse=order.step < 0)
        kind = "cond_frame_outputs" if index == order[0] else "non_cond_frame_outputs"
        outputs = [session.output_dict_per_obj[row][kind][index] for row in range(len(prompts))]
        logits = torch.cat([one["pred_masks"].reshape(1, SIZE // 4, SIZE // 4) for one in outputs])
        scores = torch.cat([one["object_score_logits"].flatten() for one in outputs])
        found.append(Found(logits.numpy(), scores.numpy()))
    return found


@pytest.mark.parametrize(
    ("version", "prompts", "reverse", "score_bias"),
    [
        ("2.1", {1: CLICK}, False, -0.3),
        ("2.1", {1: CLICKS, 2: BOX}, False, -0.25),
        ("2.1", {1: bitmap()}, True, -0.3),
        ("2.0", {1: CLICK, 2: BOX}, False, 0.2),
    ],
    ids=["one click", "two objects", "a mask, backward", "two objects, 2.0"],
)
def test_tracks(version: str, prompts: dict[int, Any], reverse: bool, score_bias: float) -> None:
    config = CONFIGS[version]
    their_model = their_video_model(config, stability=True, score_bias=score_bias)
    frames, order = clip(), range(NUM_FRAMES)[:: -1 if reverse else 1]
    wanted = theirs(their_model, config, frames, prompts, order)
    choice = choose("cpu", None)
    runtime = Eager(place(ours(their_model, config), choice), choice)
    seen: set[bool] = set()
    assert min(np.abs(found.scores).min() for found in wanted) > 0.02, "too close to call"
    with Session(runtime, TrackOptions(max_hole_area=0)) as session:
        for index, (logits, scores) in zip(order, wanted, strict=True):
            tracked = session.push_prompted(frames[index], prompts if index == order[0] else {})
            near(tracked.logits, logits, TOLERANCE * np.abs(logits).max())
            near(tracked.object_scores, scores, TOLERANCE)
            seen |= set(tracked.visible.tolist())
    assert seen == {True, False}, "occlusion, or visibility, was not part of the test"


def near(got: np.ndarray, wanted: np.ndarray, tolerance: float) -> None:
    np.testing.assert_allclose(got, wanted, rtol=0, atol=tolerance)
