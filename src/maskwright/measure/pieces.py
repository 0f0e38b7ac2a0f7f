"""The pieces of work that a model is measured by, each giving a figure for everybody who takes part."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from operator import methodcaller

from maskwright.measure.parity import Comparison
from maskwright.measure.plan import Plan
from maskwright.measure.results import Figure, Report, Timing
from maskwright.measure.rounds import FULL, Allowance, Limits, frames, in_turn, rounds
from maskwright.measure.scene import LENGTH, Scene
from maskwright.measure.shots import Answer, Contestant, Failure, Shot

LIMITS = {
    "image": Limits(least=5, most=50, plain=10),
    "video": Limits(least=5, most=LENGTH - FULL, plain=12),
    "automask": Limits(least=1, most=10, plain=3),
    "start": Limits(least=1, most=5, plain=3),
}
"""By part."""
TITLES = {"image": "a picture and clicks", "automask": "automatic masks", "start": "first mask"}
"""By part, for progress."""
Shots = Mapping[str, Shot]


class Samples:
    """Shots of one task by one contestant."""

    def __init__(self) -> None:
        self._times: dict[str, list[float]] = defaultdict(list)
        self._stages: list[Mapping[str, float]] = []

    def add(self, shot: Shot) -> None:
        for level, seconds in shot.times.items():
            self._times[level].append(1e3 * seconds)
        if shot.stages:
            self._stages.append(shot.stages)

    @property
    def times(self) -> dict[str, Timing]:
        return {level: Timing(values) for level, values in self._times.items()}

    @property
    def stages_ms(self) -> dict[str, float]:
        """Mean over the shots that were looked into."""
        names = {name for stages in self._stages for name in stages}
        num = max(1, len(self._stages))
        return {
            name: 1e3 * sum(stages.get(name, 0.0) for stages in self._stages) / num for name in sorted(names)
        }


class Pieces:
    """One model's pieces; everybody takes turns, and the last contestant is the reference for masks."""

    def __init__(
        self,
        plan: Plan,
        label: str,
        scene: Scene,
        contestants: Mapping[str, Contestant],
        report: Report,
        stopping: Callable[[], bool],
        told: Callable[[str], object],
    ) -> None:
        self._plan, self._label, self._scene = plan, label, scene
        self._contestants, self._report, self._stopping = contestants, report, stopping
        self._absent: set[str] = set()
        self._reference = list(contestants)[-1]
        self._number, self._title = 0, ""
        self._told = told

    def run(self, num_pieces: int, *, image_only: bool) -> Iterator[None]:
        """One piece after the other; figures are in the report when a piece is done."""
        allowance = Allowance(self._plan.seconds, num_pieces)
        for part in self._plan.parts:
            if part == "video" and image_only:
                self._note(f"{self._label} was not measured on video: its memory is not trained")
                continue
            for title, work in self._works(part):
                if self._stopping():
                    return
                self._title = title
                self._absent.clear()
                work(allowance.share())
                yield

    def _works(self, part: str) -> list[tuple[str, Callable[[float | None], None]]]:
        """Title, and what takes a number of seconds, for each piece of a part."""
        if part == "video":
            return [
                (f"frames with {number} object{'s' * (number > 1)}", partial(self._video, number))
                for number in self._plan.objects
            ]
        works = {"image": self._image, "automask": self._automask, "start": self._start}
        return [(TITLES[part], works[part])]

    def _image(self, seconds: float | None) -> None:
        embeds, prompts = _by_name(), _by_name()
        comparisons = self._comparisons()
        self._restart_peaks()
        for counts in rounds(seconds, self._stopping, LIMITS["image"]):
            embedded = self._everybody(lambda one: one.embed())
            clicked = [self._everybody(methodcaller("prompt", at)) for at in self._scene.clicks]
            if not counts:
                for shots in clicked:
                    self._compare(comparisons, shots)
                continue
            self._collect(embeds, embedded)
            for shots in clicked:
                self._collect(prompts, shots)
        peaks = self._peaks()
        self._conclude("embed", 1, embeds, comparisons, peaks=peaks)
        self._conclude("prompt", 1, prompts, comparisons)

    def _video(self, number: int, seconds: float | None) -> None:
        samples = _by_name()
        comparisons = self._comparisons()
        self._restart_peaks()
        began, first = time.monotonic(), 0
        alone = all(one.ours for one in self._contestants.values())
        at_once = seconds is not None and alone  # there may be no time to follow so many frames
        begin = methodcaller("begin", self._scene.boxes(number), full=at_once)
        self._compare(comparisons, self._everybody(begin))
        left = None if seconds is None else max(0.0, seconds - (time.monotonic() - began))
        full = 2 if at_once else FULL
        following = frames(left, self._stopping, LIMITS["video"], LENGTH, full)
        for index, counts in enumerate(following, start=1):
            shots = self._everybody(lambda one: one.next())
            self._compare(comparisons, shots)
            if counts:
                first = first or index
                self._collect(samples, shots)
        note = f"counted from frame {first}, before memories are full" if first < FULL and not at_once else ""
        self._conclude("frame", number, samples, comparisons, peaks=self._peaks(), note=note)

    def _automask(self, seconds: float | None) -> None:
        samples = _by_name()
        comparisons = self._comparisons()
        self._restart_peaks()
        shots: Shots = {}
        for counts in rounds(seconds, self._stopping, LIMITS["automask"]):
            shots = self._everybody(lambda one: one.automask())
            if counts:
                self._collect(samples, shots)
        peaks = self._peaks()
        self._compare(comparisons, shots, ordered=False)
        self._conclude("automask", 0, samples, comparisons, peaks=peaks, last=shots)

    def _start(self, seconds: float | None) -> None:
        samples = _by_name()
        click = self._scene.clicks[0]
        for counts in rounds(seconds, self._stopping, LIMITS["start"]):
            shots = self._everybody(lambda one: one.fresh(click))
            if counts:
                self._collect(samples, shots)
        self._conclude("start", 1, samples, {})

    def _everybody(self, work: Callable[[Contestant], Shot]) -> Shots:
        """One shot of each, somebody else first each time; who fails is left out of the piece."""
        shots = {}
        self._number += 1
        for name, one in in_turn(self._contestants, self._number):
            if name in self._absent:
                continue
            self._told(f"{self._label}: {self._title}, {one.who}")
            try:
                shots[name] = work(one)
            except Failure as error:
                self._absent.add(name)
                self._note(f"{one.who} was left out of a piece of {self._label}: {error}")
        return shots

    def _note(self, line: str) -> None:
        if line not in self._report.notes:
            self._report.notes.append(line)

    def _comparisons(self) -> dict[str, Comparison]:
        who = self._contestants[self._reference].who
        return {name: Comparison(who) for name in self._contestants if name != self._reference}

    def _compare(self, comparisons: Mapping[str, Comparison], shots: Shots, *, ordered: bool = True) -> None:
        wanted = _answer(shots, self._reference)
        for name, comparison in comparisons.items():
            answer = _answer(shots, name)
            if answer is not None and wanted is not None:
                (comparison.add if ordered else comparison.add_unordered)(answer, wanted)

    @staticmethod
    def _collect(samples: dict[str, Samples], shots: Shots) -> None:
        for name, shot in shots.items():
            samples[name].add(shot)

    def _restart_peaks(self) -> None:
        for one in self._contestants.values():
            one.peak_mib(restart=True)

    def _peaks(self) -> dict[str, float | None]:
        """Of each that has a process of its own: two of ours in this one cannot be told apart."""
        shared = sum(one.ours for one in self._contestants.values()) > 1
        there = {name: one for name, one in self._contestants.items() if name not in self._absent}
        return {name: None if one.ours and shared else one.peak_mib() for name, one in there.items()}

    def _conclude(
        self,
        task: str,
        objects: int,
        samples: Mapping[str, Samples],
        comparisons: Mapping[str, Comparison],
        *,
        peaks: Mapping[str, float | None] | None = None,
        note: str = "",
        last: Shots | None = None,
    ) -> None:
        """A figure for each that has samples, in the order of the contestants."""
        for name, one in self._contestants.items():
            if name not in samples:
                continue
            found = _answer(last or {}, name)
            comparison = comparisons.get(name)
            figure = Figure(
                model=self._label,
                task=task,
                who=one.who,
                ours=one.ours,
                objects=objects if found is None else len(found.masks),
                times=samples[name].times,
                stages_ms=samples[name].stages_ms,
                peak_mib=(peaks or {}).get(name),
                parity=None if comparison is None else comparison.parity,
                notes=[note] if note else [],
            )
            self._report.figures.append(figure)


def _by_name() -> dict[str, Samples]:
    return defaultdict(Samples)


def _answer(shots: Shots, name: str) -> Answer | None:
    return shots[name].answer if name in shots else None
