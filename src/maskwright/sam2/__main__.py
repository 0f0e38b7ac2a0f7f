"""``python -m maskwright.sam2 script.py [args]``: run a script made for the official package, unchanged."""

from __future__ import annotations

import argparse
import runpy
import sys
from collections.abc import Sequence
from pathlib import Path

from maskwright.sam2 import install


def main(argv: Sequence[str] | None = None) -> None:
    """Run a script, or with ``-m`` a module, with ``sam2`` provided by maskwright."""
    parser = argparse.ArgumentParser(
        prog="python -m maskwright.sam2",
        description="Run a script made for the official sam2 package, with maskwright in its place.",
    )
    parser.add_argument("-m", dest="module", action="store_true", help="SCRIPT is the name of a module")
    parser.add_argument("script", help="the script to run")
    parser.add_argument("args", nargs=argparse.REMAINDER, help="arguments of the script")
    asked = parser.parse_args(argv)
    if not asked.module and not Path(asked.script).is_file():
        parser.error(f"no script at {asked.script}")
    install()
    sys.argv = [asked.script, *asked.args]
    if asked.module:
        runpy.run_module(asked.script, run_name="__main__", alter_sys=True)
    else:
        sys.path[0] = str(Path(asked.script).resolve().parent)
        runpy.run_path(asked.script, run_name="__main__")


if __name__ == "__main__":
    main()
