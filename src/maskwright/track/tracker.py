"""Running a session over a source: which frames, in which direction, with which prompts where."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias
from weakref import proxy

from maskwright.errors import InputError
from maskwright.frames import Frame, TrackedFrame
from maskwright.io.sources import Latest, Source
from maskwright.io.sources.protocol import Closing
from maskwright.track.ahead import in_groups, read_ahead
from maskwright.track.ask import VideoPrompt
from maskwright.track.objects import ObjectId, checked_id
from maskwright.track.session import Session

Direction: TypeAlias = Literal["forward", "backward", "both"]
"""``both`` goes forward from the earliest prompted frame, then backward from it."""
Prompts: TypeAlias = Mapping[int, VideoPrompt | Mapping[int, VideoPrompt]]
"""By object: a prompt in the first frame visited, or prompts by frame number."""
Scout: TypeAlias = Callable[[Session, TrackedFrame], TrackedFrame]
"""Sees each frame after it was tracked, may add or remove objects, and returns the frame as it is then."""


@dataclass(frozen=True)
class Plan:
    """What to do with a source."""

    prompts: Mapping[int, Mapping[ObjectId, VideoPrompt]]
    """By frame, then by object."""
    unplaced: Mapping[ObjectId, VideoPrompt]
    """Prompts in whatever frame comes first."""
    direction: Direction = "forward"
    start: int | None = None
    """First frame visited; by default the earliest prompted one (backward: the latest), or, where objects
    come by themselves and time runs forward, the first of all."""
    stop: int | None = None
    """Forward: the frame before which to stop; backward: the last one, inclusive. Of ``both``: forward."""
    step: int = 1
    """Distance between visited frames."""
    drop_frames: bool = False
    """Always take the newest frame, leaving out those that came meanwhile."""
    discovers: bool = False
    """Whether objects come by themselves, so that there need not be prompts."""

    @classmethod
    def of(
        cls,
        prompts: Prompts,
        *,
        direction: str,
        start: int | None,
        stop: int | None,
        step: int,
        drop_frames: bool,
        discovers: bool = False,
    ) -> Plan:
        """Check everything that can be checked without the source.

        Raises:
            InputError: no prompts, an unknown direction, or numbers that make no sense.
        """
        if direction not in ("forward", "backward", "both"):
            raise InputError(f"direction is {direction!r}; it is 'forward', 'backward' or 'both'")
        for name, value, least in (("start", start, 0), ("stop", stop, 0), ("step", step, 1)):
            if value is not None and (not hasattr(value, "__index__") or value < least):
                raise InputError(f"{name} is {value!r}; it is a frame number from {least} on")
        placed: dict[int, dict[ObjectId, VideoPrompt]] = {}
        unplaced: dict[ObjectId, VideoPrompt] = {}
        for number, given in prompts.items():
            one = checked_id(number)
            if not isinstance(given, Mapping):
                unplaced[one] = given
                continue
            for frame, prompt in given.items():
                if not hasattr(frame, "__index__") or frame < 0:
                    raise InputError(f"object {one}: {frame!r} is not the number of a frame, 0, 1, 2 ...")
                placed.setdefault(frame, {})[one] = prompt
        if not placed and not unplaced and not discovers:
            raise InputError(
                "no prompts: say what to follow, such as {1: Box(210, 300, 420, 560)}, or pass discover=True"
            )
        plan = cls(placed, unplaced, direction, start, stop, step, drop_frames, discovers)  # type: ignore[arg-type]
        plan._check_range()
        return plan

    @property
    def first(self) -> int:
        """The first frame visited."""
        if self.start is not None:
            return self.start
        if self.direction == "backward":
            return max(self.prompts)
        from_the_start = self.unplaced or not self.prompts or (self.discovers and self.direction == "forward")
        return 0 if from_the_start else min(self.prompts)

    def check_source(self, source: Source) -> None:
        """What can be known before the first frame is read.

        Raises:
            InputError: a prompt in a frame that the source does not have, or a direction that it cannot go.
        """
        if source.live and self.direction != "forward":
            raise InputError(f"{source.name} is live and cannot be followed {self.direction}; use forward")
        length = source.num_frames if source.exact_length else None
        for frame in sorted({*self.prompts, self.first}):
            if length is not None and frame >= length:
                raise InputError(
                    f"there is no frame {frame} in {source.name}, which has frames 0 to {length - 1}"
                )

    def num_frames(self, source: Source) -> int | None:
        """How many frames will be visited, as far as the source knows its length."""
        if self.direction == "backward":
            return (self.first - (self.stop or 0)) // self.step + 1
        end = (
            self.stop if source.num_frames is None else min(self.stop or source.num_frames, source.num_frames)
        )
        if end is None or source.live:
            return None
        forward = max(0, -(-(end - self.first) // self.step))
        return forward + (self.first // self.step if self.direction == "both" else 0)

    def _check_range(self) -> None:
        if self.direction == "backward" and self.start is None and not self.prompts:
            raise InputError("backward from where? Pass start=, or prompts by frame: {1: {250: Box(...)}}")
        if self.unplaced and self.start is None and self.prompts and self.direction == "backward":
            raise InputError("some prompts have no frame number; give all of them one to go backward")
        sign = -1 if self.direction == "backward" else 1
        for frame in self.prompts:
            ahead = (frame - self.first) * sign
            ends = self.stop is not None and (frame >= self.stop if sign == 1 else frame < self.stop)
            if ahead < 0 or ends or (ahead % self.step and not self.drop_frames):
                visited = f"start={self.first}, stop={self.stop}, step={self.step}, {self.direction}"
                raise InputError(f"frame {frame} is prompted but not visited ({visited})")


class Tracking(Closing, Iterator[TrackedFrame]):
    """The tracked frames of a source, one by one as they are made. A context manager; closing cancels.

    Decoding goes on in the background while a frame is tracked.
    """

    def __init__(self, session: Session, source: Source, plan: Plan, scout: Scout | None = None) -> None:
        plan.check_source(source)
        self.session = session
        """What follows the objects: may be asked or corrected between two frames."""
        self.source = source
        self.plan = plan
        self._scout = scout
        self._reader: Latest[Frame] | None = None
        # The generator must not keep alive what holds it: a loop that was left ends its thread at once.
        self._frames = Tracking._run(proxy(self))

    @property
    def dropped(self) -> int:
        """Frames left out because newer ones had come."""
        return 0 if self._reader is None else self._reader.dropped

    @property
    def num_frames(self) -> int | None:
        """How many frames there will be, as far as the source knows."""
        return self.plan.num_frames(self.source)

    def __iter__(self) -> Tracking:
        return self

    def __next__(self) -> TrackedFrame:
        tracked: TrackedFrame = next(self._frames)
        return tracked

    def close(self) -> None:
        """Stop: end the background thread and release the source and the session."""
        self._frames.close()
        self.source.close()
        self.session.close()

    def _run(self) -> Any:
        plan, session = self.plan, self.session
        resumed = session.addressable[-1] if session.addressable else None
        if not session.runs_backward:
            first = plan.first if resumed is None else resumed + plan.step * self._sign
            if plan.direction == "backward":
                yield from Tracking._visit(self, self._backward(first, plan.stop or 0))
                self._check_all_prompted()
                return
            if plan.direction == "both" and resumed is None:
                session.keep_opening()
            yield from Tracking._visit(self, self.source.frames(first, plan.stop, plan.step))
            self._check_all_prompted()
            if plan.direction != "both":
                return
            session.turn_back()
            resumed = None
        last = plan.first if resumed is None else resumed
        yield from Tracking._visit(self, self._backward(last - plan.step, 0))

    @property
    def _sign(self) -> int:
        return -1 if self.plan.direction == "backward" else 1

    def _backward(self, first: int, stop: int) -> Iterable[Frame]:
        if first < stop:
            return ()
        return self.source.backward(first, stop, self.plan.step)

    def _visit(self, frames: Iterable[Frame]) -> Iterator[TrackedFrame]:
        """Track frames that are decoded meanwhile on another thread."""
        if self.plan.drop_frames:
            self._reader = Latest(frames)
            reader: Any = self._reader
        else:
            reader = read_ahead(frames, self.session.made_ready if self.session.prepares_ahead else None)
        num = self.session.options.encode_ahead
        together = num > 1 and not self.plan.drop_frames and not self.source.live
        with closing(reader):
            for frame in in_groups(reader, num, self.session.encoded) if together else reader:
                yield self._track(frame)

    def _track(self, frame: Frame) -> TrackedFrame:
        session = self.session
        prompts = (
            dict(self.plan.prompts.get(frame.index, {})) if not self.plan.drop_frames else self._due(frame)
        )
        if not session.addressable:
            prompts |= self.plan.unplaced
        tracked = session.push_prompted(frame, prompts)
        return tracked if self._scout is None else self._scout(session, tracked)

    def _due(self, frame: Frame) -> dict[ObjectId, VideoPrompt]:
        """Where frames are dropped: prompts up to this frame that no frame has taken yet."""
        seen = self.session.addressable[-1] if self.session.addressable else -1
        due: dict[ObjectId, VideoPrompt] = {}
        for number in sorted(self.plan.prompts):
            if seen < number <= frame.index:
                due |= self.plan.prompts[number]
        return due

    def _check_all_prompted(self) -> None:
        """A source that ended before a prompted frame is an error, not a silence."""
        reached = self.session.addressable
        if not reached:
            raise InputError(f"{self.source.name} has no frame {self.plan.first}")
        for frame in self.plan.prompts:
            if (frame - reached[-1]) * self._sign > 0:
                raise InputError(
                    f"frame {frame} is prompted, but {self.source.name} ended after frame {reached[-1]}"
                )
