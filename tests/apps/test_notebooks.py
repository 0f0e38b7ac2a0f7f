"""The notebooks run from top to bottom, offline, in a kernel of this environment, and keep their promises."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import maskwright

nbclient = pytest.importorskip("nbclient")
nbformat = pytest.importorskip("nbformat")
pytest.importorskip("ipykernel")
pytest.importorskip("anywidget")
pytest.importorskip("jupyter_bbox_widget")

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
NOTEBOOKS = sorted(EXAMPLES.glob("*.ipynb"))
SECONDS = 300
"""Time limit of a cell: generous, for slow machines, and never reached elsewhere."""

WHERE = "import sys, maskwright; print(sys.executable, maskwright.__file__)"
DRAW = """
widget.set_state({"bboxes": [{"x": 200, "y": 40, "width": 60, "height": -30, "label": "face"}]})
print(boxes(widget), names(widget))
"""
"""What a front end sends when somebody draws."""

pytestmark = pytest.mark.filterwarnings("default")  # jupyter's own, which come and go with its versions


def read(path: Path) -> Any:
    return nbformat.read(path, as_version=4)


def cells_of(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def printed(notebook: Any) -> str:
    """Everything that was printed or shown as text."""
    outputs = [output for cell in cells_of(notebook) for output in cell.outputs]
    texts = [output.text for output in outputs if output.output_type == "stream"]
    shown = [output.data for output in outputs if "data" in output]
    return "\n".join(texts + [str(text) for data in shown for kind, text in data.items() if "text/" in kind])


def pictures(notebook: Any) -> int:
    outputs = [output for cell in cells_of(notebook) for output in cell.outputs]
    return sum("image/png" in output.get("data", {}) for output in outputs)


@pytest.fixture
def execute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nano_file: Path) -> Any:
    """Run a notebook in an empty folder, without the network and without other models."""
    pytest.importorskip("skimage")
    pytest.importorskip("supervision")
    monkeypatch.setenv("MASKWRIGHT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("MASKWRIGHT_OFFLINE", "1")

    def execute(name: str, *more: str) -> Any:
        notebook = read(EXAMPLES / f"{name}.ipynb")
        notebook.cells += [nbformat.v4.new_code_cell(source) for source in (*more, WHERE)]
        client = nbclient.NotebookClient(
            notebook,
            timeout=SECONDS,
            startup_timeout=SECONDS,
            kernel_name="python3",
            resources={"metadata": {"path": str(tmp_path)}},
        )
        client.execute()
        assert f"{sys.executable} {maskwright.__file__}" in printed(notebook)
        return notebook

    return execute


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_committed_without_outputs(path: Path) -> None:
    notebook = read(path)
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3"
    assert [cell.outputs or cell.execution_count for cell in cells_of(notebook) if cell.outputs] == []
    assert path.stat().st_size < 40_000


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_is_in_the_walk_through(path: Path) -> None:
    """With a picture of what comes out of it."""
    walk = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert f"({path.name})" in walk
    assert re.search(rf"\(\.\./docs/(examples/)?{path.stem}[\w-]*\.(jpg|png)\)", walk)


def test_links_of_the_walk_through_lead_somewhere() -> None:
    targets = re.findall(r"\]\((?!https?://)([^)#]+)", (EXAMPLES / "README.md").read_text(encoding="utf-8"))
    assert [target for target in targets if not (EXAMPLES / target).exists()] == []
    assert {path.name for path in EXAMPLES.glob("*.py")} <= set(targets)


def test_click(execute: Any, tmp_path: Path) -> None:
    notebook = execute("click")
    one, two = re.search(
        r"expected quality: \[([\d. ]+)\].*expected quality (0\.\d+)", printed(notebook), re.S
    ).groups()
    assert float(two) > max(map(float, one.split()))
    assert pictures(notebook) == 2
    with Image.open(tmp_path / "click.jpg") as result:
        assert result.size == (1024, 512)


def test_boxes_to_masks(execute: Any, tmp_path: Path) -> None:
    notebook = execute("boxes_to_masks", DRAW)
    text = printed(notebook)
    found = {
        name: int(area) for name, area in re.findall(r"(\w+): expected quality [\d.]+, (\d+) pixels", text)
    }
    assert list(found) == ["astronaut", "helmet", "shuttle"]
    assert 70_000 < found["astronaut"] < 120_000
    assert 10_000 < found["helmet"] < 40_000
    assert "[Box(200, 10, 260, 40)] ['face']" in text
    assert re.search(r"\| nano \| not official \| - \| \*\*\d+\.\d\*\* \|", text)
    for name, claimed, reached in (
        ("tiny", 47.2, 17),
        ("small", 53.0, 17),
        ("base+", 43.8, 12),
        ("large", 30.2, 7),
    ):
        assert f"| sam2.1-{name} | {claimed} | {reached} | no weights on this machine |" in text
    assert pictures(notebook) == 2
    with Image.open(tmp_path / "boxes_to_masks.jpg") as result:
        assert result.size == (3 * 512, 512)


def test_everything(execute: Any, tmp_path: Path) -> None:
    text = printed(execute("everything"))
    num, sure = re.search(r"(\d+) masks; of (\d+) the expected quality", text).groups()
    assert int(num) > int(sure) > 3
    assert "64 of 256 clicks" in text
    assert "128 of 256 clicks" not in text
    with Image.open(tmp_path / "everything.jpg") as result:
        assert result.size == (1200, 400)


def test_video(execute: Any, tmp_path: Path) -> None:
    """The helmet leaves the picture and comes back as itself; the shuttle stays."""
    text = printed(execute("video"))
    seen = {name: int(times) for name, times in re.findall(r"(\w+): seen in (\d+) of 32 frames", text)}
    assert 16 <= seen["helmet"] < 32
    assert seen["shuttle"] > 28
    assert (tmp_path / "video.mp4").stat().st_size > 10_000
    with Image.open(tmp_path / "video.jpg") as result:
        assert result.size == (960, 640)


def test_widget(execute: Any, tmp_path: Path) -> None:
    """Where no page answers, the widgets show a picture, and everything can be done from Python."""
    notebook = execute("widget")
    photo, read, put, film, track, _ = (cell.outputs for cell in cells_of(notebook))
    assert "image/png" in photo[0].data
    assert "Masks(0 objects, 400 x 600" in read[0].data["text/plain"]
    assert "array([" in put[0].data["text/plain"]
    assert len(list((tmp_path / "coffee-masks").iterdir())) == 2
    assert "image/png" in film[0].data
    areas = ast.literal_eval(track[0].data["text/plain"])
    assert len(areas) == 13
    assert min(areas.values()) > 20_000
