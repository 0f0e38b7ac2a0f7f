"""What drawing objects again at full size (``segment(..., refine=True)``) is worth: masks before and after.

Photographs with masks as fine as a camera's are rare, so large pictures are made of small ones: mosaics of
2 x 2 and 4 x 4 labelled pictures, in which each object is as small to the network as in a photograph of 12
megapixels. Beside them the labelled pictures as they are, and video frames at 480p. Objects are asked for by
their tight box and by one click in their middle; IoU, and boundary F within two pixels, are means over
objects. Writes a table (Markdown) and every object (JSON) to benchmarks/results/, anew after each set.

    python benchmarks/bench_refine.py --data ../shared/data
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from stamp import stamp

import maskwright as mw
from maskwright.evaluate.questions import Question, questions
from maskwright.io.datasets.davis import DavisVideos
from maskwright.io.datasets.labelled import LabelledPictures
from maskwright.io.datasets.protocol import Scene
from maskwright.pixels.metrics import boundary_f, iou
from maskwright.segmenter import Embedding

CELL = 448
"""Side of a mosaic's cells: the longest side of the labelled pictures."""
TOLERANCE = 2
"""Pixels within which outlines agree."""
PER_CELL = 3
"""Objects of each picture in a mosaic."""
PROMPTS = ("box", "click")
SIZES = {"below 1/16": (0, 1 / 16), "to 1/8": (1 / 16, 1 / 8), "to 1/4": (1 / 8, 1 / 4), "more": (1 / 4, 1)}
"""Size classes: the object's longer side as a share of the picture's."""


@dataclass(frozen=True)
class Answer:
    """One object, asked for in one way."""

    kind: str
    """Which set of pictures."""
    prompt: str
    size: float
    """Longer side of the object as a share of the picture's."""
    iou: float
    iou_refined: float
    f: float
    f_refined: float


class Kind(NamedTuple):
    """One set of scenes."""

    name: str
    num: int
    """How many scenes there are."""
    parts: int
    """Pictures that each is made of."""
    scenes: Callable[[], Iterator[Scene]]


class Pictures:
    """What is asked for, made while it is asked for."""

    def __init__(self, data: Path, every: int) -> None:
        self.labelled = LabelledPictures(data / "train", "val")
        self.numbers = range(0, len(self.labelled), every)
        self.videos = DavisVideos(data / "vos_dev")
        self.frames = [
            (video, frame)
            for video in range(len(self.videos))
            for frame in list(self.videos.annotated(video))[:: 6 * every]
        ]

    @property
    def kinds(self) -> list[Kind]:
        num = len(self.numbers)
        return [
            Kind("pictures, 448 px", num, 1, self.plain),
            Kind("mosaics, 896 px", num // 4, 4, lambda: self.mosaics(2)),
            Kind("mosaics, 1792 px", num // 16, 16, lambda: self.mosaics(4)),
            Kind("video frames, 480p", len(self.frames), 1, self.video_frames),
        ]

    def plain(self) -> Iterator[Scene]:
        return (self.labelled.read(number) for number in self.numbers)

    def video_frames(self) -> Iterator[Scene]:
        return (self.videos.read(video, [frame]).scenes[0] for video, frame in self.frames)

    def mosaics(self, side: int) -> Iterator[Scene]:
        """Pictures side by side, as they are; short ones are filled up with their last row or column."""
        num = side**2
        for start in range(0, len(self.numbers) // num * num, num):
            board = np.zeros((side * CELL, side * CELL, 3), np.uint8)
            labels = np.zeros(board.shape[:2], np.uint16)
            for place, number in enumerate(self.numbers[start : start + num]):
                scene = self.labelled.read(number)
                top, left = (part * CELL for part in divmod(place, side))
                fill = [(0, CELL - length) for length in scene.size]
                cell = (slice(top, top + CELL), slice(left, left + CELL))
                board[cell] = np.pad(scene.picture, (*fill, (0, 0)), mode="edge")
                for which, question in enumerate(questions(scene, limit=PER_CELL)):
                    labels[cell][np.pad(question.mask, fill)] = 1 + place * PER_CELL + which
            yield Scene.from_labels(board, labels)


def ask(embedding: Embedding, asked: Sequence[Question], kind: str) -> Iterator[Answer]:
    """All objects of one picture by each prompt, plain and refined."""
    tolerance = (TOLERANCE - 0.01) / float(np.hypot(*embedding.size))
    for prompt in PROMPTS:
        shown = [question.box if prompt == "box" else question.click for question in asked]
        before, after = embedding.segment(*shown), embedding.segment(*shown, refine=True)
        for question, first, second in zip(asked, before.bitmaps, after.bitmaps, strict=True):
            box = question.box
            size = max(box.x1 - box.x0, box.y1 - box.y0) / max(embedding.size)
            ious = (float(iou(one, question.mask)) for one in (first, second))
            fs = (boundary_f(one, question.mask, tolerance) for one in (first, second))
            yield Answer(kind, prompt, size, *ious, *fs)


def listing(report: dict[str, object], answers: Sequence[Answer]) -> str:
    """JSON with a line per object."""
    rounded = (
        {name: round(value, 4) if isinstance(value, float) else value for name, value in asdict(one).items()}
        for one in answers
    )
    lines = ",\n  ".join(json.dumps(one) for one in rounded)
    head = json.dumps(report)[:-1]
    return f'{head},\n "answers": [\n  {lines}\n]}}\n'


def table(report: dict[str, object], answers: Sequence[Answer]) -> str:
    """All kinds and prompts, then those of all kinds together by size."""
    lines = [
        f"# Refinement: {report['model']}",
        "",
        f"{report['stamp']}; torch {torch.__version__}, {report['weights']}, {report['device']}, float32; "
        f"{report['pictures']}.",
        "",
        f"Mean over objects, plain -> refined; boundary F within {TOLERANCE} pixels. See bench_refine.py.",
        "",
        "| pictures | prompt | objects | IoU | boundary F |",
        "|---|---|---|---|---|",
    ]
    kinds = list(dict.fromkeys(answer.kind for answer in answers))
    for kind in kinds:
        for prompt in PROMPTS:
            lines.append(_row([a for a in answers if (a.kind, a.prompt) == (kind, prompt)], kind, prompt))
    lines += ["", "By size: the object's longer side as a share of the picture's, all pictures together.", ""]
    lines += ["| size | prompt | objects | IoU | boundary F |", "|---|---|---|---|---|"]
    for name, (low, high) in SIZES.items():
        for prompt in PROMPTS:
            of_size = [a for a in answers if low < a.size <= high and a.prompt == prompt]
            if of_size:
                lines.append(_row(of_size, name, prompt))
    return "\n".join(lines) + "\n"


def _row(answers: Sequence[Answer], *names: str) -> str:
    figures = np.array([(a.iou, a.iou_refined, a.f, a.f_refined) for a in answers]).mean(axis=0)
    before, after, f_before, f_after = (f"{figure:.3f}" for figure in figures)
    cells = (*names, str(len(answers)), f"{before} -> {after}", f"{f_before} -> {f_after}")
    return f"| {' | '.join(cells)} |"


def options_of(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder that has train/ and vos_dev/ in it")
    parser.add_argument("--model", default="nano", help="catalogue name or model file")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--every", type=int, default=2, help="ask for every second picture, third ...")
    parser.add_argument("--objects", type=int, default=4, help="objects per picture that is no mosaic")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    options = options_of(argv)
    torch.set_num_threads(options.threads)
    model = mw.load(options.model, device=options.device)
    pictures = Pictures(options.data, options.every)
    report: dict[str, object] = {
        "model": model.name,
        "stamp": stamp(),
        "weights": f"weights {model.runtime.fingerprint()[:12]}",
        "device": options.device,
        "pictures": "every picture" if options.every == 1 else f"one picture in {options.every}",
    }
    total = sum(kind.num * kind.parts for kind in pictures.kinds)
    answers: list[Answer] = []
    done, started = 0, time.monotonic()
    options.output.mkdir(parents=True, exist_ok=True)
    stem = f"refine-{model.name}-{options.device.replace(':', '')}"
    for kind in pictures.kinds:
        for scene in kind.scenes():
            asked = questions(scene, limit=options.objects if kind.parts == 1 else len(scene))
            if asked:
                answers += ask(model.embed(scene.picture), asked, kind.name)
            done += kind.parts
            left = (time.monotonic() - started) / done * (total - done)
            print(f"\r{kind.name}: {done / total:.0%}, about {left:.0f} s left ", end="", file=sys.stderr)
        (options.output / f"{stem}.json").write_text(listing(report, answers), encoding="utf-8")
        (options.output / f"{stem}.md").write_text(table(report, answers), encoding="utf-8")
    print(f"\n{table(report, answers)}")


if __name__ == "__main__":
    main()
