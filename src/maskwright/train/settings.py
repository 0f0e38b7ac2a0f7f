"""Everything a training run depends on, as one frozen value read from TOML and the command line."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from maskwright.errors import InputError, MissingExtraError

RECIPES = Path(__file__).parent / "recipes"
"""Recipes that come with the package; their names work in place of a path."""


@dataclass(frozen=True)
class TrainConfig:
    """One training run. Every field can be set in the recipe and overridden with ``--set field=value``."""

    seed: int = 0
    """Starts every random choice; batches depend on the seed and the step number alone."""
    size: int = 384
    """Side of the square network input, a multiple of 32."""
    pictures: int = 3
    """Pictures per step."""
    prompts: int = 8
    """Prompted objects per picture; they repeat, with other prompts, where a picture has fewer."""
    minutes: float = 0.0
    """Time budget; 0 means none. The learning rate follows time or steps, whichever is further along."""
    steps: int = 0
    """Step budget; 0 means none. One of the two budgets is needed."""
    learning_rate: float = 1e-3
    """Peak rate of AdamW, reached after the warm-up, then a cosine to zero."""
    trunk_rate: float = 0.0
    """Peak rate of the trunk's last stages (strides 16 and 32); 0 leaves the whole trunk frozen."""
    weight_decay: float = 0.01
    """Decay of weights with two or more axes."""
    warmup_steps: int = 150
    """Steps over which the rate rises from zero."""
    clip: float = 1.0
    """Largest norm of the whole gradient."""
    ema: float = 0.999
    """Decay of the running average of the weights, which is what gets validated and exported."""
    min_area: float = 0.0008
    """Objects below this share of the picture are not trained on."""
    source_power: float = 0.9
    """A source of n pictures is drawn in proportion to n to this power: 1 = by picture, 0 = by source."""
    box_share: float = 0.45
    """Share of prompts that are a box alone."""
    both_share: float = 0.1
    """Share of prompts that are a box and one click; the rest are clicks alone."""
    centre_share: float = 0.5
    """Share of first clicks near the object's centre; the others fall anywhere in it."""
    box_jitter: float = 0.06
    """Standard deviation of each box edge, as a share of the box's side."""
    correct_share: float = 0.35
    """Share of steps that go on with correction clicks."""
    correct_rounds: int = 2
    """Most correction clicks in such a step."""
    mask_share: float = 0.85
    """Share of correction steps in which the previous logits come back as mask prompt."""
    focal_weight: float = 20.0
    """Weight of the focal loss (SAM 2 paper, appendix)."""
    dice_weight: float = 1.0
    """Weight of the dice loss."""
    iou_weight: float = 1.0
    """Weight of the absolute error of the predicted IoU."""
    object_weight: float = 0.1
    """Weight of the object score, whose answer is always yes on single pictures."""
    single_weight: float = 0.3
    """Weight of the single-mask token beside the best of the three candidates."""
    sure_spread: float = 0.0
    """Weight of the mean loss of all three candidates where a box or several clicks leave little doubt."""
    doubt_spread: float = 0.0
    """The same for a single click, which may well have several right answers."""
    focal_alpha: float = 0.25
    """Weight of set pixels in the focal loss; the others weigh one minus it."""
    focal_gamma: float = 2.0
    """How strongly the focal loss ignores pixels that are right already."""
    autocast: bool = False
    """Compute the step in bfloat16 where that is safe."""
    threads: int = 2
    """Threads of torch."""
    checkpoint_minutes: float = 3.0
    """Time between checkpoints."""
    validate_minutes: float = 5.0
    """Time between quick validations."""
    validate_pictures: int = 142
    """Pictures of the quick validation."""

    def __post_init__(self) -> None:
        if not self.minutes and not self.steps:
            raise InputError("a training run needs a budget: set minutes or steps")
        if self.size < 32 or self.size % 32:
            raise InputError(f"size must be a multiple of 32, not {self.size}")

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TrainConfig:
        """A run with these settings; InputError names a field that is unknown or of another type."""
        return cls(**checked(cls, values))

    def override(self, pairs: Mapping[str, str]) -> TrainConfig:
        """The same run with some fields set from text."""
        return TrainConfig.from_dict({**asdict(self), **pairs})

    def with_size(self, size: int) -> TrainConfig:
        """The same run at another input size."""
        return replace(self, size=size)


def checked(settings: type[Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Values for a dataclass of settings, converted; InputError names an unknown field or a wrong type."""
    kinds = {field.name: type(field.default) for field in fields(settings)}
    found = {}
    for name, value in values.items():
        if name not in kinds:
            raise InputError(f"unknown training setting {name!r}; known are {', '.join(sorted(kinds))}")
        found[name] = _convert(name, value, kinds[name])
    return found


def read_recipe(name: str) -> dict[str, Any]:
    """Values of a TOML recipe, given by path or by the name of one that comes with the package."""
    path = Path(name)
    if not path.is_file():
        path = RECIPES / f"{name}.toml"
    if not path.is_file():
        known = ", ".join(sorted(recipe.stem for recipe in RECIPES.glob("*.toml")))
        raise InputError(f"no recipe {name!r}: give a TOML file or one of {known}")
    return _toml(path.read_text(encoding="utf-8"))


def _toml(text: str) -> dict[str, Any]:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        try:
            import tomli as tomllib
        except ImportError as error:
            raise MissingExtraError('recipes need tomli here: pip install "maskwright[train]"') from error
    return tomllib.loads(text)


def _convert(name: str, value: object, kind: type) -> Any:
    text = str(value).strip()
    try:
        if kind is bool:
            return {"true": True, "false": False}[text.lower()]
        return kind(text)
    except (KeyError, ValueError) as error:
        raise InputError(f"training setting {name} should be a {kind.__name__}, not {text!r}") from error
