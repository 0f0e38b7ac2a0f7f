"""Recipes and their settings."""

from __future__ import annotations

import pytest

from maskwright.errors import InputError
from maskwright.train.memory_settings import read_run
from maskwright.train.settings import RECIPES, TrainConfig, read_recipe


@pytest.mark.parametrize("recipe", sorted(RECIPES.glob("*.toml")), ids=lambda path: path.stem)
def test_packaged_recipes_are_valid(recipe):
    config = read_run(recipe.stem, {})
    assert config.minutes or config.steps


def test_overrides_are_converted_to_the_field_s_type():
    config = TrainConfig(steps=10).override({"autocast": "true", "learning_rate": "2e-3", "pictures": "5"})
    assert (config.autocast, config.learning_rate, config.pictures, config.steps) == (True, 2e-3, 5, 10)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"steps": 1, "learning_rat": 1}, "unknown training setting 'learning_rat'"),
        ({"steps": "many"}, "steps should be a int"),
        ({"steps": 1, "autocast": "perhaps"}, "autocast should be a bool"),
        ({"steps": 1, "size": 100}, "multiple of 32"),
        ({}, "needs a budget"),
    ],
)
def test_bad_settings_are_named(values, message):
    with pytest.raises(InputError, match=message):
        TrainConfig.from_dict(values)


def test_an_unknown_recipe_lists_the_known_ones():
    with pytest.raises(InputError, match="nano-image"):
        read_recipe("nano-imag")
