"""Boxes of jupyter_bbox_widget, from the widget itself and from lists like its own."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import maskwright as mw
from maskwright.interop.bbox_widget import boxes, names
from maskwright.mask_model import MaskModel
from maskwright.runtime.fake import Fake

CAT = {"x": 10, "y": 20, "width": 30, "height": 40, "label": "cat"}
DOG = {"x": 50.5, "y": 0, "width": 20, "height": 10, "label": "dog"}
BARE = {"x": 1, "y": 2, "width": 3, "height": 4}


def widget(image: str = "", **options: Any) -> Any:
    module = pytest.importorskip("jupyter_bbox_widget")
    return module.BBoxWidget(image=image, **options)


def test_boxes_are_edges_in_pixels() -> None:
    drawn = [CAT, DOG, BARE]
    assert boxes(drawn) == [mw.Box(10, 20, 40, 60), mw.Box(50.5, 0, 70.5, 10), mw.Box(1, 2, 4, 6)]
    assert names(drawn) == ["cat", "dog", "object"]


def test_boxes_of_some_labels() -> None:
    drawn = [CAT, DOG, BARE, CAT]
    assert len(boxes(drawn, labels=["cat"])) == 2
    assert boxes(drawn, labels="dog") == [mw.Box(50.5, 0, 70.5, 10)]
    assert names(drawn, labels={"cat", "dog"}) == ["cat", "dog", "cat"]
    assert boxes(drawn, labels=["mouse"]) == []


def test_nothing_drawn_is_an_empty_list() -> None:
    assert boxes([]) == names([]) == []


def test_the_widget_itself(photo: Path) -> None:
    shown = widget(str(photo), classes=["cat", "dog"])
    assert boxes(shown) == []
    shown.bboxes = [CAT, {**DOG, "x": 110, "width": 40}]
    assert boxes(shown) == [mw.Box(10, 20, 40, 60), mw.Box(110, 0, 128, 10)]
    assert names(shown) == ["cat", "dog"]


def test_they_segment(photo: Path) -> None:
    shown = widget(str(photo), bboxes=[{**CAT, "x": -4, "y": -4}, {**DOG, "height": 96}])
    masks = MaskModel(Fake()).embed(photo).segment(*boxes(shown))
    assert np.allclose(
        masks.boxes, [[0, 0, 26, 36], [50, 0, 71, 96]], atol=2
    )  # up to a cell of the mask grid


def test_a_picture_that_lies_on_its_side_is_shown_upright(picture: np.ndarray, tmp_path: Path) -> None:
    """Browsers and maskwright turn it alike; so boxes beyond the stored picture may be inside."""
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(picture).save(tmp_path / "turned.jpg", exif=exif)
    drawn = [{"x": 60, "y": 90, "width": 60, "height": 60}]
    assert boxes(widget(str(tmp_path / "turned.jpg"), bboxes=drawn)) == [mw.Box(60, 90, 96, 128)]


def test_a_picture_that_is_only_an_address_clips_nothing() -> None:
    shown = widget("https://example.org/photo.jpg", bboxes=[{**CAT, "x": -4}])
    assert boxes(shown) == [mw.Box(-4, 20, 26, 60)]
    assert boxes(shown, size=(50, 20)) == [mw.Box(0, 20, 20, 50)]


def test_drawn_from_right_to_left() -> None:
    assert boxes([{"x": 40, "y": 60, "width": -30, "height": -40}]) == [mw.Box(10, 20, 40, 60)]


def test_stray_clicks_are_left_out(caplog: pytest.LogCaptureFixture) -> None:
    """The widget makes a box without width and height of a click."""
    drawn = [CAT, {**DOG, "width": 0, "height": 0}, {**BARE, "height": 0}, {**BARE, "x": 30}]
    assert boxes(drawn) == [mw.Box(10, 20, 40, 60), mw.Box(30, 2, 33, 6)]
    assert names(drawn) == ["cat", "object"]
    assert "box 1 ('dog') has no area and is left out" in caplog.text
    assert "box 2 has no area" in caplog.text


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (
            {**CAT, "x": 200},
            r"box 1 \('cat'\) lies outside the picture, which is 100 pixels wide and 80 high",
        ),
        ({**CAT, "y": -40}, r"box 1 \('cat'\) lies outside the picture"),
        ({**CAT, "x": float("nan")}, r"box 1 \('cat'\) is \(nan, .*must be finite"),
        ({**CAT, "x": None}, r"box 1 \('cat'\) is .*expected numbers x, y, width and height"),
        ({"x": 1, "y": 2}, r"box 1 is .*expected numbers x, y, width and height"),
        ([1, 2, 3, 4], r"expected a BBoxWidget or a list of boxes like its \.bboxes, not a list"),
    ],
)
def test_boxes_that_make_no_sense(wrong: Any, words: str) -> None:
    with pytest.raises(mw.PromptError, match=words):
        boxes([CAT, wrong], size=(80, 100))


@pytest.mark.parametrize("wrong", [None, "photo.jpg", CAT, 3, io.BytesIO()])
def test_something_else(wrong: Any) -> None:
    for function in (boxes, names):
        with pytest.raises(mw.PromptError, match="expected a BBoxWidget"):
            function(wrong)
