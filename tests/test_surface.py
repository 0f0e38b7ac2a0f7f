"""The public names, the cost of importing them, and what a wheel holds."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import maskwright
from maskwright import errors

PUBLIC = [
    "AutomaskOptions",
    "Box",
    "Budget",
    "CheckpointError",
    "ConfidentPolicy",
    "Discover",
    "DownloadError",
    "Embedding",
    "FoundMasks",
    "Frame",
    "ImageError",
    "InputError",
    "MaskModel",
    "MaskPrompt",
    "Masks",
    "MaskwrightError",
    "MissingExtraError",
    "ModelConfig",
    "NotAvailableError",
    "OfficialPolicy",
    "OutputError",
    "Points",
    "Policy",
    "Prompt",
    "PromptError",
    "RasterOptions",
    "Search",
    "SearchStep",
    "Session",
    "Sieve",
    "SourceError",
    "StateError",
    "TileOptions",
    "TiledImage",
    "TiledSearch",
    "TrackOptions",
    "TrackedFrame",
    "TrackedObject",
    "Tracking",
    "UnknownModelError",
    "WeightsError",
    "__version__",
    "export_model",
    "load",
    "models",
]

HEAVY = ("torch", "numpy", "PIL", "scipy", "pycocotools", "safetensors", "huggingface_hub", "httpx")


def modules_after(code: str) -> set[str]:
    """Top-level packages that a fresh interpreter has loaded after running ``code``."""
    script = (
        f"{code}\nimport sys; print('LOADED', *sorted({{name.partition('.')[0] for name in sys.modules}}))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.rpartition("LOADED ")[2].split())


def test_public_names_are_pinned() -> None:
    assert maskwright.__all__ == PUBLIC


@pytest.mark.parametrize("name", PUBLIC)
def test_public_name_loads_and_is_listed(name: str) -> None:
    assert getattr(maskwright, name) is not None
    assert name in dir(maskwright)


def test_every_error_is_public_and_in_the_tree() -> None:
    found = {name: value for name, value in vars(errors).items() if name.endswith("Error")}
    assert set(found) == {name for name in PUBLIC if name.endswith("Error")}
    assert all(issubclass(kind, maskwright.MaskwrightError) for kind in found.values())


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'segmant'"):
        _ = maskwright.segmant  # type: ignore[attr-defined]


def test_version_is_the_installed_one() -> None:
    assert importlib.metadata.version("maskwright") == maskwright.__version__


def test_import_is_light() -> None:
    assert modules_after("import maskwright; dir(maskwright)").isdisjoint(HEAVY)


@pytest.mark.parametrize("arguments", [["--help"], ["segment", "--help"], ["--version"]])
def test_command_line_answers_without_heavy_imports(arguments: list[str]) -> None:
    code = f"from maskwright.cli import main; assert main({arguments!r}) == 0"
    assert modules_after(code).isdisjoint(HEAVY)


def test_listing_models_needs_no_torch() -> None:
    assert "torch" not in modules_after("from maskwright.cli import main; assert main(['models']) == 0")


def test_prompts_need_no_torch() -> None:
    assert "torch" not in modules_after("import maskwright; maskwright.Points([(1, 2)])")


@pytest.fixture(scope="module")
def wheel(root: Path, tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return zipfile.ZipFile(next(folder.glob("*.whl")))


def test_wheel_is_plain_python_with_types_and_licence(wheel: zipfile.ZipFile) -> None:
    names = wheel.namelist()
    assert wheel.filename is not None
    assert wheel.filename.endswith("-py3-none-any.whl")
    assert "maskwright/py.typed" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert all(name.startswith("maskwright") for name in names)
    assert not any("cache" in Path(name).parts[1] for name in names)


def test_wheel_carries_nano(wheel: zipfile.ZipFile, nano_file: Path) -> None:
    assert wheel.getinfo("maskwright/weights/nano.safetensors").file_size == nano_file.stat().st_size
