"""``track VIDEO --coco ...`` and ``export LOG``: one object per track, whatever ended a run."""

from __future__ import annotations

import errno
import json
import shutil
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from exported import content, everything, of_coco, supervision
from following import NUM_FRAMES, OBJECTS, clip, files, pictures
from maskwright.interop.coco import CocoWriter
from maskwright.io.files import output_error
from maskwright.io.sinks import FrameLog, read_log
from maskwright.io.sinks.numbered import frame_name
from maskwright.io.sources.camera import LiveSource
from maskwright.io.sources.decoding import open_container

if TYPE_CHECKING:
    from tests.apps.conftest import Run

pytestmark = [
    pytest.mark.usefixtures("fake_load"),
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),  # pycocotools, numpy 2
]
CLICK = ("--object", "1:point=20,20")
TO = ("--coco", "a.json", "--yolo", "y", "--label", "2:dog")

RUNNER = """
import os, signal, sys
from maskwright import facade
from maskwright.cli import main
from maskwright.interop.coco import CocoWriter
from maskwright.interop.yolo import YoloWriter
from maskwright.runtime.fake import Fake

class Dying(Fake):
    def encode_image(self, pixels):
        if self.encoded == {frames}:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().encode_image(pixels)

def die_in(writer, name, calls):
    real, left = getattr(writer, name), [calls]
    def dying(self, *arguments):
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)
        left[0] -= 1
        return real(self, *arguments)
    setattr(writer, name, dying)

die_in({where})
facade.load = lambda name, **options: facade.MaskModel(Dying())
sys.exit(main(sys.argv[1:]))
"""
"""A program that is killed while it tracks its frame number ``frames``, or when a writer is called."""


@pytest.fixture
def whole(run: Run, tmp_path: Path) -> dict[str, bytes]:
    """What the run that nothing ends exports; nothing of it is left, but the clip."""
    outcome = run("track", clip(tmp_path), *OBJECTS, *TO)
    assert (outcome.code, outcome.err) == (0, "")
    return taken(tmp_path)


def taken(folder: Path) -> dict[str, bytes]:
    """The exports, which are all that there is, and go."""
    assert files(folder) == ["a.json", "y"]
    found = {"a.json": (folder / "a.json").read_bytes(), **content(folder / "y")}
    (folder / "a.json").unlink()
    shutil.rmtree(folder / "y")
    return found


def test_all_formats_and_again_from_the_log(run: Run, tmp_path: Path) -> None:
    options = everything("one")
    outcome = run("track", clip(tmp_path), *OBJECTS, "--end", 7, "--log", "a.jsonl", "--json", *options)
    assert (outcome.code, outcome.err) == (0, "")
    written = json.loads(outcome.out)["outputs"]
    assert list(written.values()) == ["a.jsonl", *options[1::2]]
    assert run("export", "a.jsonl", "--source", "clip.mp4", *everything("two")).code == 0
    assert content(tmp_path / "one") == content(tmp_path / "two")
    assert run("export", "a.jsonl", *everything("three", pixels=False)).code == 0
    assert (tmp_path / "three/coco.json").read_bytes() == (tmp_path / "one/coco.json").read_bytes()


def test_an_object_is_one_track_and_its_masks_are_those_of_the_log(run: Run, tmp_path: Path) -> None:
    to = ("--coco", "a.json", "--cvat", "a.xml", "--yolo", "y", "--pictures", "y/images", "--label", "2:dog")
    assert run("track", clip(tmp_path), *OBJECTS, "--log", "a.jsonl", *to).code == 0
    coco = of_coco(tmp_path / "a.json")
    assert [image["file_name"] for image in coco.imgs.values()] == [
        f"clip/{frame_name(number).removesuffix('.png')}.jpg" for number in range(NUM_FRAMES)
    ]
    _, frames = read_log(tmp_path / "a.jsonl")
    for image, frame in zip(coco.imgs.values(), frames, strict=True):
        masks = {row["track_id"]: coco.annToMask(row) for row in coco.imgToAnns[image["id"]]}
        assert list(masks) == [number for number, area in zip(frame.ids, frame.areas, strict=True) if area]
        for number, mask in masks.items():
            assert np.array_equal(mask, frame.bitmaps[frame.ids.index(number)])
    tracks = ElementTree.parse(tmp_path / "a.xml").getroot().findall("track")
    assert [track.get("label") for track in tracks] == ["object", "dog"]
    assert [len(track) for track in tracks] == [NUM_FRAMES, NUM_FRAMES - 5]
    data = supervision().DetectionDataset.from_yolo(
        "y/images/clip", "y/labels/clip", "y/data.yaml", force_masks=True
    )
    assert data.classes == ["dog", "object"]
    assert len(data) == NUM_FRAMES


def test_labelme_beside_the_frames(run: Run, tmp_path: Path) -> None:
    assert run("track", clip(tmp_path), *OBJECTS, "--labelme", "a", "--pictures", "a").code == 0
    for path in (tmp_path / "a/clip").glob("*.json"):
        found = json.loads(path.read_text())
        with Image.open(path.with_name(found["imagePath"])) as picture:
            assert picture.size == (found["imageWidth"], found["imageHeight"])
    assert len(list((tmp_path / "a/clip").iterdir())) == 2 * NUM_FRAMES


def test_backward(run: Run, tmp_path: Path) -> None:
    to = ("--object", "1:point=20,20@8", "--both")
    assert run("track", clip(tmp_path), *to, "--coco", "a.json", "--cutouts", "c").code == 0
    images = of_coco(tmp_path / "a.json").imgs.values()
    assert sorted(image["frame_id"] for image in images) == list(range(NUM_FRAMES))
    assert len(list((tmp_path / "c/clip").iterdir())) == NUM_FRAMES


def test_frames_of_a_folder_have_their_names(run: Run, tmp_path: Path) -> None:
    pictures(tmp_path / "shots", [90, 120, 150])
    to = ("--coco", "a.json", "--labelme", "shots", "--pictures", "copies")
    assert run("track", "shots", *CLICK, *to).code == 0
    names = [image["file_name"] for image in of_coco(tmp_path / "a.json").imgs.values()]
    assert names == ["shots/0.png", "shots/1.png", "shots/2.png"]
    with Image.open(tmp_path / "copies/shots/1.png") as copy:
        assert copy.getpixel((0, 0)) == (120, 120, 120)


def test_an_object_that_is_never_seen(run: Run, tmp_path: Path) -> None:
    pictures(tmp_path / "dark", [0, 0, 0])
    outcome = run("track", "dark", *CLICK, *everything("all"), "--label", "1:cat")
    assert outcome.code == 0
    assert "warning: there is no object in 3 pictures; the exports have none" in outcome.err
    coco = of_coco(tmp_path / "all/coco.json")
    assert (len(coco.imgs), len(coco.anns), coco.cats[1]["name"]) == (3, 0, "cat")
    pictures(tmp_path / "last", [0, 0, 120])
    both = ("--object", "1:point=20,20@0", "--object", "2:point=40,30@2", "--label", "1:cat", "--end")
    assert run("track", "last", *both, "2", "--coco", "b.json").code == 2
    outcome = run("track", "last", *both, "3", "--coco", "b.json")
    assert outcome.code == 0
    assert {row["track_id"] for row in of_coco(tmp_path / "b.json").anns.values()} == {2}
    assert "warning: --label 1:cat: object 1 is seen in no picture" in outcome.err


@pytest.mark.parametrize(
    ("frames", "where"),
    [
        (7, "CocoWriter, 'finish', -1"),
        (-1, "YoloWriter, 'write', 9"),
        (-1, "CocoWriter, 'finish', 0"),
    ],
)
def test_kill_and_resume(run: Run, whole: dict[str, bytes], tmp_path: Path, frames: int, where: str) -> None:
    command = [sys.executable, "-c", RUNNER.format(frames=frames, where=where), "track", "clip.mp4"]
    done = subprocess.run(
        [*command, *OBJECTS, *TO], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert not (tmp_path / "a.json").exists()
    assert (tmp_path / "a.json.tracking.jsonl").exists()
    outcome = run("track", "clip.mp4", *OBJECTS, *TO, "--resume")
    assert outcome.code == 0, outcome.err
    assert taken(tmp_path) == whole


@pytest.mark.parametrize("sink", [FrameLog, CocoWriter], ids=["tracking", "exporting"])
def test_ctrl_c_and_resume(
    run: Run, whole: dict[str, bytes], tmp_path: Path, sink: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        press_at(patch, sink, 4)
        outcome = run("track", "clip.mp4", *OBJECTS, *TO, "--json")
    assert outcome.code == 130
    assert "the same command with --resume goes on from there" in outcome.err
    assert json.loads(outcome.out)["outputs"] == {"log": "a.json.tracking.jsonl"}
    assert set(files(tmp_path)) - {"a.json.tracking.jsonl.session"} == {"a.json.tracking.jsonl"}
    assert run("track", "clip.mp4", *OBJECTS, *TO, "--resume").code == 0
    assert taken(tmp_path) == whole


def test_the_disk_is_full_in_the_middle(
    run: Run, whole: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(CocoWriter, "finish", full)
        outcome = run("track", "clip.mp4", *OBJECTS, *TO)
    assert outcome.code == 2
    assert "the disk is full" in outcome.err
    assert "16 frames are finished, in a.json.tracking.jsonl; --resume goes on from there" in outcome.err
    assert set(files(tmp_path)) - {"a.json.tracking.jsonl.session"} == {"a.json.tracking.jsonl"}
    assert run("track", "clip.mp4", *OBJECTS, *TO, "--resume").code == 0
    assert taken(tmp_path) == whole


def test_a_kept_log_is_exported_again(run: Run, tmp_path: Path) -> None:
    """``--resume`` of a finished run makes its exports anew; without it they are in the way."""
    assert run("track", clip(tmp_path), *OBJECTS, "--log", "a.jsonl").code == 0
    assert run("track", "clip.mp4", *OBJECTS, "--log", "a.jsonl", *TO, "--resume").code == 0
    before = (tmp_path / "a.json").read_bytes()
    assert run("track", "clip.mp4", *OBJECTS, "--log", "a.jsonl", *TO, "--resume").code == 0
    assert (tmp_path / "a.json").read_bytes() == before
    outcome = run("track", "clip.mp4", *OBJECTS, "--log", "b.jsonl", *TO)
    assert outcome.code == 2
    assert "a.json exists already; --overwrite replaces it" in outcome.err
    assert not (tmp_path / "b.jsonl").exists()


@pytest.mark.parametrize("endless", [True, False])
def test_a_camera(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, endless: bool) -> None:
    """A file plays the camera; what came before it ends, or goes away, is exported."""
    clip(tmp_path)

    def camera(device: str, **options: Any) -> LiveSource:
        opener = partial(open_container, str(tmp_path / "clip.mp4"), "camera 0")
        return LiveSource("camera 0", opener, endless=endless)

    monkeypatch.setattr("maskwright.io.sources.opening.camera_source", camera)
    outcome = run("track", "camera:0", *CLICK, "--cutouts", "c")
    assert "--cutouts reads the video a second time, and camera 0 cannot be" in outcome.err
    assert run("track", "camera:0", *CLICK, "--coco", "a.json").code == (2 if endless else 0)
    found = of_coco(tmp_path / "a.json")  # a live source leaves frames out that nobody was ready for
    assert found.imgs
    assert len(found.anns) == len(found.imgs)


def press_at(monkeypatch: pytest.MonkeyPatch, sink: type[Any], call: int) -> None:
    """Ctrl-C while a writer takes a frame."""
    write, calls = sink.write, iter(range(1 << 20))

    def pressed(self: Any, frame: Any) -> None:
        if next(calls) == call:
            signal.raise_signal(signal.SIGINT)
        write(self, frame)

    monkeypatch.setattr(sink, "write", pressed)


def full(self: CocoWriter) -> None:
    raise output_error(Path("a.json"), OSError(errno.ENOSPC, "full"))
