"""The training loop: the same bits whatever happens in between, and what it leaves behind."""

from __future__ import annotations

import csv
import math
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from maskwright.errors import CheckpointError, InputError, OutputError
from maskwright.train.average import Average
from maskwright.train.checkpoint import BEST, LATEST, averaged_weights, read_checkpoint
from maskwright.train.devices import open_fabric
from maskwright.train.logs import append_row, drop_rows_after
from maskwright.train.loop import Run, train
from maskwright.train.settings import LoopConfig
from maskwright.train.task import Draw, Group, to_device
from toys import Scene, Toy, learn

pytest.importorskip("lightning_fabric")
pytest.importorskip("tensorboard")
SCRIPT = Path(__file__).resolve().parents[1] / "toys.py"
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}


pytestmark = pytest.mark.usefixtures("same_threads")


class Watching(Toy):
    """Keeps some of the weights that it was asked to validate."""

    def __init__(self) -> None:
        super().__init__()
        self.validated: list[Tensor] = []

    def validate(self, model: Any) -> dict[str, float]:
        self.validated.append(model.mask_decoder.mask_tokens.detach().clone())
        return {"iou": float(len(self.validated))}


class StopAfter(threading.Event):
    """Becomes set when it has been asked ``num`` times: ends a run after that many steps."""

    def __init__(self, num: int) -> None:
        super().__init__()
        self.left = num

    def is_set(self) -> bool:
        self.left -= 1
        return self.left < 0


def rows(path: Path) -> list[dict[str, str]]:
    """A log, without the time that things took."""
    with path.open(newline="") as lines:
        return [{n: v for n, v in row.items() if n != "minutes"} for row in csv.DictReader(lines)]


def assert_same(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> None:
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        assert torch.equal(value, theirs[name]), name


def new_run(out: Path, task: Toy | None = None, **settings: Any) -> Run:
    loop = LoopConfig(**{"steps": 8, "threads": 1, **settings})
    return Run(task or Toy(), loop, out, {}, open_fabric(loop))


BITS = (
    "loop.steps=7",
    "loop.log_steps=2",
    "loop.accumulate=2",
    "loop.validate_steps=3",
    "loop.warmup_steps=2",
)


def test_resuming_gives_the_same_bits_as_never_stopping(tmp_path: Path):
    whole, report = learn(tmp_path / "whole", *BITS)
    assert (report.finished, report.step) == (True, 7)
    _, stopped = learn(tmp_path / "parts", *BITS, stop=StopAfter(3))
    assert not stopped.finished
    assert read_checkpoint(tmp_path / "parts" / LATEST)["step"] == 3
    second, again = learn(tmp_path / "parts", *BITS, resume=True)
    assert again == report
    assert_same(whole.model.state_dict(), second.model.state_dict())
    ours, theirs = (read_checkpoint(tmp_path / name / LATEST) for name in ("whole", "parts"))
    assert_same(ours["average"], theirs["average"])
    for name in ("log.csv", "scores.csv"):
        assert rows(tmp_path / "whole" / name) == rows(tmp_path / "parts" / name)
    assert [row["step"] for row in rows(tmp_path / "whole/scores.csv")] == ["0", "3", "6", "7"]


def test_a_killed_run_goes_on_with_the_same_curve(tmp_path: Path):
    settings = ("loop.steps=14", "loop.log_steps=2", "loop.checkpoint_steps=5")
    command = [sys.executable, str(SCRIPT), str(tmp_path / "killed"), *settings]
    with subprocess.Popen(command, env={**ENVIRONMENT, "TOY_PAUSE": "0.2"}) as process:
        log, end = tmp_path / "killed/log.csv", time.monotonic() + 60
        while not (log.is_file() and "\n8," in log.read_text()):
            assert process.poll() is None, "it ended before it could be killed"
            assert time.monotonic() < end
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    assert read_checkpoint(tmp_path / "killed" / LATEST)["step"] == 5, "rows 6 and 8 have to be written again"
    second, _ = learn(tmp_path / "killed", *settings, resume=True)
    whole, _ = learn(tmp_path / "whole", *settings)
    assert_same(whole.model.state_dict(), second.model.state_dict())
    assert rows(tmp_path / "killed/log.csv") == rows(tmp_path / "whole/log.csv")
    assert len(rows(tmp_path / "whole/log.csv")) == 7


class Both(Toy):
    """Learns from two parts at once what the other learns from one after the other."""

    def batch(self, draw: Draw) -> Any:
        return [Toy.batch(self, draw._replace(part=part)) for part in (0, 1)]

    def forward(self, batch: list[Scene], draw: Draw, progress: float) -> dict[str, Tensor]:
        found = [Toy.forward(self, scene, draw, progress) for scene in batch]
        return {name: torch.stack([losses[name] for losses in found]).mean() for name in found[0]}


def test_two_accumulated_batches_are_one_of_both(tmp_path: Path):
    one = new_run(tmp_path, Both())
    two = new_run(tmp_path, accumulate=2)
    for run in (one, two):
        parts = run._parts()
        figures = [run.learn(parts) for _ in range(3)]
        assert figures[0]["loss"] != figures[1]["loss"]
    ours, theirs = one.task.model.state_dict(), two.task.model.state_dict()
    for name, value in ours.items():
        torch.testing.assert_close(value, theirs[name], atol=1e-5, rtol=1e-4)
    assert not torch.equal(ours["mask_decoder.mask_tokens"], Toy().model.mask_decoder.mask_tokens)


def test_two_processes_learn_what_one_does_with_accumulation(tmp_path: Path):
    settings = ["loop.steps=3", "loop.warmup_steps=0", "loop.log_steps=1", "loop.accelerator=cpu"]
    shared = ["loop.devices=2", "loop.threads=2"]
    command = [sys.executable, str(SCRIPT), str(tmp_path / "two"), *shared, *settings]
    environment = {**ENVIRONMENT, "TOY_PAUSE": "0"}
    said = subprocess.check_output(command, env=environment, timeout=120, text=True)
    assert said.count("1 threads") == 2, "the processes share two"
    first, second = (torch.load(tmp_path / f"two/weights-{rank}.pt") for rank in (0, 1))
    assert_same(first, second)
    alone, _ = learn(tmp_path / "one", "loop.accumulate=2", *settings)
    for name, value in alone.model.state_dict().items():
        torch.testing.assert_close(first[name], value, atol=1e-5, rtol=1e-4)
    pairs = zip(rows(tmp_path / "two/log.csv"), rows(tmp_path / "one/log.csv"), strict=True)
    for ours, theirs in pairs:
        assert float(ours["loss"]) == pytest.approx(float(theirs["loss"]), rel=1e-4)
    # and one process can go on where two of them stopped
    learn(tmp_path / "two", "loop.accumulate=2", *settings, "loop.steps=4", resume=True)
    assert len(rows(tmp_path / "two/log.csv")) == 4


def test_ten_steps_on_one_picture_drive_the_loss_down(tmp_path: Path):
    class Same(Toy):
        def batch(self, draw: Draw) -> Scene:
            return Toy.batch(self, draw._replace(step=0))

    learn(tmp_path, "loop.steps=10", "loop.log_steps=1", "loop.warmup_steps=1", task=Same(3e-3))
    losses = [float(row["loss"]) for row in rows(tmp_path / "log.csv")]
    assert losses[-1] < 0.6 * losses[0]


def test_half_precision_learns_and_keeps_full_weights(tmp_path: Path):
    task, _ = learn(tmp_path / "half", "loop.steps=2", "loop.precision=bf16-mixed", "loop.log_steps=1")
    assert all(value.dtype == torch.float32 for value in task.model.parameters())
    learn(tmp_path / "full", "loop.steps=2", "loop.log_steps=1")
    half, full = (float(rows(tmp_path / name / "log.csv")[0]["loss"]) for name in ("half", "full"))
    assert half != full
    assert half == pytest.approx(full, rel=0.05)


def test_inputs_are_not_rounded_to_half_precision(tmp_path: Path):
    seen = []

    class Rounding(Toy):
        def forward(self, batch: Scene, draw: Draw, progress: float) -> dict[str, Tensor]:
            seen.append((batch.prompts.points_BPK2.dtype, torch.is_autocast_enabled("cpu")))
            return Toy.forward(self, batch, draw, progress)

    learn(tmp_path, "loop.steps=1", "loop.precision=bf16-mixed", task=Rounding())
    assert seen == [(torch.float32, True)]


def test_half_precision_for_gpus_is_refused_on_a_cpu():
    with pytest.raises(InputError, match="needs a GPU; on the CPU use bf16-mixed"):
        open_fabric(LoopConfig(steps=1, accelerator="cpu", precision="16-mixed"))


def test_a_step_whose_scaled_gradient_overflows_is_left_out(tmp_path: Path):
    """16-mixed, which asks for a GPU, as far as a CPU can show it: the scale falls, the run goes on."""
    from lightning_fabric import Fabric
    from lightning_fabric.plugins.precision.amp import MixedPrecision

    def begin() -> Run:
        scaler = torch.amp.GradScaler("cpu", init_scale=1e30)
        fabric = Fabric(accelerator="cpu", plugins=MixedPrecision("16-mixed", "cpu", scaler))
        return Run(Toy(), LoopConfig(steps=9, threads=1), tmp_path, {}, fabric)

    run = begin()
    parts, before = run._parts(), run.task.model.mask_decoder.mask_tokens.detach().clone()
    assert not math.isfinite(run.learn(parts)["gradient"])
    assert torch.equal(run.task.model.mask_decoder.mask_tokens, before)
    run.save()
    again = begin()
    again.restore(read_checkpoint(tmp_path / LATEST))
    assert again.fabric.strategy.precision.scaler.get_scale() == pytest.approx(5e29)
    run.fabric.strategy.precision.scaler.update(8.0)
    assert math.isfinite(run.learn(parts)["gradient"])
    assert not torch.equal(run.task.model.mask_decoder.mask_tokens, before)


def test_devices_that_are_not_there_are_an_input_error():
    with pytest.raises(InputError, match="no 1 devices of kind tpu here"):
        open_fabric(LoopConfig(steps=1, accelerator="tpu"))


def test_rates_warm_up_and_follow_a_cosine_of_steps_or_time(tmp_path: Path):
    run = new_run(tmp_path, steps=100, minutes=10, warmup_steps=4)
    rates = []
    for run.step in (0, 1, 3, 50, 99, 100):
        rates.append(run.rate())
    expected = [0.25, 0.5 * 0.99975, 0.99778, 0.5, 0.00025, 0.0]
    assert rates == pytest.approx(expected, abs=2e-4)
    run.step, run.elapsed = 50, 450.0
    assert run.progress == 0.75
    run.elapsed = 600.0
    assert run.progress == 1


def test_the_gradient_is_clipped_and_its_length_logged(tmp_path: Path):
    run = new_run(tmp_path, clip=0.01)
    figures = run.learn(run._parts())
    gradients = [p.grad for p in run.task.model.mask_decoder.parameters() if p.grad is not None]
    assert torch.linalg.vector_norm(torch.cat([g.flatten() for g in gradients])) == pytest.approx(
        0.01, rel=1e-3
    )
    assert figures["gradient"] > 0.1


def test_the_average_follows_the_weights():
    weight = nn.Parameter(torch.zeros(2))
    average = Average({"weight": weight}, decay=0.9)
    expected = 0.0
    for step in range(1, 40):
        with torch.no_grad():
            weight.fill_(float(step))
        average.update(step)
        expected += (step - expected) * (1 - min(0.9, (1 + step) / (10 + step)))
    torch.testing.assert_close(average.values["weight"], torch.full((2,), expected))


def test_only_what_the_task_names_changes_and_the_average_is_validated(tmp_path: Path):
    watching = Watching()
    task, report = learn(tmp_path, "loop.steps=4", task=watching)
    before, after = Toy().model.state_dict(), task.model.state_dict()
    changed = {name for name, value in before.items() if not torch.equal(value, after[name])}
    assert changed
    assert all(name.startswith("mask_decoder.") for name in changed)
    state = read_checkpoint(tmp_path / LATEST)
    assert torch.equal(watching.validated[-1], state["average"]["mask_decoder.mask_tokens"])
    assert not torch.equal(watching.validated[-1], after["mask_decoder.mask_tokens"])
    assert (report.before, report.after) == ({"iou": 1.0}, {"iou": 2.0})


def test_a_share_of_the_start_is_validated_and_the_average_goes_on_without(tmp_path: Path):
    watching = Watching()
    name = "mask_decoder.mask_tokens"
    learn(tmp_path / "mixed", "loop.steps=4", "loop.start_share=0.25", task=watching)
    learn(tmp_path / "plain", "loop.steps=4")
    states = [read_checkpoint(tmp_path / run / LATEST) for run in ("mixed", "plain")]
    assert_same(states[0]["average"], states[1]["average"])
    average, begun = states[0]["average"][name], Toy().model.state_dict()[name]
    torch.testing.assert_close(watching.validated[-1], 0.75 * average + 0.25 * begun)
    assert not torch.equal(watching.validated[-1], average)
    assert torch.equal(read_checkpoint(tmp_path / "mixed" / BEST)["model"][name], average)
    with pytest.raises(InputError, match="does not go with --start"):
        learn(tmp_path / "c", "loop.steps=1", "loop.start_share=0.5", start=tmp_path / "mixed" / LATEST)


def test_the_best_weights_are_kept(tmp_path: Path):
    scores = iter((0.1, 0.7, 0.3, 0.2))

    class Scripted(Toy):
        def validate(self, model: Any) -> dict[str, float]:
            return {"iou": next(scores)}

    learn(tmp_path, "loop.steps=6", "loop.validate_steps=2", task=Scripted())
    best, latest = read_checkpoint(tmp_path / BEST), read_checkpoint(tmp_path / LATEST)
    assert (best["step"], best["best"], latest["step"], latest["best"]) == (2, 0.7, 6, 0.7)
    assert set(averaged_weights(best)) == set(averaged_weights(latest))


def test_a_task_saves_what_it_says(tmp_path: Path):
    class Half(Toy):
        def saved(self) -> Any:
            return lambda name: name.startswith("mask_decoder.")

    task, _ = learn(tmp_path / "first", "loop.steps=3", task=Half())
    state = read_checkpoint(tmp_path / "first" / LATEST)
    assert all(name.startswith("mask_decoder.") for name in state["model"])
    again, _ = learn(tmp_path / "first", "loop.steps=3", task=Half(), resume=True)
    assert_same(task.model.state_dict(), again.model.state_dict())


def test_a_run_can_start_from_the_average_of_another(tmp_path: Path):
    learn(tmp_path / "first", "loop.steps=3")
    source = tmp_path / "first" / LATEST
    state = read_checkpoint(source)
    # the layout of older versions
    old = {name: state[name] for name in ("model", "average", "optimiser", "step", "elapsed")}
    torch.save({**old, "config": {"steps": 3}}, tmp_path / "old.pt")
    for path in (source, tmp_path / "old.pt"):
        out = tmp_path / path.stem
        learn(out, "loop.steps=1", "loop.warmup_steps=1000", start=path)
        begun = read_checkpoint(out / BEST)  # validated before the first step, or after a tiny one
        name = "mask_decoder.mask_tokens"
        torch.testing.assert_close(averaged_weights(begun)[name], state["average"][name], atol=2e-6, rtol=0)
    with pytest.raises(CheckpointError, match="older version: begin a new run with --start"):
        (tmp_path / "old.pt").replace(tmp_path / "old" / LATEST)
        learn(tmp_path / "old", "loop.steps=1", resume=True)


def test_a_checkpoint_of_another_model_is_no_start(tmp_path: Path):
    learn(tmp_path / "first", "loop.steps=1")
    state = read_checkpoint(tmp_path / "first" / LATEST)
    state["average"]["mask_decoder.mask_tokens"] = torch.zeros(3, 3)
    torch.save(state, tmp_path / "strange.pt")
    with pytest.raises(CheckpointError, match="its mask_decoder.mask_tokens does not fit"):
        learn(tmp_path / "second", "loop.steps=1", start=tmp_path / "strange.pt")


def test_a_checkpoint_of_another_task_cannot_go_on(tmp_path: Path):
    class Smaller(Toy):
        def groups(self) -> list[Group]:
            (group,) = Toy.groups(self)
            return [group._replace(parameters=dict(list(group.parameters.items())[:3]))]

    learn(tmp_path, "loop.steps=1", task=Smaller())
    with pytest.raises(CheckpointError, match="latest.pt does not fit this task"):
        learn(tmp_path, "loop.steps=2", resume=True)


def test_a_loss_that_is_no_number_ends_the_run_and_keeps_the_last_checkpoint(tmp_path: Path):
    class Bursting(Toy):
        def forward(self, batch: Scene, draw: Draw, progress: float) -> dict[str, Tensor]:
            found = Toy.forward(self, batch, draw, progress)
            return {**found, "loss": found["loss"] * (math.nan if draw.step == 3 else 1)}

    with pytest.raises(
        InputError, match=r"not a finite number at step 3 \(loss nan.*lower the learning rates.*latest"
    ):
        learn(tmp_path, "loop.steps=6", "loop.checkpoint_steps=2", task=Bursting())
    assert read_checkpoint(tmp_path / LATEST)["step"] == 2


def test_a_gradient_that_is_no_number_ends_the_run_too(tmp_path: Path):
    class Kinked(Toy):
        def forward(self, batch: Scene, draw: Draw, progress: float) -> dict[str, Tensor]:
            found = Toy.forward(self, batch, draw, progress)
            return {"loss": found["loss"] + (found["loss"] - found["loss"]).sqrt()}

    with pytest.raises(InputError, match="at step 0 .*gradient nan.*nothing is kept"):
        learn(tmp_path, "loop.steps=6", task=Kinked())


def test_a_full_disk_leaves_the_former_checkpoint(tmp_path: Path):
    run = new_run(tmp_path)
    parts = run._parts()
    run.learn(parts)
    run.save()
    run.learn(parts)
    size = (tmp_path / LATEST).stat().st_size
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size // 2, limits[1]))
    try:
        with pytest.raises(OutputError, match="latest.pt"):
            run.save()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert read_checkpoint(tmp_path / LATEST)["step"] == 1
    assert [path.name for path in tmp_path.iterdir()] == [LATEST]


def test_events_can_be_read_and_go_on_after_a_stop(tmp_path: Path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    settings = ("loop.steps=6", "loop.log_steps=2")
    learn(tmp_path, *settings, stop=StopAfter(4))
    learn(tmp_path, *settings, resume=True)
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert {"train/loss", "train/gradient", "train/rate", "validation/iou"} <= set(events.Tags()["scalars"])
    written = {event.step: event.value for event in events.Scalars("train/loss")}
    logged = {int(row["step"]): float(row["loss"]) for row in rows(tmp_path / "log.csv")}
    assert written == pytest.approx(logged, rel=1e-4)
    assert sorted(logged) == [2, 4, 6]
    assert (tmp_path / "curve.svg").read_text().startswith("<svg")


def test_stopping_leaves_a_checkpoint_and_validates_nothing(tmp_path: Path):
    stop = threading.Event()
    stop.set()
    _, report = learn(tmp_path, "loop.steps=5", "loop.validate_first=false", stop=stop)
    assert (report.finished, report.after) == (False, {})
    assert read_checkpoint(tmp_path / LATEST)["step"] == 0
    assert not (tmp_path / "scores.csv").exists()


def test_resuming_needs_a_run_with_the_same_settings(tmp_path: Path):
    with pytest.raises(InputError, match="nothing to resume"):
        learn(tmp_path, "loop.steps=1", resume=True)
    learn(tmp_path, "loop.steps=1")
    with pytest.raises(InputError, match="holds a run already: give --resume"):
        learn(tmp_path, "loop.steps=1")
    with pytest.raises(CheckpointError, match=r"another loop.seed \(0, not 7\)"):
        learn(tmp_path, "loop.steps=2", "loop.seed=7", resume=True)
    with pytest.raises(CheckpointError, match=r"number of batches in a step \(1, not 2"):
        learn(tmp_path, "loop.steps=2", "loop.accumulate=2", resume=True)
    with pytest.raises(CheckpointError, match=r"another toy.rate \(0.001, not 0.5\)"):
        loop = LoopConfig(steps=2, threads=1)
        train(Toy(), loop, tmp_path, recipe={"task": "toy", "toy": {"rate": 0.5}}, resume=True)
    _, report = learn(tmp_path, "loop.steps=2", "loop.checkpoint_steps=9", resume=True)
    assert report.step == 2


@pytest.mark.parametrize("content", [b"not a checkpoint", b""])
def test_a_damaged_checkpoint_is_named(tmp_path: Path, content: bytes):
    (tmp_path / LATEST).write_bytes(content)
    with pytest.raises(CheckpointError, match="cannot read the training checkpoint .*latest.pt"):
        learn(tmp_path, "loop.steps=1", resume=True)


def test_another_torch_file_is_no_checkpoint(tmp_path: Path):
    torch.save({"weights": torch.zeros(1)}, tmp_path / LATEST)
    with pytest.raises(CheckpointError, match="no training checkpoint"):
        learn(tmp_path, "loop.steps=1", resume=True)


def test_an_error_while_a_batch_is_made_arrives(tmp_path: Path):
    class Broken(Toy):
        def batch(self, draw: Draw) -> Scene:
            if draw.step == 2:
                raise InputError("picture seven is broken")
            return Toy.batch(self, draw)

    with pytest.raises(InputError, match="picture seven"):
        learn(tmp_path, "loop.steps=5", task=Broken())


def test_draws_are_independent_and_repeatable():
    draw = Draw(1, 2, 3)
    numbers = [draw.generator(0), Draw(1, 2, 3).generator(0), draw.generator(1), Draw(1, 3, 2).generator(0)]
    first, again, other, elsewhere = (rng.integers(1 << 60) for rng in numbers)
    assert first == again
    assert len({int(first), int(other), int(elsewhere)}) == 3


def test_batches_of_any_shape_are_moved():
    from dataclasses import dataclass

    @dataclass(frozen=True)
    class Box:
        corner: Tensor
        name: str

    batch = [Box(torch.ones(2), "a"), {"x": (torch.zeros(1), None)}, Toy().batch(Draw(0, 0, 0))]
    moved = to_device(batch, torch.device("meta"))
    assert moved[0].corner.device.type == moved[1]["x"][0].device.type == "meta"
    assert moved[2].prompts.points_BPK2.device.type == "meta"
    assert (moved[0].name, moved[1]["x"][1], type(moved[2])) == ("a", None, Scene)


def test_a_line_that_a_crash_cut_off_is_dropped(tmp_path: Path):
    path = tmp_path / "log.csv"
    for step in (5, 10, 15):
        append_row(path, {"step": step, "loss": np.float64(0.5)})
    with path.open("a") as file:
        file.write("2")
    drop_rows_after(path, 12)
    assert path.read_text().splitlines() == ["step,loss", "5,0.5", "10,0.5"]
    drop_rows_after(path, 1)
    assert not path.exists()
