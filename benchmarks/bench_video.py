"""A tracked frame with 1, 4 and 8 objects, and memory over a long clip, beside other implementations.

Every implementation runs in a process of its own, on the same weights, frames, threads and device, and they
take turns frame by frame. Frames from 17 on count: then memories and pointers are full. Writes a table
(Markdown) and all figures (JSON) to benchmarks/results/.

    python benchmarks/bench_video.py --size 512 --frames FOLDER --reference-python /path/to/venv/bin/python

``--long N`` then follows one object through N frames and measures the memory of each process.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from contest import Worker, add_options, save_random_weights, spread, start_workers
from PIL import Image
from stamp import stamp

from maskwright.measure.others import config_file_of

WARM = 17
"""Frames before memories and pointers are full."""


def options_of(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_options(parser)
    parser.add_argument("--size", type=int, default=512, help="side of the network's input")
    parser.add_argument("--frames", type=Path, help="folder of pictures; default: a camera move over one")
    parser.add_argument("--objects", type=int, nargs="*", default=[1, 4, 8])
    parser.add_argument("--counted", type=int, default=8, help="frames timed, after the first 17")
    parser.add_argument("--long", type=int, default=0, help="frames of the memory run; 0 leaves it out")
    return parser.parse_args(argv)


def boxes_of(number: int, size: int) -> list[list[float]]:
    """Boxes of several sizes, all over the frame."""
    centres = [(0.3, 0.4), (0.7, 0.6), (0.5, 0.5), (0.2, 0.7), (0.8, 0.3), (0.4, 0.8), (0.6, 0.2), (0.5, 0.7)]
    sides = [0.2, 0.3, 0.4, 0.25, 0.2, 0.3, 0.25, 0.35]
    pairs = list(zip(centres, sides, strict=True))[:number]
    return [[round(size * (c + sign * side / 2), 1) for sign in (-1, 1) for c in at] for at, side in pairs]


def write_frames(options: argparse.Namespace, number: int, folder: Path) -> Path:
    """JPEG files of the network's input size, so that nobody has to resize; short clips go there and back."""
    folder.mkdir()
    size = options.size
    if options.frames is None:
        from skimage.data import coffee

        photo = Image.fromarray(coffee())
        h = photo.height - 120
        moves = [photo.crop((i, i // 2, i + h, i // 2 + h)) for i in range(0, 200, 4)]
        pictures = [one.resize((size, size), Image.Resampling.BICUBIC) for one in moves]
    else:
        files = sorted(p for p in options.frames.iterdir() if p.suffix.lower() in (".jpg", ".jpeg", ".png"))
        pictures = [Image.open(path).convert("RGB").resize((size, size)) for path in files]
    there_and_back = pictures + pictures[-2:0:-1]
    for index in range(number):
        there_and_back[index % len(there_and_back)].save(folder / f"{index:05d}.jpg", quality=95)
    return folder


def measure(
    workers: dict[str, Worker], frames: Path, boxes: list[list[float]], counted: int, folder: Path
) -> dict[str, dict[str, Any]]:
    """Milliseconds of every frame from the 17th on, and the masks' distance from the reference."""
    names = list(workers)
    times: dict[str, list[float]] = {name: [] for name in names}
    ious: dict[str, list[float]] = {name: [] for name in names}
    for worker in workers.values():
        worker.ask(do="begin", frames=str(frames), boxes=boxes)
    for frame in range(1, WARM + counted):
        shift = frame % len(names)
        for name in names[shift:] + names[:shift]:
            reply = workers[name].ask(do="next", save=str(folder / f"{name}.npy"))
            if frame >= WARM:
                times[name].append(1e3 * reply["seconds"])
        masks = {name: np.load(folder / f"{name}.npy") for name in names}
        for name in names:
            ious[name].append(_worst_iou(masks[name], masks[names[-1]]))
        print(f"{len(boxes)} objects: frame {frame}", file=sys.stderr)
    return {
        name: {"frame_ms": times[name], "mean_iou": float(np.mean(ious[name])), "worst_iou": min(ious[name])}
        for name in names
    }


def _worst_iou(got: np.ndarray, wanted: np.ndarray) -> float:
    """Of all objects; packed bits."""
    both, either = (np.bitwise_count(part).sum((1, 2)) for part in (got & wanted, got | wanted))
    return float(np.where(either > 0, both / either.clip(min=1), 1.0).min())


def long_run(
    options: argparse.Namespace, start: Any, frames: Path, number: int
) -> dict[str, list[tuple[int, float]]]:
    """Memory of each process in MiB, every 20 frames; one implementation after the other."""
    curves: dict[str, list[tuple[int, float]]] = {}
    for name, worker in start().items():
        reply = worker.ask(do="begin", frames=str(frames), boxes=boxes_of(1, options.size))
        curve = [(0, reply["memory_mib"])]
        for frame in range(1, number):
            reply = worker.ask(do="next")
            if frame % 20 == 0 or frame == number - 1:
                curve.append((frame, reply["memory_mib"]))
        worker.close()
        curves[name] = curve
        print(f"{name}: {curve[0][1]:.0f} MiB at first, {curve[-1][1]:.0f} MiB at the end", file=sys.stderr)
    return curves


def table(report: dict[str, Any]) -> str:
    lines = [
        f"# Tracked frame: {report['model']} at {report['size']} px",
        "",
        f"{report['stamp']}; device {report['device']}, {report['threads']} threads; "
        f"{report['weights']}; load at the start {report['load']}.",
        "",
        "From a decoded frame in host memory to masks in host memory (the others had prepared all frames "
        "before), frames from 17 on, implementations taking turns frame by frame. Parity: "
        f"IoU of the masks with those of {report['reference']}, all frames, worst object.",
        "",
        "| objects | implementation | frame p50 (ms) | p95 | mean mask IoU | worst |",
        "|---|---|---|---|---|---|",
    ]
    for row in report["rows"]:
        middle, high = spread(row["frame_ms"])
        cells = (
            str(row["objects"]),
            f"{row['version']}, torch {row['torch']}",
            f"{middle:.0f}",
            f"{high:.0f}",
            f"{row['mean_iou']:.5f}",
            f"{row['worst_iou']:.5f}",
        )
        lines.append(f"| {' | '.join(cells)} |")
    if report["memory"]:
        length = report["long"]
        lines += ["", f"Peak memory of the process, MiB, one object, {length} frames:", ""]
        lines += ["| implementation | frame 0 | frame 20 | frame 100 | end |", "|---|---|---|---|---|"]
        for name, curve in report["memory"].items():
            at = dict(curve)
            shown = [at.get(frame) for frame in (0, 20, 100)] + [curve[-1][1]]
            lines.append(f"| {name} | {' | '.join('-' if v is None else f'{v:.0f}' for v in shown)} |")
    return "\n".join(lines) + "\n"


def main(argv: list[str] | None = None) -> None:
    options = options_of(argv)
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    config_file = config_file_of(options.model)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        weights = options.checkpoint or folder / "weights.pt"
        if options.checkpoint is None:
            save_random_weights(config_file, weights)
        files = ("--weights", str(weights), "--config-file", config_file, "--size", str(options.size))

        def start() -> dict[str, Worker]:
            return start_workers(options, "video_worker.py", *files)

        rows, versions = [], {}
        short = write_frames(options, WARM + options.counted, folder / "short")
        for number in options.objects:
            workers = start()
            try:
                versions = {name: worker.ask(do="version") for name, worker in workers.items()}
                boxes = boxes_of(number, options.size)
                found = measure(workers, short, boxes, options.counted, folder)
            finally:
                for worker in workers.values():
                    worker.close()
            rows += [{"objects": number, **versions[name], **found[name]} for name in workers]
        memory = {}
        if options.long:
            memory = long_run(
                options, start, write_frames(options, options.long, folder / "long"), options.long
            )
    report = {
        "model": options.model,
        "size": options.size,
        "stamp": stamp(),
        "device": options.device,
        "threads": options.threads,
        "weights": f"weights {options.checkpoint.name}" if options.checkpoint else "fixed random weights",
        "load": load,
        "reference": list(versions)[-1] if versions else None,
        "long": options.long,
        "rows": rows,
        "memory": memory,
    }
    options.output.mkdir(parents=True, exist_ok=True)
    stem = f"video-{options.model}-{options.size}px-{options.device.replace(':', '')}"
    (options.output / f"{stem}.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    (options.output / f"{stem}.md").write_text(table(report), encoding="utf-8")
    print(table(report))


if __name__ == "__main__":
    main()
