"""What kind of file something is, told from its first bytes and from the names in it.

Model files get mixed up easily. Whoever hands over the wrong one is told what it is.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from maskwright.errors import CheckpointError
from maskwright.weights.keymaps import Layout

Container = Literal["torch", "torch zip", "safetensors"]

HEAD = 512
"""Bytes that are looked at."""
MAX_SAFETENSORS_HEADER = 100_000_000

_MAGIC = (
    (
        b"version https://git-lfs",
        "a Git LFS pointer: run `git lfs pull`, or download the file itself",
    ),
    (b"GGUF", "a GGUF file"),
    (b"\x89HDF", "an HDF5 file"),
    (b"\x1f\x8b", "a gzip archive: unpack it first"),
    (b"\x89PNG", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"%PDF", "a PDF document"),
    *((b"\x80" + bytes([n]), "a Python pickle, which could run code") for n in (3, 4, 5)),
)

_FOREIGN: tuple[tuple[tuple[str, ...], str], ...] = (
    (("detector.", "detector_model.", "detr_decoder.", "tracker_model."), "SAM 3"),
    (("vision_encoder.backbone.layers.",), "the SAM 3 tracker of transformers"),
    (("image_encoder.trunk.body.", "vision_encoder.backbone.timm_model.", "spatial_perceiver."), "EdgeTAM"),
    (("sam_mask_decoder.hf_", "mask_decoder.hf_", "mask_decoder.hq_"), "HQ-SAM"),
    (("image_encoder.blocks.", "image_encoder.patch_embed."), "SAM 1"),
    (("vision_encoder.layers.",), "SAM 1 in the transformers layout"),
    (("image_encoder.layers.",), "MobileSAM"),
    (("model.0.", "model.1.", "0.conv."), "a YOLO model"),
    (("text_model.", "vision_model."), "CLIP"),
)
"""Beginnings of names, any of which gives a network away."""

_LAYOUTS: tuple[tuple[Layout, tuple[str, ...]], ...] = (
    ("official", ("image_encoder.", "sam_mask_decoder.", "sam_prompt_encoder.")),
    ("transformers", ("vision_encoder.backbone.", "vision_encoder.neck.", "shared_image_embedding.")),
    ("maskwright", ("trunk.", "neck.laterals.", "mask_decoder.mask_heads.")),
)

_TITLES: dict[Layout, str] = {
    "official": "an official SAM 2 checkpoint",
    "transformers": "a SAM 2 checkpoint of transformers",
    "maskwright": "a maskwright checkpoint",
}


def title(known: Layout, training: bool) -> str:
    """What to call a file with this layout."""
    return _TITLES[known] + (" from a training run" if training else "")


def container(path: Path) -> Container:
    """How the tensors in a file are wrapped.

    Raises:
        CheckpointError: there is no file, or it is none that holds tensors; says what it is instead.
    """
    if path.is_dir():
        inside = [*sorted(path.glob("*.safetensors")), *sorted(path.glob("*.pt"))]
        hint = f"; did you mean {inside[0]}?" if inside else ""
        raise CheckpointError(f"{path} is a folder, not a model file{hint}")
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(HEAD)
    except FileNotFoundError:
        raise CheckpointError(f"there is no file {path}") from None
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror or error}") from error
    if not head:
        raise CheckpointError(f"{path} is empty: download or copy it again")
    for magic, what in _MAGIC:
        if head.startswith(magic):
            raise CheckpointError(f"{path} is no model file but {what}")
    if head.startswith(b"PK"):
        return _zip(path)
    if head.startswith(b"\x80\x02"):
        return "torch"
    length = int.from_bytes(head[:8], "little")
    if head[8:9] == b"{" and 2 <= length <= MAX_SAFETENSORS_HEADER:
        return _safetensors(path, length, size)
    raise CheckpointError(f"{path} is no model file but {_guess_text(head)}")


def _zip(path: Path) -> Container:
    if not zipfile.is_zipfile(path):
        raise CheckpointError(f"{path} is cut off ({path.stat().st_size:,} bytes): download or copy it again")
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    if any("/code/" in name for name in names):
        raise CheckpointError(f"{path} is a TorchScript program: give a checkpoint, which holds only tensors")
    if not any(name.endswith("/data.pkl") for name in names):
        what = "a NumPy archive" if any(name.endswith(".npy") for name in names) else "a zip archive"
        raise CheckpointError(f"{path} is no model file but {what}")
    return "torch zip"


def _safetensors(path: Path, length: int, size: int) -> Container:
    with path.open("rb") as file:
        file.seek(8)
        header = file.read(length)
    try:
        entries = json.loads(header)
        ends = [entry["data_offsets"][1] for name, entry in entries.items() if name != "__metadata__"]
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        if len(header) == length:
            raise CheckpointError(
                f"{path} is a damaged safetensors file: download or copy it again"
            ) from error
        ends = [size]
    whole = 8 + length + max(ends, default=0)
    if size < whole:
        raise CheckpointError(f"{path} is cut off ({size:,} of {whole:,} bytes): download or copy it again")
    return "safetensors"


def _guess_text(head: bytes) -> str:
    """What a file without any known beginning is; the last character of ``head`` may be cut."""
    try:
        text = head.decode("utf-8").strip().lower()
    except UnicodeDecodeError as error:
        text = head[: error.start].decode("utf-8").strip().lower() if error.start > HEAD - 4 else ""
    if "\0" in text:
        text = ""
    if text.startswith(("<!doctype html", "<html", "<?xml")):
        return "a web page, probably an error message: download it again"
    if text.startswith("{"):
        return "JSON text"
    return "a text file" if text else "something unknown"


def unwrap(content: Any, path: Path) -> tuple[Mapping[str, Any], bool]:
    """The state dict in what a torch file holds, and whether it is from a training run.

    Official files are ``{"model": state}``; trainers add an optimizer; others save the bare state. Prefixes
    that wrappers of a model put before every name are taken off.
    """
    training = False
    if isinstance(content, Mapping):
        training = any("optim" in str(key) for key in content)
        for key in ("model", "state_dict", "model_state_dict"):
            if isinstance(content.get(key), Mapping):
                content = content[key]
                break
    if not isinstance(content, Mapping) or not all(isinstance(key, str) for key in content):
        raise CheckpointError(f"{path} holds a {type(content).__name__}, not named weights")
    for prefix in ("module.", "_orig_mod.", "model.", "sam2."):
        if content and all(name.startswith(prefix) for name in content) and layout(content) is None:
            content = {name.removeprefix(prefix): value for name, value in content.items()}
    return content, training


def layout(names: Iterable[str]) -> Layout | None:
    """Whose names these are, or None if they are of no SAM 2 model that we know."""
    names = list(names)
    if foreign(names):
        return None
    for known, beginnings in _LAYOUTS:
        if any(name.startswith(beginnings) for name in names):
            return known
    return None


def foreign(names: Iterable[str]) -> str | None:
    """Which other network these names belong to, if it is a well-known one."""
    names = list(names)
    for beginnings, what in _FOREIGN:
        if any(name.startswith(beginnings) for name in names):
            return what
    return None
