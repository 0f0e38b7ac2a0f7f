"""What our own files say about themselves: the format's version and the network's configuration, as text.

safetensors metadata maps strings to strings; the configuration is JSON in one of them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from maskwright.config import EfficientNetConfig, HieraConfig, ModelConfig
from maskwright.errors import CheckpointError, InputError

FORMAT = "1"
"""Version of the files that are written, and the only one that is read."""
FORMAT_KEY, CONFIG_KEY = "maskwright.format", "maskwright.config"

_TRUNKS: dict[str, type[HieraConfig] | type[EfficientNetConfig]] = {
    "hiera": HieraConfig,
    "efficientnet-lite0": EfficientNetConfig,
}


def encode(config: ModelConfig) -> dict[str, str]:
    """Metadata of a file with this network."""
    kind = next(name for name, trunk in _TRUNKS.items() if isinstance(config.trunk, trunk))
    fields = {**asdict(config), "trunk": {"kind": kind, **asdict(config.trunk)}}
    return {FORMAT_KEY: FORMAT, CONFIG_KEY: json.dumps(fields, sort_keys=True)}


def decode(metadata: Mapping[str, str]) -> ModelConfig | None:
    """The configuration in a file's metadata, None if it is none of our files.

    Raises:
        CheckpointError: another version wrote it, or it is damaged.
    """
    if CONFIG_KEY not in metadata:
        return None
    version = metadata.get(FORMAT_KEY)
    if version != FORMAT:
        raise CheckpointError(f"its format is {version!r}, not {FORMAT!r}: update maskwright")
    try:
        fields = _tupled(json.loads(metadata[CONFIG_KEY]))
        trunk = _tupled(fields.pop("trunk"))
        made = _TRUNKS[trunk.pop("kind")](**trunk)
        return ModelConfig(trunk=made, **fields)
    except (TypeError, ValueError, KeyError, AttributeError, InputError) as error:
        raise CheckpointError(
            f"the configuration in it is unreadable ({error}); a newer maskwright may have written it"
        ) from error


def _tupled(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}
