"""Settings of training runs: frozen dataclasses, read from TOML recipes and the command line."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar

from maskwright.errors import InputError, MissingExtraError

Settings = TypeVar("Settings")

RECIPES = Path(__file__).parent / "recipes"
"""Recipes that come with the package; their names work in place of a path."""
PRECISIONS = ("32-true", "bf16-mixed", "16-mixed")


@dataclass(frozen=True)
class LoopConfig:
    """How long and how fast any task is learnt: the ``[loop]`` table of a recipe."""

    seed: int = 0
    """Starts every random choice; batches depend on the seed and their numbers alone."""
    steps: int = 0
    """Step budget; 0 means none. The rates follow steps or time, whichever is further along."""
    minutes: float = 0.0
    """Time budget, validation not counted; 0 means none. One of the two budgets is needed."""
    accumulate: int = 1
    """Batches whose gradients are averaged for one step, on each device."""
    warmup_steps: int = 50
    """Steps over which the rates rise from zero; then they fall along a cosine, to zero at the end."""
    clip: float = 1.0
    """Largest norm of the whole gradient."""
    beta: float = 0.999
    """Decay of AdamW's running mean of squared gradients."""
    ema: float = 0.999
    """Decay of the running average of the weights, which is what gets validated and exported."""
    start_share: float = 0.0
    """Share of the weights that the run began with, mixed into what gets validated and exported.

    Between original and fine-tuned weights models often do better on either's data, and more so on others
    (Wortsman et al., "Robust fine-tuning of zero-shot models", 2022).
    """
    precision: str = "32-true"
    """32-true, or bf16-mixed or 16-mixed (GPU only): forward passes in half precision where that is safe."""
    accelerator: str = "auto"
    """auto, cpu, cuda or mps."""
    devices: int = 1
    """GPUs, or processes on the CPU, that share every step."""
    threads: int = 0
    """Threads of torch, which processes on the CPU share; 0 leaves them as they are."""
    prefetch: int = 4
    """Batches made ahead."""
    log_steps: int = 25
    """Steps per row of ``log.csv``."""
    checkpoint_minutes: float = 3.0
    """Time between checkpoints; 0 means at the end alone."""
    checkpoint_steps: int = 0
    """Steps between checkpoints; 0 means by time alone."""
    validate_minutes: float = 6.0
    """Time between validations; 0 means at the end alone."""
    validate_steps: int = 0
    """Steps between validations; 0 means by time alone."""
    validate_first: bool = True
    """Also validate what the run begins with."""

    def __post_init__(self) -> None:
        if not self.minutes and not self.steps:
            raise InputError("a training run needs a budget: set loop.minutes or loop.steps")
        if self.precision not in PRECISIONS:
            raise InputError(f"loop.precision is {self.precision!r}; choose one of {', '.join(PRECISIONS)}")
        for name in ("accumulate", "devices", "log_steps", "prefetch"):
            if getattr(self, name) < 1:
                raise InputError(f"loop.{name} must be 1 or more, not {getattr(self, name)}")
        if not 0 <= self.start_share < 1:
            raise InputError(f"loop.start_share must be 0 or more and below 1, not {self.start_share}")


FREE = frozenset(
    f"loop.{name}"
    for name in (
        "steps",
        "minutes",
        "accumulate",  # together with devices, see checkpoint.differences
        "devices",
        "accelerator",
        "start_share",  # changes what is shown of the weights, not how they learn
        "threads",
        "prefetch",
        "checkpoint_minutes",
        "checkpoint_steps",
        "validate_minutes",
        "validate_steps",
        "validate_first",
    )
)
"""Settings that may change between a checkpoint and its continuation."""


def parsed(settings: type[Settings], values: Mapping[str, Any], table: str) -> Settings:
    """A dataclass of settings with these values, converted; nested dataclasses are nested tables.

    Raises:
        InputError: a field is unknown or of another type, or the settings make no sense; says which.
    """
    known = {field.name: _default(field) for field in fields(settings)}  # type: ignore[arg-type]
    found = {}
    for name, value in values.items():
        full = f"{table}.{name}"
        if name not in known:
            listed = ", ".join(sorted(known)) or "none"
            raise InputError(f"unknown training setting {full!r}; known in [{table}] are {listed}")
        default = known[name]
        if is_dataclass(default) and not isinstance(default, type):
            if not isinstance(value, Mapping):
                raise InputError(f"training setting {full} is a table; write [{full}] in the recipe")
            found[name] = parsed(type(default), value, full)
        else:
            found[name] = _convert(full, value, default)
    return settings(**found)


def read_recipe(name: str) -> dict[str, Any]:
    """Tables of a TOML recipe, given by path or by the name of one that comes with the package.

    Raises:
        InputError: there is no such recipe, or it is not TOML.
    """
    path = Path(name)
    if not path.is_file():
        path = RECIPES / f"{name}.toml"
    if not path.is_file():
        known = ", ".join(sorted(recipe.stem for recipe in RECIPES.glob("*.toml")))
        raise InputError(f"no recipe {name!r}: give a TOML file or one of {known}")
    try:
        return _toml(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"the recipe {path} is not TOML: {error}") from error


def overridden(tables: Mapping[str, Any], pairs: Sequence[str]) -> dict[str, Any]:
    """A recipe's tables with some settings from text, each ``table.field=value``.

    Raises:
        InputError: a text has another form.
    """
    found = _copied(tables)
    for text in pairs:
        name, sign, value = text.partition("=")
        *path, field = name.strip().split(".")
        if not sign or not path or not all((*path, field)):
            raise InputError(f"--set takes TABLE.FIELD=VALUE, such as loop.steps=100, not {text!r}")
        table = found
        for part in path:
            table = table.setdefault(part, {})
            if not isinstance(table, dict):
                raise InputError(f"--set {text}: {part} is a setting, not a table")
        table[field] = value
    return found


def _copied(tables: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _copied(value) if isinstance(value, Mapping) else value for name, value in tables.items()}


def _default(field: Field[Any]) -> Any:
    return field.default_factory() if field.default is MISSING else field.default  # type: ignore[operator]


def _toml(text: str) -> dict[str, Any]:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        try:
            import tomli as tomllib
        except ImportError as error:
            raise MissingExtraError('recipes need tomli here: pip install "maskwright[train]"') from error
    return tomllib.loads(text)


def _convert(name: str, value: Any, default: Any) -> Any:
    """A value as TOML or text has it, in the type of a setting's default."""
    kind = type(default)
    if kind is tuple:
        parts = value.split(",") if isinstance(value, str) else value
        if not isinstance(parts, list | tuple) or len(parts) != len(default):
            raise InputError(f"training setting {name} should be {len(default)} values, not {value!r}")
        return tuple(_convert(name, part, model) for part, model in zip(parts, default, strict=True))
    text = str(value).strip()
    try:
        if isinstance(value, list | dict):
            raise ValueError("not a single value")
        if kind is bool:
            return {"true": True, "false": False}[text.lower()]
        return kind(text)
    except (KeyError, ValueError) as error:
        raise InputError(f"training setting {name} should be a {kind.__name__}, not {text!r}") from error
