"""A report as a picture of bars, drawn with Pillow, which is here anyway."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from PIL import Image, ImageDraw, ImageFont

from maskwright.measure.claims import claim_of
from maskwright.measure.results import LEVELS, STAGES, TASKS, Report
from maskwright.measure.tables import LEVEL_TITLES

Colour = tuple[int, int, int]
PAPER: Colour = (255, 255, 255)
INK: Colour = (40, 40, 40)
PALE: Colour = (120, 120, 120)
CLAIM: Colour = (176, 176, 176)
OURS: tuple[Colour, ...] = ((31, 119, 180), (23, 88, 134), (14, 56, 87))
"""By level."""
OTHERS: Colour = (214, 137, 64)
STAGE_COLOURS: tuple[Colour, ...] = (
    (158, 202, 225),
    (107, 174, 214),
    (33, 113, 181),
    (116, 196, 118),
    (253, 141, 60),
    (158, 154, 200),
    (250, 200, 100),
    (199, 199, 199),
    (225, 225, 225),
)
_WIDTH, _LEFT, _RIGHT, _BAR, _GAP, _MARGIN = 1100, 430, 110, 20, 6, 24


class Part(NamedTuple):
    """A piece of a bar."""

    value: float
    colour: Colour


class Bar(NamedTuple):
    """One line of a panel."""

    label: str
    parts: Sequence[Part]
    text: str
    """Beside its end."""


class Panel(NamedTuple):
    """Bars with one scale."""

    title: str
    bars: Sequence[Bar]
    legend: Sequence[tuple[str, Colour]] = ()


def draw(report: Report) -> Image.Image:
    """The chart of a report, as tall as it needs to be."""
    panels = [panel for panel in (_frames(report), *_tasks(report), _profile(report)) if panel.bars]
    foot = f"{report.about['time']}, {report.about['gpu'] or report.about['processor']}"
    height = 2 * _MARGIN + sum(_height(panel) for panel in panels) + _BAR
    canvas = Image.new("RGB", (_WIDTH, height), PAPER)
    pen, top = ImageDraw.Draw(canvas), _MARGIN
    for panel in panels:
        _draw_panel(pen, panel, top)
        top += _height(panel)
    num = report.about["threads"]
    threads = f"{num} thread{'s' * (num > 1)}"
    text = f"{foot}, {threads}, maskwright {report.about['maskwright']}"
    pen.text((_MARGIN, top), text, fill=PALE, font=_font(13))
    return canvas


def _frames(report: Report) -> Panel:
    """Claimed and here, one object."""
    bars = []
    for figure in report.figures:
        if figure.task != "frame" or figure.objects != 1:
            continue
        claim = claim_of(figure.model.partition(" ")[0]) if figure.ours else None
        if claim is not None:
            for name, value in (("claimed, old", claim.eager), ("claimed, compiled", claim.compiled)):
                bars.append(Bar(f"{figure.model}, {name} (A100)", [Part(value, CLAIM)], f"{value:.1f}"))
        for level, colour in zip(LEVELS, OURS, strict=True):
            timing = figure.times.get(level)
            if timing is not None:
                speed = timing.per_second
                part = Part(speed, colour if figure.ours else OTHERS)
                label = f"{figure.model}, {figure.who}, {LEVEL_TITLES[level]}"
                bars.append(Bar(label, [part], f"{speed:.3g}"))
    return Panel("Tracked frames per second, one object (more is better)", bars)


def _tasks(report: Report) -> list[Panel]:
    """Everything else, the pipeline of each in milliseconds, or all from start to end."""
    rest = [figure for figure in report.figures if (figure.task, figure.objects) != ("frame", 1)]
    titles = list(dict.fromkeys(figure.title for figure in rest))
    panels = []
    for title in titles:
        bars = []
        for figure in report.figures:
            timing = figure.times.get("pipeline") or figure.times.get("end_to_end")
            if figure.title == title and timing is not None:
                part = Part(timing.p50, OURS[1] if figure.ours else OTHERS)
                bars.append(Bar(f"{figure.model}, {figure.who}", [part], _duration(timing.p50)))
        level = "" if title == TASKS["start"] else ", pipeline"
        panels.append(Panel(f"{title[0].upper()}{title[1:]}{level} (less is better)", bars))
    return panels


def _profile(report: Report) -> Panel:
    colours = dict(zip(STAGES, STAGE_COLOURS, strict=True))
    bars = []
    for figure in report.figures:
        if figure.stages_ms and figure.ours:
            parts = [
                Part(figure.stages_ms[name], colours[name]) for name in STAGES if name in figure.stages_ms
            ]
            total = sum(part.value for part in parts)
            shares = [Part(part.value / max(total, 1e-9), part.colour) for part in parts]
            bars.append(Bar(f"{figure.model}, {figure.title}", shares, _duration(total)))
    return Panel("Where the time goes (shares)", bars, list(colours.items()))


def _height(panel: Panel) -> int:
    return 34 + len(panel.bars) * (_BAR + _GAP) + (26 if panel.legend else 0) + 16


def _draw_panel(pen: ImageDraw.ImageDraw, panel: Panel, top: int) -> None:
    pen.text((_MARGIN, top), panel.title, fill=INK, font=_font(17))
    scale = (_WIDTH - _LEFT - _RIGHT) / max(1e-9, *(sum(p.value for p in bar.parts) for bar in panel.bars))
    y = top + 34
    for bar in panel.bars:
        label = _shortened(pen, bar.label, _LEFT - _MARGIN - 12)
        pen.text((_LEFT - 8, y + _BAR / 2), label, fill=INK, font=_font(13), anchor="rm")
        x = float(_LEFT)
        for part in bar.parts:
            right = x + part.value * scale
            pen.rectangle((round(x), y, max(round(x), round(right) - 1), y + _BAR - 1), fill=part.colour)
            x = right
        pen.text((x + 6, y + _BAR / 2), bar.text, fill=INK, font=_font(13), anchor="lm")
        y += _BAR + _GAP
    if panel.legend:
        _draw_legend(pen, panel.legend, y)


def _draw_legend(pen: ImageDraw.ImageDraw, legend: Sequence[tuple[str, Colour]], y: int) -> None:
    x = float(_LEFT)
    for name, colour in legend:
        pen.rectangle((x, y + 4, x + 10, y + 14), fill=colour)
        pen.text((x + 14, y + 9), name, fill=INK, font=_font(12), anchor="lm")
        x += 26 + pen.textlength(name, font=_font(12))


def _shortened(pen: ImageDraw.ImageDraw, text: str, most: float) -> str:
    while pen.textlength(text, font=_font(13)) > most and len(text) > 4:
        text = f"{text[:-4]}..."
    return text


def _duration(milliseconds: float) -> str:
    return f"{milliseconds / 1e3:.3g} s" if milliseconds >= 1000 else f"{milliseconds:.3g} ms"


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
