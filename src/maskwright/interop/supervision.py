"""Results as ``supervision.Detections``, and such as masks or prompts; for supervision 0.27 and later.

``masks.to_supervision()`` is :func:`to_detections`. Annotators of supervision take colours from the class
unless told otherwise, and all objects without a label are of one class: ``color_lookup=sv.ColorLookup.INDEX``
tells the objects of a picture apart, ``sv.ColorLookup.TRACK`` keeps the colours of a video's objects.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from maskwright.automask.found import FoundMasks
from maskwright.errors import InputError, MissingExtraError
from maskwright.frames import TrackedFrame
from maskwright.interop.annotations import DEFAULT_LABEL
from maskwright.interop.corners import box_prompt
from maskwright.io.images import ImageSource, read_image
from maskwright.masks import Masks
from maskwright.pixels.rgb import to_uint8
from maskwright.types import BoolArray, Box, FloatArray, IntArray, Size

if TYPE_CHECKING:
    import supervision as sv

Result: TypeAlias = Masks | FoundMasks | TrackedFrame
"""Masks of a picture, or a frame of a video."""
Labels: TypeAlias = Mapping[int, str] | Sequence[str]
"""Name by the number of an object, or of a picture's objects one name each, in their order."""


def to_detections(result: Result, *, labels: Labels | None = None, compact: bool = False) -> sv.Detections:
    """What was segmented, found or tracked as ``supervision.Detections``.

    Objects that are not there (occluded, or an empty mask) are left out; of candidates the best is taken.

    - ``xyxy``: float32, up to the last pixel, as ``sv.mask_to_xyxy`` gives it
    - ``confidence``: the predicted IoU
    - ``class_id`` and ``data["class_name"]``: number and name of the label; numbers follow the order in which
      the names are first mentioned in ``labels``, so that they are the same for all frames of a video
    - ``tracker_id``: the object's number, in videos
    - ``data["object"]``: the object's number; in a picture 1, 2, 3 ..., as in files of all formats
    - ``data["object_score"]``: logit of the object being there; not for ``FoundMasks``
    - ``data["stability"]``, ``data["point"]``: of ``FoundMasks``

    Args:
        result: Masks of a picture, or a frame of a video.
        labels: Names of the objects: a mapping from object number (in pictures 1, 2, 3 ...), or for
            pictures a list with one name for each object.
        compact: Keep the masks as ``sv.CompactMask``, cut-out run lengths, instead of (N, h, w) bool. Newer
            versions of supervision have it. Good for many objects in a large picture.

    Raises:
        MissingExtraError: supervision is not installed.
        InputError: labels that do not fit, or ``compact`` with a supervision that has no such masks.
    """
    sv = import_supervision(compact=compact)
    result = result.best() if isinstance(result, Masks) else result
    rows = _rows(result)
    names = _names(labels, rows, video=isinstance(result, TrackedFrame))
    class_ids = _class_ids(labels, names)
    kept = np.flatnonzero(rows.present)
    columns = {"class_name": np.array(names, dtype=np.str_), "object": rows.numbers, **rows.data}
    detections = sv.Detections.empty()
    if len(kept):  # without masks where there are none, as supervision has it: such can be merged with others
        xyxy = rows.boxes[kept] - np.array((0, 0, 1, 1), np.float32)
        masks = _compact(sv, result, kept, xyxy) if compact else _dense(result, kept)
        detections = sv.Detections(xyxy=xyxy, mask=masks)
    detections.confidence = rows.scores[kept]
    detections.class_id = class_ids[kept]
    if isinstance(result, TrackedFrame):
        detections.tracker_id = rows.numbers[kept]
    detections.data = {name: column[kept] for name, column in columns.items()}
    return detections


def from_supervision(detections: sv.Detections, image: ImageSource | None = None) -> Masks:
    """Masks from anything that gives ``supervision.Detections`` with masks.

    Scores are the confidences, 1 where there are none. There are no low-resolution logits, ``(N, 0, 0)``, so
    that a mask cannot be a ``MaskPrompt``.

    Args:
        detections: With masks, bitmaps or ``sv.CompactMask``; for boxes there is :func:`box_prompts`.
        image: The picture, for overlays: whatever ``MaskModel.embed`` takes.

    Raises:
        InputError: not detections, without masks, or a picture of another size.
        ImageError: the picture cannot be read.
    """
    _check_detections(detections)
    picture = None if image is None else to_uint8(read_image(image))
    num = len(detections.xyxy)
    if detections.mask is not None:
        bitmaps = np.asarray(detections.mask).astype(np.bool_)
    elif num == 0 and picture is not None:
        bitmaps = np.zeros((0, *picture.shape[:2]), np.bool_)
    else:
        raise InputError(
            "these detections have no masks; box_prompts(detections) makes prompts of their boxes"
            if num
            else "there are no detections, so their masks have no size; pass the picture with image="
        )
    return Masks(
        bitmaps=bitmaps,
        scores=_numbers(detections.confidence, num),
        logits=np.zeros((num, 0, 0), np.float32),
        object_scores=_numbers(detections.data.get("object_score"), num),
        image=picture,
    )


def box_prompts(detections: sv.Detections, *, size: Size | None = None) -> list[Box]:
    """A box prompt for each detection, in order: what any detector finds, to be segmented::

        image = model.embed("photo.jpg")
        masks = image.segment(*box_prompts(detections, size=image.size))

    Args:
        detections: With or without masks.
        size: Height and width of the picture, which boxes are clipped to: detectors reach beyond it.

    Raises:
        InputError: not detections.
        PromptError: a box without area, not finite, or outside the picture; the message numbers it.
    """
    _check_detections(detections)
    corners = np.asarray(detections.xyxy, dtype=np.float64).tolist()
    return [
        box_prompt(x0, y0, x1, y1, f"detection {place}", size)
        for place, (x0, y0, x1, y1) in enumerate(corners)
    ]


def import_supervision(*, compact: bool = False) -> Any:
    """The package, once it is sure that it has what is needed; see :func:`to_detections`."""
    try:
        import supervision
    except ImportError as error:
        raise MissingExtraError(
            'Detections need supervision: pip install "maskwright[supervision]"'
        ) from error
    if compact and not hasattr(supervision, "CompactMask"):
        raise InputError(
            f"supervision {supervision.__version__} has no CompactMask; "
            "pip install -U supervision, or leave out compact=True"
        )
    return supervision


@dataclass(frozen=True)
class _Rows:
    """What all kinds of results have, a row for each of N objects."""

    numbers: IntArray
    """(N,) what the caller calls the objects."""
    present: BoolArray
    """(N,) whether there is anything to see."""
    boxes: FloatArray
    """(N, 4) half-open."""
    scores: FloatArray
    """(N,)"""
    data: dict[str, npt.NDArray[Any]]
    """Further columns."""


def _rows(result: Result) -> _Rows:
    if isinstance(result, TrackedFrame):
        numbers = np.array(result.ids, dtype=np.int64)
        present: BoolArray = result.visible & (result.areas > 0)
        data = {"object_score": result.object_scores}
        return _Rows(numbers, present, result.boxes, result.scores, data)
    numbers = np.arange(1, len(result) + 1)
    if isinstance(result, FoundMasks):
        data = {"stability": result.stabilities, "point": result.points}
        return _Rows(numbers, result.areas > 0, result.boxes, result.scores, data)
    data = {"object_score": result.object_scores}
    return _Rows(numbers, result.areas > 0, result.boxes, result.scores, data)


def _dense(result: Result, kept: IntArray) -> BoolArray:
    return result[kept].bitmaps if isinstance(result, FoundMasks) else result.bitmaps[kept]


def _compact(sv: Any, result: Result, kept: IntArray, xyxy: FloatArray) -> Any:
    if not isinstance(result, FoundMasks):
        return sv.CompactMask.from_dense(_dense(result, kept), xyxy, image_shape=result.size)
    codes = [{"size": result.size, "counts": result.runs[row]} for row in kept.tolist()]
    return sv.CompactMask.from_coco_rle(codes, xyxy, image_shape=result.size)


def _names(labels: Labels | None, rows: _Rows, *, video: bool) -> list[str]:
    """The name of each object.

    Raises:
        InputError: a list for a video, where objects come and go, or one of another length.
    """
    numbers: list[int] = rows.numbers.tolist()
    if labels is None:
        return [DEFAULT_LABEL] * len(numbers)
    if isinstance(labels, Mapping):
        return [str(labels.get(number, DEFAULT_LABEL)) for number in numbers]
    if isinstance(labels, str) or video:
        expected = "a mapping from object number to name" + ("" if video else ", or a list of names")
        raise InputError(f"labels are {labels!r}; expected {expected}")
    if len(labels) != len(numbers):
        raise InputError(f"{len(labels)} labels for {len(numbers)} objects; give one for each")
    return [str(name) for name in labels]


def _class_ids(labels: Labels | None, names: list[str]) -> IntArray:
    """Number of each name, by where it is first mentioned; what nobody mentioned comes last."""
    mentioned = labels.values() if isinstance(labels, Mapping) else labels or ()
    order = dict.fromkeys([*map(str, mentioned), DEFAULT_LABEL])
    places = {name: place for place, name in enumerate(order)}
    return np.array([places[name] for name in names], dtype=np.int64)


def _numbers(given: Any, num: int) -> FloatArray:
    return np.ones(num, np.float32) if given is None else np.asarray(given).astype(np.float32)


def _check_detections(detections: Any) -> None:
    if not all(hasattr(detections, name) for name in ("xyxy", "mask", "confidence", "data")):
        raise InputError(f"expected supervision.Detections, not a {type(detections).__name__}")
