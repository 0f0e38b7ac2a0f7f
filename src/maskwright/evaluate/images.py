"""Ask a model for labelled objects through the public API and compare masks at the picture's own size."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from maskwright.errors import InputError
from maskwright.evaluate.questions import MAX_OBJECTS, Question, corrected, questions
from maskwright.evaluate.report import Answer, ClickReport, summarise
from maskwright.io.datasets.protocol import Pictures, Scene
from maskwright.mask_model import MaskModel
from maskwright.masks import Masks
from maskwright.pixels.metrics import iou
from maskwright.segmenter import Embedding
from maskwright.types import MaskPrompt

NUM_CLICKS = 5

Step = Callable[[], None]
"""Called after every picture or frame."""


def evaluate_images(
    model: MaskModel,
    pictures: Pictures,
    *,
    numbers: Sequence[int] | None = None,
    clicks: int = NUM_CLICKS,
    max_objects: int = MAX_OBJECTS,
    step: Step | None = None,
) -> ClickReport:
    """IoU by tight box, by one centre click, and by each further click that corrects what is most wrong.

    Every object is asked for by itself. "Picked" is the candidate with the highest predicted IoU, which is
    what ``Embedding.segment`` returns. Each further click comes with the logits of the mask picked before, as
    an interactive tool would send them.

    Args:
        model: Who is asked.
        pictures: The data set.
        numbers: Which of its pictures; all by default.
        clicks: Clicks per object, 1 or more.
        max_objects: Objects per picture, 1 or more.
        step: Called after every picture.

    Raises:
        ImageError: a picture or its masks cannot be read, or their sizes differ.
        InputError: no picture has an object that is large enough.
    """
    started = time.monotonic()
    numbers = range(len(pictures)) if numbers is None else numbers
    answers: list[Answer] = []
    for number in numbers:
        name, source = pictures.names[number], pictures.sources[number]
        for question, prompt, picked, best in ask(
            model, pictures.read(number), clicks=clicks, max_objects=max_objects
        ):
            answers.append(Answer(name, source, question.object_id, prompt, picked, best))
        if step is not None:
            step()
    if not answers:
        raise InputError("there is no object to ask for in these pictures")
    return ClickReport(answers, summarise(answers), len(numbers), round(time.monotonic() - started, 1))


def ask(
    model: MaskModel, scene: Scene, *, clicks: int = NUM_CLICKS, max_objects: int = MAX_OBJECTS
) -> Iterator[tuple[Question, str, float, float]]:
    """All questions about one picture: the object, by what, and IoU of the picked and best candidate."""
    asked = questions(scene, limit=max_objects)
    if not asked:
        return
    embedding = model.embed(scene.picture)
    by_box = embedding.segment(*(one.box for one in asked), candidates=True)
    for prompt, masks in (("box", by_box), *_by_clicks(embedding, asked, clicks)):
        for question, (picked, best) in zip(asked, score(asked, masks), strict=True):
            yield question, prompt, picked, best


def _by_clicks(embedding: Embedding, asked: Sequence[Question], num: int) -> Iterator[tuple[str, Masks]]:
    """Candidates after one click, two, and so on."""
    clicks = [one.click for one in asked]
    masks = embedding.segment(*clicks, candidates=True)
    yield named(1), masks
    for count in range(2, num + 1):
        picked = masks.best()
        clicks = [
            corrected(question, before, bitmap)
            for question, before, bitmap in zip(asked, clicks, picked.bitmaps, strict=True)
        ]
        prompts = [click + MaskPrompt(logits) for click, logits in zip(clicks, picked.logits, strict=True)]
        masks = embedding.segment(*prompts, candidates=True)
        yield named(count), masks


def named(clicks: int) -> str:
    """``1 click``, ``2 clicks`` ..."""
    return "1 click" if clicks == 1 else f"{clicks} clicks"


def score(asked: Sequence[Question], masks: Masks) -> list[tuple[float, float]]:
    """IoU of the picked candidate and of the best one, object by object."""
    found = []
    for number, question in enumerate(asked):
        candidates = iou(masks.bitmaps[number], question.mask[None])
        found.append((float(candidates[int(np.argmax(masks.scores[number]))]), float(candidates.max())))
    return found
