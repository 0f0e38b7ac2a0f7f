"""The regression guard in miniature: entries that take what a clock says."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def taking(self, *seconds: float) -> Callable[[], None]:
        """Work that takes these times in turn, over and over."""
        count = 0

        def work() -> None:
            nonlocal count
            self.now += seconds[count % len(seconds)]
            count += 1

        return work


@pytest.fixture(scope="module")
def quick(root: Path) -> ModuleType:
    folder = root / "benchmarks"
    spec = importlib.util.spec_from_file_location("bench_quick", folder / "bench_quick.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(folder))
    sys.modules["bench_quick"] = module
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(folder))
        del sys.modules["bench_quick"]
    return module


HERE = {
    "date": "2026-01-02",
    "commit": "abc",
    "processor": "a processor",
    "threads": 2,
    "torch": "2.0",
    "tolerance": 0.15,
}


def run(
    quick: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    path: Path,
    ours: tuple[float, ...],
    *arguments: str,
    here: dict[str, object] = HERE,
) -> int:
    """The whole script with one entry whose work takes these times; the plain network takes 4, the loop 2."""
    clock = Clock()
    entry = quick.Entry("an entry", clock.taking(*ours), clock.taking(4.0), clock.taking(2.0), rounds=8)
    measured = quick.measured
    monkeypatch.setattr(quick, "entries", lambda: [entry])
    monkeypatch.setattr(quick, "measured", lambda one: measured(one, clock))
    monkeypatch.setattr(quick, "about", lambda: here)
    try:
        return int(quick.main([*arguments, "--stored", str(path)]))
    finally:
        monkeypatch.undo()


def test_ratios_to_both_yardsticks(quick: ModuleType) -> None:
    clock = Clock()
    entry = quick.Entry("an entry", clock.taking(3.0), clock.taking(4.0), clock.taking(2.0))
    assert quick.measured(entry, clock) == quick.Ratios(1.5, 0.75, 0.0, 3000.0)


def test_what_got_slower_is_reported(
    quick: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "quick.json"
    assert run(quick, monkeypatch, path, (3.0,), "--update") == 0
    assert json.loads(path.read_text())["ratios"]["an entry"]["to_loop"] == 1.5
    assert run(quick, monkeypatch, path, (3.3,)) == 0
    assert "nothing got worse" in capsys.readouterr().out
    assert run(quick, monkeypatch, path, (4.5,)) == 1
    said = capsys.readouterr().out
    assert "compared with 2026-01-02, commit abc, by the loop" in said
    assert "an entry got worse: 1.500 -> 2.250, +50% (15% allowed)" in said


def test_what_got_quicker_is_no_regression(
    quick: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run(quick, monkeypatch, tmp_path / "q.json", (3.0,), "--update")
    assert run(quick, monkeypatch, tmp_path / "q.json", (0.3,)) == 0


def test_more_is_allowed_where_an_entry_differs_from_itself(
    quick: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run(quick, monkeypatch, tmp_path / "q.json", (3.0,), "--update")
    assert run(quick, monkeypatch, tmp_path / "q.json", (4.4, 3.6)) == 0
    assert run(quick, monkeypatch, tmp_path / "q.json", (3.6, 3.6)) == 1


def test_on_another_machine_the_plain_network_counts(
    quick: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(quick, monkeypatch, tmp_path / "q.json", (3.0,), "--update")
    other = HERE | {"processor": "another one"}
    assert run(quick, monkeypatch, tmp_path / "q.json", (4.5,), here=other) == 1
    assert "by the plain network" in capsys.readouterr().out


def test_without_stored_figures_there_is_nothing_to_compare(
    quick: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(quick, monkeypatch, tmp_path / "absent.json", (3.0,)) == 0
    assert "--update makes it" in capsys.readouterr().out


def test_entries_that_are_new_or_gone_do_not_count(quick: ModuleType) -> None:
    one = quick.Ratios(1.0, None, 0.0, 5.0)
    assert quick.compare({"old": one}, {"new": one}, by_loop=True) == []
    assert quick.compare({"a": one}, {"a": one}, by_loop=False) == []
