"""One part of bench_gpu.py in a process of its own: what it found is in a file of JSON after every row.

python benchmarks/gpu_worker.py PART SETTINGS.json FOUND.json
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gpu_film import film
from gpu_job import COMPILED, Found, Job
from gpu_kernels import attention, masks

from maskwright.automask.options import AutomaskOptions
from maskwright.errors import MaskwrightError
from maskwright.io.images import read_image
from maskwright.mask_model import MaskModel
from maskwright.measure.machine import stamp
from maskwright.measure.others import Other, interpreters, jobs_for
from maskwright.measure.ours import Ours, Tasks
from maskwright.measure.parity import Comparison
from maskwright.measure.pieces import Pieces
from maskwright.measure.plan import Plan
from maskwright.measure.results import Report
from maskwright.measure.run import NOISE, pieces_per_model, subject_of
from maskwright.measure.scene import Scene, prepared
from maskwright.measure.shots import Answer, Contestant, Failure
from maskwright.measure.tables import markdown
from maskwright.measure.weights import Weights
from maskwright.track.options import TrackOptions
from maskwright.types import Box, Points
from maskwright.weights import fetch

DTYPES = ("float32", "bfloat16", "float16", "float32, no TF32")
FOLLOWED = 24
"""Frames for comparing ways: memories and pointers are full after 16."""


def parity(job: Job, found: Found) -> None:
    """Every dtype on the device beside float32 on the CPU; every way beside the plain one."""
    scene = prepared(None, None, job.folder, side=None)
    for name in job.models:
        weights = job.weights(name)
        few = 3 if job.quick else 5
        wanted = list(_answers(job.load(weights, device="cpu", dtype="float32"), scene, few))
        for label in ("float32", job.half) if job.quick else (*DTYPES,):
            dtype = label.partition(",")[0]
            torch.backends.cudnn.allow_tf32 = (
                "no TF32" not in label
            )  # in convolutions it is PyTorch's default
            try:
                model = job.load(weights, dtype=dtype)
                _compared(found, name, label, "eager", model, scene, "CPU, float32", wanted)
                same = list(_answers(model, scene, few if job.quick else FOLLOWED))
                for way in job.ways()[1:]:
                    model = job.load(weights, way=way, dtype=dtype)
                    _compared(found, name, label, way, model, scene, "eager", same)
            except (MaskwrightError, RuntimeError) as error:
                found.note(f"{name}, {label}: {type(error).__name__}: {error}")


def _answers(model: MaskModel, scene: Scene, frames: int) -> Iterator[Answer]:
    """A photograph with three clicks, then a film with two objects, frame by frame."""
    masks = model.embed(scene.photo).segment(*(Points(at) for at in scene.clicks[:3]))
    yield Answer(masks.bitmaps, masks.logits)
    with model.session(TrackOptions(max_hole_area=0)) as session:
        for number, frame in enumerate(islice(scene.frames(), frames)):
            asked = {one: Box(*box) for one, box in enumerate(scene.boxes(2))} if number == 0 else {}
            tracked = session.push_prompted(frame, asked)
            yield Answer(tracked.bitmaps, tracked.logits)


def _compared(
    found: Found,
    name: str,
    dtype: str,
    way: str,
    model: MaskModel,
    scene: Scene,
    reference: str,
    wanted: list[Answer],
) -> None:
    if model.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    parts = {"picture": Comparison(reference), "film": Comparison(reference)}
    for number, (answer, other) in enumerate(
        zip(_answers(model, scene, len(wanted) - 1), wanted, strict=True)
    ):
        parts["film" if number else "picture"].add(answer, other)
    peak = torch.cuda.max_memory_allocated() / 2**20 if model.device.type == "cuda" else None
    for part, comparison in parts.items():
        near = comparison.parity
        assert near is not None
        found.row(
            "Parity",
            model=name,
            dtype=dtype,
            way=way,
            beside=reference,
            part=part,
            mean_iou=near.mean_iou,
            worst_iou=near.worst_iou,
            logit_error=near.logit_error,
            peak_mib=peak,
        )


def baseline(job: Job, found: Found) -> None:
    """Ways to run ours, transformers and the official package in turns, in the fast dtype."""
    for name in job.models if job.quick else ["sam2.1-tiny", "sam2.1-large"]:
        _pieces(job, found, name, ("video", "image"), job.ways(), job.half)


def start(job: Job, found: Found) -> None:
    """Time to the first mask, each in a fresh process."""
    for name in job.models[:1] if job.quick else ["sam2.1-tiny"]:
        _pieces(job, found, name, ("start",), ["eager"], job.half)


def compiled(job: Job, found: Found) -> None:
    """The official package with everything compiled, and ours, which take minutes; beside our fastest way."""
    ways = [job.ways()[-1], COMPILED]
    for name in [] if job.quick else ["sam2.1-tiny", "sam2.1-large"]:
        _pieces(job, found, name, ("video",), ways, job.half, official={"compiled": True})


def automask(job: Job, found: Found) -> None:
    """Everything in a picture, of usual size and large; float32, so that masks can be matched."""
    sizes = [(96, 128)] if job.quick else [(1080, 1920), (1951, 3000)]
    for name in job.models[:1] if job.quick else ["nano", "sam2.1-tiny"]:
        for size in sizes:
            for dtype in ("float32",) if job.quick else ("float32", job.half):
                _pieces(job, found, name, ("automask",), ["eager"], dtype, photo_size=size)


def _pieces(
    job: Job,
    found: Found,
    name: str,
    parts: tuple[str, ...],
    ways: list[str],
    dtype: str,
    *,
    official: dict[str, Any] | None = None,
    photo_size: tuple[int, int] | None = None,
) -> None:
    """Some pieces of ``maskwright bench``, with several ways of ours; float32 on the device for parity."""
    folder = Path(tempfile.mkdtemp(dir=job.folder))
    weights = job.weights(name)
    models = {f"maskwright, {way}": job.load(weights, way=way, dtype=dtype) for way in ways}
    if dtype != "float32" and "video" in parts:
        models["maskwright, float32"] = job.load(weights, dtype="float32")
    model = next(iter(models.values()))
    scene = prepared(_photo(photo_size, folder), None, folder, side=model.video_runtime.config.image_size)
    objects = (1, 2) if job.quick else (1, 4, 8)
    grid = 2 if job.quick else 32 if job.on_gpu else 16
    plan = Plan(models=(name,), parts=parts, objects=objects, grid=grid, seconds=job.seconds)
    noise: dict[str, Any] = dict(NOISE) if weights.random else {}
    search = AutomaskOptions.preset("fast", model=model.name, points_per_side=grid, **noise)
    report = Report({**stamp(), "threads": torch.get_num_threads(), "seconds": job.seconds})
    report.subjects.append(subject_of(model, weights, scene))
    load = {"name": weights.source, "device": job.device, "dtype": dtype, "image_size": job.image_size}
    contestants: dict[str, Contestant] = {}
    with ExitStack() as closing:
        for who, one in models.items():
            ours = Ours(one, load, scene, folder, Tasks(search, TrackOptions(max_hole_area=0)))
            ours.who = who
            contestants[who] = ours
        if name != "nano":
            for who, other in _others(job, weights, model, scene, search, folder, official or {}, report):
                contestants[who] = other
        if "maskwright, float32" in contestants:  # the last one is what masks are compared with
            contestants["maskwright, float32"] = contestants.pop("maskwright, float32")
        for one in contestants.values():
            closing.callback(one.close)
        told: Callable[[str], object] = lambda line: print(line, file=sys.stderr)  # noqa: E731
        pieces = Pieces(plan, report.subjects[0].label, scene, contestants, report, lambda: False, told)
        index = len(found.content["reports"])
        found.content["reports"].append({})
        number = pieces_per_model(plan)
        for done, _ in enumerate(pieces.run(number, image_only=False), start=1):
            report.finished = done == number
            found.content["reports"][index] = {"plain": report.plain(), "markdown": markdown(report)}
            found.save()


def _others(
    job: Job,
    weights: Weights,
    model: MaskModel,
    scene: Scene,
    search: AutomaskOptions,
    folder: Path,
    official: dict[str, Any],
    report: Report,
) -> Iterator[tuple[str, Other]]:
    path = Path(weights.source)
    file = path if path.exists() else fetch.locate(weights.source)
    told = jobs_for(file, model, scene, search, folder, threads=torch.get_num_threads())
    for name, python in interpreters(job.python).items():
        if official and name != "official":
            continue
        try:
            yield name, Other(python, {**told, **official, "implementation": name}, folder)
        except (Failure, OSError) as error:
            report.notes.append(f"{name} was not measured: {error}")


def _photo(size: tuple[int, int] | None, folder: Path) -> Path | None:
    """The drawn scene of measure.scene at another size."""
    if size is None:
        return None
    from PIL import Image

    aside = folder / "drawn"
    aside.mkdir()
    drawn = np.asarray(read_image(prepared(None, None, aside, side=None).photo))
    path = folder / "photo.jpg"
    Image.fromarray(drawn).resize(size[::-1], Image.Resampling.BICUBIC).save(path, quality=95)
    return path


PARTS: dict[str, Callable[[Job, Found], None]] = {
    "parity": parity,
    "attention": lambda job, found: attention(job.device, job.quick, found.row, found.note),
    "masks": lambda job, found: masks(job.device, job.quick, found.row, found.note),
    "baseline": baseline,
    "start": start,
    "automask": automask,
    "film": film,
    "compiled": compiled,
}


def main() -> None:
    settings, results, *parts = sys.argv[1:]
    told = json.loads(Path(settings).read_text())
    for part in parts:
        found = Found(Path(results, f"{part}.json"), {"tables": {}, "reports": [], "notes": []})
        found.save()
        began = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="maskwright-gpu-") as folder:
            PARTS[part](Job(told | {"seconds": told["seconds"][part]}, Path(folder)), found)
        found.content |= {"seconds": time.monotonic() - began, "finished": True}
        found.save()


if __name__ == "__main__":
    main()
