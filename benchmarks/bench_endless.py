"""Ten thousand pushed frames: is a frame as quick, and the process as small, at the end as at first?

A tiny random network and small pictures, so that nothing but the session itself could grow. Writes a table
to benchmarks/results/.

    python benchmarks/bench_endless.py --frames 10000
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from pathlib import Path

import numpy as np
import torch
from stamp import stamp

import maskwright as mw
from maskwright.config import HieraConfig, ModelConfig
from maskwright.mask_model import MaskModel
from maskwright.model.sam2 import SAM2
from maskwright.runtime.eager import Eager, place
from maskwright.runtime.select import choose

TINY = ModelConfig(
    name="endless",
    trunk=HieraConfig(width=16, heads=1, depths=(1, 1, 2, 1), global_blocks=(3,)),
    image_size=32,
    width=64,
    decoder_mlp=64,
    memory_width=16,
    memory_layers=1,
    memory_mlp=64,
)
NUM_OBJECTS = 8
PART = 1000
"""Frames of which one row of the table is the median."""


def resident_mib() -> float:
    """Memory of this process now, in MiB; Linux only."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=10_000)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results")
    options = parser.parse_args(argv)
    torch.manual_seed(0)
    choice = choose("cpu", None)
    model = MaskModel(Eager(place(SAM2(TINY).eval(), choice), choice))
    pictures = np.random.default_rng(0).integers(0, 255, (16, 32, 32, 3), dtype=np.uint8)
    rows, times = [], []
    with model.session() as session:
        session.push(pictures[0])
        for number in range(NUM_OBJECTS):
            session.prompt(number, mw.Box(2 + number, 4, 20 + number, 24))
        for frame in range(1, options.frames + 1):
            started = time.perf_counter()
            session.push(pictures[frame % len(pictures)])
            times.append(1e3 * (time.perf_counter() - started))
            if frame == 100 or frame % PART == 0:
                part = statistics.median(times[-PART:])
                rows.append(f"| {frame} | {part:.2f} | {resident_mib():.1f} | {session.num_bytes} |")
    lines = [
        f"# {options.frames} pushed frames, {NUM_OBJECTS} objects",
        "",
        f"{stamp()}; tiny random network, 32 px, float32, {torch.get_num_threads()} threads.",
        "",
        f"| frame | median of the last {PART} (ms) | resident (MiB) | bytes of memories |",
        "|---|---|---|---|",
        *rows,
    ]
    text = "\n".join(lines) + "\n"
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "video-endless.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
