"""Recipes and their settings."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import pytest

from maskwright.errors import InputError
from maskwright.train.build import Options, open_recipe
from maskwright.train.memory_settings import MemoryConfig
from maskwright.train.settings import RECIPES, LoopConfig, overridden, parsed, read_recipe

FILES = Options(data=Path("data"), out=Path("out"))


@dataclass(frozen=True)
class Weights:
    focal: float = 20.0
    dice: float = 1.0


@dataclass(frozen=True)
class Settings:
    size: int = 64
    name: str = "plain"
    flip: bool = True
    scale: tuple[float, float] = (0.5, 2.0)
    weights: Weights = field(default_factory=Weights)


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.toml")), ids=lambda path: path.stem)
def test_packaged_recipes_are_valid(path: Path):
    task = read_recipe(path.stem).get("task", "pictures")
    if task == "pictures" and find_spec("maskwright.train.pictures") is None:
        pytest.skip("the picture task is not there")
    recipe = open_recipe(path.stem)
    assert recipe.task == task
    assert recipe.loop.minutes or recipe.loop.steps


def test_values_are_converted_to_the_type_of_the_default():
    given = {"size": "96", "flip": "false", "scale": "0.5,1", "weights": {"focal": 5}}
    assert parsed(Settings, given, "toy") == Settings(96, "plain", False, (0.5, 1.0), Weights(5.0, 1.0))
    assert parsed(Settings, {"scale": [1, 2]}, "toy").scale == (1.0, 2.0)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"siez": 1}, r"unknown training setting 'toy.siez'; known in \[toy\] are flip, name, scale, size"),
        ({"size": "many"}, "toy.size should be a int"),
        ({"size": 1.5}, "toy.size should be a int"),
        ({"size": [1]}, "toy.size should be a int"),
        ({"flip": "perhaps"}, "toy.flip should be a bool"),
        ({"name": {}}, "toy.name should be a str"),
        ({"scale": [1]}, "toy.scale should be 2 values"),
        ({"weights": 3}, r"toy.weights is a table; write \[toy.weights\]"),
        ({"weights": {"iou": 3}}, "unknown training setting 'toy.weights.iou'"),
    ],
)
def test_bad_settings_are_named(values: dict[str, object], message: str):
    with pytest.raises(InputError, match=message):
        parsed(Settings, values, "toy")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "needs a budget: set loop.minutes or loop.steps"),
        ({"steps": 1, "precision": "fp8"}, "loop.precision is 'fp8'; choose one of 32-true, bf16-mixed"),
        ({"steps": 1, "accumulate": 0}, "loop.accumulate must be 1 or more"),
        ({"steps": 1, "devices": -1}, "loop.devices must be 1 or more"),
        ({"steps": 1, "start_share": 1.0}, "loop.start_share must be 0 or more and below 1"),
    ],
)
def test_loops_that_make_no_sense_are_refused(values: dict[str, object], message: str):
    with pytest.raises(InputError, match=message):
        parsed(LoopConfig, values, "loop")


def test_overrides_reach_into_tables_and_leave_the_recipe_alone():
    tables = {"task": "memory", "loop": {"steps": 5}, "pictures": {"loss": {"focal": 1}}}
    found = overridden(tables, ["loop.steps=7", "loop.ema = 0.5", "pictures.loss.dice=2", "augment.flip=0"])
    assert found["loop"] == {"steps": "7", "ema": " 0.5"}
    assert found["pictures"]["loss"] == {"focal": 1, "dice": "2"}
    assert found["augment"] == {"flip": "0"}
    assert tables == {"task": "memory", "loop": {"steps": 5}, "pictures": {"loss": {"focal": 1}}}


@pytest.mark.parametrize("text", ["steps=3", "loop.steps", "loop.=3", ".steps=3", "=3"])
def test_overrides_of_another_form_are_refused(text: str):
    with pytest.raises(InputError, match="--set takes TABLE.FIELD=VALUE"):
        overridden({}, [text])


def test_a_setting_is_no_table():
    with pytest.raises(InputError, match="task is a setting, not a table"):
        overridden({"task": "memory"}, ["task.steps=3"])


def test_an_unknown_recipe_lists_the_known_ones():
    with pytest.raises(InputError, match="no recipe 'nano-memroy': .* nano-memory"):
        read_recipe("nano-memroy")


def test_a_recipe_that_is_no_toml_is_named(tmp_path: Path):
    path = tmp_path / "own.toml"
    path.write_text("task = memory")
    with pytest.raises(InputError, match="own.toml is not TOML"):
        read_recipe(str(path))


def test_a_recipe_becomes_settings_and_plain_values():
    options = Options(FILES.data, FILES.out, init="tiny.safetensors", lora=4)
    recipe = open_recipe("nano-memory", ["memory.clips=3", "loop.seed=5"], options)
    assert (recipe.task, recipe.init, recipe.freeze, recipe.lora) == ("memory", "tiny.safetensors", "none", 4)
    assert (recipe.loop.seed, recipe.loop.steps, recipe.loop.beta) == (5, 830, 0.99)
    assert isinstance(recipe.settings, MemoryConfig)
    assert (recipe.settings.clips, recipe.settings.decode_from) == (3, 0.06)
    tables = recipe.tables()
    assert tables["memory"]["clips"] == 3
    assert tables["loop"]["seed"] == 5
    assert "augment" not in tables


@pytest.mark.parametrize(
    ("pairs", "text", "message"),
    [
        ([], "task = 'music'", "task is one of pictures, clips, memory, not 'music'"),
        (["lopo.steps=3"], "task = 'memory'", r"unknown training setting 'lopo'; .* \[loop\], \[memory\]"),
        (["augment.flip=1"], "task = 'memory'", "unknown training setting 'augment'"),
        ([], "task = 'memory'\nloop = 3", "loop is a table"),
        ([], "task = 'memory'\n[init]\nname = 'nano'", "init is a setting"),
        (["loop.steps=1", "memory.frames=9"], "task = 'memory'", "frames must be 2 to clip_frames"),
    ],
)
def test_recipes_that_make_no_sense_are_refused(tmp_path: Path, pairs: list[str], text: str, message: str):
    path = tmp_path / "own.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        open_recipe(str(path), pairs, FILES)
