"""``maskwright track`` on bad input: one clear line, exit code 2, and what was finished stays readable."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from clips import make_sound, spoil
from following import ALL, NUM_FRAMES, OBJECTS, clip, files, pictures, runner, visited
from maskwright.io.sources.camera import LiveSource
from maskwright.io.sources.decoding import open_container
from maskwright.mask_model import MaskModel
from maskwright.runtime.fake import Fake
from tracked import decoded

if TYPE_CHECKING:
    from tests.apps.conftest import Run

CLICK = ("--object", "1:point=20,20")


def complaint(run: Run, *arguments: object) -> str:
    """The one line on stderr of a run that must fail."""
    outcome = run("track", *arguments)
    assert outcome.code == 2, outcome.err
    assert outcome.out == ""
    line = outcome.err.splitlines()[-1]
    assert line.startswith("error: ")
    assert len([line for line in outcome.err.splitlines() if not line.startswith("warning: ")]) == 1
    return line


@pytest.fixture
def no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loading a model is a failure: what is tested has to be noticed before."""

    def load(name: str, **options: Any) -> MaskModel:
        pytest.fail("the model was loaded before a cheap check")

    monkeypatch.setattr("maskwright.facade.load", load)


@pytest.mark.usefixtures("no_model")
@pytest.mark.parametrize(
    ("objects", "word"),
    [
        ((), "nothing to follow"),
        (("20,20",), "cannot be read; write ID:point=X,Y"),
        (("point=20,20",), "cannot be read"),
        (("0:point=20,20",), "is 1, 2, 3"),
        (("cat:point=20,20",), "is 1, 2, 3"),
        (("1:dot=20,20",), "'dot' is none of point, box and mask"),
        (("1:point=20",), "has 1 number, not 2 or 3; write 1:point=320,240"),
        (("1:point=20,20,1,0",), "has 4 numbers"),
        (("1:point=20,x",), "cannot be read; write 1:point=320,240"),
        (("1:point=20,20,2",), "label"),
        (("1:point=nan,20",), "finite"),
        (("1:box=10,10,40",), "has 3 numbers, not 4; write 1:box=40,60,300,420"),
        (("1:box=40,10,10,40",), "inverted"),
        (("1:point=20,20@soon",), "'soon' is neither a frame's number nor seconds"),
        (("1:point=20,20@-3",), "'-3' is neither"),
        (("1:point=20,20@1.5",), "'1.5' is neither"),
        (("1:point=20,20@",), "'' is neither"),
        (("1:mask=",), "names no file"),
        (("1:mask=missing.png",), "missing.png"),
        (("1:mask=small.png",), "the mask is 8 x 8 pixels, the frame 64 x 48"),
        (("1:mask=black.png",), "black all over"),
        (("1:mask=white.png", "1:point=20,20"), "a mask says all"),
        (("1:point=20,20", "1:point=20,20"), "given twice"),
        (("1:point=20,20", "1:point=20,20@0"), "ask the same twice"),
        (("1:point=20,20", "1:point=20,20,0"), "contradict"),
        (("1:box=1,1,9,9", "1:box=2,2,9,9"), "two boxes for one object in one frame"),
        (("1:point=20,20,0",), "object 1 begins in frame 0 with nothing but clicks beside it"),
        (("1:point=20,60",), "outside the picture, which is 64 pixels wide and 48 high"),
        (("1:box=20,20,65,40",), "outside the picture"),
        (("1:point=20,20@16",), "there is no frame 16 in clip.mp4, which has frames 0 to 15"),
        (("1:point=20,20@999999",), "there is no frame 999999"),
        (("1:point=20,20@9s",), "clip.mp4 ends before 9 s; its last frame is number 15"),
        (("300:point=20,20",), "object 300 does not fit into an indexed PNG"),
    ],
    ids=str,
)
def test_bad_objects(run: Run, tmp_path: Path, objects: tuple[str, ...], word: str) -> None:
    clip(tmp_path)
    for name, shade, size in (("small", 255, (8, 8)), ("black", 0, (64, 48)), ("white", 255, (64, 48))):
        Image.new("L", size, shade).save(tmp_path / f"{name}.png")
    before = files(tmp_path)
    asked = [part for one in objects for part in ("--object", one)]
    assert word in complaint(run, "clip.mp4", *asked, *ALL)
    assert files(tmp_path) == before


@pytest.mark.usefixtures("no_model")
@pytest.mark.parametrize(
    ("options", "word"),
    [
        (("--backward", "--both"), "exclude each other"),
        (("--resume", "--overwrite"), "give one of them"),
        (("--corrupt", "mend"), "skip or stop"),
        (("--fill", "-1"), "--fill is -1"),
        (("--stride", "0"), "--stride is 0"),
        (("--start", "-1"), "--start is -1"),
        (("--end", "0"), "--end is 0"),
        (("--start", "5", "--end", "5"), "--end 5 leaves nothing after --start 5"),
        (("--object", "2:point=9,9@3", "--end", "3"), "only frames from 0 to 2 are tracked"),
        (("--object", "2:point=9,9@3", "--start", "4"), "only frames from 4 on are tracked"),
        (("--object", "2:point=9,9@3", "--stride", "2"), "passes over; prompt frame 4"),
        (("--backward", "--start", "30"), "frames 0 to 15"),
        (("-o", "out.avi"), "end the name out.avi in .mp4"),
        (("-o", "clip.mp4", "--overwrite"), "clip.mp4 is the video that is read"),
        (("-o", "a.mp4", "--log", "a.mp4"), "two results"),
        (("-o", "no/where.mp4"), "its folder does not exist"),
        (("--cutout", "cut.mp4"), "webm or .mov"),
        (("-o", "folder.mp4"), "it is a folder"),
    ],
    ids=str,
)
def test_bad_options(run: Run, tmp_path: Path, options: tuple[str, ...], word: str) -> None:
    clip(tmp_path)
    (tmp_path / "folder.mp4").mkdir()
    assert word in complaint(run, "clip.mp4", *CLICK, *options)
    assert files(tmp_path) == ["folder.mp4"]


@pytest.mark.usefixtures("no_model")
@pytest.mark.parametrize(
    ("name", "options", "advice"),
    [
        ("out.mp4", ("-o", "out.mp4"), "--resume continues"),
        ("out.jsonl", ("--log", "out.jsonl"), "--resume continues"),
        ("out.partial.mp4", ("-o", "out.mp4"), "--resume continues"),
        ("masks/00004.png", ("--masks", "masks"), "--overwrite replaces"),
        ("cut/00004.png", ("--cutout", "cut"), "--overwrite replaces"),
        ("cut.webm", ("--cutout", "cut.webm"), "--overwrite replaces"),
        ("clip-tracked.jsonl", (), "choose another name"),
    ],
)
def test_existing_results_are_left_alone(
    run: Run, tmp_path: Path, name: str, options: tuple[str, ...], advice: str
) -> None:
    clip(tmp_path)
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("earlier")
    line = complaint(run, "clip.mp4", *CLICK, *options)
    assert f"{Path(name)} exists already" in line
    assert advice in line
    assert (tmp_path / name).read_text() == "earlier"
    assert files(tmp_path) == [Path(name).parts[0]]


@pytest.mark.usefixtures("no_model")
def test_unreadable_videos(run: Run, tmp_path: Path) -> None:
    make_sound(tmp_path / "sound.m4a")
    clip(tmp_path, "nothing.mp4", num_frames=0)
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "words.mp4").write_text("These are words, not pixels.\n" * 50)
    (tmp_path / "album").mkdir()
    for name, word in (
        ("sound.m4a", "sound"),
        ("nothing.mp4", "has no video"),
        ("empty.mp4", "0 bytes"),
        ("words.mp4", "words.mp4"),
        ("album", "no pictures"),
        ("nowhere.mp4", "no such video: nowhere.mp4"),
        ("*.jpg", "no file matches"),
        ("camera:77", "there is no camera 77"),
    ):
        before = files(tmp_path)
        assert word in complaint(run, name, *CLICK)
        assert files(tmp_path) == before


@pytest.mark.usefixtures("no_model")
def test_times_where_there_are_none(run: Run, tmp_path: Path) -> None:
    pictures(tmp_path / "grey", [90, 90])
    assert "have no times; write a frame's number" in complaint(run, "grey", "--object", "1:point=9,9@1s")


@pytest.mark.usefixtures("fake_load")
def test_a_truncated_video_is_followed_to_its_end(run: Run, tmp_path: Path) -> None:
    whole = clip(tmp_path, "whole.mp4", muxing={"movflags": "faststart"}).read_bytes()
    (tmp_path / "clip.mp4").write_bytes(whole[: len(whole) * 2 // 3])
    outcome = run("track", "clip.mp4", *CLICK, *ALL)
    assert outcome.code == 0
    assert "warning: clip.mp4 is cut off" in outcome.err
    done = len(visited(tmp_path / "out.jsonl"))
    assert 0 < done < NUM_FRAMES
    assert len(decoded(tmp_path / "out.mp4")[0]) == done
    again = run("track", "clip.mp4", *CLICK, *ALL, "--resume")
    assert "is complete" in again.err


@pytest.mark.usefixtures("fake_load")
def test_damaged_frames_are_left_out_or_stop(run: Run, tmp_path: Path) -> None:
    lost = spoil(clip(tmp_path, options={"bf": "0", "crf": "12"}, gop=4), packet=8)
    outcome = run("track", "clip.mp4", *CLICK, *ALL)
    assert outcome.code == 0
    assert f"warning: clip.mp4: frame {lost} is damaged" in outcome.err
    left = visited(tmp_path / "out.jsonl")
    assert lost not in left
    assert f"; {NUM_FRAMES - len(left)} damaged, left out" in outcome.out
    assert f"frame {lost} of clip.mp4 is damaged; prompt another frame" in complaint(
        run, "clip.mp4", "--object", f"1:point=20,20@{lost}", "--log", "b.jsonl"
    )
    line = complaint(run, "clip.mp4", *CLICK, "--corrupt", "stop", "-o", "c.mp4", "--log", "c.jsonl")
    assert f"frame {lost} is damaged" in line
    assert f"{lost} frames are finished, in c.mp4 and c.jsonl; --resume goes on from there" in line
    assert visited(tmp_path / "c.jsonl") == list(range(lost))
    assert len(decoded(tmp_path / "c.mp4")[0]) == lost
    resumed = run("track", "clip.mp4", *CLICK, "-o", "c.mp4", "--log", "c.jsonl", "--resume")
    assert resumed.code == 0
    assert visited(tmp_path / "c.jsonl") == left


@pytest.mark.usefixtures("fake_load")
@pytest.mark.parametrize("way", [(), ("--backward",)], ids=["forward", "backward"])
def test_frames_that_change_size(run: Run, tmp_path: Path, way: tuple[str, ...]) -> None:
    folder = pictures(tmp_path / "grey", [90] * 8)
    Image.new("RGB", (32, 32)).save(folder / "3.png")
    prompt = ("--object", "1:point=20,20@7" if way else "1:point=20,20@0")
    line = complaint(run, "grey", *prompt, *way, "-o", "out.mp4", "--log", "out.jsonl")
    assert "frame 3 is 32 x 32 pixels, the frames before were 64 x 48" in line
    done = [7, 6, 5, 4] if way else [0, 1, 2]
    assert f"{len(done)} frames are finished, in out.mp4 and out.jsonl" in line
    assert visited(tmp_path / "out.jsonl") == done
    assert len(decoded(tmp_path / "out.mp4")[0]) == len(done)


@pytest.mark.usefixtures("fake_load")
@pytest.mark.parametrize("endless", [True, False], ids=["goes away", "ends"])
def test_a_camera(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, endless: bool) -> None:
    """A file plays the camera: its frames come at their own speed, and only once."""

    def camera(device: str, **options: Any) -> LiveSource:
        opener = partial(open_container, str(tmp_path / "clip.mp4"), "camera 0")
        return LiveSource("camera 0", opener, endless=endless)

    clip(tmp_path)
    monkeypatch.setattr("maskwright.io.sources.opening.camera_source", camera)
    for options, word in (
        (("--both",), "camera 0 is live and cannot be followed both"),
        (("--backward",), "leave --backward out"),
        (("--resume",), "camera 0 is live"),
        (("--object", "2:point=9,9@1s"), "write a frame"),
    ):
        assert word in complaint(run, "camera:0", *CLICK, *options)
    outcome = run("track", "camera:0", *CLICK)
    done = visited(tmp_path / "camera-0-tracked.jsonl")
    assert done[-1] == NUM_FRAMES - 1
    assert len(decoded(tmp_path / "camera-0-tracked.mp4")[0]) == len(done)
    if endless:
        assert outcome.code == 2
        assert "camera 0 went away after frame 15" in outcome.err
        files_said = "in camera-0-tracked.mp4 and camera-0-tracked.jsonl"
        assert f"{len(done)} frames are finished, {files_said}\n" in outcome.err
    else:
        assert outcome.code == 0
        assert len(done) == NUM_FRAMES or f"{NUM_FRAMES - len(done)} dropped" in outcome.out
    assert not (tmp_path / "camera-0-tracked.jsonl.session").exists()


@pytest.mark.usefixtures("fake_load")
def test_dropped_frames_are_counted(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The model is slower than the camera; until the end is told to come."""
    import time

    class Slow(Fake):
        def encode_image(self, pixels: Any) -> Any:
            time.sleep(0.05)
            return super().encode_image(pixels)

    def camera(device: str, **options: Any) -> LiveSource:
        opener = partial(open_container, str(tmp_path / "clip.mp4"), "camera 0")
        return LiveSource("camera 0", opener, endless=True)

    clip(tmp_path)
    monkeypatch.setattr("maskwright.io.sources.opening.camera_source", camera)
    monkeypatch.setattr("maskwright.facade.load", lambda name, **options: MaskModel(Slow()))
    outcome = run("track", "camera:0", *CLICK, "--end", 12, "--log", "a.jsonl")
    assert outcome.code == 0, outcome.err
    done = visited(tmp_path / "a.jsonl")
    assert done[-1] == 11
    assert len(done) < 12
    assert f"{12 - len(done)} dropped, as newer ones had come" in outcome.out


def test_models_for_pictures_are_refused(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("maskwright.facade.load", lambda name, **options: MaskModel(Fake(), image_only=True))
    clip(tmp_path)
    assert "segment pictures only" in complaint(run, "clip.mp4", *CLICK, *ALL)
    assert files(tmp_path) == []


@pytest.mark.usefixtures("fake_load")
def test_disk_full_while_the_log_is_written(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip(tmp_path)
    write, count = os.write, [0]

    def full(descriptor: int, data: Any) -> int:
        if bytes(data[:8]) == b'{"frame"':
            count[0] += 1
            if count[0] > 6:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(descriptor, data)

    with monkeypatch.context() as patch:
        patch.setattr("os.write", full)
        line = complaint(run, "clip.mp4", *OBJECTS, *ALL)
    assert "out.jsonl: the disk is full" in line
    assert "6 frames are finished, in out.partial.mp4 and masks and out.jsonl; --resume goes on" in line
    assert visited(tmp_path / "out.jsonl") == list(range(6))
    assert len(decoded(tmp_path / "out.partial.mp4")[0]) >= 6
    assert run("track", "clip.mp4", *OBJECTS, *ALL, "--resume").code == 0
    assert visited(tmp_path / "out.jsonl") == list(range(NUM_FRAMES))


@pytest.mark.skipif(sys.platform == "win32", reason="limits of file sizes are POSIX")
def test_a_write_that_really_fails_keeps_what_was_finished(tmp_path: Path) -> None:
    clip(tmp_path, num_frames=60, options={"crf": "1"})
    limited = runner()
    limited[-1] = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (9000, 9000))\n" + limited[-1]
    command = [*limited, "track", "clip.mp4", *CLICK, "--log", "out.jsonl", "--masks", "masks"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 2, done.stderr
    (line,) = done.stderr.splitlines()
    assert "out.jsonl: the file would be larger than the file system allows" in line
    left = visited(tmp_path / "out.jsonl")
    assert left == list(range(len(left)))
    assert 10 < len(left) < 60
    assert f"{len(left)} frames are finished" in line
    with Image.open(tmp_path / "masks" / f"{left[-1]:05}.png") as labels:
        assert np.asarray(labels).any()


@pytest.mark.usefixtures("no_model")
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc is where even root cannot write")
def test_a_folder_that_cannot_be_written_into(run: Run, tmp_path: Path) -> None:
    clip(tmp_path)
    assert "/proc" in complaint(run, "clip.mp4", *CLICK, "-o", "/proc/out.mp4")
    assert "/proc" in complaint(run, "clip.mp4", *CLICK, "--masks", "/proc/masks")


@pytest.mark.usefixtures("fake_load")
def test_a_missing_extra_is_named(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures(tmp_path / "grey", [90, 90])
    monkeypatch.setitem(sys.modules, "av", None)
    assert 'pip install "maskwright[video]"' in complaint(run, "grey", *CLICK, "-o", "out.mp4")
    assert run("track", "grey", *CLICK, "--masks", "masks").code == 0
