"""Evaluation: questions, scores, report, command. A model that knows the answers takes nano's place."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from maskwright.errors import ImageError, InputError
from maskwright.evaluate.__main__ import main
from maskwright.evaluate.images import ask, evaluate_images, score
from maskwright.evaluate.questions import corrected, questions
from maskwright.evaluate.report import Answer, summarise
from maskwright.facade import MaskModel
from maskwright.io.labelled import read_index
from maskwright.masks import Masks
from maskwright.runtime.fake import Fake


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """One sequence in DAVIS layout: a rectangle of 64 x 32 pixels and, below it, one too small to ask for."""
    labels = np.zeros((128, 128), np.uint8)
    labels[32:64, 32:96] = 1
    labels[100:105, 20:25] = 2
    for name, picture in (("JPEGImages/box/00000.jpg", labels * 100), ("Annotations/box/00000.png", labels)):
        path = tmp_path / name
        path.parent.mkdir(parents=True)
        Image.fromarray(picture).save(path)
    return tmp_path


def test_questions_are_large_enough_and_evenly_spread():
    labels = np.zeros((100, 100), np.uint16)
    for number in range(10):
        labels[number * 10 : number * 10 + 10, :20] = number + 1
    labels[0, 50:99] = 99
    asked = questions(labels, limit=4)
    assert [int(labels[one.mask][0]) for one in asked] == [1, 4, 7, 10]
    assert questions(labels, limit=20, min_pixels=40)[-1].mask.sum() == 49
    first = asked[0]
    assert tuple(first.box.corners.ravel()) == (0, 0, 20, 10)
    x, y = first.click.coords[0].astype(int)
    assert first.mask[y, x]


def test_a_click_is_added_where_the_mask_is_wrong():
    labels = np.zeros((40, 40), np.uint8)
    labels[10:30, 10:30] = 1
    (question,) = questions(labels)
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
    asked = questions(labels)
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


def test_a_model_that_fills_boxes_scores_full_marks_on_boxes(folder: Path):
    report = evaluate_images(MaskModel(Fake()), read_index(folder, "val"), data="toy")
    box, click = report.mean("box"), report.mean("1 click")
    assert box.objects == 1
    assert box.best == box.picked == pytest.approx(1, abs=0.01)
    disc = np.pi * (0.10 * 128) ** 2
    assert click.picked == pytest.approx(disc / (64 * 32), abs=0.02)
    assert click.best > click.picked
    assert report.mean("5 clicks", "box").picked > click.picked
    with pytest.raises(KeyError, match="2 clicks"):
        report.mean("2 clicks")


def test_pictures_and_labels_must_agree(folder: Path):
    (sample,) = read_index(folder, "val")
    Image.new("L", (64, 64)).save(sample.labels)
    with pytest.raises(ImageError, match="must agree"):
        list(ask(MaskModel(Fake()), sample))


def test_nothing_to_ask_for_is_an_error(folder: Path):
    (sample,) = read_index(folder, "val")
    Image.new("L", (128, 128)).save(sample.labels)
    with pytest.raises(InputError, match="no object"):
        evaluate_images(MaskModel(Fake()), [sample])


def test_means_are_over_objects_not_pictures():
    answers = [
        Answer("p", "a", "box", 1.0, 1.0),
        Answer("p", "a", "box", 0.4, 0.6),
        Answer("q", "b", "box", 0.1, 0.2),
    ]
    overall, first, second = summarise(answers)
    assert (overall.source, overall.objects, overall.picked, overall.best) == ("all", 3, 0.5, 0.6)
    assert (first.source, first.picked) == ("a", 0.7)
    assert (second.source, second.picked) == ("b", 0.1)


def test_the_command_prints_a_table_and_writes_json(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr("maskwright.facade.load", lambda *_, **__: MaskModel(Fake()))
    assert main(["--data", str(folder), "--json", str(tmp_path / "out.json")]) == 0
    printed = capsys.readouterr().out
    assert "best of 3" in printed
    assert "5 clicks" in printed
    found = json.loads((tmp_path / "out.json").read_text())
    assert found["means"][0] == {
        "source": "all",
        "prompt": "box",
        "objects": 1,
        "picked": 0.998,
        "best": 0.998,
    }
    assert "first frames" in found["data"]
    assert main(["--data", str(tmp_path / "nowhere")]) == 2
    assert capsys.readouterr().err.startswith("error:")
