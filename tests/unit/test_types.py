"""Prompts: what they accept, how they add up, and what they say about nonsense."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest

from maskwright.errors import InputError, PromptError
from maskwright.types import Box, MaskPrompt, Points, Prompt

NAN, INF = float("nan"), float("inf")


def test_points_have_fixed_dtypes_and_labels_of_one():
    points = Points([(1, 2), (3.5, 4)])
    assert points.coords.dtype == np.float32
    assert points.coords.tolist() == [[1, 2], [3.5, 4]]
    assert points.labels.dtype == np.int64
    assert points.labels.tolist() == [1, 1]
    assert len(points) == 2


@pytest.mark.parametrize(
    "coords", [(500, 375), [(500, 375)], np.array([[500.0, 375.0]]), np.array([500, 375])]
)
def test_a_single_point_may_be_a_pair(coords):
    assert Points(coords) == Points([(500, 375)])


@pytest.mark.parametrize("labels", [0, [0, 0], np.zeros(2, bool), (0.0, 0.0)])
def test_labels_of_any_exact_kind(labels):
    assert Points([(1, 2), (3, 4)], labels).labels.tolist() == [0, 0]


@pytest.mark.parametrize(
    ("coords", "labels", "words"),
    [
        ([], None, "no points"),
        ([(1, 2, 3)], None, r"shape \(1, 3\)"),
        (5, None, r"shape \(\)"),
        ([(1, 2), (3,)], None, "ragged"),
        ("ab", None, "not an array of numbers"),
        (None, None, "not an array of numbers"),
        ([(1, 2j)], None, "not an array of numbers"),
        ([(1, 2), (NAN, 4)], None, r"point 1 is \(nan, 4.0\)"),
        ([(INF, 2)], None, "finite"),
        ([(1e300, 2)], None, "finite"),
        ([(1, 2), (3, 4)], [1], "1 labels for 2 points"),
        ([(1, 2)], [1, 0], "2 labels for 1 points"),
        ([(1, 2)], [[1]], r"shape \(1, 1\)"),
        ([(1, 2), (3, 4)], [1, 2], "label 1 is 2"),
        ([(1, 2)], [-1], "label 0 is -1"),
        ([(1, 2)], [0.5], "label 0 is 0.5"),
        ([(1, 2)], [NAN], "label 0 is nan"),
        ([(1, 2)], ["on"], "labels"),
    ],
)
def test_points_refuse(coords, labels, words):
    with pytest.raises(PromptError, match=words):
        Points(coords, labels)


def test_prompts_keep_copies_that_cannot_be_changed():
    coords = np.array([(1.0, 2.0)], np.float32)
    logits = np.zeros((4, 4), np.float32)
    points, mask = Points(coords), MaskPrompt(logits)
    coords[:] = logits[:] = 9
    assert points.coords.tolist() == [[1, 2]]
    assert not mask.logits.any()
    with pytest.raises(ValueError, match="read-only"):
        points.coords[0, 0] = 5
    with pytest.raises(dataclasses.FrozenInstanceError):
        points.coords = coords  # type: ignore[misc]


@pytest.mark.parametrize(
    ("corners", "words"),
    [
        ((NAN, 0, 5, 5), "x0 is nan"),
        ((0, 0, 5, INF), "y1 is inf"),
        ((0, "left", 5, 5), "y0 is 'left', not a number"),
        ((0, 0, None, 5), "x1 is None"),
        ((420, 560, 210, 300), r"did you mean Box\(210, 300, 420, 560\)\?"),
        ((0, 9, 5, 3), r"did you mean Box\(0, 3, 5, 9\)\?"),
        ((4, 1, 4, 9), "no area"),
        ((1, 4, 9, 4), "no area"),
    ],
)
def test_box_refuses(corners, words):
    with pytest.raises(PromptError, match=words):
        Box(*corners)


def test_box_takes_numpy_numbers_and_gives_corners():
    box = Box(*np.array([1, 2, 3.5, 4], np.float32))
    assert box == Box(1, 2, 3.5, 4)
    assert box.corners.tolist() == [[1, 2], [3.5, 4]]
    assert repr(box) == "Box(1, 2, 3.5, 4)"


@pytest.mark.parametrize("shape", [(8, 8), (1, 8, 8)])
def test_mask_prompt_is_one_square(shape):
    prompt = MaskPrompt(np.arange(64, dtype=np.float64).reshape(shape))
    assert prompt.logits.shape == (8, 8)
    assert prompt.logits.dtype == np.float32


@pytest.mark.parametrize(
    ("logits", "words"),
    [
        (np.zeros((4, 5)), r"shape \(4, 5\)"),
        (np.zeros((2, 4, 4)), r"shape \(2, 4, 4\)"),
        (np.zeros((0, 0)), r"shape \(0, 0\)"),
        (np.zeros(4), r"shape \(4,\)"),
        (np.zeros((4, 4), bool), "got a bitmap"),
        (np.full((4, 4), NAN), "NaN or infinity"),
        ("mask.png", "not an array of numbers"),
    ],
)
def test_mask_prompt_refuses(logits, words):
    with pytest.raises(PromptError, match=words):
        MaskPrompt(logits)


def test_sums_and_sequences_have_no_order():
    parts = [Points([(1, 2)]), Box(0, 0, 5, 5), MaskPrompt(np.ones((4, 4)))]
    expected = Prompt(*[parts[0], parts[1], parts[2]])
    for a, b, c in itertools.permutations(parts):
        assert a + b + c == expected
        assert a + (b + c) == expected
        assert (a, b) + c == expected  # noqa: RUF005
        assert Prompt.of([a, (b, c)]) == expected
        assert hash(a + b + c) == hash(expected)


def test_points_join_in_the_order_in_which_they_come():
    prompt = Points((1, 2)) + Box(0, 0, 9, 9) + Points([(3, 4), (5, 6)], [0, 1])
    assert prompt.points == Points([(1, 2), (3, 4), (5, 6)], [1, 0, 1])
    assert prompt.box == Box(0, 0, 9, 9)
    assert prompt.mask is None


@pytest.mark.parametrize("one", [Points((1, 2)), Box(0, 0, 1, 1), MaskPrompt(np.zeros((4, 4)))])
def test_prompt_of_one_and_of_itself(one):
    prompt = Prompt.of(one)
    assert Prompt.of(prompt) == prompt == Prompt.of([one])
    assert one in (prompt.points, prompt.box, prompt.mask)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ((), "empty"),
        ([Points((1, 2)), []], "empty"),
        ([Box(0, 0, 1, 1), Box(0, 0, 2, 2)], "2 boxes for one object"),
        ([MaskPrompt(np.zeros((4, 4)))] * 3, "3 mask prompts for one object"),
        ((210, 300, 420, 560), "wrap it"),
        ([(1, 2)], r"\(1, 2\) is not a prompt"),
        (np.zeros(4), "wrap it"),
        ("truck", "'truck' is not a prompt"),
        (None, "None is not a prompt"),
    ],
)
def test_prompt_of_refuses(value, words):
    with pytest.raises(PromptError, match=words):
        Prompt.of(value)


def test_prompt_fields_are_checked():
    with pytest.raises(PromptError, match="empty"):
        Prompt()
    with pytest.raises(PromptError, match="expected Points or None"):
        Prompt(points=[(1, 2)])  # type: ignore[arg-type]


def test_adding_something_else_is_a_type_error():
    with pytest.raises(TypeError):
        Box(0, 0, 1, 1) + 5  # type: ignore[operator]
    with pytest.raises(TypeError):
        5 + Box(0, 0, 1, 1)  # type: ignore[operator]


@pytest.mark.parametrize(
    "prompt",
    [
        Points([(0, 0), (100, 50)]),
        Box(0, 0, 100, 50),
        Points((100, 0)) + Box(99, 49, 100, 50),
        MaskPrompt(np.zeros((4, 4))),
    ],
)
def test_the_border_is_inside(prompt):
    Prompt.of(prompt).check_inside((50, 100))


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        (Points([(5, 5), (100.5, 5)]), r"the point \(100.5, 5\) lies outside .* 100 pixels wide and 50 high"),
        (Points((-1, 5)), r"\(-1, 5\)"),
        (Points((20, 90)), "are x and y swapped"),
        (Box(-1, 0, 5, 5), r"Box\(-1, 0, 5, 5\) reaches outside"),
        (Box(0, 0, 101, 5), "clip it"),
        (Points((5, 5)) + Box(0, 0, 5, 51), "Box"),
    ],
)
def test_outside_is_an_error(prompt, words):
    with pytest.raises(PromptError, match=words):
        Prompt.of(prompt).check_inside((50, 100))


def test_mask_prompt_must_have_the_side_of_the_model():
    prompt = Prompt.of(MaskPrompt(np.zeros((8, 8))))
    prompt.check_mask(8)
    Prompt.of(Points((1, 2))).check_mask(8)
    with pytest.raises(PromptError, match=r"are \(8, 8\), this model wants \(16, 16\)"):
        prompt.check_mask(16)


def test_every_message_is_one_line_and_every_error_a_value_error():
    with pytest.raises(ValueError, match="not a prompt") as caught:
        Prompt.of(np.arange(10000).reshape(100, 100))
    assert isinstance(caught.value, InputError)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200


def test_reprs_can_be_read_back():
    for prompt in (Points([(1, 2.5)], [0]), Box(0, 1.25, 3, 4)):
        assert eval(repr(prompt)) == prompt
    assert repr(MaskPrompt(np.zeros((8, 8)))) == "MaskPrompt(8 x 8 logits)"


def test_equality_looks_at_the_numbers():
    assert Points((1, 2)) != Points((1, 3))
    assert Points((1, 2)) != Points((1, 2), 0)
    assert Points((1, 2)) != (1, 2)
    assert MaskPrompt(np.zeros((4, 4))) != MaskPrompt(np.ones((4, 4)))
    assert hash(Points((0.0, 1))) == hash(Points((-0.0, 1)))
