"""Measure a model: ``python -m maskwright.evaluate --model nano --data DIR [--video memory]``.

Pictures: mean IoU by box, one click and five clicks. Video in DAVIS layout: J and F, from the first mask on.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from maskwright.errors import MaskwrightError

FOLLOWERS = ("memory", "last-mask", "still")


def parser() -> argparse.ArgumentParser:
    """The command line of evaluation."""
    found = argparse.ArgumentParser(prog="python -m maskwright.evaluate", description=__doc__)
    found.add_argument("--model", default="nano", help="catalogue name or model file (default: nano)")
    found.add_argument(
        "--data",
        type=Path,
        required=True,
        help="folder with images/, labels/ and sources.tsv, or a DAVIS folder, whose first frames are asked",
    )
    found.add_argument("--split", default="val", help="split of sources.tsv (default: val)")
    found.add_argument("--image-size", type=int, help="side of the network input (default: the model's own)")
    found.add_argument("--device", help="cpu, cuda, ... (default: the best one here)")
    found.add_argument("--max-objects", type=int, default=8, help="objects per picture (default: 8)")
    found.add_argument("--pictures", type=int, help="at most this many pictures, evenly spread")
    found.add_argument(
        "--video",
        choices=FOLLOWERS,
        help="follow objects through the sequences of a DAVIS folder: by memory, or by what it has to beat, "
        "the last mask as prompt of the next frame or the first mask kept still",
    )
    found.add_argument("--threads", type=int, help="threads of torch")
    found.add_argument("--json", type=Path, help="also write the figures to this file")
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a table; 0 if all went well, 2 with one line on standard error if the input is unusable."""
    options = parser().parse_args(arguments)
    try:
        if options.video:
            _evaluate_videos(options)
        else:
            _evaluate(options)
    except MaskwrightError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _evaluate(options: argparse.Namespace) -> None:
    import platform
    from dataclasses import replace

    import torch

    from maskwright.evaluate.images import evaluate_images
    from maskwright.facade import load
    from maskwright.io.labelled import read_index, spread

    samples = read_index(options.data, options.split)
    if options.pictures:
        samples = [samples[number] for number in spread(len(samples), options.pictures)]
    model = load(options.model, device=options.device, image_size=options.image_size)
    davis = (options.data / "Annotations").is_dir()
    name = f"{options.data.resolve().name} {'first frames' if davis else options.split}"
    report = evaluate_images(
        model, samples, data=name, max_objects=options.max_objects, progress=_say_progress
    )
    notes = {"device": str(model.device), "torch": torch.__version__, "python": platform.python_version()}
    report = replace(report, notes=notes)
    print(f"{report.model} at {report.image_size} px on {report.data}: {report.pictures} pictures")
    print(report.table())
    if options.json:
        report.save(options.json)


def _evaluate_videos(options: argparse.Namespace) -> None:
    import torch

    from maskwright.evaluate.followers import Still, WithLastMask, WithMemory
    from maskwright.evaluate.video import evaluate_videos, read_videos
    from maskwright.facade import load

    if options.threads:
        torch.set_num_threads(options.threads)
    videos = read_videos(options.data)
    model = load(options.model, device=options.device, image_size=options.image_size)
    follow = {"memory": WithMemory, "last-mask": WithLastMask, "still": Still}[options.video](model.runtime)
    report = evaluate_videos(follow, videos, _say_progress)
    print(f"{model.name} at {model.config.image_size} px by {options.video} on {options.data.resolve().name}")
    print(report.table())
    if options.json:
        report.save(options.json)


def _say_progress(done: int, total: int) -> None:
    end = "\n" if done == total else ""
    print(f"\r{done} of {total}", end=end, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
