"""The learning curve: every figure of every run has its line, and no two captions overlap."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from maskwright.errors import OutputError
from maskwright.train.curve import draw_curve

SVG = "{http://www.w3.org/2000/svg}"


def run(folder: Path, minutes: int, scores: dict[str, list[float]], losses: list[float]) -> Path:
    """The logs of a run of so many minutes, with values evenly spread over them."""
    folder.mkdir()
    steps = len(next(iter(scores.values())))
    rows = [
        f"{number},{minutes * (number + 1) / steps},"
        + ",".join(str(values[number]) for values in scores.values())
        for number in range(steps)
    ]
    (folder / "scores.csv").write_text("\n".join([f"step,minutes,{','.join(scores)}", *rows]) + "\n")
    rows = [
        f"{number},{minutes * (number + 1) / len(losses)},0.5,{loss}" for number, loss in enumerate(losses)
    ]
    (folder / "log.csv").write_text("\n".join(["step,minutes,picked,loss", *rows]) + "\n")
    return folder


def elements(path: Path, kind: str) -> list[ElementTree.Element]:
    return list(ElementTree.parse(path).getroot().iter(f"{SVG}{kind}"))


def words(path: Path) -> list[str]:
    return [str(one.text) for one in elements(path, "text")]


def lines(path: Path) -> list[list[tuple[float, float]]]:
    """The places of every line, left to right as drawn."""
    return [
        [tuple(map(float, place.split(","))) for place in one.attrib["points"].split()]  # type: ignore[misc]
        for one in elements(path, "polyline")
    ]


def test_every_score_has_a_line_and_a_caption(tmp_path: Path) -> None:
    scores = {"box": [0.5, 0.6, 0.7], "one click": [0.3, 0.4, 0.5], "J&F": [0.6, 0.6, 0.65]}
    target = draw_curve([run(tmp_path / "a", 30, scores, [3.0, 2.0, 1.0])], tmp_path / "curve.svg")
    found = words(target)
    assert {"box 0.700", "one click 0.500", "J&F 0.650", "training loss 1.000", "30 minutes"} <= set(found)
    box, click, both, loss = lines(target)
    assert [len(line) for line in (box, click, both, loss)] == [3, 3, 3, 3]
    assert box[0][1] > box[1][1] > box[2][1]  # upwards is towards 0
    assert click[0][1] > box[0][1] > both[0][1]
    assert loss[0][1] < loss[1][1] < loss[2][1]
    assert len({one.attrib["stroke"] for one in elements(target, "polyline")[:3]}) == 3


def test_runs_follow_each_other_on_one_axis(tmp_path: Path) -> None:
    first = run(tmp_path / "a", 10, {"box": [0.5, 0.6]}, [3.0, 2.0])
    second = run(tmp_path / "b", 30, {"box": [0.6, 0.7], "click": [0.2, 0.4]}, [2.5, 1.0])
    target = draw_curve([first, second], tmp_path / "curve.svg")
    assert "40 minutes" in words(target)
    assert sum(caption.startswith("box") for caption in words(target)) == 1
    before, after, click, *_ = lines(target)
    left, right = 56, 650
    assert [x for x, _ in before] == pytest.approx([left + (right - left) * m / 40 for m in (5, 10)], abs=0.1)
    assert [x for x, _ in after] == pytest.approx([left + (right - left) * m / 40 for m in (25, 40)], abs=0.1)
    assert [x for x, _ in click] == [x for x, _ in after]
    seams = [
        one.attrib["d"] for one in elements(target, "path") if "3 4" in one.attrib.get("stroke-dasharray", "")
    ]
    assert len(seams) == 2  # one in each panel
    assert all(seam.startswith(f"M{before[-1][0]} ") for seam in seams)


def test_captions_do_not_overlap(tmp_path: Path) -> None:
    scores = {f"a very long name of figure number {n}": [n / 20, n / 20 + 0.01] for n in range(15)}
    target = draw_curve([run(tmp_path / "a", 1, scores, [1.0, 2.0])], tmp_path / "curve.svg")
    captions = [one for one in elements(target, "text") if re.search(r" \d\.\d{3}$", str(one.text))]
    assert len(captions) == 16
    heights = sorted(float(one.attrib["y"]) for one in captions)
    assert min(after - before for before, after in itertools.pairwise(heights)) >= 16
    assert all(float(one.attrib["x"]) > 650 and len(str(one.text)) <= 26 for one in captions)
    plots = [y for line in lines(target) for _, y in line]
    view = float(ElementTree.parse(target).getroot().attrib["viewBox"].split()[3])
    assert max(*plots, *heights) < view


def test_figures_of_other_sizes_have_panels_of_their_own(tmp_path: Path) -> None:
    scores = {"box": [0.5, 0.6], "milliseconds": [80, 60], "objects": [71, 71]}
    found = words(draw_curve([run(tmp_path / "a", 1, scores, [1.0, 2.0])], tmp_path / "curve.svg"))
    assert "milliseconds 60.000" in found
    assert not any(caption.startswith("objects") for caption in found)


def test_logs_that_are_short_or_cut_off(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    cut = run(tmp_path / "cut", 2, {"box": [0.5, 0.6]}, [3.0, 2.0])
    (cut / "log.csv").unlink()
    with (cut / "scores.csv").open("a") as file:
        file.write("2,4.0,nan\n3,5")
    target = draw_curve([tmp_path / "empty", cut], tmp_path / "curve.svg")
    assert [len(line) for line in lines(target)] == [2]
    assert "2 minutes" in words(target)
    assert words(draw_curve([], tmp_path / "none.svg")) == []
    one = run(tmp_path / "one", 1, {"box": [0.5]}, [3.0])
    assert len(elements(draw_curve([one], tmp_path / "one.svg"), "circle")) == 1
    with pytest.raises(OutputError, match="does not exist"):
        draw_curve([cut], tmp_path / "nowhere/curve.svg")


def test_thousands_of_steps_are_averaged(tmp_path: Path) -> None:
    losses = [float(number % 2) * 2 + 1 for number in range(5000)]
    folder = run(tmp_path / "a", 60, {"box": [0.5, 0.6]}, losses)
    target = draw_curve([folder], tmp_path / "curve.svg")
    loss = lines(target)[-1]
    assert 200 <= len(loss) <= 400
    assert target.stat().st_size < 20_000
