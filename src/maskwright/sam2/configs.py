"""Configuration names and Hydra overrides of the official package, without YAML and without Hydra."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from maskwright.config import PRESETS, ModelConfig
from maskwright.errors import InputError, NotAvailableError, UnknownModelError
from maskwright.weights import catalog

logger = logging.getLogger(__name__)

_DECODER = "model.sam_mask_decoder_extra_args.dynamic_multimask"
_OVERRIDE = re.compile(r"\s*(?:\+\+|\+)?(?P<key>[A-Za-z_][\w.]*)\s*=\s*(?P<value>.*?)\s*")

HOLE_AREA = 8
"""Cells of the low-resolution mask: what ``apply_postprocessing`` fills in video."""


@dataclass(frozen=True)
class VideoSettings:
    """Arguments of ``SAM2VideoPredictor``, under their official names."""

    fill_hole_area: int = 0
    non_overlap_masks: bool = False
    clear_non_cond_mem_around_input: bool = False
    add_all_frames_to_correct_as_cond: bool = False
    binarize_mask_from_pts_for_mem_enc: bool = False


@dataclass(frozen=True)
class Settings:
    """What a configuration name and its overrides amount to."""

    config: ModelConfig
    video: VideoSettings = VideoSettings()
    dynamic_multimask: bool = False
    """Answer ``multimask_output=False`` with the best of three masks where the single one is not stable."""


_VIDEO = tuple(field.name for field in fields(VideoSettings))


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
        NotAvailableError: an override other than input size, stability rule and video options.
        InputError: an override that is malformed.
    """
    result = Settings(preset(config_file))
    for override in overrides:
        result = _apply(result, override)
    if not apply_postprocessing:
        return result
    defaults = _with_stability(result, 0.05, 0.98)
    own = PRESETS[result.config.name]
    if _stability(result.config) != _stability(own):
        logger.warning("apply_postprocessing=True sets the stability rule back; pass False to override it")
    # Of these two the official function puts its own values last as well.
    video = replace(result.video, fill_hole_area=HOLE_AREA, binarize_mask_from_pts_for_mem_enc=True)
    return replace(defaults, dynamic_multimask=True, video=video)


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
    name = key.removeprefix("model.")
    if name == "fill_hole_area":
        return replace(current, video=replace(current.video, fill_hole_area=_number(override, value, int)))
    if name in _VIDEO:
        return replace(current, video=replace(current.video, **{name: _flag(override, value)}))
    raise NotAvailableError(
        f"the override {override!r} is not available; model.image_size, {_DECODER}_*, "
        f"{', '.join(f'model.{known}' for known in _VIDEO)} are: leave it out"
    )


def _stability(config: ModelConfig) -> tuple[float, float]:
    return config.stability_delta, config.stability_threshold


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
