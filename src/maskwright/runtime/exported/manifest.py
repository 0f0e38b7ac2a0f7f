"""What a folder of graphs says about itself, in ``manifest.json``."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from maskwright.config import ModelConfig
from maskwright.errors import CheckpointError, InputError
from maskwright.weights import metadata

FORMAT = "maskwright-graphs-1"
"""Stands in every manifest; its number counts incompatible changes of graphs or manifest."""
FILE = "manifest.json"
HASH_CHUNK = 1 << 20

Shapes = dict[str, list["int | str"]]
"""By name: lengths of the axes, letters where they are free."""


class GraphFile(NamedTuple):
    """One graph."""

    file: str
    """Its path in the folder, with forward slashes."""
    sha256: str
    inputs: Shapes
    outputs: Shapes


@dataclass(frozen=True)
class Manifest:
    """A model's graphs, at one or two input sizes."""

    config: ModelConfig
    fingerprint: str
    """``Runtime.fingerprint`` of the weights in the graphs."""
    image_only: bool
    """There are no graphs for videos."""
    opset: int
    versions: Mapping[str, str]
    """Of the packages that made it."""
    graphs: Mapping[int, Mapping[str, GraphFile]]
    """By input size and verb."""

    def text(self) -> str:
        """As it stands in the file."""
        fields = {
            "format": FORMAT,
            "model": self.config.name,
            **metadata.encode(self.config),
            "fingerprint": self.fingerprint,
            "image_only": self.image_only,
            "dtype": "float32",
            "opset": self.opset,
            "versions": dict(self.versions),
            "graphs": {
                str(size): {name: graph._asdict() for name, graph in graphs.items()}
                for size, graphs in self.graphs.items()
            },
        }
        return json.dumps(fields, indent=1) + "\n"

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """That of a folder.

        Raises:
            CheckpointError: it has none, or a damaged one, or one of another version.
        """
        path = folder / FILE
        if not holds_graphs(folder):
            raise CheckpointError(
                f"{folder} is no exported model: it has no {FILE}; give a model file, or a folder that "
                "`maskwright export-model` wrote"
            )
        try:
            fields = json.loads(path.read_text("utf-8"))
            form = fields["format"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CheckpointError(
                f"{path} is damaged, or of something else: export the model anew"
            ) from error
        if form != FORMAT:
            raise CheckpointError(f"{folder} has the format {form!r}, not {FORMAT!r}: export the model anew")
        try:
            return _understood(fields)
        except (CheckpointError, InputError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise CheckpointError(f"{path} is damaged: export the model anew ({error})") from error


def _understood(fields: Mapping[str, Any]) -> Manifest:
    config = metadata.decode(fields)
    if config is None:
        raise ValueError("no configuration")
    return Manifest(
        config,
        str(fields["fingerprint"]),
        bool(fields["image_only"]),
        int(fields["opset"]),
        dict(fields["versions"]),
        {
            int(size): {name: GraphFile(**graph) for name, graph in graphs.items()}
            for size, graphs in fields["graphs"].items()
        },
    )


def holds_graphs(folder: Path) -> bool:
    """Whether a folder looks like an exported model."""
    return (folder / FILE).is_file()


def sha256_of(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(HASH_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
