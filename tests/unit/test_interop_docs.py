"""The examples of docs/formats.md, as they stand there, on a runtime that draws instead of thinking."""

from __future__ import annotations

import re
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from annotated import disc, picture, pixels
from maskwright.errors import MaskwrightError
from maskwright.interop import FORMATS, export, from_frames, read_coco, read_cvat, read_yolo
from maskwright.io.sinks import FrameLog, LogHeader
from maskwright.mask_model import MaskModel
from maskwright.runtime.fake import Fake
from tracked import tracked

SIZE = (576, 480)


def make_street(path: Path) -> None:
    with av.open(str(path), "w") as output:
        stream = output.add_stream("mpeg4", rate=10)
        stream.height, stream.width, stream.pix_fmt = *SIZE, "yuv420p"
        for _ in range(3):
            output.mux(stream.encode(av.VideoFrame.from_ndarray(pixels(SIZE))))
        output.mux(stream.encode(None))


@pytest.fixture
def example(tmp_path, monkeypatch):
    """What the page takes for granted: the pictures, the video and its log."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("maskwright.load", lambda *_, **__: MaskModel(Fake()))
    Image.fromarray(pixels((1200, 1800))).save("truck.jpg")
    Path("photos").mkdir()
    Image.fromarray(pixels()).save("photos/a.jpg")
    make_street(Path("street.mp4"))
    with FrameLog("street-tracked.jsonl", LogHeader("street.mp4", SIZE)) as log:
        for index in range(3):
            log.write(tracked(index, {1: disc(200, 200, 90, SIZE)}, size=SIZE, image=False))
    export([picture(disc(60, 60, 30), name="a.jpg")], "annotations.json")
    Path("folder").mkdir()
    export([picture(disc(60, 60, 30), name="a.jpg")], "folder", format="labelme")
    return tmp_path


def test_the_examples_run(example, root):
    page = (root / "docs/formats.md").read_text(encoding="utf-8")
    code = "\n".join(re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL))
    exec(compile(code, "docs/formats.md", "exec"), {})
    (truck,) = read_coco("truck.json")
    assert [(item.id, item.label) for item in truck.annotations] == [(1, "truck")]
    assert [one.name for one in read_coco("photos.json")] == ["a.jpg"]
    assert [one.frame for one in read_cvat("street.xml")] == [0, 1, 2]
    again = list(read_yolo("dataset"))
    assert [one.name for one in again] == [f"street/0000{index}.jpg" for index in range(3)]
    assert again[0].pixels().shape == (*SIZE, 3)
    assert len(list(read_coco("all.json"))) == 3
    assert len(list(Path("voc/SegmentationObject").rglob("*.png"))) == 3


def test_the_page_tells_of_every_format(root):
    page = (root / "docs/formats.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `([a-z-]+)`", page, flags=re.MULTILINE) == list(FORMATS)


def test_a_video_that_is_tracked_goes_straight_into_a_file(tmp_path):
    model = MaskModel(Fake())
    frames = np.stack([pixels((96, 128))] * 3)
    from maskwright import Box

    with model.track(frames, {1: Box(20, 20, 60, 60)}) as tracking:
        assert export(from_frames(tracking, "clip"), tmp_path / "clip.json", labels={1: "dog"}) == 3
    found = list(read_coco(tmp_path / "clip.json"))
    assert [one.name for one in found] == ["clip/00000.jpg", "clip/00001.jpg", "clip/00002.jpg"]
    assert {item.label for one in found for item in one.annotations} == {"dog"}
    with pytest.raises(MaskwrightError), model.track(frames, {1: Box(20, 20, 60, 60)}) as tracking:
        export(from_frames(tracking, "clip"), tmp_path / "clip.json")
