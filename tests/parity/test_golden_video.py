"""The official tracks, number by number: golden vectors of the official video predictor.

``../shared/golden/README.md`` says how weights and vectors are made. The official code against itself (one
thread against two) differs by up to 5.4e-4 of the largest logit on propagated frames.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from golden import assert_near, golden_weights
from maskwright.sam2.build_sam import build_sam2_video_predictor
from maskwright.sam2.sam2_video_predictor import SAM2VideoPredictor
from maskwright.sam2.video_state import InferenceState

PROMPTED_TOLERANCE = 1e-5
"""Of the largest logit, in frames of which no memory is part."""
TOLERANCE = 2e-3
"""Of the largest logit, of a score and of a pointer, in every other frame."""
POSITIVE_TOLERANCE = 2e-3
"""Share of the picture whose logits may be on the other side of zero."""
MEMORY_STEP, MEMORY_LIMIT, OFF_STEP = 1 / 128, 0.05, 1e-2
"""Memories are rounded to 8 bits: a step of the largest value; what single values may differ by, where a
pixel of a binarised mask is on the other side; and which share of the values may be further away than a step.
"""


@dataclass(frozen=True)
class Case:
    config: str
    file: str
    size: int
    num_frames: int
    forward: int
    """The last frame of the first propagation: not before the middle one."""
    again: int
    """The last frame of the second one: the last of all where there is a way back, which looks at them."""
    backward: int | None
    """The last frame of the way back."""


CASES = {
    "2.1 at 512 px": Case("configs/sam2.1/sam2.1_hiera_t.yaml", "video_sam2.1_t_512px", 512, 20, 17, 19, 3),
    "2.0 at 512 px": Case("configs/sam2/sam2_hiera_t.yaml", "video_sam2_t_512px", 512, 20, 11, 12, None),
    "2.1 at 1024 px": Case("configs/sam2.1/sam2.1_hiera_t.yaml", "video_sam2.1_t_1024px", 1024, 8, 4, 7, 3),
}


class Golden:
    """What the official predictor found, to be compared step by step."""

    def __init__(self, path: Path) -> None:
        with np.load(path) as file:
            self.numbers: dict[str, np.ndarray] = dict(file)

    def check(self, step: str, ids: Iterable[int], masks: Any, tolerance: float = TOLERANCE) -> None:
        """One step: ids, and mask logits (N, 1, h, w) at the video's size."""
        assert list(ids) == self.numbers[f"{step}_ids"].tolist(), step
        assert_near(masks[:, 0, ::12, ::12].numpy(), self.numbers[f"{step}_sub"], tolerance, step)
        share = (masks > 0).float().mean((1, 2, 3)).numpy()
        np.testing.assert_allclose(share, self.numbers[f"{step}_pos"], rtol=0, atol=POSITIVE_TOLERANCE)

    def check_found(self, state: InferenceState, frame: int, grid: int) -> None:
        """Score, pointer and memory of every object in a frame of the first propagation."""
        for row, one in enumerate(state.objects.values()):
            found, name = state.history.get((one.serial, frame)), f"fwd{frame}"
            score, pointer = found.object_score[None, None].numpy(), found.pointer_C[None, ::8].numpy()
            assert_near(score, self.numbers[f"{name}_score{row}"], TOLERANCE, f"{name}_score{row}")
            assert_near(pointer, self.numbers[f"{name}_ptr{row}"], TOLERANCE, f"{name}_ptr{row}")
            memory_DHW = found.memory_ID.float().T.unflatten(1, (grid, grid)).numpy()
            wanted = self.numbers[f"{name}_mem{row}"]
            assert_near(memory_DHW[::8, ::8, ::8], wanted, MEMORY_LIMIT, f"{name}_mem{row}")
            away = np.abs(memory_DHW[::8, ::8, ::8] - wanted) > MEMORY_STEP * np.abs(wanted).max()
            assert away.mean() <= OFF_STEP, f"{name}_mem{row}: {away.mean():.1e} of the values"


def official_setup(case: Case) -> SAM2VideoPredictor:
    """The builder's defaults, without hole filling, as in the recipe."""
    overrides = [f"++model.image_size={case.size}"]
    predictor = build_sam2_video_predictor(case.config, device="cpu", hydra_overrides_extra=overrides)
    predictor.fill_hole_area = 0
    shapes = {name: tuple(value.shape) for name, value in predictor.state_dict().items()}
    predictor.load_state_dict(golden_weights(shapes))
    return predictor


@pytest.fixture
def folder(shared: Path, tmp_path: Path) -> Path:
    """An empty folder for frames, and that there are any."""
    if not (shared / "data/samples/bedroom").is_dir():
        pytest.skip("needs the bedroom clip in ../shared/data/samples")
    return tmp_path


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_every_step(case: Case, shared: Path, folder: Path) -> None:
    golden = Golden(shared / f"golden/{case.file}.npz")
    for index in range(case.num_frames):
        shutil.copy(shared / f"data/samples/bedroom/{index:05d}.jpg", folder)
    predictor = official_setup(case)
    state = predictor.init_state(str(folder))
    h, w = state["video_height"], state["video_width"]
    assert [h, w] == golden.numbers["size"].tolist()

    clicks = np.array([[w * 0.4, h * 0.5], [w * 0.1, h * 0.9]], np.float32)
    labels = np.array([1, 0], np.int32)
    _, ids, masks = predictor.add_new_points_or_box(state, 0, 1, points=clicks, labels=labels)
    golden.check("click0_obj1", ids, masks, PROMPTED_TOLERANCE)
    box = np.array([w * 0.5, h * 0.2, w * 0.8, h * 0.7], np.float32)
    _, ids, masks = predictor.add_new_points_or_box(state, 0, 2, box=box)
    golden.check("box0_obj2", ids, masks, PROMPTED_TOLERANCE)

    for frame, ids, masks in predictor.propagate_in_video(state, max_frame_num_to_track=case.forward):
        golden.check(f"fwd{frame}", ids, masks)
        golden.check_found(state, frame, case.size // 16)

    middle = case.num_frames // 2
    click = np.array([[w * 0.6, h * 0.4]], np.float32)
    _, ids, masks = predictor.add_new_points_or_box(state, middle, 1, points=click, labels=labels[:1])
    golden.check(f"corr{middle}_obj1", ids, masks)
    mask = np.zeros((h, w), np.bool_)
    mask[h // 4 : h // 2, w // 4 : w // 2] = True
    _, ids, masks = predictor.add_new_mask(state, middle, 3, mask)
    golden.check(f"mask{middle}_obj3", ids, masks)

    for frame, ids, masks in predictor.propagate_in_video(state, middle, case.again - middle):
        golden.check(f"refwd{frame}", ids, masks)
    if case.backward is None:
        return
    way_back = predictor.propagate_in_video(state, middle, middle - case.backward, reverse=True)
    for frame, ids, masks in way_back:
        golden.check(f"rev{frame}", ids, masks)
    assert frame == case.backward
