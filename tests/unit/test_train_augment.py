"""Augmentation: masks stay on what they mask, whatever is drawn."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from maskwright.errors import InputError
from maskwright.io.datasets.opening import open_dataset
from maskwright.io.datasets.protocol import Clip, Pictures, Scene
from maskwright.train.augment import AugmentConfig, augment, augment_clip, stretched
from maskwright.train.look import Look, developed

OFF = AugmentConfig.off()
GROUND, RED, GREEN = (20, 20, 20), (230, 30, 30), (30, 220, 40)


def two_objects() -> Scene:
    """(90, 120): a red disc at the left, a green bar at the right, on nearly black."""
    y, x = np.mgrid[:90, :120]
    masks = np.stack([(x - 35) ** 2 + (y - 40) ** 2 <= 20**2, (x >= 70) & (x < 110) & (y >= 30) & (y < 60)])
    picture = np.full((90, 120, 3), GROUND, np.uint8)
    picture[masks[0]], picture[masks[1]] = RED, GREEN
    return Scene(picture, masks, (11, 22))


def stones(count: int = 400) -> Scene:
    """(100, 100): a grid of blue squares."""
    labels = np.zeros((100, 100), np.int64)
    for number in range(count):
        row, column = divmod(number, 20)
        labels[row * 5 : row * 5 + 4, column * 5 : column * 5 + 4] = number + 1
    picture = np.where(labels[..., None] > 0, (0, 0, 250), (0, 0, 0)).astype(np.uint8)
    return Scene.from_labels(picture, labels)


def shown_as(scene: Scene, colour: tuple[int, int, int]) -> np.ndarray:
    """Where the picture is of about this colour."""
    return np.abs(scene.picture.astype(int) - colour).max(axis=2) < 90


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    return float((one & other).sum() / (one | other).sum())


def test_nothing_drawn_is_the_whole_picture_stretched():
    found = augment(two_objects(), OFF, 64, np.random.default_rng(0), lambda rng: stones())
    plain = stretched(two_objects(), 64)
    np.testing.assert_array_equal(found.picture, plain.picture)
    np.testing.assert_array_equal(found.masks, plain.masks)
    assert found.ids == plain.ids == (11, 22)
    assert found.picture.shape == (64, 64, 3)
    assert found.picture.dtype == np.uint8
    assert overlap(found.mask(0), shown_as(found, RED)) > 0.93


def test_flipping_mirrors_picture_and_masks():
    plain = stretched(two_objects(), 64)
    found = augment(two_objects(), replace(OFF, flip=1), 64, np.random.default_rng(0))
    np.testing.assert_array_equal(found.picture, plain.picture[:, ::-1])
    np.testing.assert_array_equal(found.masks, plain.masks[:, :, ::-1])


@pytest.mark.parametrize("zoom", [(0.3, 1.0), (1.0, 3.0), (0.3, 3.0)])
def test_masks_follow_the_picture_through_every_window(zoom):
    config = replace(OFF, flip=0.5, whole=0.1, scale_min=zoom[0], scale_max=zoom[1])
    sizes = set()
    for seed in range(60):
        found = augment(two_objects(), config, 128, np.random.default_rng(seed))
        assert len(found) >= 1
        for place, object_id in enumerate(found.ids):
            mask, colour = found.mask(place), RED if object_id == 11 else GREEN
            assert mask.any()
            if mask.sum() > 200:
                assert overlap(mask, shown_as(found, colour)) > 0.85
            sizes.add(int(mask.sum()) // 100)
    assert len(sizes) > 10  # and they do differ


def test_a_border_belongs_to_no_object():
    full = Scene(np.full((50, 50, 3), 255, np.uint8), np.ones((1, 50, 50), np.bool_), (1,))
    config = replace(OFF, whole=0, scale_min=0.5, scale_max=1)
    shares = [augment(full, config, 100, np.random.default_rng(seed)).masks.mean() for seed in range(40)]
    assert 0.24 < min(shares) < 0.45
    assert max(shares) > 0.7


def test_what_the_crop_leaves_only_a_sliver_of_is_dropped():
    config = replace(OFF, whole=0, scale_min=1, scale_max=4, min_visible=0.5)
    whole = stretched(two_objects(), 100).areas
    dropped = 0
    for seed in range(80):
        found = augment(two_objects(), config, 100, np.random.default_rng(seed))
        dropped += 2 - len(found)
        for place, object_id in enumerate(found.ids):
            assert found.areas[place] > 0.45 * whole[(11, 22).index(object_id)]  # zooming in only enlarges
    assert dropped > 10


def test_tiny_objects_are_dropped_and_the_others_keep_their_ids():
    scene = stones()
    found = augment(scene, replace(OFF, min_area=0.002), 100, np.random.default_rng(0))
    assert len(found) == 0
    half = replace(OFF, whole=0, scale_min=1, scale_max=2, min_area=0.002, aspect=0)
    for seed in range(20):
        found = augment(scene, half, 100, np.random.default_rng(seed))
        assert (found.areas >= 20).all()
        for place, object_id in enumerate(found.ids):
            assert found.picture[..., 2][found.mask(place)].mean() > 160
            assert 1 <= object_id <= 400


def test_overlapping_masks_stay_overlapping():
    masks = np.zeros((2, 40, 40), np.bool_)
    masks[0, 5:30], masks[1, :, 10:30] = True, True
    scene = Scene(np.zeros((40, 40, 3), np.uint8), masks, (1, 2))
    found = augment(scene, replace(OFF, flip=1), 40, np.random.default_rng(0))
    np.testing.assert_array_equal(found.masks, masks[:, :, ::-1])


def donor(rng: np.random.Generator) -> Scene:
    """A blue square on white, away from the edges."""
    masks = np.zeros((1, 80, 80), np.bool_)
    masks[0, 20:60, 20:60] = True
    picture = np.full((80, 80, 3), 255, np.uint8)
    picture[masks[0]] = (0, 0, 255)
    return Scene(picture, masks, (11,))


def test_pasted_objects_hide_what_is_below():
    config = replace(OFF, paste=1, paste_min=0.05, paste_max=0.3)
    hidden = 0
    for seed in range(40):
        found = augment(two_objects(), config, 128, np.random.default_rng(seed), donor)
        assert found.ids[-1] == 23  # above those that were there
        pasted = found.mask(len(found) - 1)
        assert overlap(pasted, shown_as(found, (0, 0, 255))) > 0.8
        for place in range(len(found) - 1):
            assert not (found.mask(place) & pasted).any()
        hidden += int(stretched(two_objects(), 128).masks.sum() > found.masks[:-1].sum())
        assert found.picture.min(axis=2).max() < 75  # nothing of the white that it came from
    assert hidden > 5


def test_pasted_objects_hide_masks_that_overlap():
    masks = np.ones((2, 64, 64), np.bool_)
    scene = Scene(np.zeros((64, 64, 3), np.uint8), masks, (1, 2))
    found = augment(scene, replace(OFF, paste=1), 64, np.random.default_rng(0), donor)
    assert found.ids == (1, 2, 3)
    for place in range(2):
        np.testing.assert_array_equal(found.mask(place), ~found.mask(2))


def test_hidden_objects_are_dropped():
    config = replace(OFF, paste=1, paste_min=0.9, paste_max=1.0, min_visible=0.5)
    whole = dict(zip((11, 22), stretched(two_objects(), 64).areas.tolist(), strict=True))
    left = set()
    for seed in range(60):
        found = augment(two_objects(), config, 64, np.random.default_rng(seed), donor)
        left.add(found.ids)
        for object_id, area in zip(found.ids, found.areas.tolist(), strict=True):
            assert object_id == 23 or area >= 0.5 * whole[object_id]
    assert (23,) in left
    assert any(len(ids) > 1 for ids in left)


def test_objects_cut_off_by_their_picture_are_not_pasted():
    full = Scene(np.full((50, 50, 3), 255, np.uint8), np.ones((1, 50, 50), np.bool_), (1,))
    found = augment(two_objects(), replace(OFF, paste=1), 64, np.random.default_rng(0), lambda rng: full)
    assert found.ids == (11, 22)


def test_scenes_are_left_as_they_were():
    scene, other = two_objects().packed(), donor(np.random.default_rng(0)).packed()
    config = replace(AugmentConfig(), paste=1, whole=1)
    for seed in range(5):
        augment(scene, config, 90, np.random.default_rng(seed), lambda rng: other)
    np.testing.assert_array_equal(scene.picture, two_objects().picture)
    np.testing.assert_array_equal(scene.masks, two_objects().masks)
    np.testing.assert_array_equal(other.picture, donor(np.random.default_rng(0)).picture)


def test_the_same_generator_gives_the_same_scene():
    config = replace(AugmentConfig(), paste=1, blur=1, noise=1, jpeg=1)
    one, two, three = (
        augment(two_objects(), config, 64, np.random.default_rng(seed), donor) for seed in (3, 3, 4)
    )
    np.testing.assert_array_equal(one.picture, two.picture)
    np.testing.assert_array_equal(one.masks, two.masks)
    assert not np.array_equal(one.picture, three.picture)


def test_a_scene_without_objects_stays_one():
    empty = Scene(np.zeros((30, 40, 3), np.uint8), np.zeros((0, 30, 40), np.bool_), ())
    found = augment(empty, AugmentConfig(), 64, np.random.default_rng(1))
    assert found.masks.shape == (0, 64, 64)
    assert found.picture.shape == (64, 64, 3)


def test_colours_change_as_the_look_says():
    from PIL import Image

    rng = np.random.default_rng(0)
    pixels = np.full((8, 8, 3), (200, 100, 50), np.uint8)
    pixels[:4] = (60, 80, 120)
    frame = Image.fromarray(pixels)

    def look(**given) -> np.ndarray:
        return developed(frame, Look(**given), 90.0, rng).astype(int)

    np.testing.assert_array_equal(look(), pixels)
    np.testing.assert_allclose(look(brightness=0.5), pixels * 0.5, atol=1)
    np.testing.assert_allclose(look(contrast=0.5), 90 + (pixels - 90.0) * 0.5, atol=1)
    grey = look(saturation=0.0)
    assert np.ptp(grey, axis=2).max() <= 2
    np.testing.assert_allclose(grey[..., 0], pixels @ (0.299, 0.587, 0.114), atol=2)
    turned = look(turn=np.pi)
    np.testing.assert_allclose(turned @ (0.299, 0.587, 0.114), pixels @ (0.299, 0.587, 0.114), atol=3)
    assert turned[0, 0, 0] > turned[0, 0, 2]  # from bluish to the opposite
    blurred = look(blur=1.5)
    assert np.abs(blurred[3] - blurred[4]).max() < np.abs(pixels[3].astype(int) - pixels[4]).max() / 2
    assert look(quality=30).shape == (8, 8, 3)


def test_noise_has_the_deviation_that_is_asked_for():
    from PIL import Image

    frame = Image.fromarray(np.full((200, 200, 3), 128, np.uint8))
    found = developed(frame, Look(noise=8.0), 0.0, np.random.default_rng(0)).astype(float)
    assert 7.5 < found.std() < 8.5
    assert 127 < found.mean() < 129


def test_every_frame_of_a_clip_is_seen_in_the_same_way():
    scene = two_objects()
    moved = [np.roll(scene.masks, 3 * number, axis=2) for number in range(3)]
    frames = [np.roll(scene.picture, 3 * number, axis=1) for number in range(3)]
    known = np.array([True, True, False])
    clip = Clip([*frames[:2], frames[0]], np.stack([*moved[:2], moved[0] & False]), (5, 6), known)
    config = replace(AugmentConfig(), noise=0, whole=0)
    for seed in range(10):
        found = augment_clip(clip, config, 96, np.random.default_rng(seed))
        assert found.known.tolist() == known.tolist()
        assert set(found.ids) <= {5, 6}
        assert found.masks.shape == (3, len(found.ids), 96, 96)
        np.testing.assert_array_equal(found.frames[0], found.frames[2])  # same window, same look
        assert not found.masks[2].any()
        alone = augment_clip(
            Clip.from_scenes(clip.scenes[:1]), replace(config, min_visible=0), 96, np.random.default_rng(seed)
        )
        if set(found.ids) == set(alone.ids):
            np.testing.assert_array_equal(alone.masks[0], found.masks[0])


def test_an_object_that_leaves_the_window_is_kept_if_it_is_seen_before():
    masks = np.zeros((2, 1, 60, 60), np.bool_)
    masks[0, 0, 10:50, 10:50] = True
    frames = [np.zeros((60, 60, 3), np.uint8)] * 2
    found = augment_clip(Clip(frames, masks, (9,)), OFF, 60, np.random.default_rng(0))
    assert found.ids == (9,)
    assert found.areas.tolist() == [[1600], [0]]


def test_an_object_of_which_no_frame_shows_enough_is_dropped_from_the_clip():
    config = replace(OFF, whole=0, scale_min=1, scale_max=4, min_visible=0.5)
    clip = Clip.from_scenes([two_objects(), two_objects()])
    whole = dict(zip((11, 22), stretched(two_objects(), 64).areas.tolist(), strict=True))
    numbers = set()
    for seed in range(40):
        found = augment_clip(clip, config, 64, np.random.default_rng(seed))
        numbers.add(len(found.ids))
        for place, object_id in enumerate(found.ids):
            assert found.areas[0, place] > 0.45 * whole[object_id]
    assert numbers == {1, 2}


def test_the_border_of_a_clip_has_one_colour():
    frames = [np.full((32, 32, 3), value, np.uint8) for value in (90, 250)]
    clip = Clip(frames, np.ones((2, 1, 32, 32), np.bool_), (1,))
    config = replace(OFF, whole=0, scale_min=0.4, scale_max=1)
    for seed in range(5):
        found = augment_clip(clip, config, 32, np.random.default_rng(seed))
        outside = ~found.masks[0, 0]
        assert outside.any()
        np.testing.assert_array_equal(found.frames[0][outside], found.frames[1][outside])


def test_contrast_is_the_same_in_frames_of_different_brightness():
    dark, bright = np.full((32, 32, 3), 90, np.uint8), np.full((32, 32, 3), 250, np.uint8)
    bright[:16] = 90
    clip = Clip([dark, bright], np.zeros((2, 0, 32, 32), np.bool_), ())
    config = replace(OFF, colour=1, contrast=0.9, brightness=0, saturation=0, hue=0, grey=0)
    for seed in range(5):
        frames = augment_clip(clip, config, 32, np.random.default_rng(seed)).frames
        np.testing.assert_array_equal(frames[0][:15], frames[1][:15])


def test_settings_outside_their_range_are_refused():
    for name, value in (("flip", 1.5), ("scale_min", 0.0), ("scale_max", 0.5), ("jpeg_min", 0), ("hue", -1)):
        with pytest.raises(InputError, match=f"augment setting {name} must lie in"):
            replace(AugmentConfig(), **{name: value})
    with pytest.raises(InputError, match="above paste_max"):
        AugmentConfig(paste_min=0.5, paste_max=0.1)


def test_real_pictures_keep_objects(shared: Path):
    folder = shared / "data/train"
    if not folder.is_dir():
        pytest.skip("needs the pictures in ../shared/data/train")
    pictures = open_dataset(folder, split="train")
    assert isinstance(pictures, Pictures)
    rng = np.random.default_rng(0)
    for index in range(0, len(pictures), len(pictures) // 12):
        found = augment(
            pictures.read(index), AugmentConfig(), 128, rng, lambda draw: pictures.read(int(draw.integers(9)))
        )
        assert found.picture.shape == (128, 128, 3)
        assert len(found) == len(set(found.ids)) > 0
        assert (found.areas >= 0.0004 * 128 * 128).all()
