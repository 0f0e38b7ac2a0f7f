"""The documents keep what they promise: links lead somewhere, and the README's commands and code run."""

from __future__ import annotations

import os
import re
import runpy
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import av
import pytest
from PIL import Image

from maskwright.interop import read_coco
from maskwright.io.sinks import FrameLog, LogHeader
from tracked import SIZE, square, tracked

if TYPE_CHECKING:
    from tests.apps.conftest import Run

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/*.md")],
    key=lambda path: path.relative_to(ROOT).as_posix(),
)
NUM_FRAMES = 8
"""Length of the film that the README tracks."""
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """The fenced blocks of the README in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)


def commands() -> list[str]:
    """The README's calls of the command line."""
    return [line for block in blocks("sh") for line in block.splitlines() if line.startswith("maskwright ")]


@pytest.fixture
def astronaut(tmp_path: Path) -> Path:
    """The photograph that the README's coordinates are made for, a short film of it, ``street.mp4``, a folder
    with a small copy, ``photos``; ``slide.tif`` is one as well; ``street.jsonl`` is a log of two things."""
    skimage = pytest.importorskip("skimage")
    photo = tmp_path / "photo.jpg"
    photo.write_bytes((Path(skimage.__file__).parent / "data/astronaut.png").read_bytes())
    with Image.open(photo) as picture, av.open(os.fspath(tmp_path / "street.mp4"), "w") as film:
        stream = film.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 640, 600, "yuv420p"
        for index in range(NUM_FRAMES):
            part = (2.0 * index, 0.0, 490.0 + 2 * index, 460.0)
            view = picture.convert("RGB").resize((640, 600), box=part)
            film.mux(stream.encode(av.VideoFrame.from_image(view)))
        film.mux(stream.encode(None))
        (tmp_path / "photos").mkdir()
        picture.resize((96, 96)).save(tmp_path / "photos/small.png")
        picture.resize((256, 256)).save(tmp_path / "slide.tif")
    with FrameLog(tmp_path / "street.jsonl", LogHeader("street.mp4", SIZE, 25.0)) as log:
        for index in range(3):
            log.write(tracked(index, {1: square(4 + index, 8, 16), 2: square(30, 8, 6)}, time=index / 25))
    return photo


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(document: Path) -> None:
    targets = re.findall(r"\]\((?!https?://)([^)#]+)", document.read_text(encoding="utf-8"))
    assert [target for target in targets if not (document.parent / target).exists()] == []


@pytest.mark.usefixtures("astronaut", "nano_file")
@pytest.mark.parametrize("command", commands())
def test_readme_command_runs(run: Run, command: str) -> None:
    outcome = run(*shlex.split(command)[1:])
    assert outcome.code == 0, outcome.err
    assert outcome.out


@pytest.mark.usefixtures("astronaut", "nano_file")
def test_readme_code_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    script = tmp_path / "readme.py"
    script.write_text("\n".join(blocks("python")), encoding="utf-8")
    found = runpy.run_path(os.fspath(script))
    assert found["frame"].ids == (1,)
    assert found["frame"].index == NUM_FRAMES - 1
    assert found["masks"].bitmaps.shape == (3, 512, 512)
    assert len(list((tmp_path / "masks").iterdir())) == 3
    assert [item.label for one in read_coco(tmp_path / "photo.json") for item in one.annotations] == [
        "shuttle",
        "suit",
        "astronaut",
    ]
    assert len((tmp_path / "labels/labels/photo.txt").read_text().splitlines()) == 3
    assert (tmp_path / "overlay.png").stat().st_size > 10_000


@pytest.mark.usefixtures("nano_file")
def test_demo_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("skimage")
    monkeypatch.chdir(tmp_path)
    runpy.run_path(os.fspath(ROOT / "examples/demo.py"), run_name="__main__")
    printed = capsys.readouterr().out
    for name in ("astronaut", "coffee", "chelsea"):
        assert f"{name}.png" in printed
        assert (tmp_path / "demo-output" / f"{name}.png").stat().st_size > 10_000
        assert len(list((tmp_path / "demo-output" / name).iterdir())) >= 1
    (parts,) = re.findall(r"coffee, everything: (\d+) parts found", printed)
    assert int(parts) > 5
    with Image.open(tmp_path / "demo-output/coffee-everything.png") as everything:
        assert everything.size == (600, 400)
