"""A regression guard: ratios to yardsticks in the same process, beside those that were stored last.

Seconds differ from machine to machine and from hour to hour; ratios do so much less. Each entry is timed in
turns with two yardsticks: a loop of convolutions and matrix products, which never changes, and the plain
network, without anything that ``runtime`` does to it. On the machine of the stored figures the loop counts;
elsewhere, where convolutions and memory stand in another relation, the plain network does. Exit code 1 if
something got worse.

    python benchmarks/bench_quick.py             # compare with results/quick.json
    python benchmarks/bench_quick.py --update    # and store these
"""

from __future__ import annotations

import argparse
import json
import logging
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from stamp import checkout, stamp

from maskwright.config import PRESETS, ModelConfig
from maskwright.mask_model import MaskModel
from maskwright.measure.weights import random_state
from maskwright.runtime.eager import Eager, place
from maskwright.runtime.processor import described
from maskwright.runtime.select import FAST, choose
from maskwright.types import Box, Points
from maskwright.weights.fetch import locate
from maskwright.weights.load import build, load_checkpoint

STORED = Path(__file__).parent / "results" / "quick.json"
TOLERANCE = 0.15
"""A ratio may be so much larger than the stored one ..."""
SPREADS = 2.0
"""... or by so many times the spread between the entry and itself, then or now, if that is more."""
ROUNDS, MOST = 8, 40
"""Of each entry; more than the first if they take less than :data:`SECONDS` together."""
SECONDS = 8.0
IMPORTS = 4
Work = Callable[[], object]


class Entry(NamedTuple):
    """Something of ours, and the same thing done plainly, if there is such a thing."""

    name: str
    ours: Work
    plain: Work | None = None
    loop: Work | None = None
    """Another yardstick than the usual loop."""
    rounds: int = ROUNDS


@dataclass(frozen=True)
class Ratios:
    """Of one entry: by the shortest times, which other programs disturb least."""

    to_loop: float
    to_plain: float | None
    spread: float
    """Between the entry and itself: the ratios by every other round, relative."""
    milliseconds: float
    """Says little; for people."""


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--update", action="store_true", help="store the ratios")
    parser.add_argument("--stored", type=Path, default=STORED, help="the file with those of the last time")
    parser.add_argument("--only", default="", help="part of an entry's name")
    options = parser.parse_args(argv)
    began = time.perf_counter()
    print(stamp())
    found = {}
    for entry in [one for one in entries() if options.only in one.name]:
        found[entry.name] = measured(entry)
        print(line(entry.name, found[entry.name]), flush=True)
    here = about()
    worse = compare_with_file(found, here, options.stored)
    if options.update:
        options.stored.write_text(json.dumps(plain(found, here), indent=1) + "\n", encoding="utf-8")
        print(f"stored in {options.stored}")
    print(f"{time.perf_counter() - began:.0f} s")
    return 1 if worse and not options.update else 0


def compare_with_file(found: Mapping[str, Ratios], here: Mapping[str, Any], path: Path) -> list[str]:
    """Print what got worse, or that nothing did."""
    if not path.is_file():
        print(f"nothing to compare with: there is no {path}; --update makes it")
        return []
    stored = json.loads(path.read_text(encoding="utf-8"))
    before = {name: Ratios(**one) for name, one in stored["ratios"].items()}
    same = all(stored["about"][name] == here[name] for name in ("processor", "threads", "torch"))
    kind = "the loop" if same else "the plain network (another machine, torch or number of threads)"
    print(f"compared with {stored['about']['date']}, commit {stored['about']['commit']}, by {kind}:")
    worse = compare(before, found, by_loop=same)
    for sentence in worse or ["nothing got worse"]:
        print(f"  {sentence}")
    return worse


def compare(before: Mapping[str, Ratios], now: Mapping[str, Ratios], *, by_loop: bool) -> list[str]:
    """A sentence for each entry that got worse by more than is allowed for it."""
    worse = []
    for name in now.keys() & before.keys():
        old, new = (one.to_loop if by_loop else one.to_plain for one in (before[name], now[name]))
        if old is None or new is None:
            continue
        allowed = max(TOLERANCE, SPREADS * max(before[name].spread, now[name].spread))
        change = new / old - 1
        if change > allowed:
            worse.append(f"{name} got worse: {old:.3f} -> {new:.3f}, {change:+.0%} ({allowed:.0%} allowed)")
    return sorted(worse)


def measured(entry: Entry, clock: Callable[[], float] = time.perf_counter) -> Ratios:
    """Time an entry and its yardsticks in turns; another one begins each round, after one that warms up."""
    works: dict[str, Work] = {"ours": entry.ours, "loop": entry.loop or loop}
    if entry.plain is not None:
        works["plain"] = entry.plain
    times: dict[str, list[float]] = {name: [] for name in works}
    end = clock() + SECONDS
    for number in range(-1, max(entry.rounds, MOST)):
        if number >= entry.rounds and clock() >= end:
            break
        names = list(works)
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            began = clock()
            works[name]()
            if number >= 0:
                times[name].append(clock() - began)
    ratios = {name: _ratio(times["ours"], theirs) for name, theirs in times.items()}
    spreads = [_spread(times["ours"], theirs) for name, theirs in times.items() if name != "ours"]
    return Ratios(ratios["loop"], ratios.get("plain"), max(spreads), 1e3 * min(times["ours"]))


def _ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    return min(ours) / min(theirs)


def _spread(ours: Sequence[float], theirs: Sequence[float]) -> float:
    first, second = (_ratio(ours[start::2], theirs[start::2]) for start in (0, 1))
    return abs(first - second) / min(first, second)


def line(name: str, one: Ratios) -> str:
    to_plain = "    -" if one.to_plain is None else f"{one.to_plain:5.2f}"
    return (
        f"{name:32} {one.milliseconds:8.1f} ms  to the loop {one.to_loop:7.3f}  "
        f"to the plain network {to_plain}  spread {one.spread:.0%}"
    )


def plain(found: Mapping[str, Ratios], here: Mapping[str, Any]) -> dict[str, Any]:
    """What is stored."""
    return {"about": dict(here), "ratios": {name: asdict(one) for name, one in found.items()}}


def about() -> dict[str, Any]:
    return {
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "commit": checkout(),
        "processor": described(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "tolerance": TOLERANCE,
    }


def loop() -> float:
    """The yardstick that never changes: convolutions, matrix products, memory that is read and written."""
    picture, kernel, matrix = _loop_values()
    for _ in range(4):
        picture = F.gelu(F.conv2d(picture, kernel, padding=1))
        matrix = (matrix @ matrix).softmax(-1)
    return float(picture.sum() + matrix.sum())


def _loop_values() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    picture = torch.randn(1, 48, 128, 128, generator=generator)
    kernel = torch.randn(48, 48, 3, 3, generator=generator) / 20
    return picture, kernel, torch.randn(640, 640, generator=generator) / 25


def entries() -> list[Entry]:
    """Everything that is guarded: nano as it comes, and the smallest official network with random weights."""
    checkpoint = load_checkpoint(locate("nano"))
    tiny = PRESETS["sam2.1-tiny"]
    nano = Pair(checkpoint.config, checkpoint.state, "nano")
    weights = random_state(tiny)
    small = Pair(tiny.at(320), weights, "sam2.1-tiny 320 px")
    video = Pair(tiny.at(256), weights, "sam2.1-tiny 256 px")
    found = [*nano.entries(), nano.automask(), small.embed(), small.click(), video.frame()]
    if choose("cpu", FAST).dtype is not torch.float32:
        found.append(Pair(tiny.at(320), weights, "sam2.1-tiny 320 px fast", FAST).embed())
    return [*found, importing()]


class Pair:
    """A model as ``load`` makes it, and the plain network."""

    def __init__(
        self, config: ModelConfig, state: dict[str, torch.Tensor], name: str, dtype: str | None = None
    ) -> None:
        choice = choose("cpu", dtype)

        def model(placed: bool) -> MaskModel:
            def runtime(shape: ModelConfig) -> Eager:
                network = build(shape, {key: value.clone() for key, value in state.items()})
                return Eager(place(network, choice) if placed else network, choice)

            video = partial(runtime, config.for_video) if config.video_size else None
            return MaskModel(runtime(config), make_video_runtime=video)

        self._name, self._ours, self._plain = name, model(placed=True), model(placed=False)
        self._picture = picture()

    def entries(self) -> list[Entry]:
        """Embedding, a click and a tracked frame."""
        return [self.embed(), self.click(), self.frame()]

    def embed(self) -> Entry:
        works = [partial(one.embed, self._picture) for one in (self._ours, self._plain)]
        return Entry(f"{self._name}, embed", *works)

    def automask(self) -> Entry:
        works = [
            partial(one.automask, self._picture, "fast", points_per_side=2, min_score=0.0)
            for one in (self._ours, self._plain)
        ]
        return Entry(f"{self._name}, automatic masks 2 x 2", *works)

    def click(self) -> Entry:
        click = Points((200, 150))
        works = [
            partial(one.embed(self._picture).segment, click, candidates=True)
            for one in (self._ours, self._plain)
        ]
        return Entry(f"{self._name}, click", *works)

    def frame(self) -> Entry:
        return Entry(f"{self._name}, tracked frame", *(follower(one) for one in (self._ours, self._plain)))


def follower(model: MaskModel) -> Work:
    """Follows an object into the next frame whenever it is called, its memories full from the beginning."""
    session = model.session()
    frame = picture()
    session.push(frame)
    session.prompt(1, Box(120, 90, 280, 210))
    session.fill_memory()
    return partial(session.push, frame)


def picture() -> np.ndarray:
    """A rectangle over noise, 400 x 300."""
    random = np.random.default_rng(0)
    drawn = random.integers(60, 120, (300, 400, 3), dtype=np.uint8)
    drawn[90:210, 120:280] = (220, 120, 40)
    return drawn


def importing() -> Entry:
    """A fresh process that imports everything, beside one that imports torch."""

    def run(code: str) -> Work:
        return partial(subprocess.run, [sys.executable, "-c", code], check=True)

    return Entry(
        "importing", run("import torch, maskwright.facade"), loop=run("import torch"), rounds=IMPORTS
    )


if __name__ == "__main__":
    logging.getLogger("maskwright").setLevel(logging.ERROR)  # four clicks find nothing that is kept
    raise SystemExit(main())
