"""Learning to follow: the image half stays frozen, redrawn masks move with the picture, runs go on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from maskwright.config import NANO
from maskwright.errors import InputError
from maskwright.model.candidates import Chosen
from maskwright.model.mask_decoder import ImageFeatures
from maskwright.model.memory_bank import empty_bank
from maskwright.model.sam2 import SAM2, Slots
from maskwright.train.__main__ import main
from maskwright.train.clip_cache import CachedClip
from maskwright.train.memory import MemoryLearner, clip_losses, first_memory, follow, varied
from maskwright.train.memory_settings import MemoryConfig
from maskwright.weights.keymaps import is_memory
from maskwright.weights.load import load_checkpoint, save_checkpoint

SMALL = NANO.at(64)
CONFIG = MemoryConfig(steps=12, size=64, frames=3, warmup_steps=1, decode_from=0.0, learning_rate=3e-3)


@pytest.fixture(autouse=True)
def same_threads():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def model() -> SAM2:
    torch.manual_seed(0)
    return SAM2(SMALL).eval()


def moving_clip(frames: int = 3) -> CachedClip:
    """Random features that move one cell to the right per frame, and two objects that move along."""
    rng = torch.Generator().manual_seed(1)
    low, mid, high = (torch.randn(1, c, s, s, generator=rng) for c, s in ((128, 4), (32, 8), (16, 16)))
    targets = torch.zeros(2, 16, 16)
    targets[0, 4:8, 4:8] = 1
    targets[1, 8:12, :4] = 1
    shifts = range(frames)
    return CachedClip(
        [ImageFeatures(low.roll(s, 3), mid.roll(2 * s, 3), high.roll(4 * s, 3)) for s in shifts],
        torch.stack([targets.roll(4 * s, 2) for s in shifts]),
    )


def test_memory_redraws_the_mask_where_the_picture_has_moved(model: SAM2):
    clip = moving_clip()
    for number, followed in enumerate(follow(model, clip, decode=False), start=1):
        assert torch.equal(followed.found.logits_NHW > 0, clip.targets_TKHW[number] > 0.5)


def test_only_the_memory_half_learns_and_the_loss_falls(model: SAM2):
    before = {name: value.clone() for name, value in model.state_dict().items()}
    learner, clip = MemoryLearner(model, CONFIG), moving_clip()
    with torch.no_grad():
        first = float(
            torch.stack([loss.total for loss in clip_losses(model, clip, CONFIG, decode=True)]).mean()
        )
    for _ in range(12):
        last = learner.step(clip)
    assert float(last.total) < 0.8 * first
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert all(name.startswith("memory_cells.") for name in changed)
    assert "memory_cells.value.weight" in changed, "the loss reaches back through time"
    assert learner.progress == 1


def test_training_sees_what_the_verbs_compute(model: SAM2):
    """Recall from a bank with empty slots, objects one by one, as opposed to all at once from a list."""
    clip = moving_clip(2)
    with torch.no_grad():
        model.memory_cells.refiner.logits.weight.normal_(std=0.1)
        wanted = follow(model, clip, decode=True)[0]
        bank = empty_bank(SMALL, 2, 3, 2, "cpu", torch.float32)
        logits = clip.targets_TKHW[0] * 20 - 10
        yes, zero = torch.ones(2, dtype=torch.bool), torch.zeros(2, dtype=torch.int64)
        chosen = Chosen(logits, torch.ones(2), torch.zeros(2, 128), torch.ones(2))
        slots = Slots(torch.arange(2), zero, zero)
        model.remember(clip.features[0], chosen, bank, slots, zero, yes, yes)
        assert torch.equal(
            bank.memories_OSID[:, 0], first_memory(model, clip.features[0], clip.targets_TKHW[0])
        )
        recalled = model.recall(clip.features[1], bank, zero + 1, torch.tensor(1), torch.tensor(1.0))
        assert recalled.presence_B is not None
        torch.testing.assert_close(recalled.presence_B, wanted.found.presence_N)
        expected = model.redrawn(clip.features[1], wanted.found)
        for ours, theirs in zip(recalled, expected, strict=True):
            torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


def test_drawing_a_mask_in_advance_equals_prompting_with_it(model: SAM2):
    from maskwright.model.prompt_encoder import NO_POINT, PromptTensors

    features = moving_clip().features[0]
    logits = torch.randn(1, 16, 16) * 6
    points, labels = torch.zeros(1, 1, 2, 2), torch.full((1, 1, 2), NO_POINT)
    with torch.no_grad():
        dense, detail = model.prompt_encoder.mask_change(logits)
        drawn = features._replace(low_BCHW=features.low_BCHW + dense, high_BCHW=features.high_BCHW + detail)
        ours = model.decode(drawn, PromptTensors(points, labels))
        theirs = model.decode(features, PromptTensors(points, labels, logits[None]))
    torch.testing.assert_close(ours.logits_BPMHW, theirs.logits_BPMHW, atol=1e-4, rtol=1e-4)


def test_presence_takes_the_place_of_the_object_score(model: SAM2):
    from maskwright.model.prompt_encoder import NO_POINT, PromptTensors

    features = moving_clip().features[0]._replace(presence_B=torch.tensor([-2.5]))
    prompts = PromptTensors(torch.zeros(1, 1, 2, 2), torch.full((1, 1, 2), NO_POINT))
    with torch.no_grad():
        decoded = model.decode(features, prompts)
    assert decoded.object_score_BP.tolist() == [[-2.5]]
    assert torch.equal(decoded.pointers_BPMC[0, 0, 1], model.no_object_pointer[0])


def test_a_clip_varies_in_frames_and_direction():
    clip = moving_clip(4)
    rng = np.random.default_rng(0)
    starts = set()
    for _ in range(12):
        found = varied(clip, 3, rng)
        assert len(found.features) == len(found.targets_TKHW) == 3
        starts.add(int(found.targets_TKHW[0, 0].any(0).int().argmax()))
    assert starts == {4, 0}, "the objects have gone round to column 0 by the last frame"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three pictures of a bright square each; the last one is for validation."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "images").mkdir()
    (folder / "labels").mkdir()
    rng, rows = np.random.default_rng(0), ["name\tsource\tlicence\ttier\tkind\tnum_masks\tsplit"]
    for number in range(3):
        pixels, labels = rng.integers(0, 80, (48, 64, 3), np.uint8), np.zeros((48, 64), np.uint8)
        pixels[10:40, 10:40] += np.uint8(120)
        labels[10:40, 10:40] = 1
        Image.fromarray(pixels).save(folder / "images" / f"toy_{number}.jpg")
        Image.fromarray(labels).save(folder / "labels" / f"toy_{number}.png")
        rows.append(f"toy_{number}\ts\tl\tA\tinstance\t1\t{'val' if number == 2 else 'train'}")
    (folder / "sources.tsv").write_text("\n".join(rows) + "\n")
    return folder


@pytest.fixture
def weights(model: SAM2, tmp_path: Path) -> Path:
    """A model file with an image half alone, as nano's first one was."""
    state = {name: value for name, value in model.state_dict().items() if not is_memory(name)}
    return save_checkpoint(tmp_path / "image.safetensors", SMALL, state, dtype=torch.float16)


def test_the_command_trains_the_memory_half_and_keeps_the_image_half(
    data: Path, weights: Path, tmp_path: Path
):
    sets = "size=64 clips=2 val_clips=1 clip_frames=3 frames=3 objects=2 minutes=0 steps=2 wait_for=1"
    arguments = [
        "nano-memory",
        "--data",
        str(data),
        "--out",
        str(tmp_path / "out"),
        "--weights",
        str(weights),
    ]
    arguments += [part for pair in sets.split() for part in ("--set", pair)]
    assert main(arguments) == 0
    before, after = load_checkpoint(weights), load_checkpoint(tmp_path / "out/model.safetensors")
    assert (before.image_only, after.image_only) == (True, False)
    for name, value in before.state.items():
        assert torch.equal(value, after.state[name]), name
    assert (tmp_path / "out/scores.csv").read_text().count("\n") == 2
    arguments[-1:] = ["wait_for=1", "--set", "steps=3", "--resume"]
    assert main(arguments) == 0
    assert [line.partition(",")[0] for line in (tmp_path / "out/scores.csv").read_text().split()] == [
        "step",
        "2",
        "3",
    ]


def test_settings_that_make_no_sense_are_refused():
    with pytest.raises(InputError, match="budget"):
        MemoryConfig()
    with pytest.raises(InputError, match="frames must be 2 to clip_frames"):
        MemoryConfig(steps=1, frames=9)
    with pytest.raises(InputError, match="unknown training setting 'framse'"):
        MemoryConfig.from_dict({"framse": 3})
