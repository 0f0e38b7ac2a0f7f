"""Configuration names and Hydra overrides of the official package, without YAML and without Hydra."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from maskwright.config import PRESETS, ModelConfig
from maskwright.errors import InputError, NotAvailableError, UnknownModelError
from maskwright.weights import catalog

logger = logging.getLogger(__name__)

_DECODER = "model.sam_mask_decoder_extra_args.dynamic_multimask"
_OVERRIDE = re.compile(r"\s*(?:\+\+|\+)?(?P<key>[A-Za-z_][\w.]*)\s*=\s*(?P<value>.*?)\s*")


@dataclass(frozen=True)
class Settings:
    """What a configuration name and its overrides amount to."""

    config: ModelConfig
    dynamic_multimask: bool = False
    """Answer ``multimask_output=False`` with the best of three masks where the single one is not stable."""


def preset(config_file: str) -> ModelConfig:
    """The network of an official configuration file, named with or without folders and suffix.

    Raises:
        UnknownModelError: no official configuration has that name.
    """
    file = re.split(r"[/\\]", str(config_file))[-1]
    name = catalog.canonical(file)
    if name is None:
        raise UnknownModelError(
            f"no configuration is called {str(config_file)!r}; {catalog.suggestion(file)}"
        )
    return PRESETS[name]


def settings(config_file: str, overrides: Sequence[str], *, apply_postprocessing: bool) -> Settings:
    """Apply ``hydra_overrides_extra`` in order; post-processing has the last word, as officially.

    Raises:
        UnknownModelError: an unknown configuration.
        NotAvailableError: an override other than the input size and the stability rule.
        InputError: an override that is malformed.
    """
    result = Settings(preset(config_file))
    for override in overrides:
        result = _apply(result, override)
    if not apply_postprocessing:
        return result
    defaults = _with_stability(result, 0.05, 0.98)
    if result.config != PRESETS[result.config.name].at(result.config.image_size):
        logger.warning("apply_postprocessing=True sets the stability rule back; pass False to override it")
    return replace(defaults, dynamic_multimask=True)


def _apply(current: Settings, override: str) -> Settings:
    match = _OVERRIDE.fullmatch(override)
    if match is None:
        raise InputError(f"cannot read the override {override!r}; write it as '++model.image_size=512'")
    key, value = match["key"], match["value"]
    config = current.config
    if key == "model.image_size":
        return replace(current, config=config.at(_number(override, value, int)))
    if key == f"{_DECODER}_via_stability":
        return replace(current, dynamic_multimask=_flag(override, value))
    if key == f"{_DECODER}_stability_delta":
        return _with_stability(current, _number(override, value, float), config.stability_threshold)
    if key == f"{_DECODER}_stability_thresh":
        return _with_stability(current, config.stability_delta, _number(override, value, float))
    raise NotAvailableError(
        f"the override {override!r} is not available; model.image_size and {_DECODER}_* are: leave it out"
    )


def _with_stability(current: Settings, delta: float, threshold: float) -> Settings:
    config = replace(current.config, stability_delta=delta, stability_threshold=threshold)
    return replace(current, config=config)


def _number(override: str, value: str, kind: Any) -> Any:
    try:
        return kind(value)
    except ValueError as error:
        raise InputError(f"the override {override!r} needs a number after '='") from error


def _flag(override: str, value: str) -> bool:
    if value.lower() not in ("true", "false"):
        raise InputError(f"the override {override!r} needs true or false after '='")
    return value.lower() == "true"
