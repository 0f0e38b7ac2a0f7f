"""How ``--point`` and ``--box`` make objects."""

from __future__ import annotations

import pytest

from maskwright import Box, Points, Prompt, PromptError
from maskwright.cli.prompts import group


def test_each_box_is_an_object() -> None:
    assert group([], ["1,2,30,40", "5,6,70,80"]) == {
        1: Prompt.of(Box(1, 2, 30, 40)),
        2: Prompt.of(Box(5, 6, 70, 80)),
    }


def test_clicks_alone_are_one_object() -> None:
    assert group(["10,20", "30.5,40,0"], []) == {1: Prompt.of(Points([(10, 20), (30.5, 40)], labels=[1, 0]))}


def test_clicks_refine_the_only_box() -> None:
    assert group(["10,20,0"], ["1,2,30,40"]) == {1: Box(1, 2, 30, 40) + Points([(10, 20)], labels=[0])}


def test_numbers_tell_objects_apart_whatever_the_order() -> None:
    found = group(["7:10,20", "2:3,4,0", "7:11,21,0"], ["2:1,2,30,40"])
    assert list(found) == [2, 7]
    assert found == {
        2: Box(1, 2, 30, 40) + Points([(3, 4)], labels=[0]),
        7: Prompt.of(Points([(10, 20), (11, 21)], labels=[1, 0])),
    }


@pytest.mark.parametrize(
    ("points", "boxes", "message"),
    [
        ([], [], "no prompt"),
        (["10"], [], r"has 1 numbers; write X,Y"),
        (["1,2,1,4"], [], r"has 4 numbers; write X,Y"),
        (["a,b"], [], r"--point 'a,b' cannot be read"),
        ([""], [], "cannot be read"),
        (["0:1,2"], [], "an object's number is 1, 2, 3"),
        (["cat:1,2"], [], "an object's number is 1, 2, 3"),
        (["1,2,3"], [], "label"),
        (["nan,2"], [], "finite"),
        ([], ["1,2,3"], "has 3 numbers, not 4"),
        ([], ["1,2,inf,4"], "finite"),
        ([], ["30,2,3,4"], "inverted"),
        ([], ["3,2,3,4"], "no area"),
        (["1:5,5"], ["1,2,3,4"], "number all of them or none"),
        (["5,5"], ["1,2,3,4", "2,3,4,5"], "say which object each belongs to"),
        ([], ["1:1,2,3,4", "1:2,3,4,5"], "2 boxes for one object"),
    ],
)
def test_what_makes_no_sense_is_refused(points: list[str], boxes: list[str], message: str) -> None:
    with pytest.raises(PromptError, match=message) as caught:
        group(points, boxes)
    assert "\n" not in str(caught.value)
