"""J, F, recall and decay are those of the published implementations, on sequences drawn here.

The numbers were computed once on these very masks: J and F by PyPI's ``vos-benchmark`` 0.1.0 (with
opencv-python-headless 5.0.0.93 and scikit-image 0.26.0), frame by frame and as means of the whole folder;
recall and decay by ``db_statistics`` of ``davis2017-evaluation``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator

import numpy as np
import pytest

from drawn import Drawn
from maskwright.evaluate.followers import Found, Shown
from maskwright.evaluate.statistics import Statistics
from maskwright.evaluate.video import evaluate_videos
from maskwright.pixels.metrics import boundary_f, iou

NUM_FRAMES = 14


def ellipse(shape: tuple[int, int], x: float, y: float, across: float, down: float) -> np.ndarray:
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    return ((columns - x) / across) ** 2 + ((rows - y) / down) ** 2 <= 1


def diamond(shape: tuple[int, int], x: float, y: float, reach: float) -> np.ndarray:
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    return np.abs(columns - x) + np.abs(rows - y) <= reach


def frame(number: int, shape: tuple[int, int] = (90, 120)) -> tuple[np.ndarray, np.ndarray]:
    """Label maps of what is true and of what was found: an ellipse with a hole, and a diamond that leaves."""
    true, found = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
    x, y = 25 + 5.5 * number, 40 + 18 * np.sin(number / 2)
    true[ellipse(shape, x, y, 21, 13) & ~ellipse(shape, x + 4, y, 5, 4)] = 1
    found[ellipse(shape, x + number / 2, y - number / 3, 20, 12 + number / 4)] = 1
    found[::7, 30 : 30 + number] = 1
    true[diamond(shape, 130 - 3 * number, 12 + 5 * number, 17)] = 2
    if number % 5 != 3:
        found[diamond(shape, 129 - 3 * number, 12 + 5.6 * number, 16)] = 2
    if number > 11:
        true[true == 2] = 0
    if number == 12:
        found[found == 2] = 0
    return true, found


PUBLISHED = {
    1: (
        (
            *(0.804598, 0.797052, 0.775219, 0.736565, 0.693387, 0.650626),
            *(0.609779, 0.578014, 0.546081, 0.519967, 0.489209, 0.466042),
        ),
        (
            *(0.803669, 0.747733, 0.660548, 0.594284, 0.514706, 0.349111),
            *(0.269988, 0.211299, 0.194245, 0.163336, 0.143322, 0.140886),
        ),
        Statistics(0.638878, 0.833333, 0.273034),
        Statistics(0.399427, 0.416667, 0.541111),
    ),
    2: (
        (0.9, 0.79558, 0.0, 0.766067, 0.742972, 0.705986, 0.62963, 0.0, 0.535519, 0.511749, 0.478318, 1.0),
        (1.0, 1.0, 0.0, 0.731347, 0.534091, 0.375206, 0.253394, 0.0, 0.190244, 0.088235, 0.090226, 1.0),
        Statistics(0.588818, 0.75, -0.015985),
        Statistics(0.438562, 0.416667, 0.340661),
    ),
}
"""By object: J and F of frames 1 to 12, then their statistics."""
PUBLISHED_MEANS = (51.64214209, 61.38482686, 41.89945731)
"""J&F, J and F of both objects in percent."""


@pytest.mark.parametrize("number", PUBLISHED)
def test_frame_by_frame(number: int) -> None:
    pairs = [[part == number for part in frame(index)] for index in range(1, NUM_FRAMES - 1)]
    regions, boundaries, *_ = PUBLISHED[number]
    assert [float(iou(found, true)) for true, found in pairs] == pytest.approx(regions, abs=1e-6)
    assert [boundary_f(found, true) for true, found in pairs] == pytest.approx(boundaries, abs=1e-6)


@pytest.mark.parametrize(
    ("size", "region", "boundary"),
    [((480, 854), 0.6150148270, 0.0870973657), ((240, 427), 0.6103829161, 0.0879829191)],
)
def test_the_tolerance_grows_with_the_picture(size: tuple[int, int], region: float, boundary: float) -> None:
    h, w = size
    true, found = ellipse(size, w / 2, h / 2, w / 4, h / 3), diamond(size, w / 2 + 6, h / 2 - 4, h / 2.6)
    assert float(iou(found, true)) == pytest.approx(region, abs=1e-9)
    assert boundary_f(found, true) == pytest.approx(boundary, abs=1e-9)


@pytest.mark.parametrize("number", PUBLISHED)
def test_recall_and_decay(number: int) -> None:
    for values, expected in zip(PUBLISHED[number][:2], PUBLISHED[number][2:], strict=True):
        assert dataclasses.astuple(Statistics.of(values)) == pytest.approx(
            dataclasses.astuple(expected), abs=1e-5
        )


def test_a_whole_evaluation() -> None:
    frames = [frame(index) for index in range(NUM_FRAMES)]
    videos = Drawn({"seq": [(np.zeros((*true.shape, 3), np.uint8), true) for true, _ in frames]})

    def follow(shown: Iterable[Shown], num_frames: int) -> Iterator[Found]:
        for (_, found), _ in zip(frames, shown, strict=True):
            yield {number: found == number for number in (1, 2)}

    report = evaluate_videos(follow, videos)
    assert [(row.object, row.frames) for row in report.rows] == [(1, 12), (2, 12)]
    percent = [100 * value for value in (report.both, report.region.mean, report.boundary.mean)]
    assert percent == pytest.approx(PUBLISHED_MEANS, abs=1e-6)


def test_the_quarters_of_decay_share_frames() -> None:
    assert Statistics.of([1, 1, 0, 0]).decay == 1  # first quarter: frames 1 and 2; last: 3 and 4
    assert Statistics.of([0.6]) == Statistics(0.6, 1.0, 0.0)
    assert Statistics.of([0.5, 0.5]).recall == 0
