"""Clips from still pictures: truth in every frame, the same clip for the same number, and their cache."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from maskwright.config import NANO
from maskwright.io.datasets.labelled import read_index
from maskwright.model.sam2 import SAM2
from maskwright.train.clip_cache import ClipCache
from maskwright.train.clips import ClipMaker, ClipSettings, Layer, cut_out, render

SETTINGS = ClipSettings(size=64, frames=3, objects=2)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two training pictures: a bright red square and a bright green one on dark noise."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "images").mkdir()
    (folder / "labels").mkdir()
    rng, rows = np.random.default_rng(0), ["name\tsource\tlicence\ttier\tkind\tnum_masks\tsplit"]
    for number in range(2):
        pixels, labels = rng.integers(0, 60, (60, 80, 3), np.uint8), np.zeros((60, 80), np.uint8)
        pixels[15:45, 20:50, number] = 250
        labels[15:45, 20:50] = 1
        Image.fromarray(pixels).save(folder / "images" / f"toy_{number}.jpg", quality=98)
        Image.fromarray(labels).save(folder / "labels" / f"toy_{number}.png")
        rows.append(f"toy_{number}\ts{number}\tl\tA\tinstance\t1\ttrain")
    (folder / "sources.tsv").write_text("\n".join(rows) + "\n")
    return folder


def maker(data: Path, seed: int = 0) -> ClipMaker:
    return ClipMaker(read_index(data, "train"), [], SETTINGS, seed=seed)


def test_a_clip_depends_on_its_number_and_seed_alone(data: Path):
    first, again = maker(data).make(3), maker(data).make(3)
    assert np.array_equal(first.frames, again.frames)
    assert np.array_equal(first.masks, again.masks)
    assert not np.array_equal(first.frames, maker(data).make(4).frames)
    assert not np.array_equal(first.frames, maker(data, seed=1).make(3).frames)


def test_shapes_and_something_to_follow_in_the_first_frame(data: Path):
    for number in range(4):
        clip = maker(data).make(number)
        assert clip.frames.shape == (3, 64, 64, 3)
        assert clip.frames.dtype == clip.masks.dtype == np.uint8
        frames, objects, height, width = clip.masks.shape
        assert (frames, height, width) == (3, 16, 16)
        assert 1 <= objects <= 2
        assert (clip.masks[0].reshape(objects, -1).max(1) > 0).all()


def layer(colour: float, solid: bool) -> Layer:
    ones = torch.ones(20, 20)
    return Layer(torch.full((3, 20, 20), colour), ones, ones if solid else None)


def test_labels_follow_what_is_seen_in_every_frame():
    frames, labels = render([layer(0.0, False), layer(1.0, True)], SETTINGS, np.random.default_rng(2))
    assert set(labels.unique().tolist()) == {1.0, 10_001.0}
    pasted = labels == 10_001
    assert frames[:, 0][pasted].min() > 0.5
    assert frames[:, 0][~pasted].max() < 0.51
    assert not torch.equal(pasted[0], pasted[2])


def test_upper_layers_hide_lower_ones():
    rng = np.random.default_rng(5)
    below = render([layer(0.0, False), layer(0.5, True)], SETTINGS, np.random.default_rng(5))[1] == 10_001
    both = render([layer(0.0, False), layer(0.5, True), layer(1.0, True)], SETTINGS, rng)[1]
    top = both == 20_001
    assert top.any()
    assert torch.equal(both == 10_001, below & ~top)


def test_a_cut_out_object_is_its_mask_and_no_more(data: Path):
    sample = read_index(data, "train")[0]
    cut = cut_out(sample, np.random.default_rng(0))
    assert cut is not None
    assert tuple(cut.labels_HW.shape) == (34, 34)
    assert int(cut.labels_HW.sum()) == 900
    assert cut.colour_3HW[0][cut.labels_HW > 0].min() > 0.5


def test_the_cache_keeps_what_the_model_says_and_goes_on_where_it_stopped(data: Path, tmp_path: Path):
    torch.manual_seed(0)
    model = SAM2(NANO.at(64)).eval()
    cache = ClipCache(tmp_path, maker(data), 3, model)
    filling = cache.fill(model)
    assert (next(filling), cache.ready) == (1, 1)
    filling.close()
    again = ClipCache(tmp_path, maker(data), 2, model)
    assert list(again.fill(model)) == [2]
    clip, cached = maker(data).make(1), again.clip(1)
    assert torch.equal(cached.targets_TKHW, torch.from_numpy(clip.masks).float() / 255)
    other = again.clip(0)
    assert [tuple(part.shape) for part in cached.features[2][:3]] == [
        (1, 128, 4, 4),
        (1, 32, 8, 8),
        (1, 16, 16, 16),
    ]
    assert not torch.equal(cached.features[0].low_BCHW, other.features[0].low_BCHW)
    with torch.no_grad():
        model.neck.laterals[0].bias.add_(1)
    assert ClipCache(tmp_path, maker(data), 2, model).ready == 0
