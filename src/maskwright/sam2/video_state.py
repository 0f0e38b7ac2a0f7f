"""The inference state of the official video predictor: objects, prompts and results of one video."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any, NamedTuple

from torch import Tensor

from maskwright.model.mask_decoder import ImageFeatures
from maskwright.runtime.protocol import Runtime
from maskwright.sam2.history import History
from maskwright.sam2.video_frames import VideoFrames
from maskwright.track.memories import Memories

UNLIMITED = 1 << 20
"""Prompted frames per object: the official predictor keeps them all."""
CACHED_FRAMES = 2
"""Frames whose features are kept, for several clicks in the same one."""


class Found(NamedTuple):
    """What a prompt gave, before it is remembered."""

    logits_HW: Tensor
    """Low-resolution mask logits, holes filled."""
    pointer_C: Tensor
    object_score: Tensor


@dataclass
class VideoObject:
    """One object: which frames hold what of it. The traces themselves are in the history."""

    serial: int
    """Never used twice, whatever objects come and go."""
    row: int
    """Row in the memory bank."""
    prompted: set[int] = field(default_factory=set)
    """Conditioning frames."""
    followed: set[int] = field(default_factory=set)
    """Frames with a result that are not conditioning frames."""
    new_prompted: dict[int, Found] = field(default_factory=dict)
    """Answers to prompts since the last propagation, on conditioning frames."""
    new_followed: dict[int, Found] = field(default_factory=dict)
    """The same on frames that were tracked before."""
    points: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict)
    """Clicks and box corners (K, 2) in the model's frame, and their labels (K,), by frame."""
    masked: set[int] = field(default_factory=set)
    """Frames with a mask prompt."""
    tracked: dict[int, bool] = field(default_factory=dict)
    """Frames that a propagation went through, and whether it went backward."""


class InferenceState:
    """What ``init_state`` returns. ``state["num_frames"]`` and the other documented keys work."""

    def __init__(self, frames: VideoFrames, runtime: Runtime) -> None:
        self.frames = frames
        self._runtime = runtime
        self._features: OrderedDict[int, ImageFeatures] = OrderedDict()
        self._serials = count()
        self.objects: dict[Any, VideoObject] = {}
        """By the caller's number, in the order in which they were added."""
        self.history = History(runtime.config)
        self.memories = self._empty_memories()

    def _empty_memories(self) -> Memories:
        return Memories(self._runtime, max_prompts=UNLIMITED)

    @property
    def obj_ids(self) -> list[Any]:
        return list(self.objects)

    _KEYS = ("num_frames", "video_height", "video_width", "obj_ids", "device")

    def __getitem__(self, key: str) -> Any:
        if key == "obj_ids":
            return self.obj_ids
        if key == "device":
            return self._runtime.device
        if key in self._KEYS:
            return {
                "num_frames": len(self.frames),
                "video_height": self.frames.size[0],
                "video_width": self.frames.size[1],
            }[key]
        raise KeyError(f"{key!r}; the inference state has {', '.join(self._KEYS)}")

    def __iter__(self) -> Iterator[str]:
        return iter(self._KEYS)

    def __contains__(self, key: object) -> bool:
        return key in self._KEYS

    def keys(self) -> tuple[str, ...]:
        return self._KEYS

    def features(self, frame: int) -> ImageFeatures:
        """Features of a frame, without memory."""
        found = self._features.get(frame)
        if found is None:
            found = self._runtime.encode_image(self.frames[frame][None])
            self._features[frame] = found
            while len(self._features) > CACHED_FRAMES:
                self._features.popitem(last=False)
        self._features.move_to_end(frame)
        return found

    def add_object(self, number: Any) -> VideoObject:
        added = self.objects[number] = VideoObject(next(self._serials), self.memories.add())
        return added

    def remove_object(self, number: Any) -> None:
        removed = self.objects.pop(number)
        last = self.memories.num_objects - 1
        self.memories.remove(removed.row)
        for other in self.objects.values():
            if other.row == last:
                other.row = removed.row
        for frame in removed.prompted | removed.followed:
            self.history.discard((removed.serial, frame))

    def forget_objects(self) -> None:
        """Back to the video alone."""
        self.objects.clear()
        self.history.clear()
        self.memories = self._empty_memories()

    def shown(self, one: VideoObject, frame: int, *, conditioning: bool) -> Tensor | None:
        """Mask logits of an object in a frame as they stand: new answers first, then remembered ones."""
        new = one.new_prompted if conditioning else one.new_followed
        if frame in new:
            return new[frame].logits_HW
        return self.remembered(one, frame)

    def remembered(self, one: VideoObject, frame: int) -> Tensor | None:
        """Mask logits of an object in a frame, as the last propagation left them."""
        if frame not in one.prompted and frame not in one.followed:
            return None
        return self.history.get((one.serial, frame)).logits_HW.to(self._runtime.device)

    def recollect(self, one: VideoObject, frame: int, *, backward: bool) -> None:
        """Make the bank hold exactly what the official predictor attends to from this frame."""
        config, direction = self._runtime.config, -1 if backward else 1
        prompted = dict.fromkeys(one.prompted, True)
        recent = [frame - age * direction for age in range(1, config.num_pointers)]
        pointers = {**dict.fromkeys((t for t in recent if t in one.followed), False), **prompted}
        near = recent[: config.num_memories - 1]
        memories = {**dict.fromkeys((t for t in near if t in one.followed), False), **prompted}
        for missing in self.memories.keep_only(one.row, memories, pointers):
            self.memories.restore(
                one.row,
                missing,
                self.history.get((one.serial, missing)).memory,
                as_memory=memories.get(missing),
                as_pointer=pointers.get(missing),
                direction=direction,
            )
