"""How long `maskwright --help` takes, process start included. Exit code 1 if its median reaches a second."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

from stamp import stamp

LIMIT = 1.0
"""Seconds."""
RUNS = 15


def seconds(*arguments: str) -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - started


def main() -> int:
    print(stamp())
    cases = {
        "python -c pass (floor)": ("-c", "pass"),
        "maskwright --help": ("-m", "maskwright", "--help"),
        "maskwright segment --help": ("-m", "maskwright", "segment", "--help"),
        "maskwright models": ("-m", "maskwright", "models"),
    }
    times: dict[str, list[float]] = {name: [] for name in cases}
    for round_ in range(RUNS + 1):  # interleaved; the first round warms the file cache and does not count
        for name, arguments in cases.items():
            taken = seconds(*arguments)
            if round_:
                times[name].append(taken)
    for name, taken in times.items():
        p95 = statistics.quantiles(taken, n=20)[-1]
        print(f"{name:28} p50 {statistics.median(taken):.3f} s   p95 {p95:.3f} s   ({RUNS} runs)")
    return int(statistics.median(times["maskwright --help"]) >= LIMIT)


if __name__ == "__main__":
    sys.exit(main())
