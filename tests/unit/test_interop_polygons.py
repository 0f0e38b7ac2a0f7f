"""Masks as polygons and back: exact on every shape, and nearly so with a tolerance."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import shapely
from scipy import ndimage

from annotated import SHAPES, annotation, disc, iou, ring
from maskwright.interop import polygons


def random_bitmaps(count: int) -> list[np.ndarray]:
    rng = np.random.default_rng(5)
    sides = rng.integers(1, 14, (count, 2))
    return [rng.random((h, w)) < rng.choice([0.2, 0.5, 0.7, 0.9]) for h, w in sides]


@pytest.mark.parametrize("name", SHAPES)
def test_odd_shapes_come_back_exactly(name):
    bitmap = SHAPES[name]
    outline = polygons.trace(annotation(bitmap))
    assert outline.is_valid, shapely.is_valid_reason(outline)
    assert outline.area == bitmap.sum()
    assert np.array_equal(polygons.draw([outline], bitmap.shape), bitmap)


def test_noise_comes_back_exactly():
    for bitmap in random_bitmaps(120):
        outline = polygons.trace(annotation(bitmap))
        assert outline.is_valid, shapely.is_valid_reason(outline)
        assert np.array_equal(polygons.draw([outline], bitmap.shape), bitmap)


def test_with_a_tolerance_it_is_valid_and_close_even_where_everything_is_small():
    for bitmap in [*random_bitmaps(40), *SHAPES.values()]:
        for tolerance in (0.5, 1.0, 4.0):
            outline = polygons.trace(annotation(bitmap), tolerance)
            assert outline.is_valid, shapely.is_valid_reason(outline)
            assert iou(polygons.draw([outline], bitmap.shape), bitmap) >= 0.98


def test_a_tolerance_saves_corners_and_keeps_holes():
    size = (480, 640)
    bitmap = disc(300, 240, 200, size) & ~disc(330, 200, 70, size)
    exact, simple = (polygons.trace(annotation(bitmap), tolerance) for tolerance in (0, 1))
    corners = [shapely.get_num_coordinates(outline) for outline in (exact, simple)]
    assert corners[1] < corners[0] / 4
    assert [len(part.interiors) for part in simple.geoms] == [1]
    assert iou(polygons.draw([simple], bitmap.shape), bitmap) >= 0.98


def test_parts_that_touch_at_a_corner_are_apart_and_the_largest_is_first():
    outline = polygons.trace(annotation(SHAPES["diagonal"]))
    assert len(outline.geoms) == 3
    two = polygons.trace(annotation(disc(30, 30, 8) | disc(90, 60, 40)))
    assert [round(part.area) > 1000 for part in two.geoms] == [True, False]


def test_coordinates_are_edges_of_pixels():
    bitmap = np.zeros((20, 30), bool)
    bitmap[4:9, 10:25] = True
    outline = polygons.trace(annotation(bitmap))
    assert outline.bounds == (10, 4, 25, 9)
    assert len(polygons.rings(outline.geoms[0])[0]) == 4


@pytest.mark.parametrize("name", SHAPES)
def test_rings_joined_by_bridges_enclose_the_same(name):
    bitmap = SHAPES[name]
    outline = polygons.trace(annotation(bitmap))
    if outline.is_empty:
        return
    line = polygons.joined(outline)
    assert np.array_equal(polygons.draw([polygons.from_rings([line])], bitmap.shape), bitmap)
    singles = [polygons.bridged(part) for part in outline.geoms]
    assert np.array_equal(polygons.draw([polygons.from_rings(singles)], bitmap.shape), bitmap)


def test_bridges_on_noise():
    for bitmap in random_bitmaps(60):
        outline = polygons.trace(annotation(bitmap))
        if not outline.is_empty:
            again = polygons.from_rings([polygons.joined(outline)])
            assert np.array_equal(polygons.draw([again], bitmap.shape), bitmap)


def parts(bitmap):
    """Its parts as bitmaps of their own."""
    labels, count = ndimage.label(bitmap)
    return [labels == number for number in range(1, count + 1)]


def test_inclusive_outlines_are_for_tools_that_paint_the_line():
    """Such as fillPoly, behind supervision and ultralytics, whether they round corners or cut off."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        supervision = pytest.importorskip("supervision")
    large = [(bitmap, 1.0, 0.97) for bitmap in (ring(), disc(60, 60, 45.5))]
    small = [(bitmap, 0.0, 1.0) for bitmap in (*SHAPES.values(), *random_bitmaps(25), ring())]
    for bitmap, tolerance, least in large + small:
        for part in parts(bitmap):
            outline = polygons.trace(annotation(part), tolerance, inclusive=True)
            (line,) = (polygons.bridged(one) for one in outline.geoms)
            for corners in (line, np.round(line)):
                assert iou(supervision.polygon_to_mask(corners, part.shape[::-1]) > 0, part) >= least


def test_inclusive_noise_comes_back_exactly():
    for bitmap in [*random_bitmaps(60), *SHAPES.values()]:
        outline = polygons.trace(annotation(bitmap), inclusive=True)
        assert outline.is_valid
        assert np.array_equal(polygons.draw([outline], bitmap.shape, inclusive=True), bitmap)
        if not outline.is_empty:
            again = polygons.from_rings([polygons.joined(outline)])
            assert np.array_equal(polygons.draw([again], bitmap.shape, inclusive=True), bitmap)


def test_rings_that_make_no_sense():
    assert polygons.from_rings([np.array([[1.0, 1.0], [2.0, 2.0]])]).is_empty
    bow = polygons.from_rings([np.array([[0, 0], [4, 4], [4, 0], [0, 4]], float)])
    assert bow.is_valid
    assert bow.area == pytest.approx(8)
    for values in ("abc", [[1, 2, 3]], [[float("nan"), 1]], [1, 2]):
        with pytest.raises(ValueError, match="corners"):
            polygons.check_ring(values, "object 1")
