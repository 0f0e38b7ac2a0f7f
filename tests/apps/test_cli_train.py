"""``maskwright train``: from data to a model file, stopped and continued, and wrong input in one line."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from PIL import Image

from maskwright.config import NANO
from maskwright.model.sam2 import SAM2
from maskwright.train.checkpoint import LATEST, read_checkpoint
from maskwright.weights.keymaps import is_memory
from maskwright.weights.load import load_checkpoint, save_checkpoint

if TYPE_CHECKING:
    from tests.apps.conftest import Run

pytest.importorskip("lightning_fabric")
pytest.importorskip("tensorboard")
SMALL = NANO.at(64)
SETS = (
    *("loop.steps=2", "loop.minutes=0", "loop.log_steps=1", "loop.warmup_steps=1", "memory.size=64"),
    *("memory.clips=2", "memory.val_clips=1", "memory.clip_frames=3", "memory.frames=3", "memory.objects=2"),
)


pytestmark = pytest.mark.usefixtures("same_threads")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three pictures of a bright square each; the last one is for validation."""
    folder = tmp_path_factory.mktemp("pictures")
    (folder / "images").mkdir()
    (folder / "labels").mkdir()
    rows = ["name\tsource\tlicence\ttier\tkind\tnum_masks\tsplit"]
    for number in range(3):
        pixels, labels = _square(number)
        Image.fromarray(pixels).save(folder / "images" / f"toy_{number}.jpg")
        Image.fromarray(labels).save(folder / "labels" / f"toy_{number}.png")
        rows.append(f"toy_{number}\ts\tl\tA\tinstance\t1\t{'val' if number == 2 else 'train'}")
    (folder / "sources.tsv").write_text("\n".join(rows) + "\n")
    return folder


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sequences of a moving square in DAVIS layout, one for training and one for validation."""
    folder = tmp_path_factory.mktemp("videos")
    (folder / "ImageSets/2017").mkdir(parents=True)
    for name, split in (("walk", "train"), ("run", "val")):
        (folder / f"ImageSets/2017/{split}.txt").write_text(f"{name}\n")
        for part in ("JPEGImages/480p", "Annotations/480p"):
            (folder / part / name).mkdir(parents=True)
        for number in range(3):
            pixels, labels = _square(2 * number)
            Image.fromarray(pixels).save(folder / "JPEGImages/480p" / name / f"{number:05}.jpg")
            Image.fromarray(labels).save(folder / "Annotations/480p" / name / f"{number:05}.png")
    return folder


def _square(shift: int) -> tuple[np.ndarray, np.ndarray]:
    pixels = np.random.default_rng(shift).integers(0, 80, (48, 64, 3), np.uint8)
    labels = np.zeros((48, 64), np.uint8)
    pixels[10:40, 8 + shift : 38 + shift] += np.uint8(120)
    labels[10:40, 8 + shift : 38 + shift] = 1
    return pixels, labels


@pytest.fixture(scope="module")
def image_half(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model file without a memory half."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        state = SAM2(SMALL).state_dict()
    kept = {name: value for name, value in state.items() if not is_memory(name)}
    return save_checkpoint(
        tmp_path_factory.mktemp("model") / "image.safetensors", SMALL, kept, dtype=torch.float16
    )


@pytest.fixture
def given(pictures: Path, image_half: Path, tmp_path: Path) -> list[object]:
    """A command that trains the memory half in two steps."""
    sets = [part for pair in SETS for part in ("--set", pair)]
    files = ["--data", pictures, "--init", image_half, "-o", tmp_path / "run", "--cache", tmp_path / "clips"]
    return ["train", "nano-memory", *files, *sets]


def test_training_writes_a_model_and_a_table(run: Run, given: list[object], tmp_path: Path) -> None:
    outcome = run(*given)
    assert outcome.code == 0, outcome.err
    heading, *table, last = outcome.out.splitlines()
    assert heading.split() == ["figure", "before", "after"]
    assert {row.split()[0] for row in table} == {"loss", "presence", "drawn_iou", "iou"}
    assert all(len(row.split()) == 3 for row in table)
    assert last.startswith(str(tmp_path / "run/model.safetensors"))
    assert "train: step 2" in outcome.err
    found = load_checkpoint(tmp_path / "run/model.safetensors")
    assert (found.config.name, found.config.image_size, found.image_only) == ("nano", 64, False)
    # more steps of the same run, and its file once more
    assert run(*given).code == 2
    assert run(*given, "--resume", "--set", "loop.steps=3").code == 0
    assert read_checkpoint(tmp_path / "run" / LATEST)["step"] == 3
    (tmp_path / "run/model.safetensors").unlink()
    outcome = run(*given, "--export-only")
    assert (outcome.code, outcome.out.count("\n")) == (0, 1)
    assert (tmp_path / "run/model.safetensors").is_file()


def test_a_run_begins_with_another_one(run: Run, given: list[object], tmp_path: Path) -> None:
    assert run(*given).code == 0
    outcome = run(*given, "-o", tmp_path / "more", "--start", tmp_path / "run" / LATEST)
    assert outcome.code == 0, outcome.err
    outcome = run(*given, "-o", tmp_path / "third", "--start", tmp_path / "nothing.pt")
    assert (outcome.code, "cannot read the training checkpoint" in outcome.err) == (2, True)


def test_a_model_is_fine_tuned_on_videos(run: Run, videos: Path, nano_file: Path, tmp_path: Path) -> None:
    sets = ("clips.size=64", "clips.frames=3", "clips.clicks=1", "clips.val_clips=1", "loop.steps=2")
    options = [part for pair in (*sets, "loop.warmup_steps=1") for part in ("--set", pair)]
    outcome = run(
        "train", "--data", videos, "-o", "run", "--init", nano_file, "--freeze", "encoder", *options
    )
    assert outcome.code == 0, outcome.err
    assert "followed" in outcome.out
    before, trained = load_checkpoint(nano_file).state, read_checkpoint(tmp_path / "run" / LATEST)["average"]
    assert any(not torch.equal(before[name], value) for name, value in trained.items())
    after = load_checkpoint(tmp_path / "run/model.safetensors").state
    changed = {name for name, value in before.items() if not torch.equal(value, after[name])}
    assert changed <= set(trained)
    assert not any(name.startswith(("trunk.", "neck.")) for name in trained)


def test_a_model_is_fine_tuned_on_pictures(run: Run, pictures: Path, nano_file: Path, tmp_path: Path) -> None:
    sets = ("pictures.size=64", "pictures.objects=2", "loop.steps=2", "loop.warmup_steps=1")
    options = [part for pair in sets for part in ("--set", pair)]
    outcome = run(
        "train", "--data", pictures, "-o", "run", "--init", nano_file, "--freeze", "trunk", *options
    )
    assert outcome.code == 0, outcome.err
    assert "box" in outcome.out
    state = read_checkpoint(tmp_path / "run" / LATEST)
    assert (state["step"], state["recipe"]["freeze"]) == (2, "trunk")
    assert load_checkpoint(tmp_path / "run/model.safetensors").config.image_size == 64
    # what was frozen must stay so, and the model that a run began with must be the same
    outcome = run("train", "--data", pictures, "-o", "run", "--init", nano_file, "--resume", *options)
    assert (outcome.code, "another freeze (trunk, not none)" in outcome.err) == (2, True)


def test_a_signal_stops_a_run_that_can_go_on(given: list[object], run: Run, tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
    }
    long = [*given, "--set", "loop.steps=100000"]
    command = [sys.executable, "-m", "maskwright", *(str(part) for part in long)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        log, end = tmp_path / "run/log.csv", time.monotonic() + 60
        while not (log.is_file() and log.read_text().count("\n") > 2):
            assert process.poll() is None, "it ended before it could be stopped"
            assert time.monotonic() < end
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        out, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "the same command with --resume goes on" in out
    step = read_checkpoint(tmp_path / "run" / LATEST)["step"]
    outcome = run(*given, "--resume", "--set", f"loop.steps={step + 1}")
    assert outcome.code == 0, outcome.err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--set", "nonsense"), "--set takes TABLE.FIELD=VALUE"),
        (("--set", "memory.clisp=3"), "unknown training setting 'memory.clisp'"),
        (("--resume",), "nothing to resume"),
        (("--resume", "--start", "x.pt"), "--resume goes on with a run and --start begins another one"),
        (("--precision", "half"), "loop.precision is 'half'"),
        (("--precision", "16-mixed", "--set", "loop.accelerator=cpu"), "needs a GPU"),
        (("--init", "sam3"), "sam3"),
        (("--data", "nowhere"), "nowhere"),
        (("--export-only",), "cannot read the training checkpoint"),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(
    run: Run, given: list[object], options: tuple[str, ...], message: str
) -> None:
    outcome = run(*given, *options)
    assert outcome.code == 2
    error = [line for line in outcome.err.splitlines() if line.startswith("error:")]
    assert len(error) == 1
    assert message in error[0]


def test_an_unknown_recipe_lists_the_known_ones(run: Run, pictures: Path) -> None:
    outcome = run("train", "nano-memroy", "--data", pictures, "-o", "run")
    assert outcome.code == 2
    assert "nano-memory-long" in outcome.err
