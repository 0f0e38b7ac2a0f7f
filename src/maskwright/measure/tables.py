"""A report as tables: values first, so that a terminal and a Markdown file show the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from maskwright.measure.claims import claim_of
from maskwright.measure.results import LEVELS, STAGES, Figure, Parity, Report, Timing

LEVEL_TITLES = {"model": "model-only", "pipeline": "pipeline", "end_to_end": "end-to-end"}
EXPLANATION = (
    "Model-only: tensors on the device to tensors on the device. Pipeline: decoded RGB in host memory to "
    "masks in host memory. End-to-end: file to masks in a file. Times are medians, 95th percentiles in "
    "brackets. Masks: mean IoU with the reference, 1st percentile in brackets, and the largest difference of "
    "logits as a share of the largest logit; masks without a counterpart count as 0."
)
CLAIMED = (
    "Claimed: one object on an A100, model-only; old as first published (SAM 2, nothing compiled), compiled "
    "as published last (SAM 2.1, everything compiled). Here: one object, on the machine named above."
)

BUSY = 0.6
"""Load per core from which times are doubtful."""


class Table(NamedTuple):
    """One table."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


def tables(report: Report) -> list[Table]:
    """All that have rows."""
    found = [_claims(report), _figures(report), _stages(report)]
    return [table for table in found if table.rows]


def about(report: Report) -> str:
    """Machine, versions and settings, in a line or two."""
    this = report.about
    packages = ", ".join(f"{name} {version}" for name, version in this["packages"].items())
    commit = f" (commit {this['commit']})" if this["commit"] else ""
    load = f", load at the start {this['load'][0]:.1f}" if this["load"] else ""
    where = ", ".join(
        filter(None, (this["gpu"], this["processor"], f"{this['cores']} cores", this["system"]))
    )
    return (
        f"{this['time']}; maskwright {this['maskwright']}{commit}; {where}; {this['threads']} threads{load}; "
        f"Python {this['python']}, {packages}."
    )


def subjects(report: Report) -> list[str]:
    """A line for each model."""
    return [
        f"{one.label}: pictures at {one.image_size} px, video at {one.video_size} px, {one.device}, "
        f"{one.dtype}; photograph {one.photo}; film {one.film}"
        for one in report.subjects
    ]


def notes(report: Report) -> list[str]:
    """What a reader has to know about single figures."""
    random = [one.label for one in report.subjects if one.random_weights]
    lines = [
        f"{label}: its weights are not on this machine. Times of random weights are those of real ones, "
        "except for automatic masks, where noise is more work; masks are noise."
        for label in random
    ]
    lines += [f"{one.model}, {one.title}: {note}" for one in report.figures for note in one.notes if one.ours]
    load, cores = report.about["load"], report.about["cores"]
    if load and cores and load[0] > BUSY * cores:
        lines.append(
            f"Other programs kept the machine busy when this began (load {load[0]:.1f}, {cores} cores): "
            "these times are longer than they would be otherwise."
        )
    if not report.finished:
        lines.append("The run was ended early; this is what was measured until then.")
    return list(dict.fromkeys(lines + report.notes))


def markdown(report: Report, chart: str | None = None) -> str:
    """The whole report; ``chart`` is the address of its picture."""
    lines = ["# maskwright bench", "", about(report), ""]
    lines += [f"- {line}" for line in subjects(report)]
    if chart is not None:
        lines += ["", f"![Chart]({chart})"]
    for table in tables(report):
        lines += ["", f"## {table.title}", "", _line(table.columns), _line(["---"] * len(table.columns))]
        lines += [_line(row) for row in table.rows]
    lines += ["", EXPLANATION, "", CLAIMED] if report.figures else ["", "Nothing was measured."]
    lines += ["", *(f"- {line}" for line in notes(report))] if notes(report) else []
    return "\n".join(lines) + "\n"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


def _claims(report: Report) -> Table:
    rows = []
    for subject in report.subjects:
        claim = claim_of(subject.name)
        here = _tracked(report, subject.label)
        if claim is not None and here is not None:
            speeds = [_per_second(here.times.get(level)) for level in LEVELS]
            rows.append([subject.label, f"{claim.eager:.1f}", f"{claim.compiled:.1f}", *speeds])
    columns = ["model", "claimed (old)", "claimed (compiled)", *(f"here, {LEVEL_TITLES[x]}" for x in LEVELS)]
    return Table("Tracked frames per second: claimed and here", columns, rows)


def _tracked(report: Report, label: str) -> Figure | None:
    """Ours, one object."""
    found = (
        figure
        for figure in report.figures
        if (figure.model, figure.task, figure.objects, figure.ours) == (label, "frame", 1, True)
    )
    return next(found, None)


def _figures(report: Report) -> Table:
    columns = ["model", "task", "by", *(f"{LEVEL_TITLES[level]} (ms)" for level in LEVELS)]
    columns += ["per second", "rounds", "peak (MiB)", "masks"]
    return Table("Figures", columns, [_row(figure, report) for figure in report.figures])


def _row(figure: Figure, report: Report) -> list[str]:
    times = [_time(figure.times.get(level)) for level in LEVELS]
    speed = figure.times.get("pipeline") or figure.times.get("end_to_end")
    peak = "-" if figure.peak_mib is None else f"{figure.peak_mib:,.0f}"
    title = f"{figure.title}, {figure.objects} found" if figure.task == "automask" else figure.title
    rounds = str(max(len(timing.samples_ms) for timing in figure.times.values()))
    row = [figure.model, title, figure.who, *times, _per_second(speed), rounds, peak]
    return [*row, _agreement(figure, report)]


def _agreement(figure: Figure, report: Report) -> str:
    if figure.parity is not None:
        return agreement(figure.parity)
    same = [one for one in report.figures if (one.model, one.task) == (figure.model, figure.task)]
    return "reference" if any(one.parity and one.parity.reference == figure.who for one in same) else "-"


def agreement(parity: Parity) -> str:
    """In a cell."""
    error = "" if parity.logit_error is None else f", logits {parity.logit_error:.1e}"
    empty = f", {parity.empty} of {parity.masks} empty" if parity.empty else ""
    figures = f"IoU {parity.mean_iou:.4f} ({parity.first_percentile_iou:.4f}){error}{empty}"
    return f"{figures}, to {parity.reference}"


def _stages(report: Report) -> Table:
    figures = [one for one in report.figures if one.stages_ms]
    rows = []
    for figure in figures:
        times: list[Any] = [figure.stages_ms.get(stage) for stage in STAGES]
        cells = ["-" if time is None else _milliseconds(time) for time in times]
        rows.append([figure.model, figure.title, figure.who, *cells])
    return Table("Where the time goes (ms, means)", ["model", "task", "by", *STAGES], rows)


def _time(timing: Timing | None) -> str:
    return "-" if timing is None else f"{_milliseconds(timing.p50)} ({_milliseconds(timing.p95)})"


def _milliseconds(value: float) -> str:
    """Three digits, or whole milliseconds."""
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _per_second(timing: Timing | None) -> str:
    return "-" if timing is None else f"{timing.per_second:.3g}"
