"""All that is to be known of a GPU, in one call: parity, kernels, speed beside others, automatic masks.

Each part runs in a process of its own with a time limit; what it had found by then counts. Needs no network:
models whose weights are not here get random ones, which say so. Writes a table (Markdown) and all figures
(JSON) to benchmarks/results/, anew after every part. Without a GPU it says so and writes nothing.

    python benchmarks/bench_gpu.py --reference-python /path/to/venv/bin/python
    python benchmarks/bench_gpu.py --device cpu --quick --output FOLDER

The second runs every part in miniature on the processor, to see that the script works: its times mean
nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from contest import HERE
from stamp import stamp

LIMITS = {
    "parity": 240,
    "attention": 120,
    "masks": 60,
    "baseline": 420,
    "start": 90,
    "automask": 300,
    "film": 120,
    "compiled": 480,
}
"""Seconds of each part, in the order in which they run."""
QUICK_LIMIT = 600
"""Of all miniatures together, which share a process. They take half a minute."""
MODELS = ["nano", "sam2.1-tiny", "sam2.1-small", "sam2.1-base+", "sam2.1-large"]


def options_of(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--quick", action="store_true", help="miniatures, whose times mean nothing")
    parser.add_argument("--parts", nargs="*", default=list(LIMITS), choices=LIMITS, metavar="PART")
    parser.add_argument("--models", nargs="*", help="for parity; all by default")
    parser.add_argument("--scale", type=float, default=1.0, help="of all time limits")
    parser.add_argument("--reference-python", default=os.environ.get("MASKWRIGHT_REFERENCE_PYTHON"))
    parser.add_argument("--output", type=Path, default=HERE / "results")
    return parser.parse_args(argv)


def hardware(device: str) -> dict[str, Any] | None:
    """What is measured; None where there is no such device."""
    import torch

    about: dict[str, Any] = {"stamp": stamp(), "torch": torch.__version__, "device": device}
    if device == "cpu":
        return about
    if not torch.cuda.is_available():
        return None
    properties = torch.cuda.get_device_properties(device)
    return about | {
        "gpu": properties.name,
        "capability": [properties.major, properties.minor],
        "memory_gib": properties.total_memory / 2**30,
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
    }


def run_parts(
    parts: list[str], settings: dict[str, Any], limit: float, folder: Path
) -> dict[str, dict[str, Any]]:
    """What the parts found within their limit, with notes of how they ended."""
    asked, log = folder / "settings.json", folder / "log"
    asked.write_text(json.dumps(settings))
    command = [sys.executable, str(HERE / "gpu_worker.py"), str(asked), str(folder), *parts]
    with log.open("w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True)
        try:
            ended = f"ended with code {process.wait(limit)}: "
            ended += " / ".join(log.read_text().strip().splitlines()[-12:])
        except subprocess.TimeoutExpired:
            ended = f"cut off after {limit:.0f} s"
        finally:
            _end(process)
    return {part: _found(folder / f"{part}.json", ended) for part in parts}


def _found(path: Path, ended: str) -> dict[str, Any]:
    nothing: dict[str, Any] = {"tables": {}, "reports": [], "notes": []}
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else nothing
    if not found.get("finished"):
        found["notes"].append(ended)
    return found


def _end(process: subprocess.Popen[bytes]) -> None:
    """With everything that it has started, in the session that is its own."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def write(report: dict[str, Any], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_suffix(".json").write_text(json.dumps(report, indent=1) + "\n")
    path.with_suffix(".md").write_text(text(report))


def text(report: dict[str, Any]) -> str:
    lines = ["# GPU", "", "; ".join(f"{key} {value}" for key, value in report["about"].items())]
    if report["quick"]:
        lines += ["", "In miniature, to try the script: the times mean nothing."]
    for part, found in report["parts"].items():
        lines += ["", f"## {part}" + (f" ({found['seconds']:.0f} s)" if "seconds" in found else "")]
        for title, rows in found["tables"].items():
            lines += ["", f"### {title}", "", _line(rows[0]), _line(["---"] * len(rows[0]))]
            lines += [_line(map(_cell, row.values())) for row in rows]
        for one in found["reports"]:
            lines += [
                "",
                one.get("markdown", "").replace("\n## ", "\n#### ").replace("# maskwright", "### m", 1),
            ]
        lines += ["", *(f"- {note}" for note in found["notes"])] if found["notes"] else []
    return "\n".join(lines) + "\n"


def _line(cells: Any) -> str:
    return "| " + " | ".join(str(cell).replace("|", "/") for cell in cells) + " |"


def _cell(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else "-" if value is None else str(value)


def main(argv: list[str] | None = None) -> None:
    options = options_of(argv)
    about = hardware(options.device)
    if about is None:
        print("There is no GPU here that PyTorch can use: nothing was measured, nothing is written.")
        return
    quick = options.quick
    name = about.get("gpu", "cpu").lower().replace(" ", "-") + ("-quick" if quick else "")
    path = options.output / f"gpu-{name}.json"
    report: dict[str, Any] = {"about": about, "quick": quick, "parts": {}}
    limits = {part: options.scale * LIMITS[part] for part in options.parts}
    settings = {
        "device": options.device,
        "quick": quick,
        "models": options.models or (["nano"] if quick else MODELS),
        "image_size": 128 if quick else None,
        "reference_python": options.reference_python,
        "seconds": {part: 1.0 if quick else 0.4 * limit for part, limit in limits.items()},
    }
    with tempfile.TemporaryDirectory(prefix="maskwright-gpu-") as folder:
        for parts in [options.parts] if quick else [[part] for part in options.parts]:
            limit = QUICK_LIMIT if quick else limits[parts[0]]
            print(f"{', '.join(parts)}: at most {limit:.0f} s", flush=True)
            report["parts"] |= run_parts(parts, settings, limit, Path(folder))
            write(report, path)
    print(f"written: {path}, {path.with_suffix('.md')}")


if __name__ == "__main__":
    main()
