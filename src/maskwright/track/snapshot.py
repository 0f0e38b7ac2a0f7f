"""A session as a file: everything that its next frames depend on, exactly.

Features are not stored: they are made again from the pictures, with the same result.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from maskwright.errors import InputError
from maskwright.frames import Frame
from maskwright.model.candidates import Chosen
from maskwright.runtime.protocol import Runtime
from maskwright.runtime.stored import Kind, read_stored, write_stored
from maskwright.track.memories import Memory
from maskwright.track.objects import Discovery, ObjectId
from maskwright.track.options import TrackOptions
from maskwright.track.policy import OfficialPolicy
from maskwright.track.visited import Answer, Visited
from maskwright.types import Box, MaskPrompt, Points, Prompt

_FILE = Kind("maskwright-session-1", "a snapshot", "Session.save", "load it with that model")


@dataclass
class Saved:
    """What a snapshot holds."""

    memories: dict[str, Tensor]
    objects: dict[ObjectId, tuple[int, int]]
    """Row in the bank and frames not remembered, by number, in the order in which objects were added."""
    visited: list[Visited]
    """Frames that can be prompted, the current one last."""
    opening: dict[tuple[int, int], Memory] | None
    direction: int
    next_tick: int
    next_index: int
    highest: int
    """Highest number that any object has had."""
    discoveries: dict[ObjectId, Discovery]
    """Of objects that nobody asked for."""


def write(path: str | os.PathLike[str], saved: Saved, options: TrackOptions, runtime: Runtime) -> Path:
    """Write a snapshot, whole or not at all."""
    tensors = {f"memories.{name}": part for name, part in saved.memories.items()}
    for (number, tick), memory in (saved.opening or {}).items():
        tensors |= {f"opening.{number}.{tick}.{name}": part for name, part in memory._asdict().items()}
    frames = []
    for place, visited in enumerate(saved.visited):
        tensors |= _frame_tensors(f"frames.{place}", visited)
        frames.append(_frame_notes(visited))
    notes = {
        "objects": [[number, *rest] for number, rest in saved.objects.items()],
        "frames": frames,
        "opening": None if saved.opening is None else [list(key) for key in saved.opening],
        "direction": saved.direction,
        "next_tick": saved.next_tick,
        "next_index": saved.next_index,
        "highest": saved.highest,
        "discoveries": [[number, one.frame, one.unseen] for number, one in saved.discoveries.items()],
        "options": _option_notes(options),
    }
    return write_stored(path, _FILE, runtime, tensors, {"notes": json.dumps(notes)})


def read(
    path: str | os.PathLike[str], runtime: Runtime, options: TrackOptions | None
) -> tuple[Saved, TrackOptions]:
    """Read a snapshot for the same model, and the options it was made with.

    Raises:
        InputError: no such file, another kind of file, or one of another model or other options.
    """
    tensors, metadata = read_stored(path, _FILE, runtime)
    notes = json.loads(metadata["notes"])
    kept = _options_of(Path(path), notes["options"], options)
    visited = [
        _visited_of(tensors, f"frames.{place}", frame, runtime) for place, frame in enumerate(notes["frames"])
    ]
    opening = None
    if notes["opening"] is not None:
        opening = {
            (number, tick): Memory(*(tensors[f"opening.{number}.{tick}.{name}"] for name in Memory._fields))
            for number, tick in notes["opening"]
        }
    prefix = "memories."
    memories = {name.removeprefix(prefix): part for name, part in tensors.items() if name.startswith(prefix)}
    objects = {ObjectId(number): (slot, missed) for number, slot, missed in notes["objects"]}
    # snapshots of earlier versions know nothing of discoveries
    discoveries = {ObjectId(number): Discovery(*rest) for number, *rest in notes.get("discoveries", [])}
    times = (notes["direction"], notes["next_tick"], notes["next_index"])
    return Saved(memories, objects, visited, opening, *times, notes.get("highest", 0), discoveries), kept


def _frame_tensors(prefix: str, visited: Visited) -> dict[str, Tensor]:
    tensors = {f"{prefix}.image": torch.from_numpy(np.array(visited.frame.image))}
    for number, found in visited.answers.items():
        parts = found.chosen._asdict() | {"shown": found.shown_HW}
        tensors |= {f"{prefix}.{number}.{name}": part for name, part in parts.items()}
    for number, prompt in visited.prompts.items():
        if prompt.mask is not None:
            tensors[f"{prefix}.{number}.prompt"] = torch.from_numpy(np.array(prompt.mask.logits))
    return tensors


def _frame_notes(visited: Visited) -> dict[str, Any]:
    return {
        "index": visited.frame.index,
        "time": visited.frame.time,
        "tick": visited.tick,
        "clocks": list(visited.clocks.items()),
        "answers": [[n, one.followed, one.prompted, one.anchor] for n, one in visited.answers.items()],
        "prompts": [[number, _prompt_notes(prompt)] for number, prompt in visited.prompts.items()],
    }


def _prompt_notes(prompt: Prompt) -> dict[str, Any]:
    points, box = prompt.points, prompt.box
    return {
        "points": None if points is None else points.coords.tolist(),
        "labels": None if points is None else points.labels.tolist(),
        "box": None if box is None else [box.x0, box.y0, box.x1, box.y1],
    }


def _visited_of(
    tensors: Mapping[str, Tensor], prefix: str, notes: dict[str, Any], runtime: Runtime
) -> Visited:
    frame = Frame(notes["index"], tensors[f"{prefix}.image"].numpy(), notes["time"])
    answers = {}
    for number, *flags in notes["answers"]:
        parts = {
            name: tensors[f"{prefix}.{number}.{name}"].to(runtime.device)
            for name in (*Chosen._fields, "shown")
        }
        shown_HW = parts.pop("shown")
        answers[ObjectId(number)] = Answer(Chosen(**parts), shown_HW, *flags)
    prompts = {
        ObjectId(number): _prompt_of(entry, tensors.get(f"{prefix}.{number}.prompt"))
        for number, entry in notes["prompts"]
    }
    clocks = {ObjectId(number): clock for number, clock in notes["clocks"]}
    return Visited(frame, notes["tick"], answers, prompts, clocks)


def _prompt_of(notes: dict[str, Any], logits: Tensor | None) -> Prompt:
    return Prompt(
        None if notes["points"] is None else Points(notes["points"], notes["labels"]),
        None if notes["box"] is None else Box(*notes["box"]),
        None if logits is None else MaskPrompt(logits.numpy()),
    )


def _option_notes(options: TrackOptions) -> dict[str, Any]:
    """Options as JSON; a policy by what it prints, which tells whether it is the same."""
    return asdict(replace(options, policy=OfficialPolicy())) | {"policy": repr(options.policy)}


def _options_of(path: Path, notes: dict[str, Any], given: TrackOptions | None) -> TrackOptions:
    if given is None:
        if notes["policy"] != repr(OfficialPolicy()):
            raise InputError(f"{path} was made with the policy {notes['policy']}; pass it in options=")
        return TrackOptions(**{name: value for name, value in notes.items() if name != "policy"})
    made = _option_notes(TrackOptions()) | notes  # an older snapshot knows fewer of them
    for name, value in _option_notes(given).items():
        if made[name] != value:
            raise InputError(f"{path} was made with {name}={made[name]}, not {value}; use the same options")
    return given
