"""Ask a model for labelled objects through the public API and compare masks at the picture's own size."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from maskwright.errors import ImageError, InputError
from maskwright.evaluate.questions import MAX_OBJECTS, Question, corrected, questions
from maskwright.evaluate.report import Answer, Report, summarise
from maskwright.facade import MaskModel
from maskwright.io.images import read_image
from maskwright.io.labelled import Labelled, read_labels
from maskwright.masks import Masks
from maskwright.pixels.metrics import iou
from maskwright.segmenter import Embedding
from maskwright.types import MaskPrompt

NUM_CLICKS = 5
PROMPTS = ("box", "1 click", f"{NUM_CLICKS} clicks")

Progress = Callable[[int, int], None]
"""Called with pictures done and pictures in all."""


def evaluate_images(
    model: MaskModel,
    samples: Sequence[Labelled],
    *,
    data: str = "",
    max_objects: int = MAX_OBJECTS,
    progress: Progress | None = None,
) -> Report:
    """Mean IoU by tight box, by one centre click, and by five clicks that correct what is most wrong.

    Every object is asked for by itself. "Picked" is the candidate with the highest predicted IoU, which is
    what ``Embedding.segment`` returns. With five clicks, each further click comes with the logits of the mask
    picked before, as an interactive tool would send them.

    Raises:
        ImageError: a picture or label map cannot be read, or their sizes differ.
        InputError: no sample has an object that is large enough.
    """
    started = time.monotonic()
    answers: list[Answer] = []
    for number, sample in enumerate(samples):
        answers += ask(model, sample, max_objects=max_objects)
        if progress is not None:
            progress(number + 1, len(samples))
    if not answers:
        raise InputError("there is no object to ask for in these pictures")
    seconds = round(time.monotonic() - started, 1)
    return Report(model.name, model.config.image_size, data, len(samples), seconds, summarise(answers))


def ask(model: MaskModel, sample: Labelled, *, max_objects: int = MAX_OBJECTS) -> Iterator[Answer]:
    """All questions about one picture."""
    labels = read_labels(sample.labels)
    picture = read_image(sample.image)
    if picture.shape[:2] != labels.shape:
        raise ImageError(
            f"{sample.labels} is {labels.shape}, its picture {picture.shape[:2]}; they must agree"
        )
    asked = questions(labels, limit=max_objects)
    if not asked:
        return
    embedding = model.embed(picture)
    boxes = embedding.segment(*(one.box for one in asked), candidates=True)
    clicks = embedding.segment(*(one.click for one in asked), candidates=True)
    more = refine(embedding, asked, clicks)
    for prompt, masks in zip(PROMPTS, (boxes, clicks, more), strict=True):
        for ours, best in score(asked, masks):
            yield Answer(sample.name, sample.source, prompt, ours, best)


def refine(embedding: Embedding, asked: Sequence[Question], masks: Masks) -> Masks:
    """Candidates after clicks two to ``NUM_CLICKS``, starting from those of the first click."""
    clicks = [one.click for one in asked]
    for _ in range(NUM_CLICKS - 1):
        picked = masks.best()
        clicks = [
            corrected(question, before, bitmap)
            for question, before, bitmap in zip(asked, clicks, picked.bitmaps, strict=True)
        ]
        prompts = [click + MaskPrompt(logits) for click, logits in zip(clicks, picked.logits, strict=True)]
        masks = embedding.segment(*prompts, candidates=True)
    return masks


def score(asked: Sequence[Question], masks: Masks) -> list[tuple[float, float]]:
    """IoU of the picked candidate and of the best one, object by object."""
    found = []
    for number, question in enumerate(asked):
        candidates = iou(masks.bitmaps[number], question.mask[None])
        found.append((float(candidates[int(np.argmax(masks.scores[number]))]), float(candidates.max())))
    return found
