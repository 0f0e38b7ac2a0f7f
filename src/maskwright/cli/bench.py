"""``maskwright bench``: how fast the models are on this machine, as tables, JSON, Markdown and a chart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from maskwright.errors import InputError

if TYPE_CHECKING:
    from maskwright.cli.progress import Stage
    from maskwright.measure.plan import Plan
    from maskwright.measure.results import Report

FILES = ("bench.json", "bench.md", "bench.png")
DEFAULT_OUT = Path("maskwright-bench")


@dataclass(frozen=True)
class Request:
    """Everything on the command line."""

    models: str
    image: Path | None
    video: Path | None
    objects: str
    only: str | None
    grid: int
    device: str | None
    dtype: str | None
    image_size: int | None
    threads: int | None
    seconds: float | None
    random_weights: bool
    against: bool
    against_python: Path | None
    out: Path | None
    overwrite: bool
    as_json: bool
    runtime: str | None = None

    def plan(self) -> Plan:
        """What it asks for.

        Raises:
            InputError: something makes no sense.
        """
        from maskwright.measure.plan import PARTS, Plan

        return Plan(
            models=_listed(self.models),
            image=self.image,
            video=self.video,
            parts=PARTS if self.only is None else _listed(self.only),
            objects=_numbers(self.objects),
            grid=self.grid,
            device=self.device,
            dtype=self.dtype,
            image_size=self.image_size,
            runtime=self.runtime,
            threads=self.threads,
            seconds=self.seconds,
            random_weights=self.random_weights,
            against=self.against,
            against_python=self.against_python,
        )


def bench_models(request: Request) -> bool:
    """Measure, write and print; whether it came to its end, rather than to Ctrl-C.

    The files are written anew after each piece of work, so that nothing is lost whatever ends the run.

    Raises:
        InputError: something on the command line makes no sense, or a file cannot be read.
        WeightsError: a model that is not here and cannot be fetched.
        OutputError: the results cannot be written, or are there already.
    """
    from maskwright.cli.progress import Watch
    from maskwright.cli.staging import results_folder
    from maskwright.measure.run import measure, num_pieces
    from maskwright.runtime.cpu.pages import keep_pages

    keep_pages()
    plan = request.plan()
    out = request.out or DEFAULT_OUT
    _check_free(out, overwrite=request.overwrite)
    watch = Watch()
    with results_folder(out) as folder, watch.warnings(), watch.interrupts():
        with watch.stage("measuring", num_pieces(plan), unit="piece") as stage:
            report = measure(
                plan,
                stopping=lambda: watch.stopping,
                changed=lambda report: _progress(report, folder, stage),
                told=stage.show,
            )
        _write(report, folder)
    _print(report, folder, as_json=request.as_json)
    return report.finished


def _listed(text: str) -> Sequence[str]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _numbers(text: str) -> Sequence[int]:
    try:
        return tuple(int(part) for part in _listed(text))
    except ValueError:
        raise InputError(f"--objects is {text!r}; write numbers with commas between, such as 1,4,8") from None


def _check_free(out: Path, *, overwrite: bool) -> None:
    from maskwright.io.files import checked_target

    if out.is_dir():
        for name in FILES:
            checked_target(out / name, overwrite=overwrite)


def _progress(report: Report, folder: Path, stage: Stage) -> None:
    _write(report, folder)
    if not report.finished:
        stage.advance()


def _write(report: Report, folder: Path) -> None:
    import io
    import json

    from maskwright.io.files import write_bytes, write_text
    from maskwright.measure.chart import draw
    from maskwright.measure.tables import markdown

    picture = io.BytesIO()
    draw(report).save(picture, "PNG")
    write_text(folder / FILES[0], json.dumps(report.plain(), indent=1) + "\n")
    write_bytes(folder / FILES[2], picture.getvalue())
    write_text(folder / FILES[1], markdown(report, FILES[2]))


def _print(report: Report, folder: Path, *, as_json: bool) -> None:
    from rich.table import Table

    from maskwright.cli.terminal import print_json, print_line, print_table
    from maskwright.measure.tables import about, notes, subjects, tables

    if as_json:
        print_json(report.plain())
        return
    for line in (about(report), *subjects(report)):
        print_line(line)
    for one in tables(report):
        print_line(f"\n{one.title}")
        table = Table(box=None, pad_edge=False, header_style="bold")
        for number, column in enumerate(one.columns):
            table.add_column(column, justify="left" if number < 3 else "right")
        for row in one.rows:
            table.add_row(*row)
        print_table(table)
    print_line("")
    for line in notes(report):
        print_line(f"note: {line}")
    print_line(f"written: {', '.join(str(folder / name) for name in FILES)}")
