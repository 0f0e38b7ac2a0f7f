"""The result: shapes that never depend on the number of prompts, and what can be done with it."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from maskwright.errors import InputError, OutputError
from maskwright.masks import Masks
from maskwright.pixels import rle
from maskwright.types import Box, MaskPrompt, Points

N, H, W, M = 3, 40, 60, 8
PICTURE = np.full((H, W, 3), 100, np.uint8)


def made(*leading: int, image: np.ndarray | None = PICTURE) -> Masks:
    rng = np.random.default_rng(0)
    return Masks(
        bitmaps=rng.random((*leading, H, W)) < 0.3,
        scores=rng.random(leading).astype(np.float32),
        logits=rng.normal(size=(*leading, M, M)).astype(np.float32),
        object_scores=rng.normal(size=leading[:1]).astype(np.float32),
        image=image,
    )


@pytest.mark.parametrize("leading", [(N,), (1,), (0,), (N, 3), (1, 3), (0, 3)])
def test_shapes_and_dtypes(leading):
    masks = made(*leading)
    assert len(masks) == leading[0]
    assert masks.size == (H, W)
    assert masks.has_candidates == (len(leading) == 2)
    assert masks.boxes.shape == (*leading, 4)
    assert masks.boxes.dtype == np.float32
    assert masks.areas.shape == leading
    assert masks.areas.dtype == np.int64
    assert np.array_equal(masks.areas, masks.bitmaps.sum(axis=(-2, -1)))
    assert len(masks.rle()) == np.prod(leading)
    assert masks.overlay().shape == (H, W, 3)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"bitmaps": np.zeros((N, H, W), np.uint8)}, "uint8"),
        ({"bitmaps": np.zeros((H, W), bool)}, "expected bool"),
        ({"scores": np.zeros((N, 3), np.float32)}, "scores have the leading axes"),
        ({"logits": np.zeros((2, M, M), np.float32)}, "logits have the leading axes"),
        ({"object_scores": np.zeros((1,), np.float32)}, "object_scores have the leading axes"),
        ({"image": PICTURE[:-1]}, "does not fit"),
    ],
)
def test_arrays_that_do_not_belong_together(changes, words):
    with pytest.raises(InputError, match=words):
        dataclasses.replace(made(N), **changes)


def test_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        made(N).image = None  # type: ignore[misc]


@pytest.mark.parametrize("leading", [(N,), (N, 3)])
def test_picking_objects(leading):
    masks = made(*leading)
    for index, rows in (
        (1, [1]),
        (-1, [2]),
        (np.int64(0), [0]),
        (slice(1, None), [1, 2]),
        ([2, 0], [2, 0]),
        (np.array([True, False, True]), [0, 2]),
        ([], []),
    ):
        part = masks[index]
        assert isinstance(part, Masks)
        assert np.array_equal(part.bitmaps, masks.bitmaps[np.array(rows, int)])
        assert np.array_equal(part.logits, masks.logits[np.array(rows, int)])
        assert np.array_equal(part.object_scores, masks.object_scores[np.array(rows, int)])
        assert part.image is masks.image
    assert [one.scores.ravel()[0] for one in masks] == masks.scores.reshape(N, -1)[:, 0].tolist()
    for index in (3, -4):
        with pytest.raises(IndexError, match=f"object {index} of 3"):
            masks[index]


def test_best_of_the_candidates():
    masks = made(N, 3)
    best = masks.best()
    for row in range(N):
        chosen = masks.scores[row].argmax()
        assert best.scores[row] == masks.scores[row].max()
        assert np.array_equal(best.bitmaps[row], masks.bitmaps[row, chosen])
        assert np.array_equal(best.logits[row], masks.logits[row, chosen])
    assert best.best() is best
    assert np.array_equal(masks.overlay(), best.overlay())


def test_logits_are_the_next_prompt():
    masks = made(N)
    assert np.array_equal(MaskPrompt(masks.logits[1]).logits, masks.logits[1])
    assert np.array_equal(MaskPrompt(masks[1].logits).logits, masks.logits[1])


def test_rle_is_json():
    masks = made(N, 3)
    codes = json.loads(json.dumps(masks.rle()))
    assert np.array_equal(rle.decode(codes).reshape(N, 3, H, W), masks.bitmaps)


def test_overlay_on_another_picture():
    masks = made(N, image=None)
    with pytest.raises(InputError, match="pass one with image="):
        masks.overlay()
    assert masks.overlay(image=PICTURE, prompts=[Points((5, 5)), Box(1, 1, 9, 9)]).shape == (H, W, 3)
    with pytest.raises(InputError, match="do not fit"):
        masks.overlay(image=PICTURE[1:])


def test_saving_one_png_per_object(tmp_path):
    masks = made(N)
    paths = masks.save(tmp_path / "out")
    assert [path.name for path in paths] == ["mask_0.png", "mask_1.png", "mask_2.png"]
    assert sorted((tmp_path / "out").iterdir()) == paths
    for path, bitmap in zip(paths, masks.bitmaps, strict=True):
        with Image.open(path) as stored:
            assert np.array_equal(np.array(stored), bitmap * np.uint8(255))


def test_names_sort_and_candidates_follow_rle(tmp_path):
    assert [path.name for path in made(11).save(tmp_path, stem="cat")][9:] == ["cat_09.png", "cat_10.png"]
    paths = made(1, 3).save(tmp_path, stem="dog")
    assert [path.name for path in paths] == ["dog_0_0.png", "dog_0_1.png", "dog_0_2.png"]
    assert made(0).save(tmp_path / "none") == []


def test_saving_without_overwriting_changes_nothing(tmp_path):
    (tmp_path / "mask_1.png").write_bytes(b"mine")
    with pytest.raises(OutputError, match=r"mask_1\.png exists already"):
        made(N).save(tmp_path, overwrite=False)
    assert [path.name for path in tmp_path.iterdir()] == ["mask_1.png"]
    made(N).save(tmp_path)
    assert (tmp_path / "mask_1.png").read_bytes() != b"mine"


def test_saving_where_one_cannot(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match="is a file, not a folder"):
        made(N).save(tmp_path / "file")
    with pytest.raises(OutputError, match="its folder does not exist"):
        made(N).save_overlay(tmp_path / "missing" / "overlay.png")
    with pytest.raises(InputError, match="end its name in"):
        made(N).save_overlay(tmp_path / "overlay")


@pytest.mark.parametrize("name", ["overlay.png", "overlay.jpg", "overlay.webp"])
def test_saving_the_overlay(tmp_path, name):
    masks = made(N)
    path = masks.save_overlay(tmp_path / name, alpha=0.3, prompts=[Points((5, 5))])
    with Image.open(path) as stored:
        shown = np.array(stored)
    expected = masks.overlay(alpha=0.3, prompts=[Points((5, 5))])
    assert np.abs(shown.astype(int) - expected).mean() < (1 if name.endswith("png") else 12)


def test_repr_says_what_matters():
    assert repr(made(1)).startswith("Masks(1 object, 40 x 60, scores [0.")
    assert "3 objects with candidates" in repr(made(N, 3))
    assert repr(made(20)).count("0.") == 8
    assert repr(made(0)) == "Masks(0 objects, 40 x 60, scores [])"


def test_results_and_prompts_do_not_load_torch():
    code = "import sys, maskwright.masks, maskwright.io.images; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
