"""Overlays: what is tinted, what is left alone, and colours one can tell apart."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from maskwright.errors import InputError, PromptError
from maskwright.pixels.draw import line_width, overlay
from maskwright.pixels.palette import colour, toned
from maskwright.types import Box, MaskPrompt, Points

H, W = 80, 120
GREY = np.full((H, W, 3), 100, np.uint8)


def rectangle(x0, y0, x1, y1):
    bitmap = np.zeros((H, W), bool)
    bitmap[y0:y1, x0:x1] = True
    return bitmap


def test_inside_is_tinted_outside_is_untouched():
    bitmap = rectangle(30, 20, 90, 60)
    drawn = overlay(GREY, bitmap[None], alpha=0.4)
    expected = np.rint(100 + 0.4 * (np.array(colour(0)) - 100))
    assert np.abs(drawn[35:45, 50:70].astype(int) - expected).max() <= 1
    outside = ~rectangle(20, 10, 100, 70)
    assert (drawn[outside] == 100).all()
    assert drawn.dtype == np.uint8
    assert drawn.shape == GREY.shape


def test_the_outline_is_brighter_and_thin():
    drawn = overlay(GREY, rectangle(30, 20, 90, 60)[None], alpha=0.0).astype(int)
    row = np.abs(drawn[40] - 100).sum(axis=1)
    strong = np.flatnonzero(row > 100)
    assert set(strong) == {29, 30, 89, 90}
    assert not row[40:80].any()
    assert not row[:22].any()
    line = np.array(toned(colour(0), 0.35))
    assert np.abs(drawn[40, 30] - line).max() < np.abs(drawn[40, 30] - 100).max()


def test_no_outline_where_the_picture_ends():
    drawn = overlay(GREY, np.ones((1, H, W), bool), alpha=0.0)
    assert (drawn == 100).all()


def test_small_objects_lie_on_large_ones_unmixed():
    large, small = rectangle(10, 10, 110, 70), rectangle(40, 25, 80, 55)
    for bitmaps, place in ((np.stack([large, small]), 1), (np.stack([small, large]), 0)):
        expected = np.rint(100 + 0.5 * (np.array(colour(place)) - 100))
        assert np.abs(overlay(GREY, bitmaps)[35:45, 55:65] - expected).max() <= 1


def test_nothing_to_draw_gives_a_copy():
    for bitmaps in (np.zeros((0, H, W), bool), np.zeros((2, H, W), bool)):
        drawn = overlay(GREY, bitmaps)
        assert np.array_equal(drawn, GREY)
        assert not np.shares_memory(drawn, GREY)


def test_the_picture_is_kept_and_floats_are_shown():
    picture = np.full((H, W, 3), 0.5, np.float32)
    drawn = overlay(picture, rectangle(5, 5, 20, 20)[None])
    assert (picture == 0.5).all()
    assert (drawn[60:] == 128).all()


def test_colours_of_ones_own():
    drawn = overlay(GREY, rectangle(30, 20, 90, 60)[None], alpha=1.0, colours=[(1, 2, 3)])
    assert (drawn[40, 60] == (1, 2, 3)).all()


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (7, 3)])
def test_tiny_pictures(size):
    picture = np.zeros((*size, 3), np.uint8)
    bitmap = np.zeros((1, *size), bool)
    bitmap[0, 0, 0] = True
    prompts = [Points((0, 0)) + Box(0, 0, 1, 1)]
    assert overlay(picture, bitmap, prompts=prompts)[0, 0].any()


def test_clicks_are_green_or_red_discs_with_a_white_sign():
    points = Points([(30, 40), (90, 40)], [1, 0])
    drawn = overlay(GREY, np.zeros((1, H, W), bool), prompts=[points]).astype(int)
    on, off = drawn[36:45, 26:35].reshape(-1, 3), drawn[36:45, 86:95].reshape(-1, 3)
    assert (on[:, 1] - on[:, 0]).max() > 100
    assert (off[:, 0] - off[:, 1]).max() > 100
    assert (drawn[40, 30] > 200).all()
    assert (drawn[40, 90] > 200).all()
    far = np.ones((H, W), bool)
    far[28:53, 18:43] = far[28:53, 78:103] = False
    assert (drawn[far] == 100).all()


def test_boxes_are_framed_in_the_colour_of_their_object():
    prompts = [MaskPrompt(np.zeros((4, 4))), (Box(20, 15, 100, 65), Points((0, 0)))]
    drawn = overlay(GREY, np.zeros((2, H, W), bool), prompts=prompts).astype(int)
    line = np.array(toned(colour(1), 0.2))
    for y, x in ((15, 60), (65, 60), (40, 20), (40, 100)):
        near = drawn[y - 1 : y + 1, x - 1 : x + 1].reshape(-1, 3)
        assert np.abs(near - line).sum(axis=1).min() < 90
    assert (drawn[25:55, 30:90] == 100).all()


def test_prompts_at_the_border_and_beyond_are_cut_off():
    prompts = [Points([(0, 0), (W, H), (-500, 3)]) + Box(-40, -40, W + 40, H + 40)]
    drawn = overlay(GREY, np.zeros((1, H, W), bool), prompts=prompts)
    assert (drawn[0, 0] != 100).any()
    assert (drawn[30:50, 40:80] == 100).all()


def test_lines_grow_with_the_picture():
    widths = [line_width(side, side // 2) for side in (100, 1000, 4000, 8000, 60000)]
    assert widths == sorted(widths)
    assert widths[0] == 1.5
    assert widths[-1] == 16


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"bitmaps": np.zeros((1, 5, 5), bool)}, "do not fit"),
        ({"bitmaps": np.zeros((H, W), bool)}, "do not fit"),
        ({"image": GREY[..., 0]}, "do not fit"),
        ({"bitmaps": np.zeros((1, H, W), np.uint8)}, "are uint8; expected bool"),
        ({"alpha": 1.5}, "alpha is 1.5"),
        ({"alpha": float("nan")}, "alpha is nan"),
        ({"colours": []}, "0 colours for 1 objects"),
    ],
)
def test_refused(arguments, words):
    given = {"image": GREY, "bitmaps": rectangle(1, 1, 5, 5)[None], **arguments}
    with pytest.raises(InputError, match=words):
        overlay(given.pop("image"), given.pop("bitmaps"), **given)


def test_prompts_are_checked():
    with pytest.raises(PromptError, match="is not a prompt"):
        overlay(GREY, rectangle(1, 1, 5, 5)[None], prompts=[(1, 2)])


def oklab(rgb):
    """Björn Ottosson's perceptual colour space."""
    value = np.array(rgb) / 255
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    lms = np.array(
        [
            [0.4122214708, 0.5363325363, 0.0514459929],
            [0.2119034982, 0.6806995451, 0.1073969566],
            [0.0883024619, 0.2817188376, 0.6299787005],
        ]
    )
    lab = np.array(
        [
            [0.2104542553, 0.7936177850, -0.0040720468],
            [1.9779984951, -2.4285922050, 0.4505937099],
            [0.0259040371, 0.7827717662, -0.8086757660],
        ]
    )
    return lab @ np.cbrt(lms @ linear)


def test_colours_can_be_told_apart():
    spots = [oklab(colour(index)) for index in range(12)]
    pairs = itertools.combinations(range(12), 2)
    assert min(np.linalg.norm(spots[a] - spots[b]) for a, b in pairs) > 0.09
    neighbours = [np.linalg.norm(a - b) for a, b in itertools.pairwise(spots)]
    assert min(neighbours) > 0.2
    assert len({colour(index) for index in range(36)}) == 36
    assert colour(36) == colour(0)


def test_tones():
    assert toned((100, 0, 200), 0.5) == (178, 128, 228)
    assert toned((100, 0, 200), -0.5) == (50, 0, 100)
    assert toned((100, 0, 200), 0) == (100, 0, 200)
