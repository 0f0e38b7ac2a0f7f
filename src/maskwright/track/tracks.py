"""The objects of a session: what is remembered of them, and how they are found in a frame."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from maskwright.model.candidates import Chosen
from maskwright.model.mask_decoder import ImageFeatures
from maskwright.runtime.protocol import Moment, Runtime
from maskwright.track import ask, step
from maskwright.track.ahead import features_of
from maskwright.track.memories import Memories, Memory
from maskwright.track.objects import FollowedObject, ObjectId, Objects, Slot
from maskwright.track.options import TrackOptions
from maskwright.track.present import cleaned
from maskwright.track.visited import Answer, Visited
from maskwright.types import Prompt


class Tracks:
    """Objects and their memories. Knows frames one at a time; which frame comes when is the session's."""

    def __init__(self, runtime: Runtime, options: TrackOptions) -> None:
        self._runtime = runtime
        self._options = options
        self.objects = Objects()
        self.memories = Memories(runtime, max_prompts=options.max_prompts, dtype=options.torch_dtype)
        self.direction = 1
        """1 where time runs forward, -1 where it runs backward."""
        self.opening: dict[tuple[int, int], Memory] | None = None
        """Memories of the first frames by object and tick, kept aside for :meth:`turn_back`, or None."""

    def add(self, number: ObjectId) -> FollowedObject:
        """A new object, of which nothing is known."""
        return self.objects.add(number, Slot(self.memories.add()))

    def remove(self, number: ObjectId) -> None:
        """Forget an object."""
        last = Slot(self.memories.num_objects - 1)
        self.memories.remove(self.objects.remove(number, last))
        if self.opening is not None:
            self.opening = {key: kept for key, kept in self.opening.items() if key[0] != number}

    def turn_back(self) -> None:
        """Let time run backward from before the first frame, whose successors become the recent past."""
        self.direction = -1
        opening = self.opening or {}
        num_memories = self._runtime.config.num_memories - 1
        for one in self.objects:
            prompted = {frame: True for frame, kept in self.memories.frames(one.slot).items() if kept}
            recent = {tick: False for number, tick in opening if number == one.id and tick not in prompted}
            near = {tick: False for tick in recent if tick < num_memories}
            missing = self.memories.keep_only(one.slot, {**prompted, **near}, {**prompted, **recent})
            for tick in missing:
                self.memories.restore(
                    one.slot,
                    tick,
                    opening[one.id, tick],
                    as_memory=False if tick in near else None,
                    as_pointer=False,
                    direction=-1,
                )
        self.opening = None

    def fill_memory(self) -> int:
        """Copies of the first frame's memory in all places that are looked at; the tick that comes next."""
        config = self._runtime.config
        now = config.num_pointers
        for one in self.objects:
            memory = self.memories.read(one.slot, 0)
            for tick in range(1, now):
                self.memories.restore(
                    one.slot,
                    tick,
                    memory,
                    as_memory=False if now - tick < config.num_memories else None,
                    as_pointer=False,
                    direction=1,
                )
        return now

    def answer(self, one: FollowedObject, asked: ask.Checked, visited: Visited, *, anchor: bool) -> None:
        """Find an object in a frame from everything that it was prompted with there, now and before."""
        earlier = visited.answers.get(one.id)
        followed = earlier is not None and earlier.followed
        visited.clocks.setdefault(one.id, self._clock(one, visited.tick))
        side = self._runtime.config.image_size
        prompt: Prompt | None = None
        mask_1HW: Tensor | None
        if isinstance(asked, Prompt):
            prompt = ask.together(visited.prompts.get(one.id), asked)
            mask_1HW = ask.mask_alone(prompt, side)
        else:
            mask_1HW = ask.bitmap_at_input_size(asked, side)
        if mask_1HW is not None:
            chosen = self._runtime.adopt(self._features(visited), mask_1HW)
        else:
            assert prompt is not None
            chosen = self._answered(one, prompt, visited)
        shown = cleaned(chosen.logits_OHW, self._options)
        visited.prompts.pop(one.id, None)
        if prompt is not None:
            visited.prompts[one.id] = prompt
        visited.answers[one.id] = Answer(
            chosen._replace(logits_OHW=shown),
            shown[0],
            followed,
            prompted=True,
            anchor=anchor or not followed,
        )

    def _answered(self, one: FollowedObject, prompt: Prompt, visited: Visited) -> Chosen:
        """The mask for everything that the object was prompted with in a frame.

        Where the object was followed into the frame, its memories help; an object's first frame has none.
        """
        features, earlier = self._features(visited), visited.answers.get(one.id)
        if earlier is not None and earlier.followed:
            now = self._moment([one], visited)
            seen = step.recalled(self._runtime, features, self.memories, [one.slot], now)
        else:
            seen = self._runtime.without_memory(features)
        previous_HW = None if earlier is None else earlier.shown_HW
        if prompt.mask is not None:
            previous_HW = torch.from_numpy(np.array(prompt.mask.logits))
        asked = ask.in_model_frame(prompt, visited.frame.size, self._runtime.config)
        return step.answer(self._runtime, seen, asked, previous_HW, self._options.policy)

    def follow(self, visited: Visited, objects: list[FollowedObject]) -> None:
        """Find objects in a frame from what is remembered of them."""
        if not objects:
            return
        by_row = sorted(objects, key=lambda one: one.slot)
        for one in by_row:
            visited.clocks.setdefault(one.id, self._clock(one, visited.tick))
        chosen = step.follow(
            self._runtime,
            self._features(visited),
            self.memories,
            [one.slot for one in by_row],
            self._moment(by_row, visited),
            self._options.policy,
        )
        shown = cleaned(chosen.logits_OHW, self._options)
        found = {
            one.id: Answer(part, shown[row], followed=True)
            for row, (one, part) in enumerate(zip(by_row, step.rows_of(chosen), strict=True))
        }
        visited.answers.update({one.id: found[one.id] for one in objects})

    def remember(self, visited: Visited, objects: Iterable[FollowedObject], *, again: bool = False) -> None:
        """Write a frame's answers for these objects into the memory; ``again`` if it was done before."""
        answered = [one for one in objects if one.id in visited.answers]
        kept = self._worth_keeping(answered, visited, again=again)
        if not kept:
            return
        kept.sort(key=lambda one: one.slot)
        answers = [visited.answers[one.id] for one in kept]
        frames = [visited.clocks[one.id] for one in kept]
        self.memories.write(
            self._features(visited),
            step.join([one.chosen for one in answers]),
            [one.slot for one in kept],
            frames,
            prompted=[one.anchor for one in answers],
            binary=[one.prompted for one in answers],
            direction=self.direction,
        )
        if self.opening is not None and 0 <= visited.tick < self._runtime.config.num_pointers - 1:
            for one, frame in zip(kept, frames, strict=True):
                self.opening[one.id, frame] = self.memories.read(one.slot, frame)

    def _worth_keeping(
        self, objects: list[FollowedObject], visited: Visited, *, again: bool
    ) -> list[FollowedObject]:
        """Objects whose memory of a frame the policy keeps; the clocks of the others fall behind."""
        if not objects:
            return []
        answers = [visited.answers[one.id] for one in objects]
        verdict = self._options.policy.remembers(step.join([one.chosen for one in answers]))
        if verdict is None:
            return list(objects)
        kept = []
        for one, answered, good in zip(objects, answers, verdict, strict=True):
            if good or answered.prompted:
                kept.append(one)
            elif not again:
                one.not_remembered += 1
        return kept

    def _clock(self, one: FollowedObject, tick: int) -> int:
        return tick - self.direction * one.not_remembered

    def _moment(self, objects: Iterable[FollowedObject], visited: Visited) -> Moment:
        span = self._options.pointer_span(self._runtime.config.num_pointers)
        return step.moment([visited.clocks[one.id] for one in objects], self.direction, span)

    def _features(self, visited: Visited) -> ImageFeatures:
        """Features of a frame without memory: encoded when first needed, once."""
        if visited.features is None:
            visited.features = features_of(visited.frame, self._runtime)
            visited.forget_pixels()
        return visited.features
