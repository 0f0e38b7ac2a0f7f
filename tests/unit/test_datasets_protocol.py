"""Scenes and clips: masks as flat layers and back, and which pictures belong to a split."""

from __future__ import annotations

import numpy as np
import pytest

from maskwright.errors import ImageError, InputError
from maskwright.io.datasets.choosing import in_split, split_of
from maskwright.io.datasets.protocol import Clip, Scene, pack

PICTURE = np.zeros((6, 8, 3), np.uint8)


def overlapping() -> np.ndarray:
    masks = np.zeros((4, 6, 8), np.bool_)
    masks[0, :4, :4] = True
    masks[1, 2:5, 2:6] = True  # over 0
    masks[2, 5, 6:] = True  # beside both
    return masks  # 3 is empty


def test_masks_survive_packing_into_as_few_layers_as_they_need():
    masks = overlapping()
    scene = Scene(PICTURE, masks, (7, 8, 9, 4)).packed()
    assert scene.layers.shape == (2, 6, 8)
    np.testing.assert_array_equal(scene.masks, masks)
    assert [scene.mask(place).sum() for place in range(4)] == [16, 12, 2, 0]
    assert scene.areas.tolist() == [16, 12, 2, 0]
    assert pack(masks[:0], (6, 8)).shape == (1, 6, 8)


@pytest.mark.parametrize("flat", [False, True])
def test_selecting_keeps_masks_with_their_ids(flat):
    scene = Scene(PICTURE, overlapping(), (7, 8, 9, 4))
    chosen = (scene.packed() if flat else scene).select([2, 0])
    assert chosen.ids == (9, 7)
    np.testing.assert_array_equal(chosen.masks, overlapping()[[2, 0]])
    assert len(scene.packed().select([])) == 0


def test_a_label_map_becomes_a_scene_of_its_numbers():
    labels = np.array([[0, 300, 300], [5, 5, 0]], np.uint16)
    picture = np.zeros((2, 3, 3), np.uint8)
    scene = Scene.from_labels(picture, labels)
    assert scene.ids == (5, 300)
    np.testing.assert_array_equal(scene.mask(1), labels == 300)
    listed = Scene.from_labels(picture, labels, (900, 5))
    assert [int(mask.sum()) for mask in listed.masks] == [0, 2]


def test_what_does_not_fit_together_is_refused():
    with pytest.raises(ImageError, match="do not fit"):
        Scene(PICTURE, np.zeros((1, 6, 7), np.bool_), (1,))
    with pytest.raises(ImageError, match="2 masks for 1 ids"):
        Scene(PICTURE, np.zeros((2, 6, 8), np.bool_), (1,))
    with pytest.raises(ImageError, match="uint8"):
        Scene(PICTURE.astype(np.float32), np.zeros((1, 6, 8), np.bool_), (1,))
    with pytest.raises(InputError, match="same objects"):
        Clip.from_scenes(
            [Scene(PICTURE, overlapping(), (1, 2, 3, 4)), Scene(PICTURE, overlapping()[:1], (1,))]
        )
    with pytest.raises(InputError, match="at least one frame"):
        Clip.from_scenes([])


def test_a_clip_has_the_masks_of_every_frame():
    masks = np.stack([overlapping(), overlapping()[::-1]])
    clip = Clip([PICTURE, PICTURE], masks, (1, 2, 3, 4), np.array([True, False]))
    np.testing.assert_array_equal(clip.masks, masks)
    assert clip.areas.tolist() == [[16, 12, 2, 0], [0, 2, 12, 16]]
    assert clip.known.tolist() == [True, False]
    np.testing.assert_array_equal(clip.select([1]).masks, masks[:, 1:2])


def test_a_split_by_name_is_a_tenth_and_stays():
    names = [f"picture {number}" for number in range(2000)]
    val = in_split(names, names, "val")
    assert 150 < len(val) < 250
    assert sorted(val + in_split(names, names, "train")) == sorted(names)
    assert in_split(names[:500], names[:500], "val") == [name for name in val if name in names[:500]]
    assert in_split(names, names, "") == names
    with pytest.raises(InputError, match="no split 'test'"):
        in_split(names, names, "test")


def test_of_a_handful_of_names_each_split_has_one():
    for kind in ("train", "val"):
        few = [name for name in map(str, range(60)) if split_of(name) == kind][:3]
        train, val = (in_split(few, few, split) for split in ("train", "val"))
        assert train
        assert val
        assert sorted(train + val) == sorted(few)
