"""Train a model: ``python -m maskwright.train RECIPE --data DIR --out DIR``."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from maskwright.errors import InputError, MaskwrightError
from maskwright.train.memory_settings import MemoryConfig, read_run
from maskwright.train.settings import TrainConfig


def parser() -> argparse.ArgumentParser:
    """The command line of training."""
    found = argparse.ArgumentParser(prog="python -m maskwright.train", description=__doc__)
    found.add_argument("recipe", help="TOML file, or the name of a recipe that comes with the package")
    found.add_argument(
        "--data", type=Path, required=True, help="folder with images/, labels/ and sources.tsv"
    )
    found.add_argument("--out", type=Path, required=True, help="folder of checkpoints and logs")
    found.add_argument("--cache", type=Path, help="folder of the feature cache (default: OUT/cache)")
    found.add_argument("--resume", action="store_true", help="go on from the checkpoint in OUT")
    found.add_argument("--start", type=Path, help="begin with the weights of another run's checkpoint")
    found.add_argument(
        "--set", action="append", default=[], metavar="FIELD=VALUE", help="override one setting of the recipe"
    )
    found.add_argument(
        "--weights",
        type=Path,
        help="memory half only: model file whose image half is kept (default: the bundled nano)",
    )
    found.add_argument("--plain", type=Path, help="memory half only: folder of photographs for backgrounds")
    found.add_argument(
        "--export-only",
        action="store_true",
        help="train nothing; write the model file of the checkpoint in OUT",
    )
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Train, then write ``model.safetensors`` to OUT. Interrupting (Ctrl-C) saves a checkpoint first."""
    options = parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    try:
        overrides = dict(_pair(text) for text in options.set)
        config = read_run(options.recipe, overrides)
        if isinstance(config, MemoryConfig):
            _train_memory(config, options)
        else:
            _train(config, options)
    except MaskwrightError as error:
        logging.getLogger(__name__).error("%s", error)
        return 2
    return 0


def _train(config: TrainConfig, options: argparse.Namespace) -> None:
    from maskwright.train.export import export
    from maskwright.train.loop import CHECKPOINT, Run

    if not options.export_only:
        run = Run(config, options.data, options.out, options.cache or options.out / "cache", _say_progress)
        if options.resume:
            run.resume()
        elif options.start:
            run.start_from(options.start)
        run.train(_stop_on_signal())
    path = export(options.out / CHECKPOINT, options.out / "model.safetensors")
    logging.getLogger(__name__).info("wrote %s", path)


def _train_memory(config: MemoryConfig, options: argparse.Namespace) -> None:
    from maskwright.train.loop import CHECKPOINT
    from maskwright.train.memory_run import MemoryRun, export
    from maskwright.weights.fetch import locate

    weights = options.weights or locate("nano")
    if not options.export_only:
        run = MemoryRun(
            config,
            weights,
            options.data,
            options.out,
            options.cache or options.out / "cache",
            plain=options.plain,
            progress=_say_progress,
        )
        if options.resume:
            run.resume()
        elif options.start:
            run.start_from(options.start)
        run.train(_stop_on_signal())
    path = export(options.out / CHECKPOINT, weights, options.out / "model.safetensors")
    logging.getLogger(__name__).info("wrote %s", path)


def _stop_on_signal() -> threading.Event:
    """Set by Ctrl-C or SIGTERM, so that a run saves a checkpoint before it ends."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    return stop


def _say_progress(done: int, total: int) -> None:
    end = "\n" if done == total else ""
    sys.stderr.write(f"\rfeatures of {done} of {total} pictures or clips{end}")
    sys.stderr.flush()


def _pair(text: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not sign:
        raise InputError(f"--set takes FIELD=VALUE, not {text!r}")
    return name.strip(), value


if __name__ == "__main__":
    sys.exit(main())
