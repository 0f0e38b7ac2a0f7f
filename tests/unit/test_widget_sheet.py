"""What a user has pointed at, step by step, without any model: objects, prompts, undo, and odd requests."""

from __future__ import annotations

from typing import Any

import pytest

import maskwright as mw
from maskwright.widget.desk import sheet_of
from maskwright.widget.requests import changed
from maskwright.widget.sheet import History, Sheet

SIZE = (100, 200)


def after(sheet: Sheet, kind: str, **what: Any) -> Sheet:
    return changed(sheet, {"kind": kind, **what}, what.pop("frame", 0), SIZE)


def clicked() -> Sheet:
    return after(Sheet(), "click", x=10, y=20, label=1)


def test_the_first_click_begins_an_object() -> None:
    sheet = clicked()
    (one,) = sheet.objects
    assert (one.id, one.name, sheet.selected) == (1, "object 1", 1)
    assert one.prompts == {0: mw.Prompt(points=mw.Points([(10, 20)]))}


def test_clicks_and_a_box_of_one_frame_are_one_prompt() -> None:
    sheet = after(clicked(), "click", x=12, y=20, label=0)
    sheet = after(sheet, "box", x0=50, y0=90, x1=2, y1=4)
    (one,) = sheet.objects
    assert one.prompts[0] == mw.Points([(10, 20), (12, 20)], [1, 0]) + mw.Box(2, 4, 50, 90)
    again = after(sheet, "box", x0=0, y0=0, x1=9, y1=9)
    assert again.objects[0].prompts[0].box == mw.Box(0, 0, 9, 9)


def test_a_box_is_clipped_to_the_picture() -> None:
    (one,) = after(Sheet(), "box", x0=-30, y0=20, x1=900, y1=900).objects
    assert one.prompts[0].box == mw.Box(0, 20, 200, 100)


def test_a_click_or_the_box_is_taken_back() -> None:
    sheet = after(clicked(), "click", x=30, y=40, label=1)
    sheet = after(sheet, "retract", object=1, place=0)
    assert sheet.objects[0].prompts[0] == mw.Prompt(points=mw.Points([(30, 40)]))
    assert after(sheet, "retract", object=1, place=0).objects[0].prompts == {}


def test_objects_are_added_named_chosen_and_deleted() -> None:
    sheet = after(after(clicked(), "add", name="cat"), "add")
    assert [one.name for one in sheet.objects] == ["object 1", "cat", "object 3"]
    sheet = after(sheet, "select", object=2)
    sheet = after(sheet, "rename", object=2, name="  dog ")
    assert sheet[2].name == "dog"
    sheet = after(sheet, "remove", object=2)
    assert [one.id for one in sheet.objects] == [1, 3]
    assert sheet.selected == 3
    assert after(sheet, "add").objects[-1].id == 4  # a number is never given twice
    assert sheet[3].colour != sheet[1].colour


def test_clearing_leaves_the_object_and_other_frames() -> None:
    sheet = after(clicked(), "click", x=1, y=1, label=1, frame=7)
    assert list(sheet.objects[0].prompts) == [0, 7]
    assert list(after(sheet, "clear", object=1, frame=7).objects[0].prompts) == [0]


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        ({"kind": "click", "x": 10, "y": 20, "label": 0}, "first"),
        ({"kind": "click", "x": 10, "y": 2000, "label": 1}, "outside the picture"),
        ({"kind": "click", "x": "10", "y": 20, "label": 1}, "no number"),
        ({"kind": "click", "x": float("nan"), "y": 20, "label": 1}, "no number"),
        ({"kind": "click", "x": 10, "y": 20, "label": 2}, "label"),
        ({"kind": "click", "x": 10, "y": 20, "label": 0.5}, "whole"),
        ({"kind": "box", "x0": 10, "y0": 20, "x1": 10, "y1": 40}, "no area"),
        ({"kind": "remove", "object": 9}, "no object 9"),
        ({"kind": "rename", "object": 9, "name": "x"}, "no object 9"),
        ({"kind": "retract", "object": True}, "no number"),
        ({"kind": "explode"}, "explode"),
        ({}, "None"),
        ({"kind": "add", "name": "   "}, "no name"),
        ({"kind": "add", "name": "x" * 99}, "longer"),
    ],
)
def test_an_odd_request_is_an_error_that_says_so(request_: dict[str, Any], said: str) -> None:
    with pytest.raises(mw.InputError, match=said):
        changed(Sheet(), request_, 0, SIZE)


def test_names_are_different() -> None:
    sheet = after(clicked(), "add", name="cat")
    with pytest.raises(mw.InputError, match="already"):
        after(sheet, "rename", object=1, name="cat")
    assert after(sheet, "rename", object=2, name="cat") == sheet


def test_undo_and_redo() -> None:
    history = History(Sheet())
    first, second = clicked(), after(clicked(), "add")
    history.push(first)
    history.push(second)
    assert history.undo() == first
    assert history.undo() == Sheet()
    assert history.undo() == Sheet()
    assert not history.can_undo
    assert history.redo() == first
    history.push(after(first, "click", x=9, y=9, label=1))
    assert not history.can_redo


def test_choosing_an_object_is_no_step() -> None:
    history = History(Sheet())
    history.push(after(clicked(), "add"))
    history.push(history.now.selecting(1))
    assert history.now.selected == 1
    assert history.undo() == Sheet()


def test_history_is_bounded() -> None:
    history, sheet = History(Sheet(), limit=5), Sheet()
    for _ in range(20):
        sheet = sheet.added()
        history.push(sheet)
    while history.can_undo:
        history.undo()
    assert len(history.now.objects) == 16


def test_prompts_from_python_keep_numbers_of_known_names() -> None:
    before = sheet_of({"dog": mw.Points([(1, 1)])}, ["cat"])
    sheet = sheet_of({"cow": mw.Box(0, 0, 5, 5), "dog": {3: mw.Points([(2, 2)])}}, earlier=before)
    assert [(one.name, one.id, list(one.prompts)) for one in sheet.objects] == [
        ("cow", 3, [0]),
        ("dog", 1, [3]),
    ]


@pytest.mark.parametrize("prompts", [[mw.Box(0, 0, 5, 5)], {"dog": (1, 2)}, {"": mw.Box(0, 0, 5, 5)}])
def test_bad_prompts_from_python(prompts: Any) -> None:
    with pytest.raises(mw.InputError):
        sheet_of(prompts)


def test_one_text_is_not_a_list_of_names() -> None:
    with pytest.raises(mw.InputError, match="pass a list"):
        sheet_of(None, "dog")


def test_what_lies_outside_names_the_object() -> None:
    with pytest.raises(mw.PromptError, match="dog: the point"):
        sheet_of({"dog": mw.Points([(500, 5)])}).check_inside(SIZE)
    with pytest.raises(mw.PromptError, match="dog: there is no frame 9"):
        sheet_of({"dog": {9: mw.Points([(5, 5)])}}).check_inside(SIZE, 9)
