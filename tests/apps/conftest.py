"""The command line on a runtime that draws instead of thinking, so that results are known beforehand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from maskwright.cli import main, progress

if TYPE_CHECKING:
    from maskwright.mask_model import MaskModel


@dataclass(frozen=True)
class Outcome:
    """What a run of the command line left on the terminal."""

    code: int
    out: str
    err: str


Run = Callable[..., Outcome]
EveryModel = Callable[[Callable[[], Any]], list[Any]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the command line in an empty folder with an empty cache and without the network.

    Lines of progress, which appear every few seconds, never do: no output depends on how quick a machine is.
    """
    monkeypatch.setattr(progress, "LINE_SECONDS", float("inf"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MASKWRIGHT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("MASKWRIGHT_OFFLINE", "1")

    def run(*arguments: object) -> Outcome:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return run


@pytest.fixture
def fake_load(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Makes every model a :class:`Fake`; the list fills with what each was asked for."""
    from maskwright.mask_model import MaskModel
    from maskwright.runtime.fake import Fake

    calls: list[dict[str, Any]] = []

    def load(name: str, **options: Any) -> MaskModel:
        calls.append({"name": name, **options})
        return MaskModel(Fake())

    monkeypatch.setattr("maskwright.facade.load", load)
    return calls


@pytest.fixture
def every_model(monkeypatch: pytest.MonkeyPatch) -> EveryModel:
    """Called with what makes a runtime, it makes every model one on such; the list fills with them."""
    from maskwright.mask_model import MaskModel

    def every_model(make: Callable[[], Any]) -> list[Any]:
        made: list[Any] = []

        def load(name: str, **options: Any) -> MaskModel:
            made.append(make())
            return MaskModel(made[-1])

        monkeypatch.setattr("maskwright.facade.load", load)
        return made

    return every_model
