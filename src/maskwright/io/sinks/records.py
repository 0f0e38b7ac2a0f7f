"""The lines of a log: headers and frames <-> JSON.

The first line is the header::

    {"format": "maskwright-log", "version": 1, "source": "street.mp4", "size": [720, 1280], "fps": 29.97,
     "model": "sam2.1-tiny", "fingerprint": "...", "job": {...}}

and every further line one frame, in the order in which frames were tracked::

    {"frame": 12, "time": 0.4004, "size": [720, 1280], "objects": [
      {"id": 1, "visible": true, "score": 0.93, "object_score": 8.25, "bbox": [210, 300, 64, 80],
       "area": 3100, "prompted": false, "segmentation": {"size": [720, 1280], "counts": "..."}}]}

with ``"discovered": true`` for an object in the frame in which it was found without having been asked for.

Sizes are height and width; boxes are COCO's (x, y, width, height) and masks its compressed RLE, in pixels of
the frame. A number that is not finite is null. Scores are written with as many digits as give back the same
float32.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from maskwright.errors import InputError
from maskwright.frames import TrackedFrame
from maskwright.pixels import rle
from maskwright.pixels.boxes import corner_and_size
from maskwright.types import Size

FORMAT = "maskwright-log"
VERSION = 1
_NUMBER = (int, float)


@dataclass(frozen=True)
class LogHeader:
    """What a log is about: enough to tell whether a later run continues the same job."""

    source: str
    """Name of the source."""
    size: Size | None = None
    """Height and width of its frames, if known beforehand."""
    fps: float | None = None
    """Its average rate, if it has one."""
    model: str = ""
    """Name of the model."""
    fingerprint: str = ""
    """Of the model's weights."""
    job: Mapping[str, Any] = field(default_factory=dict)
    """Prompts and options, of values that JSON holds."""


class BrokenRecord(ValueError):
    """A line that is not what it should be; the text says why."""


def header_line(header: LogHeader) -> bytes:
    """The first line, newline included.

    Raises:
        InputError: a value that JSON does not hold.
    """
    record = {
        "format": FORMAT,
        "version": VERSION,
        "source": header.source,
        "size": header.size,
        "fps": header.fps,
        "model": header.model,
        "fingerprint": header.fingerprint,
        "job": header.job,
    }
    try:
        return _line(record)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"the header of the log cannot be written as JSON: {error}; use plain numbers and text"
        ) from error


def parse_header(line: bytes) -> LogHeader:
    """The header of a first line. Raises BrokenRecord if it is none."""
    record = _parse(line)
    if record.get("format") != FORMAT:
        raise BrokenRecord("it is no log of maskwright")
    version = _get(record, "version", int)
    if version > VERSION:
        raise BrokenRecord(f"it is of format version {version}, newer than {VERSION}; update maskwright")
    size = None if record.get("size") is None else _size(record)
    fps = None if record.get("fps") is None else float(_get(record, "fps", *_NUMBER))
    return LogHeader(
        _get(record, "source", str),
        size,
        fps,
        _get(record, "model", str),
        _get(record, "fingerprint", str),
        _get(record, "job", dict),
    )


def first_difference(old: LogHeader, new: LogHeader) -> str | None:
    """Where two headers part, in words, or None if they are the same."""
    before, after = (json.loads(header_line(header)) for header in (old, new))
    return _difference(before, after, "")


def frame_line(frame: TrackedFrame) -> bytes:
    """The line of one frame, newline included."""
    codes = rle.encode(frame.bitmaps)
    objects = [
        {
            "id": number,
            "visible": bool(frame.visible[row]),
            "score": _shortest(frame.scores[row]),
            "object_score": _shortest(frame.object_scores[row]),
            "bbox": box,
            "area": int(frame.areas[row]),
            "prompted": number in frame.prompted,
            "segmentation": codes[row],
            **({"discovered": True} if number in frame.discovered else {}),
        }
        for row, (number, box) in enumerate(zip(frame.ids, corner_and_size(frame.boxes), strict=True))
    ]
    return _line(
        {"frame": frame.index, "time": frame.time, "size": [int(s) for s in frame.size], "objects": objects}
    )


def parse_index(line: bytes) -> int:
    """The number of the frame of a line, whose other parts are checked but for the masks' runs.

    Raises:
        BrokenRecord: the line is damaged.
    """
    return int(_checked(line)["frame"])


def parse_frame(line: bytes) -> TrackedFrame:
    """The frame of a line, without picture and logits. Raises BrokenRecord if the line is damaged."""
    record = _checked(line)
    objects, size = record["objects"], _size(record)
    try:
        codes = [item["segmentation"] for item in objects]
        bitmaps = rle.decode(codes) if codes else np.zeros((0, *size), np.bool_)
    except InputError as error:
        raise BrokenRecord(str(error)) from error
    boxes = np.array([item["bbox"] for item in objects], np.float32).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    return TrackedFrame(
        index=record["frame"],
        ids=tuple(item["id"] for item in objects),
        bitmaps=bitmaps,
        scores=_floats([item["score"] for item in objects]),
        object_scores=_floats([item["object_score"] for item in objects]),
        boxes=boxes,
        areas=np.array([item["area"] for item in objects], np.int64),
        logits=np.zeros((0, 0, 0), np.float32),
        time=record.get("time"),
        prompted=frozenset(item["id"] for item in objects if item["prompted"]),
        discovered=frozenset(item["id"] for item in objects if item.get("discovered")),
    )


def _line(record: Mapping[str, Any]) -> bytes:
    """ASCII, so that every name survives, even one that is no valid text."""
    return json.dumps(record, separators=(",", ":"), allow_nan=False).encode("ascii") + b"\n"


def _parse(line: bytes) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise BrokenRecord(f"it is not JSON: {error}") from error
    if not isinstance(record, dict):
        raise BrokenRecord("it is not a JSON object")
    return record


def _get(record: Mapping[str, Any], key: str, *kinds: type) -> Any:
    value = record.get(key)
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        raise BrokenRecord(f"its {key!r} is {'missing' if key not in record else 'of the wrong kind'}")
    return value


def _size(record: Mapping[str, Any]) -> Size:
    size = _get(record, "size", list)
    if len(size) != 2 or not all(type(side) is int and side > 0 for side in size):
        raise BrokenRecord("its 'size' is not a height and a width")
    return size[0], size[1]


def _checked(line: bytes) -> dict[str, Any]:
    """The JSON of a frame's line, every part of which is there and of the right kind."""
    record = _parse(line)
    _get(record, "frame", int)
    if record.get("time") is not None:
        _get(record, "time", *_NUMBER)
    size = _size(record)
    for item in _get(record, "objects", list):
        _check_object(item, size)
    return record


def _check_object(item: Any, size: Size) -> None:
    if not isinstance(item, dict):
        raise BrokenRecord("an object in it is not a JSON object")
    for key in ("id", "area"):
        _get(item, key, int)
    for key in ("visible", "prompted", *(["discovered"] if "discovered" in item else [])):
        _get(item, key, bool)
    for key in ("score", "object_score"):
        if key not in item or item[key] is not None:
            _get(item, key, *_NUMBER)
    box = _get(item, "bbox", list)
    if len(box) != 4 or not all(type(side) is int for side in box):
        raise BrokenRecord("its 'bbox' is not four numbers")
    if _size(_get(item, "segmentation", dict)) != size:
        raise BrokenRecord("a mask in it has another size than the frame")
    _get(item["segmentation"], "counts", str)


def _shortest(number: np.float32) -> float | None:
    """The float with the fewest digits that is the same float32; None if it is not finite."""
    return float(str(np.float32(number))) if math.isfinite(number) else None


def _floats(numbers: list[float | None]) -> Any:
    return np.array([math.nan if number is None else number for number in numbers], np.float32)


def _difference(old: Any, new: Any, name: str) -> str | None:
    """The first place where two JSON values differ."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in [*old, *(key for key in new if key not in old)]:
            inner = f"{name}.{key}" if name else key
            if key not in old or key not in new:
                value, owner = (old[key], "the log") if key in old else (new[key], "the new job")
                return f"only {owner} has {inner} = {_short(value)}"
            found = _difference(old[key], new[key], inner)
            if found:
                return found
        return None
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        pairs = enumerate(zip(old, new, strict=True))
        found_in = (_difference(a, b, f"{name}[{place}]") for place, (a, b) in pairs)
        return next((found for found in found_in if found), None)
    return None if old == new else f"{name} was {_short(old)} and is {_short(new)} now"


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
