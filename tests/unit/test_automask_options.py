"""Settings of automatic masks, and the places where they make the model look."""

from __future__ import annotations

import inspect
import math
from dataclasses import fields
from typing import Any

import numpy as np
import pytest

import maskwright as mw
from maskwright.automask import places
from maskwright.automask.options import PRESETS
from maskwright.automask.places import Crop


class TestOptions:
    def test_defaults_are_the_official_ones(self) -> None:
        assert mw.AutomaskOptions.preset() == mw.AutomaskOptions() == PRESETS["balanced"]

    def test_presets_can_be_changed(self) -> None:
        options = mw.AutomaskOptions.preset("dense", min_score=0.5, memory_mib=64)
        assert (options.min_score, options.memory_mib) == (0.5, 64)
        assert options.crop_layers == PRESETS["dense"].crop_layers == 1

    def test_presets_suit_the_model(self) -> None:
        assert mw.AutomaskOptions.preset(model="sam2.1-tiny") == mw.AutomaskOptions()
        assert mw.AutomaskOptions.preset(model="nano").min_score < mw.AutomaskOptions().min_score
        assert mw.AutomaskOptions.preset(model="nano", min_score=0.6).min_score == 0.6

    def test_a_grid_of_ones_own_takes_the_place_of_the_preset(self) -> None:
        points = np.array([[0.25, 0.5], [1, 0]])
        options = mw.AutomaskOptions.preset("fast", point_grids=[points])
        assert options.points_per_side is None
        points[:] = 0
        assert options.point_grids == (((0.25, 0.5), (1.0, 0.0)),)
        assert hash(options) != hash(PRESETS["fast"])

    def test_every_field_says_what_it_does(self) -> None:
        source = inspect.getsource(mw.AutomaskOptions)
        lines = source.splitlines()
        for field in fields(mw.AutomaskOptions):
            at = next(i for i, line in enumerate(lines) if line.startswith(f"    {field.name}: "))
            assert lines[at + 1].startswith('    """'), field.name

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"points_per_side": 0}, "whole number from 1 on"),
            ({"points_per_side": 2.5}, "points_per_side is 2.5"),
            ({"points_per_batch": True}, "points_per_batch is True"),
            ({"crop_layers": -1}, "from 0 on"),
            ({"memory_mib": 8}, "memory_mib is 8; it must be a whole number from 32 on"),
            ({"min_score": 1.5}, "min_score is 1.5; it must be a number to 1"),
            ({"min_score": 1}, "which no mask exceeds"),
            ({"min_stability": math.nan}, "min_stability is nan"),
            ({"stability_offset": -1.0}, "stability_offset is -1.0"),
            ({"threshold": math.inf}, "finite"),
            ({"threshold": "high"}, "threshold is 'high'"),
            ({"max_overlap": -0.1}, "max_overlap"),
            ({"crop_overlap": 2.0}, "from 0 to 1"),
            ({"max_hole_area": -1}, "max_hole_area"),
            ({"points_per_side": None}, "give either points_per_side or point_grids"),
            ({"points_per_side": 8, "point_grids": [[(0.5, 0.5)]]}, "give either"),
            (
                {"points_per_side": 4, "crop_layers": 2, "crop_points_divisor": 4},
                "leaves no points in layer 2",
            ),
            ({"point_grids": [[(0.5, 0.5)]], "crop_layers": 1}, "1 point_grids for 1 crop_layers; give 2"),
            ({"point_grids": [[(300, 200)]]}, "shares of width and height, not pixels"),
            ({"point_grids": [[0.5, 0.5]]}, r"shape \(2,\)"),
            ({"point_grids": [[]]}, "shape"),
            ({"min_socre": 0.5}, "there is no option 'min_socre'; the options are points_per_side,"),
        ],
    )
    def test_refused(self, changes: dict[str, Any], words: str) -> None:
        with pytest.raises(mw.InputError, match=words):
            mw.AutomaskOptions.preset("balanced", **changes)

    def test_an_unknown_preset(self) -> None:
        with pytest.raises(mw.InputError, match="no preset 'best'; choose one of fast, balanced, dense"):
            mw.AutomaskOptions.preset("best")


class TestGrid:
    def test_points_are_the_middles_of_cells_row_by_row(self) -> None:
        assert places.grid(2).tolist() == [[0.25, 0.25], [0.75, 0.25], [0.25, 0.75], [0.75, 0.75]]
        assert places.grid(1).tolist() == [[0.5, 0.5]]

    def test_crops_have_fewer_points(self) -> None:
        options = mw.AutomaskOptions(points_per_side=9, crop_layers=2, crop_points_divisor=2)
        assert [options.points_in_layer(layer) for layer in range(3)] == [9, 4, 2]
        assert places.points(options, Crop(100, 0, 140, 20, 2)).tolist() == [
            [10, 5],
            [30, 5],
            [10, 15],
            [30, 15],
        ]

    def test_grids_of_ones_own(self) -> None:
        options = mw.AutomaskOptions(
            points_per_side=None, point_grids=[[(0.5, 0.5)], [(0, 1)]], crop_layers=1
        )
        assert places.points(options, Crop(5, 5, 25, 15, 1)).tolist() == [[0, 10]]


class TestCrops:
    def test_none(self) -> None:
        assert places.crops((30, 40), mw.AutomaskOptions()) == [Crop(0, 0, 40, 30, 0)]

    def test_layers(self) -> None:
        """What ``generate_crop_boxes`` of the official package gives for (300, 400), 2 layers, 0.25."""
        found = places.crops((300, 400), mw.AutomaskOptions(crop_layers=2, crop_overlap=0.25))
        assert len(found) == 1 + 4 + 16
        assert [crop[:4] for crop in found[1:5]] == [
            (0, 0, 238, 188), (0, 113, 238, 300), (163, 0, 400, 188), (163, 113, 400, 300),
        ]  # fmt: skip
        assert found[5][:4] == (0, 0, 128, 103)
        assert found[-1][:4] == (273, 198, 400, 300)
        assert [crop.layer for crop in found] == [0] + [1] * 4 + [2] * 16

    def test_crops_cover_the_picture(self) -> None:
        covered = np.zeros((61, 47), bool)
        for crop in places.crops((61, 47), mw.AutomaskOptions(crop_layers=3, crop_overlap=0))[-64:]:
            covered[crop.y0 : crop.y1, crop.x0 : crop.x1] = True
        assert covered.all()


class TestEdges:
    def test_boxes_that_touch_the_crop_but_not_the_picture(self) -> None:
        crop = Crop(100, 100, 300, 300, 1)
        boxes = np.array(
            [
                [150, 150, 250, 250],  # inside
                [120, 150, 250, 250],  # 20 pixels from the left edge
                [121, 150, 250, 250],
                [150, 150, 281, 250],  # its last column, 280, is 20 from the right edge, 300
                [150, 150, 280, 250],
                [150, 99, 250, 299],
            ]
        )
        assert places.touches_crop(boxes, crop, (600, 800)).tolist() == [
            False,
            True,
            False,
            True,
            False,
            True,
        ]

    def test_the_edge_of_the_picture_is_none(self) -> None:
        crop = Crop(0, 0, 300, 200, 1)
        boxes = np.array([[0, 0, 50, 50], [0, 0, 300, 50], [5, 150, 50, 200]])
        assert places.touches_crop(boxes, crop, (200, 800)).tolist() == [False, True, False]
        assert not places.touches_crop(boxes, Crop(0, 0, 300, 200, 0), (200, 300)).any()


class TestSmallPictures:
    def test_smaller_than_the_grid(self) -> None:
        words = "only 20 x 10 pixels, smaller than the grid of 32 x 32 clicks: use points_per_side=10 or less"
        with pytest.raises(mw.InputError, match=words):
            places.check_size((10, 20), mw.AutomaskOptions())
        places.check_size((10, 20), mw.AutomaskOptions(points_per_side=10))

    def test_crops_smaller_than_the_grid(self) -> None:
        options = mw.AutomaskOptions(crop_layers=2, crop_overlap=0)
        with pytest.raises(
            mw.InputError, match=r"crops of layer 1 are only 20 x 20 .* use fewer crop_layers, or"
        ):
            places.check_size((40, 40), options)

    def test_crops_of_nothing(self) -> None:
        options = mw.AutomaskOptions(points_per_side=1, crop_layers=4, crop_overlap=0)
        with pytest.raises(mw.InputError, match="use fewer crop_layers than 4"):
            places.check_size((9, 9), options)
