"""``maskwright segment | track | export | models | convert | doctor | bench | train | eval``.

Nothing heavy is imported before a command needs it, so that ``maskwright --help`` answers at once.
"""

from __future__ import annotations

from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line on ``argv`` (this process's arguments, if None) and return its exit code.

    0 is success, 2 wrong input or a result that could not be written (one line on stderr), 130 Ctrl-C.
    Anything unforeseen keeps its traceback.
    """
    from maskwright.cli.app import run

    return run(argv)
