"""J and F as DAVIS defines them, sequences on disk, and ways to follow by the verbs alone."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from maskwright.config import NANO
from maskwright.errors import ImageError, InputError
from maskwright.evaluate.__main__ import main
from maskwright.evaluate.followers import Still, WithLastMask, WithMemory
from maskwright.evaluate.video import evaluate_videos, read_videos
from maskwright.model.sam2 import SAM2
from maskwright.pixels.metrics import boundary_f
from maskwright.runtime.eager import Eager, place
from maskwright.runtime.select import choose
from maskwright.weights.load import save_checkpoint


def square(x: int, y: int, side: int = 20, shape: tuple[int, int] = (60, 80)) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[y : y + side, x : x + side] = True
    return mask


def by_dilation(a: np.ndarray, b: np.ndarray, radius: int) -> float:
    """F by dilating outlines with a disk, which is how the benchmark words it."""
    from skimage.morphology import dilation, disk

    def outline(mask: np.ndarray) -> np.ndarray:
        found = np.zeros_like(mask)
        found[:-1, :-1] = (
            (mask[:-1, :-1] != mask[:-1, 1:])
            | (mask[:-1, :-1] != mask[1:, :-1])
            | (mask[:-1, :-1] != mask[1:, 1:])
        )
        found[-1, :-1] = mask[-1, :-1] != mask[-1, 1:]
        found[:-1, -1] = mask[:-1, -1] != mask[1:, -1]
        return found

    one, two = outline(a), outline(b)
    precision = (one & dilation(two, disk(radius))).sum() / one.sum()
    recall = (two & dilation(one, disk(radius))).sum() / two.sum()
    return float(2 * precision * recall / (precision + recall))


class TestBoundary:
    def test_agrees_with_dilation(self):
        rng = np.random.default_rng(0)
        for _ in range(5):
            a = square(*rng.integers(0, 40, 2)) | square(*rng.integers(0, 40, 2), side=9)
            b = np.roll(a, rng.integers(-3, 4, 2), (0, 1)) ^ square(30, 30, side=5)
            assert boundary_f(a, b, tolerance=0.02) == pytest.approx(by_dilation(a, b, 2))

    def test_within_the_tolerance_outlines_agree_fully(self):
        assert boundary_f(square(10, 10), square(11, 10)) == 1
        assert boundary_f(square(10, 10), square(13, 10)) < 0.6

    def test_empty_masks(self):
        nothing = np.zeros((60, 80), bool)
        assert boundary_f(nothing, nothing) == 1
        assert boundary_f(nothing, square(5, 5)) == boundary_f(square(5, 5), nothing) == 0

    def test_refuses_what_it_cannot_compare(self):
        with pytest.raises(InputError, match="bool bitmaps"):
            boundary_f(np.zeros((4, 4)), np.zeros((4, 4), bool))


@pytest.fixture(scope="module")
def davis(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sequences of five frames: a square that moves, and two squares of which one stays."""
    folder = tmp_path_factory.mktemp("davis")
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 90, (60, 80, 3), np.uint8)
    for name, step in (("moves", 6), ("two", 2)):
        images, labels = folder / "JPEGImages" / name, folder / "Annotations" / name
        images.mkdir(parents=True)
        labels.mkdir(parents=True)
        for number in range(5):
            moving, still = square(10 + step * number, 5), square(50, 35)
            picture, label_map = noise.copy(), np.zeros((60, 80), np.uint8)
            picture[moving], label_map[moving] = 230, 1
            if name == "two":
                picture[still], label_map[still] = (40, 200, 90), 2
            Image.fromarray(picture).save(images / f"{number:05}.jpg")
            Image.fromarray(label_map).save(labels / f"{number:05}.png")
    return folder


def test_scores_leave_out_the_first_and_the_last_frame(davis: Path):
    def follow(frames: Iterable[np.ndarray], mask: np.ndarray) -> Iterator[np.ndarray]:
        for number, frame in enumerate(frames):
            bright = frame.min(2) > 160
            yield ~bright if number in (0, 4) else bright

    report = evaluate_videos(follow, read_videos(davis)[:1])
    assert [(row.video, row.label, row.frames) for row in report.rows] == [("moves", 1, 3)]
    assert report.both > 0.97


def test_each_object_is_followed_by_itself(davis: Path, tmp_path: Path):
    report = evaluate_videos(Still(runtime()), read_videos(davis))
    assert [(row.video, row.label) for row in report.rows] == [("moves", 1), ("two", 1), ("two", 2)]
    moves, slow, stays = (row.region for row in report.rows)
    assert moves == pytest.approx(np.mean([(20 - 6 * n) / (20 + 6 * n) for n in (1, 2, 3)]))
    assert moves < slow < stays == 1
    assert report.region == pytest.approx((moves + slow + stays) / 3)
    saved = json.loads(report.save(tmp_path / "report.json").read_text())
    assert saved["J&F"] == pytest.approx((saved["J"] + saved["F"]) / 2)
    assert report.table().splitlines()[-1].split()[:2] == ["all", "3"]


def test_broken_folders_are_named(davis: Path, tmp_path: Path):
    with pytest.raises(InputError, match="no sequences"):
        read_videos(tmp_path)
    (tmp_path / "Annotations/short").mkdir(parents=True)
    with pytest.raises(InputError, match="at least three frames"):
        read_videos(tmp_path)
    video = read_videos(davis)[0]
    small = tmp_path / "small.jpg"
    Image.new("RGB", (8, 8)).save(small)
    strange = [type(video)("strange", [video.images[0], small, small], video.labels[:3])]
    with pytest.raises(ImageError, match="must agree"):
        evaluate_videos(Still(runtime()), strange)
    with pytest.raises(InputError, match="1 masks for 5 frames"):
        evaluate_videos(lambda frames, mask: [mask], [video])


def network() -> SAM2:
    torch.manual_seed(0)
    return SAM2(NANO.at(64)).eval()


def runtime() -> Eager:
    chosen = choose("cpu", None)
    return Eager(place(network(), chosen), chosen)


@pytest.mark.parametrize("follower", [WithLastMask, WithMemory])
def test_following_gives_a_mask_for_every_frame_and_hides_no_state(davis: Path, follower):
    frames = [np.asarray(Image.open(path)) for path in read_videos(davis)[0].images]
    follow = follower(runtime())
    first, again = (list(follow(frames, square(10, 5))) for _ in range(2))
    assert [mask.shape for mask in first] == [(60, 80)] * 5
    assert np.array_equal(first[0], square(10, 5))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))


def test_memory_looks_at_the_frames_before(davis: Path):
    """What was seen on the way matters, not only the first frame and the present one."""
    frames = [np.asarray(Image.open(path)) for path in read_videos(davis)[0].images]
    one, mask = runtime(), square(10, 5)
    seen: list[list[torch.Tensor]] = []
    for clip in (frames, [frames[0], frames[4], frames[4], frames[4], frames[4]]):
        logits: list[torch.Tensor] = []
        inner = one.recall
        one.recall = lambda *a, keep=logits, do=inner, **k: keep.append(do(*a, **k)) or keep[-1]  # type: ignore[method-assign]
        list(WithMemory(one)(clip, mask))
        one.recall = inner  # type: ignore[method-assign]
        seen.append([features.low_BCHW for features in logits])
    assert len(seen[0]) == 4
    assert not torch.equal(seen[0][-1], seen[1][-1])


def test_the_command_measures_and_writes_json(
    davis: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    model = save_checkpoint(tmp_path / "model.safetensors", NANO.at(64), network().state_dict())
    arguments = ["--model", str(model), "--data", str(davis), "--device", "cpu"]
    assert main([*arguments, "--video", "memory", "--json", str(tmp_path / "out.json")]) == 0
    assert "by memory" in capsys.readouterr().out
    assert len(json.loads((tmp_path / "out.json").read_text())["rows"]) == 3
    assert main(["--data", str(tmp_path), "--video", "still"]) == 2
    assert "no sequences" in capsys.readouterr().err
