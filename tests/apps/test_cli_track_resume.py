"""``maskwright track --resume``: whatever ended a run, the result is that of one that was not ended."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from following import ALL, NUM_FRAMES, OBJECTS, clip, content, files, lines, runner, visited
from maskwright.cli.track import snapshots
from maskwright.io.sinks import FrameLog, OverlayVideo
from maskwright.runtime.fake import Fake
from tracked import decoded

if TYPE_CHECKING:
    from tests.apps.conftest import EveryModel, Run

BOTH = ("--object", "1:point=20,20@6", "--object", "2:box=30,10,50,40@9", "--both")


@pytest.fixture
def fake(every_model: EveryModel) -> list[Fake]:
    """Makes every model a fake one; the list fills with them, so that pictures can be counted."""
    return every_model(Fake)


@pytest.fixture
def whole(run: Run, fake: list[Fake], tmp_path: Path) -> dict[str, Any]:
    """What the uninterrupted run gives; nothing of it is left, but the clip."""
    return uninterrupted(run, clip(tmp_path), OBJECTS)


def uninterrupted(run: Run, video: Path, objects: tuple[str, ...]) -> dict[str, Any]:
    outcome = run("track", video, *objects, *ALL)
    assert outcome.code == 0, outcome.err
    found = content(video.parent)
    for name in ("out.mp4", "out.jsonl", "masks"):
        path = video.parent / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    return found


def killed(folder: Path, *, frames: int, seconds: float, objects: tuple[str, ...] = OBJECTS) -> None:
    """Run the command in a process of its own that is killed (``kill -9``) while it tracks a frame."""
    command = [*runner(frames=frames, seconds=seconds), "track", "clip.mp4", *objects, *ALL]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == -signal.SIGKILL, done.stderr


def press_at(monkeypatch: pytest.MonkeyPatch, sink: type, frame: int, times: int = 1) -> None:
    """Ctrl-C while a sink writes a frame."""
    write = sink.write
    left = [times]

    def pressed(self: Any, tracked: Any) -> None:
        if tracked.index == frame and left[0]:
            left[0] -= 1
            signal.raise_signal(signal.SIGINT)
        write(self, tracked)

    monkeypatch.setattr(sink, "write", pressed)


def stopped(run: Run, frame: int) -> None:
    """Leave the log and the snapshot of a run that Ctrl-C ended after a frame."""
    with pytest.MonkeyPatch.context() as patch:
        press_at(patch, FrameLog, frame)
        assert run("track", "clip.mp4", *OBJECTS, *ALL).code == 130


@pytest.mark.parametrize(
    ("frames", "seconds", "objects"),
    [(3, 1e9, OBJECTS), (11, 0.0, OBJECTS), (13, 0.0, BOTH)],
    ids=["no snapshot", "snapshot", "backward"],
)
def test_kill_and_resume(
    run: Run, fake: list[Fake], tmp_path: Path, frames: int, seconds: float, objects: tuple[str, ...]
) -> None:
    expected = uninterrupted(run, clip(tmp_path), objects)
    killed(tmp_path, frames=frames, seconds=seconds, objects=objects)
    assert (tmp_path / "out.jsonl.session").exists() == (seconds == 0)
    assert len(visited(tmp_path / "out.jsonl")) == frames
    outcome = run("track", "clip.mp4", *objects, *ALL, "--resume")
    assert outcome.code == 0, outcome.err
    assert f"{frames} frames are in out.jsonl already" in outcome.err
    assert content(tmp_path) == expected
    # without a snapshot all is tracked again; with one, what was not remembered when it was written
    assert fake[-1].encoded == (NUM_FRAMES if seconds else NUM_FRAMES - frames + 1)
    assert files(tmp_path) == ["masks", "out.jsonl", "out.mp4"]


@pytest.mark.parametrize("keep", [0, 1, 6, NUM_FRAMES])
@pytest.mark.parametrize("torn", [0, 7], ids=["whole", "torn"])
def test_resume_from_any_part_of_the_log(
    run: Run, whole: dict[str, Any], tmp_path: Path, keep: int, torn: int
) -> None:
    """The log alone is enough, also with a last line that was torn."""
    rows = whole["log"].splitlines(keepends=True)
    rest = rows[keep + 1][:torn] if keep < NUM_FRAMES else b'{"frame'[:torn]
    (tmp_path / "out.jsonl").write_bytes(b"".join(rows[: keep + 1]) + rest)
    assert run("track", "clip.mp4", *OBJECTS, *ALL, "--resume").code == 0
    assert content(tmp_path) == whole


def test_frames_between_snapshot_and_log_are_caught_up(
    run: Run, whole: dict[str, Any], fake: list[Fake], tmp_path: Path
) -> None:
    stopped(run, 3)
    (tmp_path / "out.jsonl").write_bytes(b"".join(whole["log"].splitlines(keepends=True)[:11]))
    assert run("track", "clip.mp4", *OBJECTS, *ALL, "--resume").code == 0
    assert content(tmp_path) == whole
    assert fake[-1].encoded == NUM_FRAMES - 3  # the snapshot's own frame is still to be remembered


def test_a_snapshot_that_is_ahead_of_the_log_is_of_no_use(
    run: Run, whole: dict[str, Any], fake: list[Fake], tmp_path: Path
) -> None:
    """As after a loss of power: the snapshot was on the disk and the last lines of the log were not."""
    stopped(run, 8)
    (tmp_path / "out.jsonl").write_bytes(b"".join(whole["log"].splitlines(keepends=True)[:4]))
    outcome = run("track", "clip.mp4", *OBJECTS, *ALL, "--resume")
    assert "tracking goes on from the beginning" in outcome.err
    assert content(tmp_path) == whole
    assert fake[-1].encoded == NUM_FRAMES


def test_a_damaged_snapshot_is_of_no_use(run: Run, whole: dict[str, Any], tmp_path: Path) -> None:
    stopped(run, 8)
    (tmp_path / "out.jsonl.session").write_bytes(b"nonsense")
    outcome = run("track", "clip.mp4", *OBJECTS, *ALL, "--resume")
    assert outcome.err.startswith("warning: tracking starts over: ")
    assert content(tmp_path) == whole


def test_a_finished_run_is_not_tracked_again(
    run: Run, whole: dict[str, Any], fake: list[Fake], tmp_path: Path
) -> None:
    assert run("track", "clip.mp4", *OBJECTS, *ALL).code == 0
    (tmp_path / "masks/00003.png").unlink()
    (tmp_path / "out.mp4").unlink()
    outcome = run("track", "clip.mp4", *OBJECTS, *ALL, "--resume", "--json")
    assert outcome.err.splitlines() == [
        "out.jsonl is complete: nothing is left to track; writing what is missing: video, masks"
    ]
    assert content(tmp_path) == whole
    assert fake[-1].encoded == 0
    assert json.loads(outcome.out)["frames"]["tracked_now"] == 0
    again = run("track", "clip.mp4", *OBJECTS, *ALL, "--resume")
    assert "nothing is missing" in again.err


def test_resume_without_a_log_begins(run: Run, whole: dict[str, Any], tmp_path: Path) -> None:
    assert run("track", "clip.mp4", *OBJECTS, *ALL, "--resume").code == 0
    assert content(tmp_path) == whole
    (tmp_path / "out.jsonl").unlink()
    outcome = run("track", "clip.mp4", *OBJECTS, *ALL, "--resume")
    assert outcome.code == 2
    assert "not the log out.jsonl to resume from" in outcome.err


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (("--object", "3:point=9,9"), "prompts"),
        (("--fill", "0"), "fill"),
        (("--no-overlap",), "no_overlap"),
        (("--end", "12"), "end"),
        (("--stride", "5"), "stride"),
        (("--encode-ahead", "2"), "encode_ahead"),
    ],
    ids=str,
)
def test_another_job_is_refused(
    run: Run, whole: dict[str, Any], tmp_path: Path, change: tuple[str, ...], word: str
) -> None:
    part = b"".join(whole["log"].splitlines(keepends=True)[:4])
    (tmp_path / "out.jsonl").write_bytes(part)
    (tmp_path / "out.partial.mp4").write_bytes(b"so far")
    outcome = run("track", "clip.mp4", *OBJECTS, *change, *ALL, "--resume")
    assert outcome.code == 2
    assert f"another job: job.{word}" in outcome.err or f"job has job.{word}" in outcome.err
    assert (tmp_path / "out.jsonl").read_bytes() == part
    assert (tmp_path / "out.partial.mp4").read_bytes() == b"so far"
    assert not (tmp_path / "masks").exists()


def test_another_video_of_the_same_name_is_refused(run: Run, whole: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "out.jsonl").write_bytes(b"".join(whole["log"].splitlines(keepends=True)[:4]))
    clip(tmp_path, gop=3)
    outcome = run("track", "clip.mp4", *OBJECTS, *ALL, "--resume")
    assert outcome.code == 2
    assert "another job: job.bytes" in outcome.err


def test_interrupted_and_resumed(
    run: Run, whole: dict[str, Any], fake: list[Fake], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    press_at(monkeypatch, OverlayVideo, 7)
    outcome = run("track", "clip.mp4", *OBJECTS, *ALL)
    assert outcome.code == 130
    assert outcome.err.splitlines() == [
        "interrupted after 8 frames; the same command with --resume goes on from there"
    ]
    assert "frames 0 to 7: 8 done" in outcome.out
    assert "not finished" in outcome.out
    assert files(tmp_path) == ["masks", "out.jsonl", "out.jsonl.session", "out.mp4"]
    assert len(decoded(tmp_path / "out.mp4")[0]) == 8
    assert run("track", "clip.mp4", *OBJECTS, *ALL, "--resume").code == 0
    assert content(tmp_path) == whole
    assert fake[-1].encoded == NUM_FRAMES - 7


def test_interrupted_backward_makes_the_video_of_what_there_is(
    run: Run, fake: list[Fake], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = uninterrupted(run, clip(tmp_path), BOTH)
    with monkeypatch.context() as patch:
        press_at(patch, FrameLog, 3)
        assert run("track", "clip.mp4", *BOTH, *ALL).code == 130
    assert visited(tmp_path / "out.jsonl") == [*range(6, 16), 5, 4, 3]
    assert len(decoded(tmp_path / "out.mp4")[0]) == 13
    with monkeypatch.context() as patch:
        press_at(patch, OverlayVideo, 9)
        assert run("track", "clip.mp4", *BOTH, *ALL, "--resume").code == 130
    assert len(decoded(tmp_path / "out.partial.mp4")[0]) == 10
    outcome = run("track", "clip.mp4", *BOTH, *ALL, "--resume")
    assert "writing what is missing: video" in outcome.err
    assert content(tmp_path) == expected


def test_a_second_ctrl_c_does_not_wait(
    run: Run, whole: dict[str, Any], fake: list[Fake], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    press_at(monkeypatch, OverlayVideo, 7, times=1)
    press_at(monkeypatch, FrameLog, 7, times=1)
    outcome = run("track", "clip.mp4", *OBJECTS, *ALL)
    assert outcome.code == 130
    assert "interrupted after 7 frames" in outcome.err
    assert visited(tmp_path / "out.jsonl") == list(range(7))
    assert len(decoded(tmp_path / "out.partial.mp4")[0]) >= 7
    assert run("track", "clip.mp4", *OBJECTS, *ALL, "--resume").code == 0
    assert content(tmp_path) == whole


def test_without_a_log_of_ones_own_one_is_kept_until_the_end(
    run: Run, whole: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        press_at(patch, OverlayVideo, 7)
        assert run("track", "clip.mp4", *OBJECTS, "-o", "out.mp4").code == 130
    log = tmp_path / "out.mp4.tracking.jsonl"
    assert len(lines(log)) == 8
    assert run("track", "clip.mp4", *OBJECTS, "-o", "out.mp4").code == 2
    assert run("track", "clip.mp4", *OBJECTS, "-o", "out.mp4", "--resume").code == 0
    assert files(tmp_path) == ["out.mp4"]
    assert len(decoded(tmp_path / "out.mp4")[0]) == NUM_FRAMES


def test_a_snapshot_that_cannot_be_written_is_a_warning(
    run: Run, whole: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from maskwright.errors import OutputError
    from maskwright.track.session import Session

    def full(self: Session, path: Path) -> None:
        raise OutputError("the disk is full")

    monkeypatch.setattr(snapshots, "SECONDS", 0.0)
    monkeypatch.setattr(Session, "save", full)
    outcome = run("track", "clip.mp4", *OBJECTS, *ALL)
    assert outcome.code == 0
    assert outcome.err.splitlines() == ["warning: no snapshot to resume from: the disk is full"]
    assert content(tmp_path) == whole
