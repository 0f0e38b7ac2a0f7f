"""Measuring what a plan asks for, model by model and piece by piece."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch

from maskwright import facade
from maskwright.automask.options import AutomaskOptions
from maskwright.config import HieraConfig
from maskwright.errors import MaskwrightError
from maskwright.mask_model import MaskModel
from maskwright.measure.machine import stamp
from maskwright.measure.others import NAMES, Other, interpreters, jobs_for
from maskwright.measure.ours import Ours, Tasks
from maskwright.measure.pieces import Pieces
from maskwright.measure.plan import Plan
from maskwright.measure.results import Report, Subject
from maskwright.measure.scene import Scene, prepared
from maskwright.measure.shots import Contestant, Failure
from maskwright.measure.weights import Weights, weights_of
from maskwright.runtime.select import EAGER
from maskwright.track.options import TrackOptions
from maskwright.weights import fetch

NOISE = {"min_score": 0.5525, "min_stability": 0.45, "stability_offset": 0.3, "max_overlap": 1.01}
"""Filters for random weights, whose masks are noise: with the usual ones none would be left."""
Stopping = Callable[[], bool]
Changed = Callable[[Report], object]
Told = Callable[[str], object]


def measure(
    plan: Plan,
    *,
    stopping: Stopping = lambda: False,
    changed: Changed = lambda _: None,
    told: Told = lambda _: None,
) -> Report:
    """Measure everything; what was measured stays when it is stopped.

    Args:
        plan: What.
        stopping: Asked between rounds and frames; True ends it, with the report so far.
        changed: Called with the report whenever there is more in it.
        told: Called with what is about to be done, before each round of everybody.

    Raises:
        InputError: an impossible device, dtype, input size, picture or video.
        WeightsError: a model that is not here and cannot be fetched.
    """
    report = Report({**stamp(), **_settings(plan)})
    with _threads(plan.threads), tempfile.TemporaryDirectory(prefix="maskwright-bench-") as temporary:
        folders = [Path(temporary, str(number)) for number in range(len(plan.models))]
        weights = []
        for name, folder in zip(plan.models, folders, strict=True):
            folder.mkdir()
            weights.append(weights_of(name, folder, random=plan.random_weights))
        for one, folder in zip(weights, folders, strict=True):
            if not stopping():
                _measure_model(plan, one, folder, report, stopping, changed, told)
    report.finished = not stopping()
    changed(report)
    return report


def num_pieces(plan: Plan) -> int:
    """How many pieces of work the plan has, for progress."""
    return len(plan.models) * pieces_per_model(plan)


def pieces_per_model(plan: Plan) -> int:
    return len(plan.parts) + ("video" in plan.parts) * (len(plan.objects) - 1)


def _measure_model(
    plan: Plan,
    weights: Weights,
    folder: Path,
    report: Report,
    stopping: Stopping,
    changed: Changed,
    told: Told,
) -> None:
    load: dict[str, Any] = {"name": weights.source, "device": plan.device, "dtype": plan.dtype}
    load |= {"image_size": plan.image_size, "runtime": plan.runtime}
    model = facade.load(**load)
    found = interpreters(plan.against_python) if plan.against and _is_official(model) else {}
    side = model.video_runtime.config.image_size if found else None
    scene = prepared(plan.image, plan.video, folder, side=side)
    subject = subject_of(model, weights, scene, model.runtime_name)
    report.subjects.append(subject)
    tasks = _tasks(plan, model, weights, compared=bool(found))
    contestants: dict[str, Contestant] = {}
    with ExitStack() as closing:

        def add(name: str, one: Contestant) -> None:
            closing.callback(one.close)
            contestants[name] = one

        add("maskwright", Ours(model, load, scene, folder, tasks))
        for name, one in _others(found, weights, model, scene, tasks, folder, report):
            add(name, one)
        only_graphs = Path(weights.source).is_dir()  # beside which there is no plain network
        if model.dtype is not torch.float32 or (model.runtime_name != EAGER and not only_graphs):
            exact = load | {"dtype": "float32", "runtime": None}
            add("float32", Ours(facade.load(**exact), exact, scene, folder, tasks, " in float32"))
        pieces = Pieces(plan, subject.label, scene, contestants, report, stopping, told)
        for _ in pieces.run(pieces_per_model(plan), image_only=model.image_only):
            changed(report)


def _others(
    found: Mapping[str, str],
    weights: Weights,
    model: MaskModel,
    scene: Scene,
    tasks: Tasks,
    folder: Path,
    report: Report,
) -> Iterator[tuple[str, Contestant]]:
    """Those that can run; why the rest cannot is a note of the report. The official one comes last."""
    if not found:
        return
    for name in NAMES.keys() - found.keys():
        report.notes.append(f"{name} was not measured: it is not in this environment (see --against-python)")
    path = Path(weights.source)
    file = path if path.exists() else fetch.locate(weights.source)
    try:
        job = jobs_for(file, model, scene, tasks.search, folder, threads=torch.get_num_threads())
    except MaskwrightError as error:
        report.notes.append(f"nothing else was measured beside {weights.name}: {error}")
        return
    for name in sorted(found, reverse=True):
        try:
            yield name, Other(found[name], {**job, "implementation": name}, folder)
        except (Failure, OSError) as error:
            report.notes.append(f"{name} was not measured: {error}")


def _is_official(model: MaskModel) -> bool:
    return isinstance(model.config.trunk, HieraConfig) and model.name.startswith("sam2")


def _tasks(plan: Plan, model: MaskModel, weights: Weights, *, compared: bool) -> Tasks:
    """Where others are measured too, holes stay: they fill them with a compiled extension, or do not."""
    noise: dict[str, Any] = NOISE if weights.random else {}
    search = AutomaskOptions.preset("fast", model=model.name, points_per_side=plan.grid, **noise)
    return Tasks(search, TrackOptions(max_hole_area=0) if compared else TrackOptions())


def subject_of(model: MaskModel, weights: Weights, scene: Scene, runtime: str = EAGER) -> Subject:
    """What is measured; a runtime other than the default one is named."""
    (high, wide), (tall, broad) = scene.photo_size, scene.film_size
    return Subject(
        name=weights.name,
        random_weights=weights.random,
        image_size=model.config.image_size,
        video_size=model.video_runtime.config.image_size,
        device=str(model.device),
        dtype=model.dtype_name + ("" if runtime == EAGER else f" on {runtime}"),
        photo=f"{scene.photo_title}, {wide} x {high}",
        film=f"{scene.film_title}, {broad} x {tall}",
    )


def _settings(plan: Plan) -> dict[str, Any]:
    return {
        "threads": plan.threads or torch.get_num_threads(),
        "seconds": plan.seconds,
        "grid": plan.grid,
        "parts": list(plan.parts),
    }


@contextmanager
def _threads(number: int | None) -> Iterator[None]:
    before = torch.get_num_threads()
    if number is not None:
        torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)
