"""The widgets in a real browser: JupyterLab on this machine's loopback, driven by headless Chromium.

The model is the fake one, which draws a disc around every click, so that every picture is known beforehand.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lab import PATIENCE, SHOTS, Driven, dismiss, run_cell, served, told

pytest.importorskip("anywidget", reason="needs anywidget: the extra notebook")
pytest.importorskip("jupyterlab", reason="needs jupyterlab: the extra test")
playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright: the extra test")

SIZE = (300, 480)
"""Height and width of the picture."""

PHOTO = """
from maskwright.mask_model import MaskModel
from maskwright.runtime.fake import Fake
from maskwright.widget import PhotoWidget, VideoWidget
model = MaskModel(Fake())
widget = PhotoWidget("scene.png", model, names=["disc"], patience=60)
widget
"""
FILM = """
film = VideoWidget("frames", model, patience=60)
film
"""
TELL = """
import json
areas = {name: int(widget[name].areas[0]) for name in widget.names}
clicks = {name: one.points.labels.tolist() if one.points else [] for name, one in widget.prompts.items()}
boxes = {name: one.box.corners.ravel().tolist() for name, one in widget.prompts.items() if one.box}
names = [one.name for one in widget.objects]
print(json.dumps({"areas": areas, "clicks": clicks, "boxes": boxes, "names": names}))
"""
TELL_FILM = """
print(json.dumps({
    "frames": list(film.masks),
    "areas": {frame: film.masks[frame].areas.tolist() for frame in film.masks},
    "prompts": {name: list(frames) for name, frames in film.prompts.items()},
    "shown": film.frame,
}))
"""
BUSY = "widget.patience = 1\nimport time; time.sleep(8)"
DEAD = "import os; os._exit(1)"


FOUND = (shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome"))
CHROMIUM = next((path for path in FOUND if path), None)
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium"),
    pytest.mark.skipif(sys.platform == "win32", reason="ends JupyterLab by its process group"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the notebook finds beside it: a grey picture, and a film of 24 such frames."""
    folder = tmp_path_factory.mktemp("notebooks")
    scene = np.full((*SIZE, 3), 110, np.uint8)
    scene[::20] = 150
    Image.fromarray(scene).save(folder / "scene.png")
    (folder / "frames").mkdir()
    for number in range(24):
        Image.fromarray(scene).save(folder / f"frames/{number:02}.png", compress_level=1)
    cells = [
        {
            "cell_type": "code",
            "execution_count": None,
            "id": f"cell{n}",
            "metadata": {},
            "outputs": [],
            "source": code.strip(),
        }
        for n, code in enumerate((PHOTO, TELL, FILM, TELL_FILM, BUSY, DEAD))
    ]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    notebook = {"cells": cells, "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}
    (folder / "widgets.ipynb").write_text(json.dumps(notebook), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def address(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with served(folder, tmp_path_factory.mktemp("jupyter")) as address:
        yield address


@pytest.fixture(scope="module")
def page(address: str) -> Iterator[Any]:
    """The notebook, open in a browser."""
    flags = ["--no-sandbox", "--disable-background-networking", "--disable-gpu", "--disable-dev-shm-usage"]
    with playwright.sync_playwright() as play:
        try:
            browser = play.chromium.launch(
                executable_path=CHROMIUM, headless=True, args=flags, timeout=1000 * PATIENCE
            )
        except playwright.Error as error:
            pytest.skip(f"{CHROMIUM} does not start on this machine: {str(error)[:300]}")
        page = browser.new_page(viewport={"width": 1100, "height": 900})
        page.set_default_timeout(1000 * PATIENCE)
        page.goto(f"{address}/doc/tree/widgets.ipynb")
        page.wait_for_selector(".jp-Notebook-ExecutionIndicator[data-status=idle]")
        yield page
        if SHOTS:
            page.screenshot(path=Path(SHOTS) / "last.png")
        browser.close()


def test_photo_is_clicked_boxed_undone_named_and_read_in_the_next_cell(page: Any) -> None:
    widget = Driven(page, 0, SIZE)
    x, y = widget.at(240, 150)
    page.mouse.move(x - 9, y)
    page.mouse.move(x, y)
    widget.wait_until_tinted(250, 158)  # the mask under the pointer, before any click
    assert told(page, 1)["areas"] == {}
    widget.click(240, 150)
    page.mouse.move(5, 5)
    widget.wait_until_tinted(250, 158)
    once = told(page, 1)
    assert once["clicks"] == {"disc": [1]}
    assert once["areas"]["disc"] > 1000
    widget.click(252, 150, button="right")
    widget.wait_until_tinted(254, 158, tinted=False)
    assert page.locator(".lm-Menu").count() == 0
    cut = told(page, 1)
    assert cut["clicks"] == {"disc": [1, 0]}
    assert cut["areas"]["disc"] < once["areas"]["disc"]
    widget.press("z")
    widget.wait_until_tinted(254, 158)
    assert told(page, 1) == once
    widget.press("y")
    assert told(page, 1) == cut
    widget.press("n")
    widget.drag((320, 60), (440, 240))
    page.mouse.move(5, 5)
    widget.wait_until_tinted(380, 150)
    name = widget.root.locator(".mw-selected input")
    name.fill("a box")
    name.press("Enter")
    widget.settle()
    both = told(page, 1)
    assert both["names"] == ["disc", "a box"]
    assert both["boxes"]["a box"] == pytest.approx([320, 60, 440, 240], abs=1)
    assert both["areas"]["a box"] == pytest.approx(120 * 180, rel=0.1)
    widget.keep("photo")
    widget.press("Delete")
    widget.wait_until_tinted(380, 150, tinted=False)
    assert told(page, 1)["names"] == ["disc"]
    assert page.locator(".jp-Notebook .jp-CodeCell").count() == 6  # the keys were the widget's alone


def test_zoom_keyboard_messages_and_help(page: Any) -> None:
    widget = Driven(page, 0, SIZE)
    for _ in range(6):
        widget.press("ArrowLeft")
    widget.press("Enter")
    assert told(page, 1)["clicks"] == {"disc": [1]}
    before = widget.shade(100, 280)
    page.mouse.move(*widget.at(240, 150))
    widget.canvas.focus()
    page.mouse.wheel(0, -900)
    page.wait_for_timeout(300)
    assert widget.shade(100, 280) != before
    widget.press("0")
    page.mouse.move(5, 5)
    page.wait_for_timeout(300)
    assert widget.shade(100, 280) == before
    widget.press("?")
    assert widget.root.get_by_role("dialog").is_visible()
    widget.keep("keys")
    page.keyboard.press("Escape")
    assert widget.root.get_by_role("dialog").is_hidden()
    widget.press("n")
    widget.click(60, 60, button="right")
    assert "first" in widget.root.get_by_role("status").inner_text()  # nothing to take away from yet
    name = widget.root.locator(".mw-selected input")
    name.fill("disc")
    name.press("Enter")
    widget.settle()
    assert "already" in widget.root.get_by_role("status").inner_text()
    assert told(page, 1)["names"] == ["disc", "object 2"]


def test_film_is_scrubbed_tracked_and_corrected(page: Any) -> None:
    told(page, 1)
    widget = Driven(page, 2, SIZE)
    status = widget.root.get_by_role("status")
    widget.click(120, 150)
    page.mouse.move(5, 5)
    widget.wait_until_tinted(128, 156)
    widget.press("t")
    status.filter(has_text="Tracking has ended").wait_for()
    found = told(page, 3)
    assert found["frames"] == list(range(24))
    assert found["shown"] == 23
    assert min(area for (area,) in found["areas"].values()) > 1000
    slider = widget.root.get_by_label("Frame", exact=True)
    slider.fill("12")
    widget.root.and_(page.locator("[data-frame='12']")).wait_for()
    widget.wait_until_tinted(128, 156)
    assert "12 / 23" in widget.root.inner_text()
    widget.keep("film")
    widget.click(320, 150)  # a correction: the object is here as well
    page.mouse.move(5, 5)
    widget.wait_until_tinted(328, 156)
    status.filter(has_text="Tracking has ended").wait_for()
    widget.root.locator("progress").wait_for(state="hidden")
    again = told(page, 3)
    assert again["prompts"] == {"object 1": [0, 12]}
    assert again["areas"]["11"] == found["areas"]["11"]
    assert again["areas"]["23"][0] > 1.8 * found["areas"]["23"][0]
    widget.press(",")
    widget.root.and_(page.locator("[data-frame='11']")).wait_for()
    widget.wait_until_tinted(328, 156, tinted=False)
    widget.press("k")  # plays to the end
    widget.root.and_(page.locator("[data-frame='23']")).wait_for()


def test_a_kernel_that_is_busy_or_dead_is_said_to_be(page: Any) -> None:
    widget = Driven(page, 0, SIZE)
    status = widget.root.get_by_role("status")
    run_cell(page, 4, wait=False)
    page.mouse.click(*widget.at(240, 150))
    status.filter(has_text="The kernel does not answer").wait_for(timeout=30_000)
    widget.wait_until_tinted(248, 156)  # it was only busy: the answer came after all
    assert "does not answer" not in status.inner_text()
    widget.settle()
    run_cell(page, 5, wait=False)
    lost = status.filter(has_text="does not answer")
    # JupyterLab asks about the restart when it notices, and takes clicks until it has an answer
    for _ in range(PATIENCE):
        dismiss(page)
        page.mouse.click(*widget.at(100, 100))
        page.wait_for_timeout(2000)
        if lost.count():
            break
    lost.wait_for(timeout=2000)
    assert widget.root.get_attribute("aria-busy") == "false"
