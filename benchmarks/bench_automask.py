"""Automatic masks: seconds and peak memory, beside the official generator and the pipeline of transformers.

Every implementation runs in a process of its own, on the same weights, picture, threads and settings; rounds
are interleaved. Beside each figure stands how far the masks are from those of the official generator; for
nano, which nobody else can run, from those of a plain search: click by click, at full size. Writes a table
(Markdown) and all figures (JSON) to benchmarks/results/.

    python benchmarks/bench_automask.py --models nano,sam2.1-tiny --sizes 1920x1080,3000x1951
    python benchmarks/bench_automask.py --memory

The second is nano alone, on pictures of 1 to 100 megapixels. The official package is measured where
``--reference-python`` (or MASKWRIGHT_REFERENCE_PYTHON) names an environment that has it; the pipeline, which
needs torchvision, where ``--transformers-python`` (or MASKWRIGHT_TRANSFORMERS_PYTHON) or this one has both.
What cannot run is left out, with a message. A run of the others takes minutes, so rounds are few.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import os
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from automask_worker import NATIVE
from contest import HERE, Worker, add_shared_options, save_random_weights, shim_arguments
from PIL import Image
from stamp import stamp

from maskwright.automask.options import AutomaskOptions
from maskwright.config import PRESETS
from maskwright.measure.others import config_file_of
from maskwright.weights.fetch import locate

SCRIPT = "automask_worker.py"
NOISE = {
    "pred_iou_thresh": 0.5525,
    "stability_score_thresh": 0.45,
    "stability_score_offset": 0.3,
    "box_nms_thresh": 1.01,
}
"""Filters for random weights, whose masks are noise over the whole picture: as in the golden cases, but for
the first, which leaves about 60 of 768 masks. With the usual filters none would be left, or one."""
SAMPLE = HERE.parent.parent / "shared/data/samples/truck.jpg"
MEGAPIXELS = (1, 10, 30, 100)
WARM = 2
"""Clicks along each side of the search that warms up."""
Workers = dict[str, tuple[Worker, dict[str, Any]]]
"""Each with the reply that says its version."""
CHUNK = 1 << 14
"""Bytes of packed masks that are compared at once."""


def options_of(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", default="nano,sam2.1-tiny", help=f"of {', '.join(PRESETS)}")
    parser.add_argument("--sizes", default="1920x1080,3000x1951", help="the photo is resized to each")
    parser.add_argument("--grid", type=int, default=16, help="clicks along each side")
    parser.add_argument("--batch", type=int, default=64, help="clicks at once; ours takes fewer on a CPU")
    parser.add_argument("--rounds", type=int, default=2, help="each counts; a small search warms up before")
    parser.add_argument("--photo", type=Path, help="default: truck.jpg of ../shared, else scikit-image's cup")
    parser.add_argument("--memory", action="store_true", help="instead: nano's peak at 1 to 100 megapixels")
    parser.add_argument(
        "--transformers-python",
        default=os.environ.get("MASKWRIGHT_TRANSFORMERS_PYTHON", sys.executable),
        help="an environment with transformers and torchvision; --reference-shim is run there as well",
    )
    add_shared_options(parser)
    options = parser.parse_args(argv)
    options.models = options.models.split(",")
    options.sizes = [tuple(map(int, size.split("x"))) for size in options.sizes.split(",")]
    for model in options.models:
        if model not in PRESETS:
            parser.error(f"there is no model {model!r}; choose of {', '.join(PRESETS)}")
    return options


def photo_of(options: argparse.Namespace) -> tuple[Image.Image, str]:
    """The photo and what it is called."""
    path = options.photo or (SAMPLE if SAMPLE.exists() else None)
    if path:
        return Image.open(path).convert("RGB"), path.name
    from skimage.data import coffee

    return Image.fromarray(coffee()), "coffee of scikit-image"


def save_picture(size: tuple[int, int], options: argparse.Namespace, path: Path) -> None:
    """The photo at another size, (width, height), as a file of numpy."""
    np.save(path, np.asarray(photo_of(options)[0].resize(size, Image.Resampling.BICUBIC)))


def settings_of(model: str, options: argparse.Namespace) -> dict[str, Any]:
    """What the model is searched with, by the official names."""
    preset = AutomaskOptions.preset("fast", model=model)
    settings = {name: getattr(preset, ours) for name, ours in NATIVE.items()}
    noise = NOISE if model != "nano" and options.checkpoint is None else {}
    return settings | noise | {"points_per_batch": options.batch}


def weights_of(model: str, options: argparse.Namespace, theirs: Path) -> Path:
    """The model's file; of an official one also the folder ``theirs``, where transformers is installed."""
    if model == "nano":
        return locate("nano")
    weights: Path = options.checkpoint or theirs.with_name("weights.pt")
    if options.checkpoint is None:
        save_random_weights(config_file_of(model), weights)
    if importlib.util.find_spec("transformers"):
        from image_worker import Transformers

        plain = argparse.Namespace(weights=weights, device="cpu", dtype="float32", runtime=None)
        Transformers(plain).model.save_pretrained(theirs)
    return weights


def start(model: str, weights: Path, theirs: Path, picture: Path, options: argparse.Namespace) -> Workers:
    """A worker and its version for each that can run; the reference for parity is the last."""
    shared = arguments_of(model, picture, options)
    ours = [*shared, "--weights", str(weights)]
    workers = {"maskwright": Worker(sys.executable, SCRIPT, "maskwright", *ours)}
    for dtype in options.dtypes[1:]:
        name = f"maskwright, {dtype}"
        workers[name] = Worker(sys.executable, SCRIPT, "maskwright", *ours, "--dtype", dtype)
    if model == "nano":
        workers["plain"] = Worker(sys.executable, SCRIPT, "plain", *ours)
        return _running(workers)
    before = shim_arguments(options)
    if theirs.exists() and "transformers" not in options.without:
        arguments = [*shared, "--weights", str(theirs), *before]
        workers["transformers"] = Worker(options.transformers_python, SCRIPT, "transformers", *arguments)
    else:
        print("left out: transformers, which is not installed beside maskwright", file=sys.stderr)
    if options.reference_python:
        arguments = [*ours, "--config-file", config_file_of(model), *before]
        workers["official"] = Worker(options.reference_python, SCRIPT, "official", *arguments)
    else:
        print("left out: official, for which --reference-python is missing", file=sys.stderr)
    return _running(workers)


def arguments_of(model: str, picture: Path, options: argparse.Namespace) -> list[str]:
    """What every worker is told, but for the weights."""
    settings = json.dumps(settings_of(model, options))
    searched = ["--picture", str(picture), "--grid", str(options.grid), "--settings", settings]
    return [*searched, "--warm", str(WARM), "--device", options.device, "--threads", str(options.threads)]


def _running(workers: dict[str, Worker]) -> Workers:
    running = {}
    for name, worker in workers.items():
        version = worker.hear()
        if "left_out" in version:
            print(f"left out: {name}: {version['left_out']}", file=sys.stderr)
            worker.close()
        else:
            running[name] = worker, version
    return running


def contest(
    model: str, size: tuple[int, int], workers: Workers, options: argparse.Namespace, folder: Path
) -> list[dict[str, Any]]:
    """A row for each implementation: single figures of each round, and parity."""
    names, rows = list(workers), {name: {**workers[name][1], "rounds": []} for name in workers}
    for number in range(options.rounds):
        shift = number % len(names)
        for name in names[shift:] + names[:shift]:
            if name == "plain" and number:
                continue  # it is there for its masks
            rows[name]["rounds"].append(workers[name][0].ask(do="search"))
            last = rows[name]["rounds"][-1]
            print(f"{model}, {size}, round {number + 1}: {name}: {last}", file=sys.stderr)
    masks = {}
    for name, (worker, _) in workers.items():
        worker.ask(do="save", save=str(folder / f"{name}.npy"))
        masks[name] = np.load(folder / f"{name}.npy")
        worker.close()
    reference = masks[names[-1]]
    alone = len(names) == 1
    return [
        {"size": list(size), "implementation": name}
        | rows[name]
        | ({} if alone else agreement(masks[name], reference))
        for name in names
    ]


def agreement(got: np.ndarray, wanted: np.ndarray) -> dict[str, Any]:
    """IoU of masks matched one to one, best pairs first; both (N, bytes), packed bits."""
    shared = np.zeros((len(got), len(wanted)))
    for at in range(0, got.shape[1], CHUNK):
        a, b = (np.unpackbits(part[:, at : at + CHUNK], axis=1).astype(np.float32) for part in (got, wanted))
        shared += a @ b.T
    either = areas(got)[:, None] + areas(wanted) - shared
    ious = shared / np.maximum(either, 1)
    matched: list[float] = []
    for _ in range(min(ious.shape)):
        row, column = np.unravel_index(ious.argmax(), ious.shape)
        matched.append(float(ious[row, column]))
        ious[row], ious[:, column] = -1, -1
    return {"matched": len(matched), "ious": matched, "reference_masks": len(wanted)}


def areas(packed: np.ndarray) -> np.ndarray:
    ones = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).sum(1)
    return np.array([ones[mask].sum() for mask in packed], dtype=np.float64)


def table(report: dict[str, Any]) -> str:
    lines = [
        f"# Automatic masks: {report['model']}",
        "",
        f"{report['stamp']}; device {report['device']}, {report['threads']} threads; "
        f"{report['weights']}; photo {report['photo']}, resized; {report['grid']} x {report['grid']} clicks, "
        f"settings {report['settings']}; rounds of each, interleaved: {report['rounds']}, in processes that "
        f"a search with {WARM} x {WARM} clicks has warmed up; load at the start {report['load']}.",
        "",
        "Seconds: decoded RGB in host memory to all masks, the median of the rounds. Peak: resident memory "
        "of the process above what it had with model and picture loaded, the highest of the rounds. "
        f"{report['note']}",
        "",
        "| picture | implementation | seconds | peak (MiB) | masks | matched | lowest IoU | mean IoU |",
        "|---|---|---|---|---|---|---|---|",
        *(_line(row) for row in report["rows"]),
    ]
    return "\n".join(lines) + "\n"


def _line(row: dict[str, Any]) -> str:
    peaks = [one["peak_mib"] for one in row["rounds"]]
    ious = row.get("ious")
    cells = (
        f"{row['size'][0]} x {row['size'][1]}",
        f"{row['version']}, torch {row['torch']}",
        f"{statistics.median(one['seconds'] for one in row['rounds']):.1f}",
        "?" if None in peaks else f"{max(peaks):.0f}",
        f"{row['rounds'][-1]['masks']}",
        f"{row['matched']} of {row['reference_masks']}" if "matched" in row else "alone",
        f"{min(ious):.5f}" if ious else "-",
        f"{statistics.mean(ious):.5f}" if ious else "-",
    )
    return f"| {' | '.join(cells)} |"


NOTES = {
    "plain": "Matched: one to one with the masks of a plain search, one round, which decodes click by click "
    "and stretches every candidate to full size, with nothing of the code for automatic masks but the "
    "removal of duplicates.",
    "official": "Matched: one to one with the masks of the last line, best pairs first. maskwright and the "
    "official generator give run lengths (uncompressed_rle), the pipeline of transformers bitmaps. "
    "Its processor resizes the picture in whole numbers, the others in floats: where nothing has to be "
    "resized, its masks are the same.",
    "noise": " Masks of random weights are noise, with outlines everywhere, which is more work for "
    "maskwright than objects are: it computes full size along outlines only.",
}


def compare(model: str, options: argparse.Namespace) -> None:
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        theirs, picture = folder / "transformers", folder / "picture.npy"
        weights = weights_of(model, options, theirs)
        for size in options.sizes:
            save_picture(size, options, picture)
            workers = start(model, weights, theirs, picture, options)
            rows += contest(model, size, workers, options, folder)
    nano = model == "nano"
    random = not nano and options.checkpoint is None
    named = f"weights {options.checkpoint.name}" if options.checkpoint else "fixed random weights"
    report = {
        **circumstances(model, options, load),
        "weights": "the bundled weights" if nano else named,
        "settings": ", ".join(f"{name} {value}" for name, value in settings_of(model, options).items()),
        "rounds": options.rounds,
        "note": (NOTES["plain"] if nano else NOTES["official"]) + NOTES["noise"] * random,
        "rows": rows,
    }
    write(report, f"automask-{model}-{options.device.replace(':', '')}", table(report), options)


def circumstances(model: str, options: argparse.Namespace, load: str) -> dict[str, Any]:
    return {
        "model": model,
        "stamp": stamp(),
        "device": options.device,
        "threads": options.threads,
        "photo": photo_of(options)[1],
        "grid": options.grid,
        "load": load,
    }


def write(report: dict[str, Any], stem: str, text: str, options: argparse.Namespace) -> None:
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / f"{stem}.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    (options.output / f"{stem}.md").write_text(text, encoding="utf-8")
    print(text)


def memory(options: argparse.Namespace) -> None:
    """Peaks of nano at several sizes, each in a process of its own."""
    load, rows = ", ".join(f"{value:.1f}" for value in os.getloadavg()), []
    for megapixels in MEGAPIXELS:
        h = round(math.sqrt(megapixels * 1e6 / 1.5))
        size = (round(megapixels * 1e6 / h), h)
        with tempfile.TemporaryDirectory() as temporary:
            picture = Path(temporary) / "picture.npy"
            save_picture(size, options, picture)
            arguments = [*arguments_of("nano", picture, options), "--weights", str(locate("nano"))]
            worker = Worker(sys.executable, SCRIPT, "maskwright", *arguments)
            version = worker.hear()
            rows.append({"size": size, "megapixels": megapixels, **version, **worker.ask(do="search")})
            worker.close()
        print(rows[-1], file=sys.stderr)
    report = {**circumstances("nano", options, load), "rows": rows}
    write(report, f"automask-memory-{options.device.replace(':', '')}", memory_table(report), options)


def memory_table(report: dict[str, Any]) -> str:
    lines = [
        "# Memory of automatic masks: nano",
        "",
        f"{report['stamp']}; {report['rows'][0]['version']}, torch {report['rows'][0]['torch']}, device "
        f"{report['device']}, {report['threads']} threads; photo {report['photo']}, resized; "
        f"{report['grid']} x {report['grid']} clicks, preset fast; load at the start {report['load']}.",
        "",
        "Peak: resident memory of the process above what it had with model and picture loaded; each size in "
        "a process of its own, one search. The option memory_mib has its default, 512.",
        "",
        "| megapixels | picture | picture (MiB) | peak (MiB) | seconds | masks |",
        "|---|---|---|---|---|---|",
    ]
    for row in report["rows"]:
        w, h = row["size"]
        picture, peak = 3 * w * h / 2**20, row["peak_mib"] or math.nan
        numbers = f"{picture:.0f}", f"{peak:.0f}", f"{row['seconds']:.1f}"
        cells = (row["megapixels"], f"{w} x {h}", *numbers, row["masks"])
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines) + "\n"


def main(argv: list[str] | None = None) -> None:
    options = options_of(argv)
    if options.memory:
        memory(options)
        return
    for model in options.models:
        compare(model, options)


if __name__ == "__main__":
    main()
