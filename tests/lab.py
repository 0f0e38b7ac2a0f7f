"""A JupyterLab of its own for a test, and a widget of ours in it, driven as a user does."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
PATIENCE = 120
"""Seconds that JupyterLab, the kernel and the browser each may take; they share a machine with other work."""
SHOTS = os.environ.get("MASKWRIGHT_SCREENSHOTS")
"""A folder to keep screenshots in."""


@contextlib.contextmanager
def served(folder: Path, own: Path) -> Iterator[str]:
    """The address of a JupyterLab that shows ``folder`` to this machine alone and keeps its files in ``own``.

    It is ended with everything that it started.
    """
    quiet = own / "settings/@jupyterlab/apputils-extension"
    quiet.mkdir(parents=True)
    asks_nothing = {"fetchNews": "false", "checkForUpdates": False, "doNotDisturbMode": True}
    (quiet / "notification.jupyterlab-settings").write_text(json.dumps(asks_nothing), encoding="utf-8")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]),
        "JUPYTERLAB_SETTINGS_DIR": str(own / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(own / "workspaces"),
        **{f"JUPYTER_{name}_DIR": str(own / name) for name in ("CONFIG", "DATA", "RUNTIME")},
        "IPYTHONDIR": str(own / "ipython"),
    }
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--port={port}"]
    command += ["--ServerApp.ip=127.0.0.1", "--IdentityProvider.token=", "--ServerApp.port_retries=0"]
    command += [
        f"--ServerApp.root_dir={folder}",
        "--LabApp.news_url=",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    ]
    with (own / "log.txt").open("wb") as log:
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        wait_for(server, f"http://127.0.0.1:{port}/api", own / "log.txt")
        yield f"http://127.0.0.1:{port}"
    finally:
        end(server)


def wait_for(server: subprocess.Popen[bytes], address: str, log: Path) -> None:
    """Until the server answers."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and server.poll() is None:
        with contextlib.suppress(OSError), urllib.request.urlopen(address, timeout=5):
            return
        time.sleep(0.2)
    pytest.fail(f"JupyterLab does not answer: {log.read_text(encoding='utf-8')[-2000:]}")


def end(server: subprocess.Popen[bytes]) -> None:
    """The server and its kernels, kindly at first."""
    for kind in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, kind)
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(15)


def run_cell(page: Any, number: int, *, wait: bool = True) -> None:
    """Run a cell as a user does, and wait until it has ended."""
    cell = page.locator(".jp-Notebook .jp-CodeCell").nth(number)
    prompt = cell.locator(".jp-InputArea-prompt").first
    before = prompt.inner_text()
    for turn in range(10 * PATIENCE):
        if "*" not in prompt.inner_text() and turn % 50 == 0:  # the page forgets keys until it is ready
            dismiss(page)
            cell.locator(".cm-content").first.click(timeout=1000 * PATIENCE)
            page.keyboard.press("Control+Enter")
        if not wait and "*" in prompt.inner_text():
            return
        if re.search(r"\d", prompt.inner_text()) and prompt.inner_text() != before:
            return
        page.wait_for_timeout(100)
    pytest.fail(f"cell {number} does not end")


def dismiss(page: Any) -> None:
    """Say yes to what JupyterLab asks, such as which kernel, or that one was started again."""
    for button in page.locator(".jp-Dialog .jp-mod-accept").all():
        button.click(timeout=5000)


def told(page: Any, number: int) -> dict[str, Any]:
    """What a cell prints as JSON."""
    run_cell(page, number)
    text = page.locator(".jp-Notebook .jp-CodeCell").nth(number).locator(".jp-OutputArea-output pre").last
    return json.loads(text.inner_text())


class Driven:
    """A widget on the page, and what a user does with it. Points are in pixels of the picture."""

    def __init__(self, page: Any, cell: int, size: tuple[int, int]) -> None:
        """Run the cell that shows it; ``size`` is height and width of its picture."""
        self.page, self.size = page, size
        run_cell(page, cell)
        self.root = page.locator(".jp-Notebook .jp-CodeCell").nth(cell).locator(".maskwright")
        self.canvas = self.root.locator("canvas")
        self.canvas.scroll_into_view_if_needed()
        self.root.and_(page.locator("[data-frame='0']")).wait_for()

    def at(self, x: float, y: float) -> tuple[float, float]:
        """On the screen."""
        self.canvas.scroll_into_view_if_needed()
        box = self.canvas.bounding_box()
        scale = min(box["width"] / self.size[1], box["height"] / self.size[0])
        return (
            box["x"] + box["width"] / 2 + scale * (x - self.size[1] / 2),
            box["y"] + box["height"] / 2 + scale * (y - self.size[0] / 2),
        )

    def click(self, x: float, y: float, **options: Any) -> None:
        self.page.mouse.click(*self.at(x, y), **options)
        self.settle()

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        self.page.mouse.move(*self.at(*start))
        self.page.mouse.down()
        self.page.mouse.move(*self.at(*end), steps=4)
        self.page.mouse.up()
        self.settle()

    def press(self, key: str) -> None:
        self.canvas.focus()
        self.page.keyboard.press(key)
        self.settle()

    def settle(self) -> None:
        """Until everything that was asked has been answered."""
        self.root.and_(self.page.locator("[aria-busy=false]")).wait_for()
        self.page.wait_for_timeout(150)

    def shade(self, x: float, y: float) -> list[int]:
        """Colour of the canvas."""
        script = """(canvas, [x, y]) => {
            const box = canvas.getBoundingClientRect(), ratio = canvas.width / box.width;
            const at = [(x - box.x) * ratio, (y - box.y) * ratio].map(Math.round);
            return [...canvas.getContext("2d").getImageData(...at, 1, 1).data].slice(0, 3);
        }"""
        shade: list[int] = self.canvas.evaluate(script, list(self.at(x, y)))
        return shade

    def wait_until_tinted(self, x: float, y: float, tinted: bool = True) -> None:
        """Until a mask covers the place, which was grey, or none does any more."""
        for _ in range(10 * PATIENCE):
            shade = self.shade(x, y)
            if (max(shade) - min(shade) > 40) == tinted:
                return
            self.page.wait_for_timeout(100)
        pytest.fail(f"({x}, {y}) is {shade}, which is {'not ' * tinted}tinted")

    def keep(self, name: str) -> None:
        """A screenshot, where they are wanted."""
        if SHOTS:
            self.root.screenshot(path=Path(SHOTS) / f"{name}.png")
