"""Latency of encoding a picture and of answering a click, beside the official package and transformers.

Every implementation runs in a process of its own, on the same weights, picture, threads and device; rounds
are interleaved, and beside each time stands how far the masks are from the reference. Writes a table
(Markdown) and all figures (JSON) to benchmarks/results/.

    python benchmarks/bench_image.py --model sam2.1-tiny --reference-python /path/to/venv/bin/python

The official package is measured where ``--reference-python`` (or MASKWRIGHT_REFERENCE_PYTHON) names an
environment that has it, transformers where it is installed.
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
from stamp import stamp

from maskwright.measure.others import config_file_of

SHARES = ((0.5, 0.5), (0.3, 0.4), (0.7, 0.6), (0.25, 0.75), (0.8, 0.2))
"""Where the clicks are, as shares of the picture's width and height."""


def options_of(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_options(parser)
    parser.add_argument("--picture", type=Path, help="default: the coffee cup of scikit-image, 400 x 600")
    parser.add_argument("--rounds", type=int, default=5)
    return parser.parse_args(argv)


def picture_of(options: argparse.Namespace) -> np.ndarray:
    if options.picture is not None:
        from maskwright.io.images import read_image

        return read_image(options.picture)
    from skimage.data import coffee

    return np.ascontiguousarray(coffee())


def measure(
    workers: dict[str, Worker], clicks: list[tuple[float, float]], rounds: int
) -> dict[str, dict[str, list[float]]]:
    """Milliseconds of every embed and every click. A first round warms up and does not count."""
    times: dict[str, dict[str, list[float]]] = {name: {"embed": [], "click": []} for name in workers}
    names = list(workers)
    for number in range(rounds + 1):
        shift = number % len(names)
        for name in names[shift:] + names[:shift]:
            embed = [workers[name].ask(do="embed")["seconds"]]
            taken = [workers[name].ask(do="click", at=click)["seconds"] for click in clicks]
            if number:
                times[name]["embed"] += [1e3 * seconds for seconds in embed]
                times[name]["click"] += [1e3 * seconds for seconds in taken]
        print(f"round {number} of {rounds}", file=sys.stderr)
    return times


def parity(
    workers: dict[str, Worker], clicks: list[tuple[float, float]], folder: Path
) -> dict[str, dict[str, float]]:
    """Every implementation's masks and logits against those of the reference: the worst of all clicks."""
    answers: dict[str, list[dict[str, np.ndarray]]] = {name: [] for name in workers}
    for name, worker in workers.items():
        for number, click in enumerate(clicks):
            path = folder / f"{name}-{number}.npz"
            worker.ask(do="click", at=click, save=str(path))
            with np.load(path) as file:
                answers[name].append(dict(file))
    reference = answers[list(workers)[-1]]
    return {name: _distance(answer, reference) for name, answer in answers.items()}


def _distance(got: list[dict[str, np.ndarray]], wanted: list[dict[str, np.ndarray]]) -> dict[str, float]:
    ious, errors = [], []
    for a, b in zip(got, wanted, strict=True):
        both, either = a["masks"] & b["masks"], a["masks"] | b["masks"]
        ious += (both.sum((1, 2)) / either.sum((1, 2)).clip(min=1)).tolist()
        errors.append(float(np.abs(a["logits"] - b["logits"]).max() / np.abs(b["logits"]).max()))
    return {
        "mean_mask_iou": float(np.mean(ious)),
        "worst_mask_iou": min(ious),
        "largest_logit_error": max(errors),
    }


def table(report: dict[str, Any]) -> str:
    lines = [
        f"# Image latency: {report['model']}",
        "",
        f"{report['stamp']}; device {report['device']}, {report['threads']} threads; "
        f"{report['weights']}; picture {report['picture']}; {report['rounds']} interleaved rounds; "
        f"load at the start {report['load']}.",
        "",
        "Embed: decoded RGB in host memory to features. Click: one point to three masks at the picture's "
        f"size in host memory. Parity: of all clicks and masks, against {report['reference']}; logit "
        "error as a share of the largest logit, the worst.",
        "",
        "| implementation | embed p50 (ms) | p95 | click p50 (ms) | p95 | mean IoU | worst | logit error |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in report["rows"]:
        (embed, embed95), (click, click95) = spread(row["embed_ms"]), spread(row["click_ms"])
        cells = (
            f"{row['version']}, torch {row['torch']}",
            f"{embed:.0f}",
            f"{embed95:.0f}",
            f"{click:.1f}",
            f"{click95:.1f}",
            f"{row['mean_mask_iou']:.5f}",
            f"{row['worst_mask_iou']:.5f}",
            f"{row['largest_logit_error']:.1e}",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main(argv: list[str] | None = None) -> None:
    options = options_of(argv)
    config_file = config_file_of(options.model)
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        picture = picture_of(options)
        np.save(folder / "picture.npy", picture)
        weights = options.checkpoint or folder / "weights.pt"
        if options.checkpoint is None:
            save_random_weights(config_file, weights)
        h, w = picture.shape[:2]
        clicks = [(round(x * w), round(y * h)) for x, y in SHARES]
        files = ("--weights", str(weights), "--picture", str(folder / "picture.npy"))
        workers = start_workers(options, "image_worker.py", *files, "--config-file", config_file)
        try:
            versions = {name: worker.ask(do="version") for name, worker in workers.items()}
            times = measure(workers, clicks, options.rounds)
            distances = parity(workers, clicks, folder)
        finally:
            for worker in workers.values():
                worker.close()
    report = {
        "model": options.model,
        "stamp": stamp(),
        "device": options.device,
        "threads": options.threads,
        "weights": f"weights {options.checkpoint.name}" if options.checkpoint else "fixed random weights",
        "picture": f"{w} x {h}",
        "rounds": options.rounds,
        "load": load,
        "reference": list(workers)[-1],
        "rows": [
            {
                **versions[name],
                "embed_ms": times[name]["embed"],
                "click_ms": times[name]["click"],
                **distances[name],
            }
            for name in workers
        ],
    }
    options.output.mkdir(parents=True, exist_ok=True)
    stem = f"image-{options.model}-{options.device.replace(':', '')}"
    (options.output / f"{stem}.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    (options.output / f"{stem}.md").write_text(table(report), encoding="utf-8")
    print(table(report))


if __name__ == "__main__":
    main()
