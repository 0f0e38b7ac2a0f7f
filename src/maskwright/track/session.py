"""A session follows objects through frames that are pushed to it, one after the other."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from maskwright.errors import InputError, StateError
from maskwright.frames import Frame, TrackedFrame
from maskwright.io.images import ImageSource, read_image
from maskwright.io.sources.protocol import Closing
from maskwright.pixels.rgb import to_uint8
from maskwright.runtime.protocol import Runtime
from maskwright.track import ask, snapshot
from maskwright.track.ahead import encoded, made_ready
from maskwright.track.objects import Discovery, FollowedObject, ObjectId, Slot, checked_id
from maskwright.track.options import TrackOptions
from maskwright.track.present import present
from maskwright.track.tracks import Tracks
from maskwright.track.visited import Visited
from maskwright.types import BoolArray, Size


class Session(Closing):
    """Follows objects through frames: push a frame, prompt objects in it, push the next.

    Memory is bounded: it grows with the number of objects and of prompted frames, never with the number of
    frames. Use as a context manager, or call :meth:`close`. Not thread-safe; many sessions may share a model.
    """

    def __init__(self, runtime: Runtime, options: TrackOptions | None = None) -> None:
        self._runtime = runtime
        self.options = options or TrackOptions()
        self._closed = False
        self._start()

    def _start(self) -> None:
        self._tracks = Tracks(self._runtime, self.options)
        self._size: Size | None = None
        self._now: Visited | None = None
        self._before: deque[Visited] = deque(maxlen=self.options.rewind)
        self._next_tick = 0
        self._next_index = 0

    @property
    def ids(self) -> tuple[int, ...]:
        """Numbers of the objects, in the order in which they were added."""
        return self._tracks.objects.ids

    @property
    def highest_id(self) -> int:
        """Highest number that any object has had, also those that were removed; at least 0."""
        return self._tracks.objects.highest

    @property
    def discoveries(self) -> dict[int, Discovery]:
        """Of the objects that came by :meth:`add_discovered` and that nobody has prompted since."""
        found = {one.id: one.discovery for one in self._tracks.objects}
        return {number: discovery for number, discovery in found.items() if discovery is not None}

    @property
    def tick(self) -> int:
        """Place of the current frame in the session's time: 0 for the first that was pushed, then one more;
        -1, -2 ... on the way back after :meth:`turn_back`.

        Raises:
            StateError: no frame was pushed yet.
        """
        return self._visited(None).tick

    @property
    def num_bytes(self) -> int:
        """Bytes of memories held: depends on the number of objects and prompts, not on that of frames."""
        return self._tracks.memories.num_bytes

    @property
    def current(self) -> TrackedFrame:
        """The current frame again, with everything that prompts have changed since it was pushed.

        Raises:
            StateError: no frame was pushed yet.
        """
        return self._presented(self._visited(None))

    @property
    def addressable(self) -> tuple[int, ...]:
        """Numbers of the frames that :meth:`prompt` can be asked about, the current one last."""
        return tuple(one.frame.index for one in self._reachable())

    @property
    def runs_backward(self) -> bool:
        """Whether frames are expected in descending order, after :meth:`turn_back`."""
        return self._tracks.direction < 0

    def push(self, frame: Frame | ImageSource) -> TrackedFrame:
        """Go on to the next frame and find every object in it.

        Args:
            frame: A :class:`Frame`, or whatever ``MaskModel.embed`` takes; without a number of its own it
                gets the next one.

        Raises:
            ImageError: the picture cannot be read.
            InputError: it has another size than the frames before.
            StateError: the session is closed.
        """
        return self.push_prompted(frame, {})

    def prompt(
        self,
        object_id: int,
        prompt: ask.VideoPrompt,
        *,
        frame: int | None = None,
        anchor: bool = True,
    ) -> TrackedFrame:
        """Say what an object is, or correct where it is: a new number adds an object.

        Clicks and boxes for the same object in the same frame add up; a bitmap replaces them. A correction in
        an earlier frame is carried forward: the object is followed anew through the frames since.

        Args:
            object_id: Any whole number.
            prompt: Points, box, both, logits of an earlier mask, or the mask itself as bool (h, w).
            frame: Number of the frame: the current one by default, or one of :attr:`addressable`.
            anchor: Keep this frame in the object's memory for good. Otherwise a correction ages like any
                other frame, as in the official predictor; an object's first prompt always stays.

        Returns:
            The frame that was prompted, with all objects in it.

        Raises:
            StateError: no frame was pushed yet, or the session is closed.
            InputError: the frame is not addressable (any more).
            PromptError: malformed, or outside the frame.
        """
        visited = self._visited(frame)
        self._ask(checked_id(object_id), prompt, visited, anchor=anchor)
        return self._presented(visited)

    def push_prompted(
        self, frame: Frame | ImageSource, prompts: Mapping[ObjectId, ask.VideoPrompt]
    ) -> TrackedFrame:
        """:meth:`push` a frame and :meth:`prompt` objects in it, presented once."""
        self._advance(frame)
        visited = self._visited(None)
        for number, prompt in prompts.items():
            self._ask(number, prompt, visited)
        tracked = self._presented(visited)
        self._tracks.objects.tally({one.id for one in tracked if one.visible and one.area})
        return tracked

    @property
    def prepares_ahead(self) -> bool:
        """Whether :meth:`made_ready` gains time: not on processors, which are busy tracking (docs/log.md)."""
        return self._runtime.device.type != "cpu"

    def made_ready(self, frame: Frame) -> Frame:
        """The same frame, to be pushed here later, with the work done that needs nothing but the frame.

        Unlike everything else here it may be called on another thread.
        """
        return made_ready(frame, self._runtime.config, self._runtime.device)

    def encoded(self, frames: Sequence[Frame]) -> Sequence[Frame]:
        """The same frames, to be pushed here one by one, encoded in one call."""
        return encoded(frames, self._runtime)

    def add_discovered(self, bitmaps: Iterable[BoolArray], *, above: int = 0) -> TrackedFrame:
        """Follow further objects of the current frame, which nobody has asked for.

        Their numbers go on from :attr:`highest_id`, so none is ever given twice. An object that is prompted
        later is the caller's from then on, and no longer among :attr:`discoveries`.

        Args:
            bitmaps: A mask for each, bool (h, w) of the frame's size.
            above: Leave the numbers up to this one free.

        Returns:
            The frame, with all objects in it.

        Raises:
            StateError: no frame was pushed yet, or the session is closed.
            PromptError: a mask of another size.
        """
        visited = self._visited(None)
        for bitmap in bitmaps:
            number = ObjectId(max(self.highest_id, above) + 1)
            self._ask(number, bitmap, visited)
            self._tracks.objects[number].discovery = Discovery(visited.frame.index)
        return self._presented(visited)

    def remove(self, object_id: int) -> None:
        """Stop following an object and forget it.

        Raises:
            InputError: there is no such object.
        """
        self._check_open()
        number = self._tracks.objects[object_id].id
        self._tracks.remove(number)
        for visited in self._reachable():
            visited.forget(number)

    def reset(self) -> None:
        """Forget every object and frame; the next frame may have another size."""
        self._check_open()
        self._start()

    def close(self) -> None:
        """Release everything held. Closing twice is fine."""
        self._start()
        self._closed = True

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write a snapshot, whole or not at all; ``MaskModel.load_session`` continues from it, bit for bit.

        Raises:
            OutputError: it could not be written.
            StateError: the session is closed.
        """
        self._check_open()
        saved = snapshot.Saved(
            memories=self._tracks.memories.state(),
            objects={one.id: (one.slot, one.not_remembered) for one in self._tracks.objects},
            visited=self._reachable(),
            opening=self._tracks.opening,
            direction=self._tracks.direction,
            next_tick=self._next_tick,
            next_index=self._next_index,
            highest=self.highest_id,
            discoveries={ObjectId(number): one for number, one in self.discoveries.items()},
        )
        return snapshot.write(path, saved, self.options, self._runtime)

    @classmethod
    def load(
        cls, path: str | os.PathLike[str], runtime: Runtime, options: TrackOptions | None = None
    ) -> Session:
        """Continue from what :meth:`save` wrote, with the same weights.

        Args:
            path: The snapshot.
            runtime: What runs.
            options: Only needed for a policy of one's own, which a snapshot cannot hold; all others must be
                those of the snapshot.

        Raises:
            InputError: no such file, another kind of file, or one of another model or other options.
        """
        saved, kept = snapshot.read(path, runtime, options)
        session = cls(runtime, kept)
        if saved.objects:
            session._tracks.memories.load_state(saved.memories)
        for number, (slot, not_remembered) in saved.objects.items():
            one = session._tracks.objects.add(ObjectId(number), Slot(slot))
            one.not_remembered, one.discovery = not_remembered, saved.discoveries.get(one.id)
        session._tracks.objects.highest = max(session.highest_id, saved.highest)
        if saved.visited:
            *before, session._now = saved.visited
            session._before.extend(before)
            session._size = session._now.frame.size
        session._tracks.opening = saved.opening
        session._tracks.direction = saved.direction
        session._next_tick, session._next_index = saved.next_tick, saved.next_index
        return session

    def _advance(self, frame: Frame | ImageSource) -> None:
        """:meth:`push` without presenting the result."""
        self._check_open()
        pushed = self._numbered(frame)
        if self._size is not None and pushed.size != self._size:
            (h, w), (old_h, old_w) = pushed.size, self._size
            raise InputError(
                f"frame {pushed.index} is {w} x {h} pixels, the frames before were {old_w} x {old_h}; "
                "a session takes frames of one size: reset it, or scale the frames"
            )
        self._leave_current()
        self._size = pushed.size
        self._now = Visited(pushed, self._next_tick)
        self._next_tick += self._tracks.direction
        self._next_index = pushed.index + self._tracks.direction
        self._tracks.follow(self._now, list(self._tracks.objects))

    def _leave_current(self) -> None:
        """Write what was found in the current frame into the memory, now that no prompt can change it."""
        if self._now is not None:
            self._tracks.remember(self._now, self._tracks.objects)
            self._now.forget_features()
            self._before.append(self._now)
            self._now = None

    def keep_opening(self) -> None:
        """Keep the memories of the first frames aside, for :meth:`turn_back`; before the first push."""
        self._tracks.opening = {}

    def turn_back(self) -> None:
        """Let time run backward from before the first frame, as where the official predictor goes in reverse.

        Then the frames after the first one are the recent past, as they were found on the way forward.
        """
        self._leave_current()
        self._before.clear()
        self._next_tick = -1
        self._tracks.turn_back()

    def fill_memory(self) -> None:
        """For measuring, after the first frame: let the memory be as full as it gets after many frames.

        It then holds copies of what was remembered of the first frame, and takes as long as any other.
        """
        self._leave_current()
        self._before.clear()
        self._next_tick = self._tracks.fill_memory()

    def _ask(
        self, number: ObjectId, prompt: ask.VideoPrompt, visited: Visited, *, anchor: bool = True
    ) -> None:
        """:meth:`prompt` without presenting the result."""
        checked = ask.checked(prompt, visited.frame.size, self._runtime.config)
        if number in self._tracks.objects:
            self._answer(self._tracks.objects[number], checked, visited, anchor=anchor)
            self._tracks.objects[number].discovery = None
            return
        one = self._tracks.add(number)
        try:
            self._answer(one, checked, visited, anchor=anchor)
        except BaseException:
            self.remove(number)
            raise

    def _answer(self, one: FollowedObject, asked: ask.Checked, visited: Visited, *, anchor: bool) -> None:
        self._tracks.answer(one, asked, visited, anchor=anchor)
        if visited is not self._now:
            self._carry_forward(one, visited)

    def _carry_forward(self, one: FollowedObject, visited: Visited) -> None:
        """Follow one object anew from an earlier frame that it was prompted in up to the current one."""
        assert self._now is not None
        self._tracks.remember(visited, [one], again=True)
        since = [other for other in self._before if _later(other.tick, visited.tick, self._tracks.direction)]
        for other in [*since, self._now]:
            if one.id in other.answers and other.answers[one.id].prompted:
                continue
            self._tracks.follow(other, [one])
            if other is not self._now:
                self._tracks.remember(other, [one], again=True)
                other.features = None
        visited.features = None

    def _presented(self, visited: Visited) -> TrackedFrame:
        answers = {
            one.id: visited.answers[one.id] for one in self._tracks.objects if one.id in visited.answers
        }
        found = {number for number, one in self.discoveries.items() if one.frame == visited.frame.index}
        return present(visited.frame, answers, self._runtime.config.mask_size, self.options, discovered=found)

    def _numbered(self, frame: Frame | ImageSource) -> Frame:
        if isinstance(frame, Frame):
            return frame
        return Frame(self._next_index, np.asarray(to_uint8(read_image(frame))))

    def _reachable(self) -> list[Visited]:
        """Frames that can be prompted, the current one last."""
        return [*self._before, *([] if self._now is None else [self._now])]

    def _visited(self, index: int | None) -> Visited:
        """The frame that a prompt is about."""
        self._check_open()
        if self._now is None:
            raise StateError("no frame was pushed yet; push one, then prompt objects in it")
        if index is None or index == self._now.frame.index:
            return self._now
        for visited in self._before:
            if visited.frame.index == index:
                return visited
        shown = ", ".join(map(str, self.addressable))
        raise InputError(
            f"frame {index} cannot be prompted (any more); the session still has: {shown} "
            "(keep more with rewind=)"
        )

    def _check_open(self) -> None:
        if self._closed:
            raise StateError("the session is closed; open another one with model.session()")


def _later(tick: int, than: int, direction: int) -> bool:
    return (tick - than) * direction > 0
