"""The benchmark for GPUs, which has to work at once where there is one: in miniature on the processor."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "bench_gpu.py"


def run(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *arguments],
        capture_output=True,
        text=True,
        timeout=700,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_every_part_in_miniature(tmp_path: Path) -> None:
    run("--device", "cpu", "--quick", "--output", str(tmp_path))
    report = json.loads((tmp_path / "gpu-cpu-quick.json").read_text())
    parts = report["parts"]
    assert all(part["finished"] for part in parts.values()), {n: p["notes"] for n, p in parts.items()}
    assert not [note for part in parts.values() for note in part["notes"]]
    rows = parts["parity"]["tables"]["Parity"]
    exact = [row for row in rows if row["dtype"] == "float32"]
    assert {row["way"] for row in rows} == {"eager", "absorbed"}
    assert exact
    assert all(row["mean_iou"] == 1 for row in exact)
    for row in parts["attention"]["tables"]["Attention to memories, one layer"]:
        assert row["error"] < 1e-4
    assert len(parts["masks"]["tables"]["Masks to the host"]) == 6
    tasks = [figure["task"] for figure in parts["baseline"]["reports"][0]["plain"]["figures"]]
    assert tasks.count("frame") == 6  # one and two objects, by two ways and in float32
    assert tasks.count("embed") == 3
    for part in ("start", "automask"):
        (one,) = parts[part]["reports"]
        assert [figure["task"] for figure in one["plain"]["figures"]] == [part]
    assert set(parts) == {"parity", "attention", "masks", "baseline", "start", "automask", "film", "compiled"}
    films = parts["film"]["tables"]["A file of 128 x 96 to masks on the host"]
    assert {(row["objects"], row["encoded_at_a_time"]) for row in films} == {(1, 1), (1, 4), (2, 1), (2, 4)}
    assert all(row["frames_a_second"] > 0 for row in films)
    assert all(row["worst_iou"] > 0.9 for row in films)
    text = (tmp_path / "gpu-cpu-quick.md").read_text()
    assert "the times mean nothing" in text
    assert "| nano | float32 | eager |" in text


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_without_a_gpu_nothing_is_written(tmp_path: Path) -> None:
    assert "no GPU" in run("--output", str(tmp_path))
    assert not list(tmp_path.iterdir())


def test_a_part_that_takes_too_long_leaves_the_others(tmp_path: Path) -> None:
    run("--device", "cpu", "--parts", "start", "masks", "--scale", "0.0001", "--output", str(tmp_path))
    parts = json.loads((tmp_path / "gpu-cpu.json").read_text())["parts"]
    assert all("cut off" in part["notes"][-1] for part in parts.values())
    assert list(parts) == ["start", "masks"]
