"""How well are objects followed through video? Region overlap J and boundary F, as DAVIS defines them.

Each object of a sequence is shown once, in the first frame that has it; from there whoever follows is on its
own. The frame in which it was shown does not count, nor does the last frame of the sequence, as in the
benchmark's own evaluation.
"""

from __future__ import annotations

import time
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from maskwright.errors import InputError
from maskwright.evaluate.followers import Follow, Found, Shown
from maskwright.evaluate.images import Step
from maskwright.evaluate.questions import first_prompt
from maskwright.evaluate.report import Followed, VideoReport
from maskwright.evaluate.statistics import Statistics
from maskwright.io.datasets.protocol import Scene, Videos
from maskwright.pixels.metrics import boundary_f, iou
from maskwright.types import BoolArray

_AT_ONCE = 8
"""Frames read together."""


class _Truth(NamedTuple):
    """What the masks of one frame are compared with."""

    scene: Scene
    counted: tuple[int, ...]
    """Places of the objects that count in it."""


def evaluate_videos(
    follow: Follow,
    videos: Videos,
    *,
    numbers: Sequence[int] | None = None,
    shown_by: str = "mask",
    full: bool = False,
    step: Step | None = None,
) -> VideoReport:
    """J and F of every object.

    Args:
        follow: Who follows; see ``followers``.
        videos: The data set.
        numbers: Which of its videos; all by default.
        shown_by: How an object is shown: its true ``mask``, a ``box`` around it, a ``click`` in its middle.
        full: The last frame counts too, as for YouTube-VOS and SA-V.
        step: Called after every frame.

    Raises:
        ImageError: a picture or its masks cannot be read, or their sizes differ.
        InputError: there is no object to follow, or ``follow`` leaves out a frame or an object.
    """
    started = time.monotonic()
    rows: list[Followed] = []
    for number in range(len(videos)) if numbers is None else numbers:
        rows += measure(follow, videos, number, shown_by=shown_by, full=full, step=step)
    if not rows:
        raise InputError("there is no object to follow in these sequences")
    return VideoReport(rows, round(time.monotonic() - started, 1))


def measure(
    follow: Follow,
    videos: Videos,
    number: int,
    *,
    shown_by: str = "mask",
    full: bool = False,
    step: Step | None = None,
) -> list[Followed]:
    """Follow the objects of one sequence; one row for each that counts in any frame."""
    name, num_frames = videos.names[number], videos.num_frames(number)
    truths: deque[_Truth] = deque()
    frames = _frames(videos, number, truths, shown_by=shown_by, full=full)
    regions: dict[int, list[float]] = defaultdict(list)
    boundaries: dict[int, list[float]] = defaultdict(list)
    done = 0
    for found in follow(frames, num_frames):
        scene, counted = truths.popleft()
        for place in counted:
            object_id, true = scene.ids[place], scene.mask(place)
            mask = _found(found, object_id, name)
            regions[object_id].append(float(iou(mask, true)))
            boundaries[object_id].append(boundary_f(mask, true))
        done += 1
        if step is not None:
            step()
    if done != num_frames:
        raise InputError(f"{name}: masks for {done} frames of {num_frames}")
    return [
        Followed(name, object_id, len(values), Statistics.of(values), Statistics.of(boundaries[object_id]))
        for object_id, values in sorted(regions.items())
    ]


def _frames(
    videos: Videos, number: int, truths: deque[_Truth], *, shown_by: str, full: bool
) -> Iterator[Shown]:
    """A sequence as who follows sees it; what is true of each frame goes to the end of ``truths``."""
    num_frames, annotated = videos.num_frames(number), videos.annotated(number)
    last = annotated[-1] if annotated else -1
    shown: set[int] = set()
    for start in range(0, num_frames, _AT_ONCE):
        wanted = range(start, min(start + _AT_ONCE, num_frames))
        clip = videos.read(number, wanted)
        for frame, scene, known in zip(wanted, clip.scenes, clip.known, strict=True):
            before = [place for place, one in enumerate(scene.ids) if one in shown]
            new = [place for place, area in enumerate(scene.areas) if area and place not in before]
            shown.update(scene.ids[place] for place in new)
            counts = known and (full or frame != last)
            truths.append(_Truth(scene, tuple(before) if counts else ()))
            prompts = {scene.ids[place]: first_prompt(scene.mask(place), shown_by) for place in new}
            yield scene.picture, prompts


def _found(found: Found, object_id: int, name: str) -> BoolArray:
    if object_id not in found:
        raise InputError(f"{name}: no mask of object {object_id} in a frame after it was shown")
    return found[object_id]
