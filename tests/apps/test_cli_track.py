"""``maskwright track`` on good input: files, frames, summary, progress."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

import torchcodec_double
from following import ALL, NUM_FRAMES, OBJECTS, clip, files, lines, pictures, visited
from maskwright import Box, Points
from maskwright.cli import progress
from maskwright.cli.track.summary import ObjectSummary
from maskwright.io.sinks import read_log
from maskwright.mask_model import MaskModel
from maskwright.runtime.fake import Fake
from maskwright.track.options import TrackOptions
from tracked import decoded, heard

if TYPE_CHECKING:
    from tests.apps.conftest import Run

pytestmark = pytest.mark.usefixtures("fake_load")


def test_without_names_there_is_a_video_and_a_log(run: Run, tmp_path: Path) -> None:
    outcome = run("track", clip(tmp_path, sound=True), *OBJECTS)
    assert (outcome.code, outcome.err) == (0, "")
    assert files(tmp_path) == ["clip-tracked.jsonl", "clip-tracked.mp4"]
    assert visited(tmp_path / "clip-tracked.jsonl") == list(range(NUM_FRAMES))
    frames, times = decoded(tmp_path / "clip-tracked.mp4")
    assert len(frames) == NUM_FRAMES
    assert times[-1] == pytest.approx((NUM_FRAMES - 1) / 25)
    assert heard(tmp_path / "clip-tracked.mp4") is not None


def test_the_log_holds_what_the_library_finds(run: Run, tmp_path: Path) -> None:
    video = clip(tmp_path)
    assert run("track", video, *OBJECTS, "--object", "1:point=40,30@9", "--log", "a.jsonl").code == 0
    prompts = {1: {0: Points([(20, 20)]), 9: Points([(40, 30)])}, 2: {5: Box(30, 10, 50, 40)}}
    _, found = read_log(tmp_path / "a.jsonl")
    with MaskModel(Fake()).track(video, prompts, options=TrackOptions(rewind=0)) as expected:
        for one, other in zip(found, expected, strict=True):
            assert (one.index, one.ids, one.prompted) == (other.index, other.ids, other.prompted)
            assert np.array_equal(one.bitmaps, other.bitmaps)
    assert other.prompted == frozenset()


def test_the_summary_has_a_line_for_each_object_and_file(run: Run, tmp_path: Path) -> None:
    head, first, second, counts, *written = run("track", clip(tmp_path), *OBJECTS, *ALL).out.splitlines()
    assert head.split() == ["object", "visible", "mean", "score", "lost", "wants", "review"]
    assert first.split() == ["1", "16", "of", "16", "0.900", "never", "none"]
    assert second.split()[:4] == ["2", "11", "of", "11"]
    assert counts.startswith("frames 0 to 15: 16 done at ")
    assert written == ["video: out.mp4", "masks: masks", "log: out.jsonl"]


def test_json_is_all_that_is_printed(run: Run, tmp_path: Path) -> None:
    outcome = run("track", clip(tmp_path), *OBJECTS, "-o", "out.mp4", "--json")
    report = json.loads(outcome.out)
    assert outcome.err == ""
    assert report["finished"] is True
    assert report["frames"] == {
        "done": 16,
        "lowest": 0,
        "highest": 15,
        "tracked_now": 16,
        "skipped": 0,
        "dropped": 0,
    }
    assert [one["id"] for one in report["objects"]] == [1, 2]
    assert report["outputs"] == {"video": "out.mp4"}
    assert files(tmp_path) == ["out.mp4"]


def test_lost_objects_and_frames_that_want_review(run: Run, tmp_path: Path) -> None:
    shades = [90, 90, 0, 0, 90, 90, 90, 0, 90]
    folder = pictures(tmp_path / "grey", shades)
    correction = ("--object", "1:box=4,4,60,44@5", "--object", "2:point=30,30", "--object", "2:point=50,30@6")
    outcome = run("track", folder, "--object", "1:point=20,20", *correction, "--log", "a.jsonl", "--json")
    first, second = json.loads(outcome.out)["objects"]
    assert (first["visible"], first["tracked"]) == (6, 9)
    assert first["lost"] == second["lost"] == [[2, 3], [7, 7]]
    # seen again in 4 and 8; in 5 its area jumps because somebody corrected it
    assert first["review"] == [4, 8]
    assert second["review"] == [4, 8]


@pytest.mark.parametrize(
    ("areas", "scores", "prompted", "expected"),
    [
        ([100, 100, 251, 251], [0.9] * 4, None, [2]),
        ([100, 100, 250, 250], [0.9] * 4, None, []),
        ([251, 100, 100, 0], [0.9] * 4, None, [1, 3]),
        ([100] * 4, [0.9, 0.49, 0.5, 0.1], None, [1, 3]),
        ([100, 100, 251, 251], [0.9] * 4, 2, []),
        ([100] * 4, [0.1] * 4, 0, [1, 2, 3]),
        ([100, 0, 0, 100], [0.9] * 4, None, [1, 2, 3]),
    ],
)
def test_what_wants_review(
    areas: list[int], scores: list[float], prompted: int | None, expected: list[int]
) -> None:
    one = ObjectSummary(1)
    for frame, (area, score) in enumerate(zip(areas, scores, strict=True)):
        found = {"visible": True, "score": score, "area": area, "prompted": frame == prompted}
        one.see(frame, found, again=False)
    one.finish(range(4))
    assert one.review == expected
    assert one.mean_score == pytest.approx(sum(scores) / 4)
    assert one.lost == []


def test_masks_and_cutouts(run: Run, tmp_path: Path) -> None:
    outputs = ("--masks", "masks", "--cutout", "cut", "--end", 4)
    assert run("track", clip(tmp_path), "--object", "7:box=30,10,50,40", *outputs).code == 0
    assert files(tmp_path) == ["cut", "masks"]
    assert files(tmp_path / "masks") == files(tmp_path / "cut") == [f"{n:05}.png" for n in range(4)]
    with Image.open(tmp_path / "masks/00003.png") as labels, Image.open(tmp_path / "cut/00003.png") as cut:
        assert set(np.unique(np.asarray(labels))) == {0, 7}
        assert np.array_equal(np.asarray(labels) == 7, np.asarray(cut)[..., 3] == 255)


def test_a_cutout_video(run: Run, tmp_path: Path) -> None:
    video = ("--cutout", "cut.webm", "--end", 4)
    assert run("track", clip(tmp_path), "--object", "7:box=30,10,50,40", *video).code == 0
    assert files(tmp_path) == ["cut.webm"]


def test_a_mask_is_followed(run: Run, tmp_path: Path) -> None:
    wanted = np.zeros((48, 64), np.uint8)
    wanted[8:40, 8:24] = 3
    picture = Image.fromarray(wanted)
    picture.putpalette([0, 0, 0, *[40, 50, 60] * 255])
    picture.save(tmp_path / "mask@home.png")
    assert run("track", clip(tmp_path), "--object", "1:mask=mask@home.png@2", "--masks", "out").code == 0
    assert files(tmp_path / "out") == [f"{n:05}.png" for n in range(2, NUM_FRAMES)]
    with Image.open(tmp_path / "out/00015.png") as labels:
        found = np.asarray(labels) == 1
    assert (found & (wanted > 0)).sum() / (found | (wanted > 0)).sum() > 0.9


@pytest.mark.parametrize(
    ("how", "times", "when", "number"),
    [
        ("even", None, "0.2s", 5),
        ("even", None, "0.21s", 6),
        ("even", None, "0s", 0),
        ("uneven", [0, 40, 300, 340, 900, 2000, 2040, 2080], "0.35s", 4),
        ("uneven", [0, 40, 300, 340, 900, 2000, 2040, 2080], "2.08s", 7),
        ("uneven", [0, 40, 300, 340, 900, 2000, 2040, 2080], ".3s", 2),
    ],
)
def test_seconds_become_frames(
    run: Run, tmp_path: Path, how: str, times: list[int] | None, when: str, number: int
) -> None:
    video = clip(tmp_path, num_frames=8, times=times) if times else clip(tmp_path, num_frames=8)
    assert run("track", video, "--object", f"1:point=20,20@{when}", "--log", "a.jsonl").code == 0
    assert visited(tmp_path / "a.jsonl")[0] == number, how


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--object", "1:point=9,9@6", "--backward"), [6, 5, 4, 3, 2, 1, 0]),
        (("--object", "1:point=9,9@6", "--both"), [*range(6, 16), 5, 4, 3, 2, 1, 0]),
        (("--object", "1:point=9,9@6", "--both", "--start", 4, "--end", 9), [6, 7, 8, 5, 4]),
        (("--object", "1:point=9,9@6", "--both", "--start", 6, "--end", 9), [6, 7, 8]),
        (("--object", "1:point=9,9@6", "--both", "--stride", 4), [6, 10, 14, 2]),
        (("--object", "1:point=9,9", "--backward", "--stride", 5), [15, 10, 5, 0]),
        (("--object", "1:point=9,9", "--backward", "--start", 3, "--end", 6), [5, 4, 3]),
        (("--object", "1:point=9,9", "--start", 3, "--end", 6), [3, 4, 5]),
        (("--object", "1:point=9,9@5", "--start", 3, "--end", 9, "--stride", 2), [3, 5, 7]),
    ],
    ids=str,
)
def test_directions_and_ranges(run: Run, tmp_path: Path, options: Any, expected: list[int]) -> None:
    assert run("track", clip(tmp_path), *options, "-o", "out.mp4", "--log", "a.jsonl").code == 0
    assert visited(tmp_path / "a.jsonl") == expected
    _, times = decoded(tmp_path / "out.mp4")
    first = min(expected)
    assert times == pytest.approx([(number - first) / 25 for number in sorted(expected)])


def test_the_video_of_a_backward_run_shows_its_masks(run: Run, tmp_path: Path) -> None:
    """Frames that were tracked last come first, and each is drawn on."""
    folder = pictures(tmp_path / "grey", [60, 90, 120, 150, 180])
    prompts = ("--object", "1:box=20,10,50,40@3", "--backward")
    assert run("track", folder, *prompts, "-o", "out.mp4", "--log", "a.jsonl").code == 0
    drawn, _ = decoded(tmp_path / "out.mp4")
    for frame, shade in zip(drawn, [60, 90, 120, 150], strict=True):
        assert np.abs(frame[44:, :8].astype(int) - shade).max() < 6
        assert np.abs(frame[20:30, 30:40].astype(int) - shade).max(2).min() > 20


def test_options_reach_the_model_and_the_tracker(
    run: Run, tmp_path: Path, fake_load: list[dict[str, Any]]
) -> None:
    chosen = ("--model", "sam2.1-tiny", "--device", "cpu", "--dtype", "float32", "--image-size", "512")
    overlapping = ("--object", "1:box=10,10,50,40", "--object", "2:box=30,10,60,40", "--object")
    hole = ("1:point=20,25,0", "--fill", "0", "--end", 2)
    video = clip(tmp_path)
    assert run("track", video, *overlapping, *hole, *chosen, "--log", "a.jsonl").code == 0
    assert run("track", video, *overlapping, *hole, *chosen, "--no-overlap", "--log", "b.jsonl").code == 0
    assert (
        fake_load
        == [{"name": "sam2.1-tiny", "device": "cpu", "dtype": "float32", "image_size": 512, "runtime": None}]
        * 2
    )
    together, apart = (list(read_log(tmp_path / name)[1])[1].bitmaps for name in ("a.jsonl", "b.jsonl"))
    assert together.all(0).any()
    assert not apart.all(0).any()
    assert not together[0][25, 20]


def test_a_terminal_shows_a_bar(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "100")
    folder = pictures(tmp_path / "grey", [90, 90, 0, 0])
    outcome = run("track", folder, "--object", "1:point=20,20", "--log", "a.jsonl")
    assert "4/4" in outcome.err
    assert "frames/s" in outcome.err
    assert "lost: 1 of 1" in outcome.err


def test_elsewhere_a_line_now_and_then(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.0)
    folder = pictures(tmp_path / "grey", [90, 90, 0, 0])
    outcome = run("track", folder, "--object", "1:point=20,20@1", "--log", "a.jsonl", "--both")
    said = outcome.err.splitlines()
    assert said[0].startswith("tracking: frame 1 of 4, ")
    assert said[2].endswith("left, lost: 1 of 1")
    assert len(said) == 4


def test_existing_results_are_replaced_when_told_to(run: Run, tmp_path: Path) -> None:
    video = clip(tmp_path)
    assert run("track", video, "--object", "1:point=20,20").code == 0
    before = (tmp_path / "clip-tracked.jsonl").read_bytes()
    assert run("track", video, "--object", "1:point=40,20", "--overwrite").code == 0
    assert (tmp_path / "clip-tracked.jsonl").read_bytes() != before


def test_help_needs_no_torch() -> None:
    code = (
        "import sys; from maskwright.cli import main; main(['track', '--help']); "
        "sys.exit('torch' in sys.modules or 'av' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert "--resume" in done.stdout


def test_torchcodec_decodes_the_video_and_the_log_remembers_it(
    run: Run, fake_load: list[dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = torchcodec_double.install(monkeypatch)
    video = clip(tmp_path)
    asked = ("track", video, *OBJECTS, "--device", "cpu")
    assert run(*asked, "--log", "plain.jsonl").code == 0
    assert made.made is None
    assert run(*asked, "--log", "other.jsonl", "-o", "other.mp4", "--decoder", "torchcodec").code == 0
    assert made.made["device"] == "cpu"
    plain, other = lines(tmp_path / "plain.jsonl"), lines(tmp_path / "other.jsonl")
    assert plain == other
    assert len(plain) == NUM_FRAMES
    header = (tmp_path / "other.jsonl").read_text().splitlines()[0]
    assert "torchcodec on cpu" in header
    refused = run(*asked, "--log", "plain.jsonl", "--resume", "--decoder", "torchcodec")
    assert (refused.code, "another job: " in refused.err) == (2, True)
    unknown = run(*asked, "--log", "third.jsonl", "--decoder", "ffmpeg")
    assert (unknown.code, "write pyav or torchcodec" in unknown.err) == (2, True)
