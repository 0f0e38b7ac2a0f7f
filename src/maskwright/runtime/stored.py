"""Files of tensors that mean something only to the very model that made them: embeddings, sessions."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from maskwright.errors import InputError
from maskwright.io.files import write_bytes
from maskwright.runtime.protocol import Runtime


class Kind(NamedTuple):
    """What a file holds, in the words of its messages."""

    mark: str
    """Stands in the file; its number counts incompatible changes."""
    noun: str
    """With its article: "an embedding"."""
    writer: str
    """The method that writes it."""
    remedy: str
    """What to do about one of another model."""

    @property
    def none(self) -> str:
        """No such thing: "no embedding"."""
        return f"no {self.noun.partition(' ')[2]}"


def write_stored(
    path: str | os.PathLike[str],
    kind: Kind,
    runtime: Runtime,
    tensors: Mapping[str, Tensor],
    notes: Mapping[str, str],
) -> Path:
    """Write a safetensors file, whole or not at all; OutputError when that fails."""
    from safetensors.torch import save

    config = runtime.config
    origin = {
        "model": config.name,
        "fingerprint": runtime.fingerprint(),
        "image_size": str(config.image_size),
    }
    whole = {name: part.detach().cpu().contiguous().clone() for name, part in tensors.items()}
    return write_bytes(path, save(whole, {"format": kind.mark, **origin, **notes}))


def read_stored(
    path: str | os.PathLike[str], kind: Kind, runtime: Runtime
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and notes of a file that the same model wrote at the same input size, on any device.

    Raises:
        InputError: no such file, one of another kind, a damaged one, or one of another model.
    """
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    if not path.is_file():
        raise InputError(f"{kind.none} at {path}; give a file that {kind.writer} wrote")
    try:
        with safe_open(path, framework="pt") as file:
            notes = dict(file.metadata() or {})
            if notes.get("format") != kind.mark:
                raise InputError(
                    f"{path} holds {kind.none} of this version; write it anew with {kind.writer}"
                )
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} is not {kind.noun}: not a safetensors file, or a damaged one") from error
    config = runtime.config
    if notes["fingerprint"] != runtime.fingerprint():
        raise InputError(
            f"{path} was made by {notes['model']} with other weights than this {config.name}; {kind.remedy}"
        )
    if notes["image_size"] != str(config.image_size):
        raise InputError(
            f"{path} was made at image_size={notes['image_size']}, this model has {config.image_size}; "
            f"load the model with image_size={notes['image_size']}"
        )
    return tensors, notes
