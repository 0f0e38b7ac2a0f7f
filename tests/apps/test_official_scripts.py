"""Whole scripts made for the official package run unchanged: ``official_scripts`` know only ``sam2``.

They run with random weights of the official tiny network at a small size, from an official checkpoint file,
and with nano, whose masks are those of what is in the picture.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import maskwright.sam2
from maskwright.config import PRESETS
from maskwright.sam2.__main__ import main
from maskwright.sam2.base import SAM2Base
from maskwright.sam2.build_sam import build_sam2, build_sam2_video_predictor
from maskwright.weights import catalog
from small import lively

SCRIPTS = Path(__file__).parent / "official_scripts"
NUM_FRAMES = 6
HEIGHT, WIDTH = 96, 128
Script = Callable[..., list[str]]

pytestmark = pytest.mark.filterwarnings("ignore:.*CUDA is not available:UserWarning")


def scene(shift: int = 0) -> np.ndarray:
    """The picture of the fixture ``picture``, with its disc moved to the right."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    made = np.stack([200 + x // 4, 190 + y // 4, np.full_like(x, 205)], axis=-1).astype(np.uint8)
    made[disc(shift)] = (200, 30, 40)
    made[30:80, 76:112] = (30, 60, 190)
    return made


def disc(shift: int = 0) -> np.ndarray:
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    return (x - 36 - shift) ** 2 + (y - 44) ** 2 <= 22**2


def rectangle() -> np.ndarray:
    made = np.zeros((HEIGHT, WIDTH), bool)
    made[30:80, 76:112] = True
    return made


def iou(mask: np.ndarray, true: np.ndarray) -> float:
    mask = mask > 0
    return float((mask & true).sum() / (mask | true).sum())


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where scripts run: a picture, a folder of frames, and nothing imported as ``sam2`` yet."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MASKWRIGHT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("MASKWRIGHT_OFFLINE", "1")
    Image.fromarray(scene()).save("scene.png")
    Path("frames").mkdir()
    for number in range(NUM_FRAMES):
        Image.fromarray(scene(4 * number)).save(f"frames/{number:05d}.jpg", quality=95)
    return tmp_path


@pytest.fixture
def run(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Script]:
    """``python -m maskwright.sam2 SCRIPT ARGUMENTS`` in this process; gives what was printed."""
    names = ("sam2", *(f"sam2.{part}" for part in maskwright.sam2.MODULES))
    for name in names:
        monkeypatch.delitem(sys.modules, name, raising=False)
    for name in ("meta_path", "path", "argv"):
        monkeypatch.setattr(sys, name, list(getattr(sys, name)))

    def run(script: str, *arguments: object) -> list[str]:
        main([str(SCRIPTS / script), *map(str, arguments)])
        return capsys.readouterr().out.splitlines()

    yield run
    for name in names:
        sys.modules.pop(name, None)


@pytest.fixture
def tiny(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The official tiny network at an input size that makes it quick, and an official checkpoint of it."""
    config = PRESETS["sam2.1-tiny"].at(64)
    monkeypatch.setitem(PRESETS, "sam2.1-tiny", config)
    path = workplace / "checkpoints" / "sam2.1_hiera_tiny.pt"
    path.parent.mkdir()
    torch.save({"model": SAM2Base(lively(config)).state_dict()}, path)
    return path


@pytest.fixture
def nano(nano_file: Path) -> tuple[object, ...]:
    return "--config", "nano", "--checkpoint", nano_file


def results() -> dict[str, np.ndarray]:
    with np.load("results.npz") as file:
        return dict(file)


IMAGE_SHAPES = [
    "click (3, 96, 128) float32 (3,) 3",
    "again (1, 96, 128)",
    "box (1, 96, 128)",
    "boxes (2, 1, 96, 128) (2, 1)",
    "batch [(2, 1, 96, 128), (1, 96, 128)] [(2, 1), (1,)]",
    "clicks [(2, 96, 128), (1, 96, 128)]",
]
VIDEO_LINES = [
    "click 0 [1] (1, 1, 96, 128)",
    "propagated [0, 1, 2, 3, 4, 5] (1, 96, 128) bool",
    "refined [3, 4, 5]",
    "two [2, 3] (2, 1, 96, 128)",
    "three [2, 3, 9]",
    "left [2, 3]",
    "backward [5, 4, 3, 2, 1, 0]",
]


@pytest.mark.usefixtures("tiny")
class TestOfficialNetwork:
    """Names of configuration and checkpoint, shapes and types."""

    def test_image(self, run: Script) -> None:
        lines = run("image.py")
        assert lines == ["embedding torch.Size([1, 256, 4, 4]) torch.Size([256, 4, 4])", *IMAGE_SHAPES]
        assert {mask.shape for mask in results().values()} == {(HEIGHT, WIDTH)}
        assert {value for mask in results().values() for value in np.unique(mask)} == {0, 1}

    def test_everything(self, run: Script) -> None:
        *_, count = run("everything.py")
        assert count == f"{len(results()['masks'])} masks"

    def test_video(self, run: Script) -> None:
        assert run("video.py") == VIDEO_LINES
        assert {mask.shape for mask in results().values()} == {(NUM_FRAMES, HEIGHT, WIDTH)}

    def test_pretrained(self, run: Script, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A checkpoint that is in the cache already, as without a network."""
        row = catalog.CATALOG["sam2.1-tiny"]
        monkeypatch.setitem(catalog.CATALOG, row.name, replace(row, size=None, sha256=None))
        cached = Path("cache/weights") / row.file
        cached.parent.mkdir(parents=True)
        tiny.rename(cached)
        assert run("pretrained.py") == [
            "image (3, 96, 128) (3,)",
            "everything list",
            *(f"video {frame} [1] (1, 1, 96, 128)" for frame in range(NUM_FRAMES)),
        ]


class TestNano:
    """The same scripts, and masks of what is there."""

    def test_image(self, run: Script, nano: tuple[object, ...]) -> None:
        assert run("image.py", *nano)[1:] == IMAGE_SHAPES
        masks = results()
        for name in ("click", "again", "disc"):
            assert iou(masks[name], disc()) > 0.8, name
        for name in ("box", "both", "rectangle"):
            assert iou(masks[name], rectangle()) > 0.8, name
        assert iou(masks["mirrored"][:, ::-1], rectangle()) > 0.8

    def test_everything(self, run: Script, nano: tuple[object, ...]) -> None:
        run("everything.py", *nano)
        masks = results()["masks"]
        assert max(iou(mask, disc()) for mask in masks) > 0.8

    def test_video(self, run: Script, nano: tuple[object, ...]) -> None:
        assert run("video.py", *nano) == VIDEO_LINES
        masks = results()
        for number in range(NUM_FRAMES):
            seen = disc(4 * number) & ~rectangle()
            for name in ("clicked", "disc", "backward"):
                assert iou(masks[name][number], seen) > 0.75, (name, number)
            assert iou(masks["rectangle"][number], rectangle()) > 0.75, number

    def test_pictures_and_videos_have_their_own_sizes(
        self, nano_file: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        assert build_sam2("nano", nano_file, device="cpu").image_size == PRESETS["nano"].image_size
        predictor = build_sam2_video_predictor("nano", nano_file, device="cpu")
        assert predictor.image_size == PRESETS["nano"].video_size
        assert "stability rule" not in caplog.text

    def test_from_outside(self, workplace: Path, nano: tuple[object, ...]) -> None:
        command = [sys.executable, "-m", "maskwright.sam2", str(SCRIPTS / "image.py"), *map(str, nano)]
        source = Path(maskwright.sam2.__file__).parents[2]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(source)}
        done = subprocess.run(
            command, cwd=workplace, env=environment, capture_output=True, text=True, check=False, timeout=300
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[1:] == IMAGE_SHAPES
        assert iou(results()["click"], disc()) > 0.8
