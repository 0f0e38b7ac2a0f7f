"""Learning to follow: the image half stays frozen, redrawn masks move with the picture, runs go on."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from PIL import Image

from maskwright.config import NANO
from maskwright.errors import CheckpointError, InputError
from maskwright.model.candidates import Chosen
from maskwright.model.mask_decoder import ImageFeatures
from maskwright.model.memory_bank import empty_bank
from maskwright.model.sam2 import SAM2, Slots
from maskwright.train.build import Options, Recipe, build_task, export, open_recipe
from maskwright.train.checkpoint import LATEST, begin_with, read_checkpoint
from maskwright.train.clip_cache import CachedClip
from maskwright.train.loop import train
from maskwright.train.memory import MemoryTask, first_memory, follow, varied
from maskwright.train.memory_run import export_memory
from maskwright.train.memory_settings import MemoryConfig
from maskwright.train.settings import LoopConfig
from maskwright.train.task import Draw
from maskwright.weights.keymaps import is_memory
from maskwright.weights.load import load_checkpoint, save_checkpoint

SMALL = NANO.at(64)
CONFIG = MemoryConfig(size=64, clip_frames=3, frames=3, decode_from=0.0, learning_rate=3e-3)
LOOP = LoopConfig(steps=12, warmup_steps=1, beta=0.99, ema=0.995, log_steps=1, threads=1)


pytestmark = pytest.mark.usefixtures("same_threads")


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


class OneClip:
    """A cache of one clip, for tests that need no pictures."""

    num = 1

    def __init__(self, frames: int = 3) -> None:
        self._clip = moving_clip(frames)

    def clip(self, number: int) -> CachedClip:
        return self._clip


def one_clip_task(model: SAM2, config: MemoryConfig = CONFIG) -> MemoryTask:
    clips = cast(Any, OneClip())
    return MemoryTask(model, config, clips, clips)


def log_of(folder: Path) -> list[str]:
    """Rows of the log without the time."""
    lines = (folder / "log.csv").read_text().splitlines()
    return [",".join((line.split(",")[0], *line.split(",")[2:])) for line in lines]


def test_only_the_memory_half_learns_and_the_loss_falls(model: SAM2, tmp_path: Path):
    before = {name: value.clone() for name, value in model.state_dict().items()}
    report = train(one_clip_task(model), LOOP, tmp_path, recipe={})
    losses = [float(line.split(",")[2]) for line in log_of(tmp_path)[1:]]
    assert losses[-1] < 0.8 * losses[0]
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert all(name.startswith("memory_cells.") for name in changed)
    assert "memory_cells.value.weight" in changed, "the loss reaches back through time"
    assert set(report.after) == {"loss", "presence", "drawn_iou", "iou"}
    assert set(read_checkpoint(tmp_path / LATEST)["model"]) == {n for n in before if is_memory(n)}


def test_a_memory_run_goes_on_with_the_same_bits(tmp_path: Path):
    config = MemoryConfig(size=64, clip_frames=3, frames=3, free_frames=1, smudge_share=0.5, decode_from=0.5)

    class Third(threading.Event):
        calls = 0

        def is_set(self) -> bool:
            self.calls += 1
            return self.calls > 2

    def run(name: str, **options: Any) -> SAM2:
        torch.manual_seed(0)
        task = one_clip_task(SAM2(SMALL).eval(), config)
        loop = LoopConfig(steps=4, warmup_steps=1, log_steps=1, threads=1, validate_first=False)
        train(task, loop, tmp_path / name, recipe={}, **options)
        return task.model

    whole = run("whole").state_dict()
    run("parts", stop=Third())
    assert read_checkpoint(tmp_path / "parts" / LATEST)["step"] == 2
    for name, value in run("parts", resume=True).state_dict().items():
        assert torch.equal(value, whole[name]), name
    assert log_of(tmp_path / "whole") == log_of(tmp_path / "parts")


@pytest.mark.parametrize("decode_from", [0.0, 1.0])
def test_memory_learns_in_half_precision(model: SAM2, tmp_path: Path, decode_from: float):
    config = MemoryConfig(size=64, clip_frames=3, frames=3, decode_from=decode_from, smudge_share=1.0)
    loop = LoopConfig(steps=1, threads=1, precision="bf16-mixed", validate_first=False, log_steps=1)
    train(one_clip_task(model, config), loop, tmp_path, recipe={})
    assert float(log_of(tmp_path)[1].split(",")[2]) > 0


def test_batches_depend_on_the_draw_alone(model: SAM2):
    config = MemoryConfig(size=64, clip_frames=6, frames=3)
    clips = cast(Any, OneClip(6))
    task = MemoryTask(model, config, clips, clips)
    first, again, *others = (
        task.batch(Draw(0, step, part)).targets_TKHW
        for step, part in ((1, 0), (1, 0), (1, 1), (2, 0), (3, 0))
    )
    assert torch.equal(first, again)
    assert not all(torch.equal(first, other) for other in others)


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


SETS = "loop.minutes=0 loop.steps=2 loop.warmup_steps=1 memory.size=64 memory.clips=2 memory.val_clips=1"
SETS += " memory.clip_frames=3 memory.frames=3 memory.objects=2 memory.given_trust=1.5"


def learned(data: Path, weights: Path, out: Path, start: Path | None = None) -> tuple[Recipe, Options]:
    """A run of two steps by the packaged recipe."""
    options = Options(data, out, init=str(weights), cache=out.parent / "cache")
    recipe = open_recipe("nano-memory", SETS.split(), options)
    told: list[tuple[int, int]] = []
    task = build_task(recipe, options, lambda done, total: told.append((done, total)))
    assert told in ([(1, 1), (1, 2), (2, 2)], []), "clips are made once"
    train(task, recipe.loop, out, recipe=recipe.tables(), start=start)
    return recipe, options


def test_a_run_trains_the_memory_half_and_keeps_the_image_half(data: Path, weights: Path, tmp_path: Path):
    recipe, options = learned(data, weights, tmp_path / "first")
    state = read_checkpoint(tmp_path / "first" / LATEST)
    path = export(recipe, state, options)
    before, after = load_checkpoint(weights), load_checkpoint(path)
    assert (before.image_only, after.image_only) == (True, False)
    for name, value in before.state.items():
        assert torch.equal(value, after.state[name]), name
    trust = "memory_cells.trust"
    added = after.state[trust] - state["average"][trust].half().float()
    torch.testing.assert_close(added, torch.tensor([0.0] * (len(added) - 1) + [1.5]), atol=2e-3, rtol=0)
    # the second half of the training begins with what the first one gave, and finds the clips made
    learned(data, weights, tmp_path / "second", start=tmp_path / "first" / LATEST)
    task = build_task(recipe, options)
    untrained, wanted = task.model.memory_cells.value.weight, state["average"]["memory_cells.value.weight"]
    assert not torch.equal(untrained, wanted)
    begin_with(task, state)
    assert torch.equal(task.model.memory_cells.value.weight, wanted)


def test_a_run_may_go_on_with_the_memory_half_of_the_model_file(data: Path, weights: Path, tmp_path: Path):
    sets = [*SETS.split(), "memory.fresh=false"]
    options = Options(data, tmp_path / "run", init=str(weights))
    with pytest.raises(CheckpointError, match="no memory half to go on with; leave memory.fresh"):
        build_task(open_recipe("nano-memory", sets, options), options)
    torch.manual_seed(7)
    whole = save_checkpoint(tmp_path / "whole.safetensors", SMALL, SAM2(SMALL).state_dict())
    options = Options(data, tmp_path / "run", init=str(whole))
    begun = build_task(open_recipe("nano-memory", sets, options), options).model.state_dict()
    for name, value in load_checkpoint(whole).state.items():
        if is_memory(name):
            assert torch.equal(begun[name], value), name


def test_keys_begin_as_principal_directions(data: Path, weights: Path, tmp_path: Path):
    options = Options(data, tmp_path / "run", init=str(weights))
    task = build_task(open_recipe("nano-memory", SETS.split(), options), options)
    key = task.model.memory_cells.key.weight
    torch.testing.assert_close(key @ key.T, torch.eye(len(key)), atol=1e-4, rtol=0)


def test_another_kind_of_checkpoint_is_not_exported_as_memory(weights: Path, tmp_path: Path):
    state = {"model": {}, "average": {}, "step": 0, "elapsed": 0.0, "recipe": {"task": "pictures"}}
    with pytest.raises(CheckpointError, match="not of a memory run"):
        export_memory(state, weights, tmp_path / "model.safetensors")


def test_backgrounds_come_from_a_folder(data: Path, weights: Path, tmp_path: Path):
    options = Options(data, tmp_path, init=str(weights), plain=tmp_path / "nowhere")
    with pytest.raises(InputError, match="nowhere is no folder"):
        build_task(open_recipe("nano-memory", SETS.split(), options), options)


def test_settings_that_make_no_sense_are_refused():
    with pytest.raises(InputError, match="multiple of 32"):
        MemoryConfig(size=100)
    with pytest.raises(InputError, match="frames must be 2 to clip_frames"):
        MemoryConfig(frames=9)
    with pytest.raises(InputError, match="free_frames must be 0 to frames - 2"):
        MemoryConfig(free_frames=3)
