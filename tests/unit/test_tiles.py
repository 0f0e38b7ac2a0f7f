"""Where tiles lie, and how the masks of several become those of one picture."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

import maskwright as mw
from maskwright.automask.places import Crop
from maskwright.pixels import rle
from maskwright.pixels.boxes import boxes_of
from maskwright.tiles.parts import placed
from maskwright.tiles.plan import check_grid, edge_of, overlaps, tiles
from maskwright.tiles.stitch import Stitched, stitch

SIZE = (300, 500)
LEFT, RIGHT = Crop(0, 0, 300, 300, 0), Crop(200, 0, 500, 300, 0)
"""Two tiles that share the columns 200 to 300."""


def found_in(tile: Crop, *pictures: np.ndarray, scores: tuple[float, ...] = ()) -> mw.FoundMasks:
    """What a tile shows of bitmaps of the whole picture, in pixels of the tile."""
    bitmaps = np.array([one[tile.y0 : tile.y1, tile.x0 : tile.x1] for one in pictures], bool)
    bitmaps = bitmaps.reshape(-1, *tile.size)
    num = len(bitmaps)
    marks = np.array(scores or [0.5 + 0.01 * row for row in range(num)], np.float32)
    boxes = boxes_of(bitmaps)
    runs = tuple(
        np.diff(np.flatnonzero(np.diff(one.T.ravel(), prepend=False)), prepend=0, append=one.size)
        for one in bitmaps
    )
    areas = bitmaps.sum((1, 2))
    return mw.FoundMasks(
        tile.size, runs, marks, marks + 0.1, boxes, areas, boxes[:, :2], np.tile(tile.box, (num, 1))
    )


def box(x0: int, y0: int, x1: int, y1: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    bitmap = np.zeros(size, bool)
    bitmap[y0:y1, x0:x1] = True
    return bitmap


def stitched(places: list[Crop], *parts: mw.FoundMasks, halo: int = 100, **changes: Any) -> Stitched:
    whole = changes.pop("whole", None)
    options = mw.TileOptions(size=places[0].size[1], halo=halo, **changes)
    size = (max(place.y1 for place in places), max(place.x1 for place in places))
    moved = [placed(part, place, size) for part, place in zip(parts, places, strict=True)]
    return stitch(moved, places, options, mask_size=160, max_overlap=0.7, whole=whole)


def two(left: list[np.ndarray], right: list[np.ndarray], **changes: Any) -> Stitched:
    return stitched([LEFT, RIGHT], found_in(LEFT, *left), found_in(RIGHT, *right), **changes)


class TestPlan:
    @pytest.mark.parametrize("size", [(1024, 1024), (20_000, 20_000), (1025, 5000), (3000, 900), (40, 7)])
    @pytest.mark.parametrize("options", [{}, {"size": 500, "halo": 250}, {"size": 333, "halo": 1}])
    def test_tiles_cover_the_picture_and_share_the_halo(
        self, size: tuple[int, int], options: dict[str, int]
    ) -> None:
        chosen = mw.TileOptions(**options)
        places = tiles(size, chosen)
        for axis in (0, 1):
            spans = sorted({(place[1 - axis], place[3 - axis]) for place in places})
            assert (spans[0][0], spans[-1][1]) == (0, size[axis])
            assert {end - start for start, end in spans} == {min(chosen.size, size[axis])}
            assert all(before[1] - after[0] >= chosen.shared for before, after in pairwise(spans))
        assert len({place.size for place in places}) == 1
        assert len(set(places)) == len(places)

    def test_no_more_tiles_than_needed(self) -> None:
        assert len(tiles((1920, 1920), mw.TileOptions())) == 4
        assert len(tiles((1921, 1920), mw.TileOptions())) == 6
        assert len(tiles((1024, 800), mw.TileOptions())) == 1

    def test_every_pair_that_shares_pixels(self) -> None:
        places = tiles((700, 900), mw.TileOptions(size=400, halo=150))
        found = {tuple(pair[:2]): pair[2:] for pair in overlaps(places)}
        for first, one in enumerate(places):
            for second, other in enumerate(places[:first]):
                shared = (*np.maximum(one[:2], other[:2]), *np.minimum(one[2:4], other[2:4]))
                empty = shared[0] >= shared[2] or shared[1] >= shared[3]
                assert found.get((second, first)) == (None if empty else shared)

    def test_how_near_the_edge_a_mask_is_cut(self) -> None:
        assert edge_of(Crop(0, 0, 1024, 1024, 0), mw.TileOptions(), 160) == 20
        assert edge_of(Crop(0, 0, 4000, 3000, 0), mw.TileOptions(size=4000), 160) == 50
        assert edge_of(Crop(0, 0, 256, 256, 0), mw.TileOptions(size=256, halo=16), 160) == 8

    def test_tiles_smaller_than_the_grid(self) -> None:
        with pytest.raises(
            mw.InputError, match="the tiles are only 32 x 32 pixels.*points_per_side=32 or less"
        ):
            check_grid((900, 900), mw.AutomaskOptions(points_per_side=33), mw.TileOptions(size=32))
        with pytest.raises(mw.InputError, match="the picture is only 20 x 30"):
            check_grid((30, 20), mw.AutomaskOptions(), mw.TileOptions())
        check_grid((30, 20), mw.AutomaskOptions(points_per_side=20), mw.TileOptions())

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ({"size": 31}, "size is 31; it must be a whole number from 32 to 16384"),
            ({"size": 1000.0}, "size is 1000.0"),
            ({"size": True}, "size is True"),
            ({"halo": 0}, "halo is 0"),
            ({"size": 600, "halo": 301}, "tiles of 600 pixels may share at most half, 300"),
            ({"stitch_iou": 0}, "stitch_iou is 0"),
            ({"contained": 1.1}, "contained is 1.1"),
            ({"embeddings": 0}, "embeddings is 0"),
        ],
    )
    def test_options_that_make_no_sense(self, options: dict[str, Any], words: str) -> None:
        with pytest.raises(mw.InputError, match=words):
            mw.TileOptions(**options)


class TestStitching:
    def test_two_parts_become_one(self) -> None:
        whole = box(50, 40, 450, 90)
        found, sieve = two([whole], [whole])
        assert len(found) == 1
        np.testing.assert_array_equal(found.bitmaps[0], whole)
        assert (found.areas[0], found.boxes[0].tolist()) == (400 * 50, [50, 40, 450, 90])
        assert found.crops[0].tolist() == [0, 0, 500, 300]
        assert found.points[0].tolist() == [50, 40]
        assert (sieve.stitched, sieve.kept) == (1, -1)

    def test_numbers_are_weighted_by_area(self) -> None:
        left, right = box(100, 0, 300, 10), box(200, 0, 300, 10)  # 200 and 100 columns
        right[:, 280:] = False
        right[0:10, 280:480] = True  # now 280
        parts = found_in(LEFT, left, scores=(0.5,)), found_in(RIGHT, right, scores=(0.8,))
        found, _ = stitched([LEFT, RIGHT], *parts)
        weight = 200 / (200 + 280)
        np.testing.assert_allclose(found.scores, [weight * 0.5 + (1 - weight) * 0.8], rtol=1e-6)
        np.testing.assert_allclose(found.stabilities, [weight * 0.6 + (1 - weight) * 0.9], rtol=1e-6)
        assert found.points[0].tolist() == [200, 0]  # that of the larger part

    def test_a_whole_mask_stands_for_its_parts(self) -> None:
        disc = box(230, 100, 330, 150)
        seen = disc.copy()
        seen[100:103] = False  # the tile with a part of it draws it differently
        found, sieve = two([seen], [disc])
        assert (len(found), sieve.stitched) == (1, 1)
        np.testing.assert_array_equal(found.bitmaps[0], disc)
        assert found.crops[0].tolist() == list(RIGHT[:4])

    def test_what_both_tiles_show_whole_comes_once(self) -> None:
        small, larger = box(240, 100, 260, 120), box(239, 99, 262, 122)
        parts = found_in(LEFT, small, scores=(0.9,)), found_in(RIGHT, larger, scores=(0.6,))
        found, sieve = stitched([LEFT, RIGHT], *parts)
        assert (len(found), sieve.stitched) == (1, 1)
        np.testing.assert_array_equal(found.bitmaps[0], small)

    def test_neighbours_stay_apart(self) -> None:
        above, below = box(50, 40, 450, 90), box(50, 92, 450, 140)
        found, _ = two([above, below], [below, above])
        assert len(found) == 2
        for wanted in (above, below):
            assert any(np.array_equal(bitmap, wanted) for bitmap in found.bitmaps)

    def test_an_object_and_its_part_do_not_become_one(self) -> None:
        """A car and its side, which look much alike where the tiles overlap."""
        car, side = box(50, 100, 450, 200), box(60, 110, 440, 170)
        found, _ = two([car, side], [car, side])
        assert sorted(found.areas.tolist()) == sorted([car.sum(), side.sum()])
        # Here the right tile has the side only, and goes with the side of the left one.
        found, sieve = two([car, side], [side])
        assert sorted(found.areas.tolist()) == sorted([car[:, :300].sum(), side.sum()])
        assert sieve.stitched == 1

    def test_masks_of_one_tile_do_not_meet_by_way_of_another(self) -> None:
        """Three tiles: the middle one has one mask, alike to both of the right tile where they overlap."""
        places = [Crop(x, 0, x + 300, 300, 0) for x in (0, 200, 400)]
        size = (300, 700)
        road = box(20, 100, 680, 150, size)
        edge = box(20, 110, 680, 160, size)
        found, _ = stitched(
            places,
            found_in(places[0], road, edge),
            found_in(places[1], road),
            found_in(places[2], road, edge),
        )
        assert road.sum() in found.areas
        assert len(found) == 3

    def test_objects_larger_than_tiles(self) -> None:
        places = [Crop(x, y, x + 200, y + 200, 0) for y in (0, 150, 300) for x in (0, 150, 300)]
        size = (500, 500)
        ring = box(10, 10, 490, 490, size) & ~box(120, 120, 380, 380, size)
        parts = [
            found_in(place, ring) if ring[place.y0 : place.y1, place.x0 : place.x1].any() else found_in(place)
            for place in places
        ]
        found, sieve = stitched(places, *parts, halo=50)
        assert len(found) == 1
        np.testing.assert_array_equal(found.bitmaps[0], ring)
        assert sieve.stitched == 7

    def test_a_cut_part_within_another_mask_goes(self) -> None:
        stump, tree = box(255, 100, 300, 150), box(210, 50, 450, 250)
        found, sieve = two([stump], [tree])
        assert (found.areas.tolist(), sieve.cut_off) == ([tree.sum()], 1)
        found, sieve = two([stump], [tree], contained=1.0, halo=100)
        assert (len(found), sieve.cut_off) == (1, 1)
        away = box(150, 100, 300, 150)  # half of it is where the other tile cannot see
        found, sieve = two([away], [tree])
        assert (len(found), sieve.cut_off) == (2, 0)

    def test_a_cut_part_without_another_stays(self) -> None:
        found, sieve = two([box(150, 100, 300, 150)], [])
        assert (len(found), sieve.cut_off) == (1, 0)

    def test_duplicates_share_box_and_pixels(self) -> None:
        """Long objects have much the same box, but not the same pixels."""
        zig = np.tri(300, 500, 100, bool) & ~np.tri(300, 500, 60, bool)
        zag = zig[::-1]
        found, _ = two([zig, zag], [zig, zag])
        assert len(found) == 2

    def test_of_duplicates_the_better_one_stays(self) -> None:
        """Each goes with one of the other tile at most, so the second is left over, and is a duplicate."""
        shed = box(230, 100, 280, 200)
        again = box(230, 100, 280, 198)
        for scores in ((0.5, 0.9), (0.9, 0.5)):
            parts = found_in(LEFT, shed), found_in(RIGHT, shed, again, scores=scores)
            found, sieve = stitched([LEFT, RIGHT], *parts)
            assert (len(found), sieve.stitched, sieve.crop_duplicates) == (1, 1, 1)
            assert found.scores.max() == np.float32(max(0.5, scores[0], *scores))
        found, sieve = two([again], [shed, again], stitch_iou=1.0)
        assert (len(found), sieve.stitched, sieve.crop_duplicates) == (2, 1, 0)  # they share less than that

    def test_what_the_whole_picture_shows_of_large_objects(self) -> None:
        everywhere = Crop(0, 0, 500, 300, 0)
        ship, funnel, boat = box(50, 40, 450, 90), box(150, 100, 300, 150), box(20, 200, 60, 240)
        coarse = placed(found_in(everywhere, box(45, 35, 455, 95), box(15, 195, 65, 245)), everywhere, SIZE)
        found, sieve = two([ship, boat], [ship], whole=coarse)
        assert sorted(found.areas.tolist()) == [boat.sum(), ship.sum()]  # what tiles show is finer
        assert (sieve.stitched, sieve.crop_duplicates) == (2, 1)
        coarse = placed(found_in(everywhere, box(45, 35, 455, 195)), everywhere, SIZE)
        found, sieve = two(
            [funnel], [], whole=coarse
        )  # the stump belongs to what no tile knows as one object
        assert (found.areas.tolist(), sieve.cut_off) == (coarse.areas.tolist(), 1)

    def test_nothing_anywhere(self) -> None:
        found, sieve = two([], [])
        assert (len(found), found.size, sieve.stitched) == (0, SIZE, 0)
        found, _ = two([box(10, 10, 20, 20)], [])
        assert found.areas.tolist() == [100]

    def test_moving_into_the_picture_keeps_the_pixels(self) -> None:
        noise = np.random.default_rng(0).random(SIZE) < 0.3
        noise[:, 230] = noise[:, 231] = True
        moved = placed(found_in(RIGHT, noise), RIGHT, SIZE)
        noise[:, :200] = False
        np.testing.assert_array_equal(moved.bitmaps[0], noise)
        assert moved.boxes[0].tolist() == boxes_of(noise).tolist()
        assert moved.runs[0].tolist() == rle.run_lengths(rle.spans(moved.runs[0], SIZE), SIZE).tolist()
