"""The log: what it holds, what survives a kill, and how it is continued."""

from __future__ import annotations

import errno
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from maskwright.errors import InputError, OutputError, StateError
from maskwright.io.sinks import FrameLog, LogHeader, read_log
from maskwright.io.sinks import log as log_module
from maskwright.pixels import rle
from tracked import SIZE, decoded, numbers, square, tracked

HEADER = LogHeader(
    "street.mp4", (48, 64), 29.97, "nano", "ab12", {"objects": {"1": {"box": [1, 2, 3.5, 4]}}, "stride": 2}
)


def same(one, other):
    assert (one.index, one.ids, one.time, one.prompted) == (
        other.index,
        other.ids,
        other.time,
        other.prompted,
    )
    for name in ("bitmaps", "scores", "object_scores", "boxes", "areas"):
        mine, theirs = getattr(one, name), getattr(other, name)
        np.testing.assert_array_equal(mine, theirs)
        assert mine.dtype == theirs.dtype


def some_frames(count):
    generator = np.random.default_rng(0)
    for index in range(count):
        objects = {1: square(index % 30, 3, 15), 40: generator.random(SIZE) < 0.5, 7: np.zeros(SIZE, bool)}
        yield tracked(index, objects, time=index / 29.97, prompted=frozenset({40} if index == 2 else ()))


def write_log(path, count=5, header=HEADER):
    with FrameLog(path, header) as log:
        for frame in some_frames(count):
            log.write(frame)
    return path


def test_everything_comes_back(tmp_path):
    path = write_log(tmp_path / "a.jsonl")
    header, frames = read_log(path)
    assert header == HEADER
    found = list(frames)
    assert len(found) == 5
    for one, other in zip(found, some_frames(5), strict=True):
        same(one, other)
        assert one.image is None
        assert one.logits.shape == (0, 0, 0)
    assert found[2][1].visible
    assert not found[2][7].visible


def test_any_json_reader_understands_it(tmp_path):
    path = tmp_path / "a.jsonl"
    with FrameLog(path, HEADER) as log:
        log.write(tracked(0, {5: square(10, 20, 8)}, time=0.1))
    header, line = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    assert header["format"] == "maskwright-log"
    assert header["version"] == 1
    assert header["size"] == [48, 64]
    (item,) = line.pop("objects")
    assert line == {"frame": 0, "time": 0.1, "size": [48, 64]}
    code = item.pop("segmentation")
    np.testing.assert_array_equal(rle.decode([code])[0], square(10, 20, 8))
    assert item == {
        "id": 5,
        "visible": True,
        "score": 0.9,
        "object_score": 7.3,
        "bbox": [10, 20, 8, 8],
        "area": 64,
        "prompted": False,
    }


def test_numbers_survive_exactly(tmp_path):
    generator = np.random.default_rng(1)
    values = generator.integers(0, 2**32, 400, dtype=np.uint32).view(np.float32)
    values = np.concatenate([values, np.array([np.nan, np.inf, -0.0, 1e-45, 0.1, 3.4e38], np.float32)])
    objects = {number: np.zeros((2, 2), bool) for number in range(len(values))}
    frame = tracked(0, objects, size=(2, 2), time=0.1 + 0.2)
    frame = type(frame)(**{**vars(frame), "scores": values, "object_scores": values[::-1].copy()})
    with FrameLog(tmp_path / "a.jsonl", HEADER) as log:
        log.write(frame)
    (found,) = read_log(tmp_path / "a.jsonl")[1]
    finite = np.isfinite(values)
    assert found.scores[finite].tobytes() == values[finite].tobytes()
    assert np.isnan(found.scores[~finite]).all()
    assert found.time == 0.1 + 0.2
    assert "NaN" not in (tmp_path / "a.jsonl").read_text()


def test_frames_without_objects_and_headers_without_much(tmp_path):
    header = LogHeader("grö\udcffße", None, None)
    with FrameLog(tmp_path / "a.jsonl", header) as log:
        log.write(tracked(9, {}))
    found, frames = read_log(tmp_path / "a.jsonl")
    assert found == header
    (frame,) = frames
    assert frame.size == SIZE
    assert len(frame) == 0


def test_a_frame_is_in_the_file_at_once(tmp_path):
    path = tmp_path / "a.jsonl"
    log = FrameLog(path, HEADER, sync_seconds=None)
    for index in range(3):
        log.write(tracked(index))
        assert [frame.index for frame in read_log(path)[1]] == list(range(index + 1))
    log.abandon()
    log.close()
    with pytest.raises(StateError, match=r"a.jsonl is closed"):
        log.write(tracked(3))


def test_one_write_for_each_line(tmp_path, monkeypatch):
    pieces = []
    real = os.write
    monkeypatch.setattr(os, "write", lambda file, data: pieces.append(bytes(data)) or real(file, data))
    write_log(tmp_path / "a.jsonl", 4)
    assert len(pieces) == 5
    assert all(piece.count(b"\n") == 1 and piece.endswith(b"\n") for piece in pieces)


@pytest.mark.parametrize(("seconds", "expected"), [(0, 6), (3600, 1), (None, 1)])
def test_how_often_the_disk_is_waited_for(tmp_path, monkeypatch, seconds, expected):
    calls = []
    monkeypatch.setattr(os, "fsync", calls.append)
    with FrameLog(tmp_path / "a.jsonl", HEADER, sync_seconds=seconds) as log:
        for index in range(4):
            log.write(tracked(index))
    assert len(calls) == expected  # with 0 the header and four frames; always the end


def test_resume(tmp_path):
    whole = write_log(tmp_path / "whole.jsonl", 8).read_bytes()
    path = write_log(tmp_path / "a.jsonl", 5)
    for lost in (0, 1, 7, 200):
        path.write_bytes(whole[: len(path.read_bytes()) - lost] if lost else path.read_bytes())
        with FrameLog.resume(path, HEADER) as log:
            kept = 5 if not lost else 4
            assert log.done == frozenset(range(kept))
            assert log.last == kept - 1
            for frame in some_frames(5):
                if frame.index not in log.done:
                    log.write(frame)
    with FrameLog.resume(path, HEADER) as log:
        for frame in some_frames(8):
            if frame.index not in log.done:
                log.write(frame)
    assert path.read_bytes() == whole


def test_a_torn_end_anywhere(tmp_path):
    whole = write_log(tmp_path / "whole.jsonl", 3).read_bytes()
    path = tmp_path / "a.jsonl"
    ends = [place + 1 for place, byte in enumerate(whole) if byte == ord("\n")]
    for size in [
        *range(0, ends[0] + 2, 31),
        *range(ends[0], len(whole), 301),
        *(end - 1 for end in ends),
        *ends,
    ]:
        path.write_bytes(whole[:size])
        complete = sum(end <= size for end in ends[1:])
        if size < ends[0]:
            with pytest.raises(InputError, match="has no complete first line"):
                read_log(path)
        else:
            assert len(list(read_log(path)[1])) == complete
        with FrameLog.resume(path, HEADER) as log:
            assert log.done == frozenset(range(complete))
            assert log.last == (complete - 1 if complete else None)
        assert path.read_bytes() == whole[: ends[complete]]


def test_resume_begins_where_there_is_nothing(tmp_path):
    with FrameLog.resume(tmp_path / "a.jsonl", HEADER) as log:
        assert (log.done, log.last) == (frozenset(), None)
        log.write(tracked(0))
    assert [frame.index for frame in read_log(tmp_path / "a.jsonl")[1]] == [0]


def test_backward_order_and_frames_written_twice(tmp_path):
    with FrameLog(tmp_path / "a.jsonl", HEADER) as log:
        for index in (5, 4, 3, 5):
            log.write(tracked(index))
    with FrameLog.resume(tmp_path / "a.jsonl", HEADER) as log:
        assert (log.done, log.last) == ({3, 4, 5}, 5)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"source": "other.mp4"}, "source was 'street.mp4' and is 'other.mp4' now"),
        ({"size": None}, r"size was \[48, 64\] and is None now"),
        ({"fps": 30.0}, "fps was 29.97 and is 30.0 now"),
        ({"fingerprint": "ff"}, "fingerprint was 'ab12' and is 'ff' now"),
        ({"job": {"objects": {"1": {"box": [1, 2, 3.5, 5]}}, "stride": 2}}, r"box\[3\] was 4 and is 5 now"),
        (
            {"job": {"objects": {"1": {"box": [1, 2]}}, "stride": 2}},
            r"job.objects.1.box was \[1, 2, 3.5, 4\]",
        ),
        ({"job": {"objects": HEADER.job["objects"]}}, "only the log has job.stride = 2"),
        ({"job": {**HEADER.job, "clean": 0}}, "only the new job has job.clean = 0"),
    ],
)
def test_another_job(tmp_path, changed, words):
    path = write_log(tmp_path / "a.jsonl")
    path.write_bytes(path.read_bytes()[:-3])
    before = path.read_bytes()
    with pytest.raises(InputError, match=f"belongs to another job: .*{words}"):
        FrameLog.resume(path, LogHeader(**{**vars(HEADER), **changed}))
    assert path.read_bytes() == before


def test_the_same_job_in_other_words(tmp_path):
    one = LogHeader("a", (1, 2), 25.0, "m", "f", {"points": [(1, 2)], "ids": {1: "x"}})
    other = LogHeader("a", (1, 2), 25, "m", "f", {"ids": {"1": "x"}, "points": ((1, 2),)})
    FrameLog(tmp_path / "a.jsonl", one).close()
    FrameLog.resume(tmp_path / "a.jsonl", other).close()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"notes of mine", "no log of this job"),
        (b"notes\n", "it is not JSON"),
        (b"[1]\n", "not a JSON object"),
        (b'{"format": "coco"}\n', "no log of maskwright"),
        (b'{"format":"maskwright-log","version":2}\n', "newer than 1; update maskwright"),
        (b'{"format":"maskwright-log","version":1,"source":3}\n', "its 'source' is of the wrong kind"),
        (b'{"format":"maskwright-log","version":1,"source":"a"}\n', "its 'model' is missing"),
        (b"\xff\xfe\n", "it is not JSON"),
    ],
)
def test_other_files_are_left_alone(tmp_path, content, words):
    path = tmp_path / "a.jsonl"
    path.write_bytes(content)
    with pytest.raises(InputError, match=words) as caught:
        FrameLog.resume(path, HEADER)
    assert "\n" not in str(caught.value)
    if content.endswith(b"\n"):
        with pytest.raises(InputError, match=words):
            read_log(path)
    with pytest.raises(OutputError, match="exists already"):
        FrameLog(path, HEADER)
    assert path.read_bytes() == content


def change(path, number, old, new):
    lines = path.read_bytes().splitlines(keepends=True)
    assert old in lines[number - 1]
    lines[number - 1] = lines[number - 1].replace(old, new, 1)
    path.write_bytes(b"".join(lines))


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (b'"frame":1', b'"frame":', "not JSON"),
        (b'"frame":1', b'"frame":"1"', "its 'frame' is of the wrong kind"),
        (b'"frame":1', b'"frame":true', "its 'frame' is of the wrong kind"),
        (b'"size":[48,64]', b'"size":[48]', "its 'size' is not a height and a width"),
        (b'"size":[48,64]', b'"size":[48,65]', "a mask in it has another size"),
        (b'"objects":[', b'"objects":[3,', "an object in it is not a JSON object"),
        (b'"visible":true', b'"visible":1', "its 'visible' is of the wrong kind"),
        (b'"score":', b'"scare":', "its 'score' is missing"),
        (b'"bbox":[1,', b'"bbox":[', "its 'bbox' is not four numbers"),
        (b'"counts":', b'"count":', "its 'counts' is missing"),
    ],
)
def test_a_damaged_line_in_the_middle(tmp_path, old, new, words):
    path = write_log(tmp_path / "a.jsonl")
    change(path, 3, old, new)
    before = path.read_bytes()
    frames = read_log(path)[1]
    assert next(frames).index == 0
    with pytest.raises(InputError, match=f"line 3 of the log .*a.jsonl is damaged: .*{words}"):
        next(frames)
    with pytest.raises(InputError, match=f"line 3 of the log .*{words}"):
        FrameLog.resume(path, HEADER)
    assert path.read_bytes() == before


def test_damaged_runs(tmp_path):
    path = write_log(tmp_path / "a.jsonl")
    change(path, 4, b'"counts":"', b'"counts":"0')
    with pytest.raises(InputError, match="line 4 of the log .* not a COCO RLE"):
        list(read_log(path)[1])


def test_impossible_logs(tmp_path):
    with pytest.raises(InputError, match="cannot read the log .*none.jsonl: No such file"):
        read_log(tmp_path / "none.jsonl")
    with pytest.raises(OutputError, match="its folder does not exist"):
        FrameLog(tmp_path / "missing" / "a.jsonl", HEADER)
    with pytest.raises(OutputError, match="it is a folder"):
        FrameLog(tmp_path, HEADER, overwrite=True)
    with pytest.raises(OutputError, match="not a regular file"):
        FrameLog("/dev/null", HEADER, overwrite=True)
    for value in (Path("x"), np.float32(1), float("nan")):
        with pytest.raises(InputError, match="the header of the log cannot be written as JSON"):
            FrameLog(tmp_path / "a.jsonl", LogHeader("a", job={"x": value}))
    assert list(tmp_path.iterdir()) == []


def test_overwriting(tmp_path):
    path = write_log(tmp_path / "a.jsonl")
    with pytest.raises(OutputError, match="exists already"):
        FrameLog(path, HEADER)
    with FrameLog(path, LogHeader("new"), overwrite=True) as log:
        log.write(tracked(3))
    header, frames = read_log(path)
    assert header == LogHeader("new")
    assert [frame.index for frame in frames] == [3]


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX locks")
def test_two_writers(tmp_path):
    path = tmp_path / "a.jsonl"
    with FrameLog(path, HEADER) as log:
        log.write(tracked(0))
        for attempt in (
            lambda: FrameLog(path, HEADER, overwrite=True),
            lambda: FrameLog.resume(path, HEADER),
        ):
            with pytest.raises(OutputError, match="another process is writing"):
                attempt()
        log.write(tracked(1))
    assert [frame.index for frame in read_log(path)[1]] == [0, 1]
    FrameLog.resume(path, HEADER).close()


def test_full_disk(tmp_path):
    resource = pytest.importorskip("resource")
    path = tmp_path / "a.jsonl"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    log = FrameLog(path, HEADER)
    written = 0
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
        with pytest.raises(OutputError, match="cannot write .*a.jsonl: ") as caught, log:
            for frame in some_frames(100):
                log.write(frame)
                written += 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert caught.value.errno == errno.EFBIG
    assert path.stat().st_size <= 20_000
    assert path.read_bytes().endswith(b"\n")  # what the disk took of the last line is cut off
    assert [frame.index for frame in read_log(path)[1]] == list(range(written))
    with FrameLog.resume(path, HEADER) as again:
        assert again.done == frozenset(range(written))
        again.write(tracked(written))
    assert len(list(read_log(path)[1])) == written + 1


def test_errors_of_the_disk_itself(tmp_path, monkeypatch):
    def broken(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    log = FrameLog(tmp_path / "a.jsonl", HEADER)
    log.write(tracked(0))
    monkeypatch.setattr(log_module.os, "fsync", broken)
    with pytest.raises(OutputError, match="the disk is full"):
        log.close()
    monkeypatch.undo()
    log.close()
    assert len(list(read_log(tmp_path / "a.jsonl")[1])) == 1


WRITER = """
import sys
from pathlib import Path
from tracked import tracked
from maskwright.io.sinks import FrameLog, LogHeader, OverlayVideo, Sinks

folder = Path(sys.argv[1])
header = LogHeader("scene", (48, 64), 30.0, "none", "", {"objects": [1]})
with Sinks(OverlayVideo(folder / "out.mp4", fps=30), FrameLog.resume(folder / "out.jsonl", header)) as sinks:
    for index in range(100_000):
        sinks.write(tracked(index))
        print(index, flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_kill_9_loses_nothing_that_was_logged(tmp_path):
    search = os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", WRITER, str(tmp_path)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": search, "OMP_NUM_THREADS": "1"},
        text=True,
    )
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if int(line) >= 120:
                break
        time.sleep(random.uniform(0, 0.1))
    finally:
        process.send_signal(signal.SIGKILL)
        rest, _ = process.communicate(timeout=10)
    reported = int((rest.split("\n")[-2:-1] or ["120"])[0] or 120)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.jsonl", "out.partial.mp4"]

    header, frames = read_log(tmp_path / "out.jsonl")
    logged = [frame.index for frame in frames]
    assert header.source == "scene"
    assert logged == list(range(len(logged)))
    assert reported <= logged[-1] <= reported + 1

    pictures, times = decoded(tmp_path / "out.partial.mp4")
    assert len(logged) - 75 <= len(pictures) <= len(logged) + 1  # a second, and what the encoder holds
    assert numbers(pictures) == [index % 28 for index in range(len(pictures))]
    assert times == pytest.approx([index / 30 for index in range(len(pictures))], abs=1e-4)

    with FrameLog.resume(tmp_path / "out.jsonl", header) as log:
        assert log.done == frozenset(logged)
        log.write(tracked(len(logged)))
    assert len(list(read_log(tmp_path / "out.jsonl")[1])) == len(logged) + 1
