"""What every group of tests shares: golden data, threads, small pictures, and whether nano is there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
NANO = ROOT / "src/maskwright/weights/nano.safetensors"


def pytest_configure() -> None:
    """Where tests run in several processes, these and what they start share the processors."""
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    if workers > 1:
        threads = max(1, (os.cpu_count() or 1) // workers)
        os.environ.setdefault("OMP_NUM_THREADS", str(threads))
        torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def shared() -> Path:
    """Golden numbers and data sets too large for the repository; tests that need them skip without."""
    folder = ROOT.parent / "shared"
    if not folder.is_dir():
        pytest.skip("needs the golden data in ../shared, which is not beside this checkout")
    return folder


@pytest.fixture(scope="session")
def nano_file() -> Path:
    """The bundled model file."""
    if not NANO.is_file():
        pytest.skip("needs the bundled model src/maskwright/weights/nano.safetensors")
    return NANO


@pytest.fixture
def same_threads() -> Iterator[None]:
    """As many threads after the test as before it."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def one_thread(same_threads: None) -> None:
    """One thread: with several, the last bits of sums depend on how many objects or pictures a call has."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def picture() -> np.ndarray:
    """A (96, 128, 3) uint8 RGB scene: a red disc and a blue rectangle on a light gradient."""
    height, width = 96, 128
    y, x = np.mgrid[:height, :width]
    scene = np.stack([200 + x // 4, 190 + y // 4, np.full_like(x, 205)], axis=-1).astype(np.uint8)
    scene[(x - 36) ** 2 + (y - 44) ** 2 <= 22**2] = (200, 30, 40)
    scene[30:80, 76:112] = (30, 60, 190)
    return scene


@pytest.fixture
def photo(picture: np.ndarray, tmp_path: Path) -> Path:
    """``picture`` as a PNG file."""
    path = tmp_path / "scene.png"
    Image.fromarray(picture).save(path)
    return path
