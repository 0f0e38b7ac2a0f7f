"""One film on the desk: quick answers in the frame that is shown, and objects followed through all frames."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from maskwright.errors import InputError
from maskwright.mask_model import MaskModel
from maskwright.masks import Masks
from maskwright.segmenter import Embedding
from maskwright.track.options import TrackOptions
from maskwright.track.session import Session
from maskwright.track.tracker import Direction, Tracking
from maskwright.types import ByteArray, Prompt, Size
from maskwright.widget.answers import Preview, Recent, Shown, as_prompt, preview, shown
from maskwright.widget.pictures import stencil
from maskwright.widget.reader import Reader
from maskwright.widget.sheet import ByFrame, LabelledObject, Sheet
from maskwright.widget.snapshots import Snapshots
from maskwright.widget.trails import Found, TrackedMasks, Trails


@dataclass(frozen=True)
class Step:
    """How far following has come."""

    frame: int
    """The frame that was searched."""
    done: int
    total: int
    """Frames to search in this run, as far as anybody knows."""


class Film:
    """A film: its frames, and what the model finds in them. Memory: run lengths, and a few frames."""

    def __init__(
        self,
        source: Any,
        model: MaskModel,
        *,
        direction: Direction = "forward",
        options: TrackOptions | None = None,
    ) -> None:
        """Open the film.

        Raises:
            SourceError: it cannot be opened.
            InputError: it cannot be read in any order, or the weights cannot follow objects.
        """
        if model.image_only:
            raise InputError(f"these weights of {model.name} segment pictures only; load another model")
        if direction not in ("forward", "both"):
            raise InputError(f"direction is {direction!r}; it is 'forward' or 'both'")
        self._reader, self._source, self._model = Reader(source), source, model
        self._direction: Direction = direction
        self._options = replace(options or TrackOptions(), rewind=0)
        self._trails, self._snapshots = Trails(), Snapshots()
        self._embeddings: Recent[Embedding] = Recent(2)
        self._quick: Recent[Masks] = Recent(8)

    @property
    def size(self) -> Size:
        """Height and width of a frame in pixels."""
        return self._reader.size

    @property
    def num_frames(self) -> int:
        """Exact."""
        return self._reader.num_frames

    @property
    def fps(self) -> float | None:
        """Frames per second, where the film says so."""
        return self._reader.fps

    def image(self, frame: int) -> ByteArray:
        """(h, w, 3) RGB of a frame."""
        return self._reader.image(frame)

    def preview(self, one: LabelledObject, frame: int) -> Preview:
        """What the object's mask in this frame would be, roughly."""
        return preview(self._embedding(frame), self._corrected(one, frame))

    def shown(self, sheet: Sheet, frame: int) -> list[Shown]:
        """Masks of this frame: those found by following, and answers to what was clicked here since."""
        drawn = [self._shown(one, frame, len(sheet.objects)) for one in sheet.prompted]
        return [one for one in drawn if one is not None]

    def masks(self, sheet: Sheet) -> TrackedMasks:
        """Everything that was found by following."""
        return TrackedMasks(self._trails, sheet, self.size)

    def behind(self, sheet: Sheet) -> list[int]:
        """Objects that have to be followed (anew)."""
        return self._trails.behind(sheet)

    def follow(self, sheet: Sheet) -> Iterator[Step]:
        """Follow the objects whose prompts are new; those before stay. Closing cancels.

        A correction costs the frames from the last snapshot before it on, and only the corrected objects
        are followed. The masks are those that following everything from the start would give.
        """
        wanted = {number: sheet[number].prompts for number in self.behind(sheet)}
        if not wanted:
            return
        one_way = self._direction == "forward"
        for number, prompts in wanted.items():
            self._trails[number].restart(prompts, one_way=one_way)
        session = self._resumed(wanted) if one_way else None
        before = 0 if session is None else session.addressable[-1] + 1 - min(min(p) for p in wanted.values())
        with closing(self._tracking(wanted, session)) as tracking:
            total = (tracking.num_frames or self.num_frames) - before
            for done, tracked in enumerate(tracking, 1):
                self._trails.keep(tracked)
                if one_way:
                    self._snapshots.take(tracked.index, tracking.session, wanted)
                yield Step(tracked.index, done, max(total, done))
        for number in wanted:
            self._trails[number].complete = True

    def close(self) -> None:
        """Release files and pictures."""
        self._reader.close()
        self._snapshots.close()
        self._embeddings.clear()
        self._quick.clear()

    def _tracking(self, wanted: dict[int, ByFrame], session: Session | None) -> Tracking:
        return self._model.track(
            self._source, wanted, direction=self._direction, options=self._options, session=session
        )

    def _resumed(self, wanted: dict[int, ByFrame]) -> Session | None:
        """A session that stands as late as can be, with none but these objects."""
        snapshot = self._snapshots.latest(wanted, self._trails)
        if snapshot is None:
            return None
        session = self._model.load_session(snapshot.path, self._options)
        for number in set(session.ids) - set(wanted):
            session.remove(number)
        return session

    def _embedding(self, frame: int) -> Embedding:
        return self._embeddings.get(frame, lambda: self._model.embed(self.image(frame)))

    def _shown(self, one: LabelledObject, frame: int, room: int) -> Shown | None:
        here, trail = one.prompts.get(frame), self._trails[one.id]
        if here is not None and (trail.prompts.get(frame) != here or frame not in trail.found):
            prompt = self._corrected(one, frame)
            answer = partial(self._embedding(frame).segment, prompt)
            return shown(one.id, self._quick.get((frame, prompt), lambda: answer(), room=room))
        found = trail.found.get(frame)
        if found is None:
            return None
        return Shown(one.id, stencil(found.bitmap), found.score, found.area)

    def _corrected(self, one: LabelledObject, frame: int) -> Prompt:
        """The prompt in this frame, on top of the mask that was found there without it."""
        prompt, found = one.prompts[frame], self._uncorrected(one, frame)
        if found is None or not found.area or prompt.box is not None or prompt.mask is not None:
            return prompt
        return prompt + as_prompt(found.bitmap, self._model.config.mask_size)

    def _uncorrected(self, one: LabelledObject, frame: int) -> Found | None:
        return self._trails[one.id].found.get(frame) if len(one.prompts) > 1 else None
