"""Evaluation on pictures: questions, scores, report. A model that knows the answers takes nano's place."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

from drawn import Drawn, DrawnPictures
from maskwright.errors import InputError
from maskwright.evaluate.first_frames import FirstFrames, as_pictures
from maskwright.evaluate.images import ask, evaluate_images, score
from maskwright.evaluate.questions import corrected, questions
from maskwright.evaluate.report import Answer, summarise
from maskwright.io.datasets.protocol import Scene
from maskwright.mask_model import MaskModel
from maskwright.masks import Masks
from maskwright.runtime.fake import Fake


def scene(labels: np.ndarray) -> Scene:
    return Scene.from_labels(np.zeros((*labels.shape, 3), np.uint8), labels)


@pytest.fixture
def box() -> tuple[np.ndarray, np.ndarray]:
    """A rectangle of 64 x 32 pixels and, below it, one too small to ask for."""
    labels = np.zeros((128, 128), np.uint8)
    labels[32:64, 32:96] = 7
    labels[100:105, 20:25] = 9
    return np.repeat(labels[..., None] * 25, 3, axis=2), labels


def test_questions_are_large_enough_and_evenly_spread():
    labels = np.zeros((100, 100), np.uint16)
    for number in range(10):
        labels[number * 10 : number * 10 + 10, :20] = number + 1
    labels[0, 50:99] = 99
    asked = questions(scene(labels), limit=4)
    assert [one.object_id for one in asked] == [1, 4, 7, 10]
    assert [int(labels[one.mask][0]) for one in asked] == [1, 4, 7, 10]
    small = questions(scene(labels), limit=20, min_pixels=40)[-1]
    assert (small.object_id, small.mask.sum()) == (99, 49)
    first = asked[0]
    assert tuple(first.box.corners.ravel()) == (0, 0, 20, 10)
    x, y = first.click.coords[0].astype(int)
    assert first.mask[y, x]


def test_objects_that_overlap_keep_their_own_masks():
    masks = np.zeros((2, 40, 40), bool)
    masks[0, 5:30, 5:30] = masks[1, 20:38, 20:38] = True
    asked = questions(Scene(np.zeros((40, 40, 3), np.uint8), masks, (4, 2)))
    assert [one.object_id for one in asked] == [4, 2]
    assert all(np.array_equal(one.mask, mask) for one, mask in zip(asked, masks, strict=True))


def test_a_click_is_added_where_the_mask_is_wrong():
    labels = np.zeros((40, 40), np.uint8)
    labels[10:30, 10:30] = 1
    (question,) = questions(scene(labels))
    same = corrected(question, question.click, question.mask)
    assert same is question.click
    spilled = question.mask.copy()
    spilled[:, 30:] = True
    more = corrected(question, question.click, spilled)
    assert more.labels.tolist() == [1, 0]
    assert more.coords[1, 0] >= 30


def test_the_picked_mask_is_the_one_with_the_highest_score():
    labels = np.zeros((20, 20), np.uint8)
    labels[:10] = 1
    asked = questions(scene(labels))
    bitmaps = np.zeros((1, 3, 20, 20), bool)
    bitmaps[0, 0, :10] = True
    bitmaps[0, 1, :5] = True
    masks = Masks(
        bitmaps=bitmaps,
        scores=np.array([[0.2, 0.9, 0.1]], np.float32),
        logits=np.zeros((1, 3, 8, 8), np.float32),
        object_scores=np.zeros(1, np.float32),
        image=None,
    )
    assert score(asked, masks) == [(0.5, 1.0)]


def test_a_model_that_fills_boxes_scores_full_marks_on_boxes(box: tuple[np.ndarray, np.ndarray]):
    done: list[None] = []
    report = evaluate_images(
        MaskModel(Fake()), DrawnPictures({"toy_a": box, "toy_b": box}), step=lambda: done.append(None)
    )
    by_box, click = report.mean("box"), report.mean("1 click")
    assert (report.pictures, by_box.objects, len(done)) == (2, 2, 2)
    assert by_box.best == by_box.picked == pytest.approx(1, abs=0.01)
    disc = np.pi * (0.10 * 128) ** 2
    assert click.picked == pytest.approx(disc / (64 * 32), abs=0.02)
    assert click.best > click.picked
    assert report.mean("5 clicks", "toy").picked > click.picked
    with pytest.raises(KeyError, match="6 clicks"):
        report.mean("6 clicks")


def test_every_click_is_asked_for_and_has_a_row(box: tuple[np.ndarray, np.ndarray]):
    report = evaluate_images(
        MaskModel(Fake()), DrawnPictures({"toy_a": box, "b": box}), numbers=[0], clicks=3
    )
    assert report.pictures == 1
    assert [row.prompt for row in report.means if row.source == "all"] == [
        *("box", "1 click", "2 clicks", "3 clicks")
    ]
    rows = list(csv.DictReader(report.to_csv().splitlines()))
    assert [row["prompt"] for row in rows] == ["box", "1 click", "2 clicks", "3 clicks"]
    assert {(row["picture"], row["source"], row["object"]) for row in rows} == {("toy_a", "toy", "7")}
    assert float(rows[0]["iou_picked"]) == pytest.approx(report.mean("box").picked, abs=1e-4)
    found = json.loads(report.to_json({"model": "fake"}))
    assert (found["model"], found["pictures"], len(found["means"])) == ("fake", 1, 8)
    only = evaluate_images(MaskModel(Fake()), DrawnPictures({"a": box}), clicks=1)
    assert [row.prompt for row in only.answers] == ["box", "1 click"]


def test_nothing_to_ask_for_is_an_error(box: tuple[np.ndarray, np.ndarray]):
    picture, labels = box
    empty = DrawnPictures({"toy": (picture, labels * 0)})
    assert list(ask(MaskModel(Fake()), empty.read(0))) == []
    with pytest.raises(InputError, match="no object"):
        evaluate_images(MaskModel(Fake()), empty)


def test_videos_are_asked_about_their_first_labelled_frame(box: tuple[np.ndarray, np.ndarray]):
    picture, labels = box
    videos = Drawn({"one": [(picture, None), (picture, labels)], "none": [(picture, None)]})
    pictures = as_pictures(videos)
    assert isinstance(pictures, FirstFrames)
    assert (list(pictures.names), list(pictures.sources), len(pictures)) == (["one", "none"],) * 2 + (2,)
    assert pictures.read(0).ids == (7, 9)
    assert pictures.read(0).areas.tolist() == [64 * 32, 25]
    with pytest.raises(InputError, match="none has no frame"):
        pictures.read(1)
    drawn = DrawnPictures({"a": box})
    assert as_pictures(drawn) is drawn


def test_means_are_over_objects_not_pictures():
    answers = [
        Answer("p", "a", 1, "box", 1.0, 1.0),
        Answer("p", "a", 2, "box", 0.4, 0.6),
        Answer("q", "b", 1, "box", 0.1, 0.2),
    ]
    overall, first, second = summarise(answers)
    assert (overall.source, overall.objects, overall.picked, overall.best) == ("all", 3, 0.5, 0.6)
    assert (first.source, first.picked) == ("a", 0.7)
    assert (second.source, second.picked) == ("b", 0.1)
