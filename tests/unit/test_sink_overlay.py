"""The overlay video: pictures, times, sound, and what is left when something goes wrong."""

from __future__ import annotations

import dataclasses
import errno
import os
import signal
import sys
import weakref
from contextlib import contextmanager
from pathlib import Path

import av
import numpy as np
import pytest

from maskwright.errors import InputError, MissingExtraError, OutputError, StateError
from maskwright.io.sinks import OverlayVideo, encode, overlay, soundtrack
from maskwright.io.sinks.timeline import Timeline
from maskwright.pixels.palette import colour
from tracked import SIZE, decoded, heard, make_video, numbers, scene, square, tracked


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@contextmanager
def file_size_limit(size: int):
    """As on a disk that is full after ``size`` bytes."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_frames_arrive_in_their_colours(tmp_path):
    path = tmp_path / "out.mp4"
    objects = {3: square(4, 4, 24), 7: square(36, 20, 20)}
    with OverlayVideo(path, fps=25, labels=False) as sink:
        for index in range(30):
            sink.write(tracked(index, objects))
        assert names(tmp_path) == ["out.partial.mp4"]
    assert names(tmp_path) == ["out.mp4"]
    pictures, times = decoded(path)
    assert numbers(pictures) == [*range(28), 0, 1]
    assert times == pytest.approx([index / 25 for index in range(30)], abs=1e-6)
    assert pictures[0].shape == (*SIZE, 3)
    for number, (y, x) in {3: (16, 16), 7: (30, 46)}.items():
        expected = scene(10)[y, x] * 0.5 + np.array(colour(number)) * 0.5
        assert np.abs(pictures[10][y, x] - expected).max() < 16
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert stream.average_rate == 25
        assert stream.duration * stream.time_base == pytest.approx(30 / 25)
        assert stream.codec_context.colorspace == 1  # BT.709, or players would guess
    head = path.read_bytes()
    assert head.index(b"moov") < head.index(b"mdat")  # the index comes first
    assert b"moof" not in head


def test_an_uneven_rate_stays_uneven(tmp_path):
    path = tmp_path / "out.mp4"
    stamps = [5.0, 5.04, 5.1, 5.5, 5.5, 5.48, 6.2, 7.0]
    with OverlayVideo(path, fps=29.97) as sink:
        for index, stamp in enumerate(stamps):
            sink.write(tracked(100 + index, time=stamp))
    _, times = decoded(path)
    assert times == pytest.approx([0, 0.04, 0.1, 0.5, 0.5, 0.5, 1.2, 2.0], abs=1e-4)
    assert times == sorted(set(times))  # what stood still or went back was mended


def test_times_by_number_and_rate(tmp_path):
    with OverlayVideo(tmp_path / "a.mp4", fps=30000 / 1001) as sink:
        for index in (10, 13, 16, 19):
            sink.write(tracked(index))
    assert decoded(tmp_path / "a.mp4")[1] == [k * 3003 / 30000 for k in range(4)]
    with OverlayVideo(tmp_path / "b.mp4", fps=None) as sink:
        sink.write(tracked(0))
        sink.write(tracked(1))
    assert decoded(tmp_path / "b.mp4")[1] == pytest.approx([0, 1 / 30], abs=1e-5)


def test_a_clock_that_begins_anew(caplog):
    line = Timeline(10)
    ticks = [line.place(index, time) for index, time in enumerate([50.0, 50.1, 3.0, 3.1, 3.2])]
    assert [tick * line.time_base for tick in ticks] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])
    assert "jump back at frame 2" in caplog.text


@pytest.mark.parametrize(("h", "w"), [(33, 47), (34, 47), (1, 1)])
def test_odd_sides_are_padded_by_the_last_pixel(tmp_path, h, w):
    with OverlayVideo(tmp_path / "a.mp4", fps=10) as sink:
        for index in range(3):
            sink.write(tracked(index, {}, size=(h, w)))
    pictures, _ = decoded(tmp_path / "a.mp4")
    assert pictures[0].shape == (h + h % 2, w + w % 2, 3)
    assert np.abs(pictures[0].astype(int) - 20).max() <= 3


def test_labels_and_scores(tmp_path):
    shown = {}
    for name, options in {"bare": {"labels": False}, "number": {}, "score": {"show_scores": True}}.items():
        with OverlayVideo(tmp_path / f"{name}.mp4", fps=10, **options) as sink:
            sink.write(tracked(0, {5: square(60, 40, 60, (120, 160))}, size=(120, 160)))
        shown[name] = decoded(tmp_path / f"{name}.mp4")[0][0].astype(int)
    above = np.s_[22:38, 60:150]
    changed = [np.abs(shown[name][above] - shown["bare"][above]).max(2) > 40 for name in ("number", "score")]
    assert 20 < np.count_nonzero(changed[0]) < np.count_nonzero(changed[1])


@pytest.mark.parametrize(
    ("ending", "audio", "kept"),
    [("mp4", "aac", "aac"), ("ts", "aac", "aac"), ("mkv", "libopus", "opus"), ("avi", "pcm_s16le", "aac")],
)
def test_sound_is_kept(tmp_path, ending, audio, kept):
    source = make_video(tmp_path / f"in.{ending}", audio=audio)
    with OverlayVideo(tmp_path / "out.mp4", fps=10, audio_from=source) as sink:
        for index in range(20):
            sink.write(tracked(index))
    codec, begin, end, length = heard(tmp_path / "out.mp4")
    assert codec == kept
    assert (begin, end) == pytest.approx((1.0, 1.2), abs=0.015)
    assert length == pytest.approx(2.0, abs=0.06)
    pictures, times = decoded(tmp_path / "out.mp4")
    assert numbers(pictures) == list(range(20))
    assert times[0] == 0


@pytest.mark.parametrize("audio", ["aac", "pcm_s16le"])
def test_sound_of_a_part(tmp_path, audio):
    source = make_video(tmp_path / "in.mov", audio=audio, seconds=3)
    with OverlayVideo(tmp_path / "out.mp4", fps=10, audio_from=str(source)) as sink:
        for index in range(7, 17):
            sink.write(tracked(index, time=index / 10))
    _, begin, end, length = heard(tmp_path / "out.mp4")
    assert (begin, end) == pytest.approx((0.3, 0.5), abs=0.015)
    assert length == pytest.approx(1.0, abs=0.06)
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert float(container.duration / av.time_base) == pytest.approx(1.0, abs=0.06)


def test_a_source_without_sound(tmp_path):
    source = make_video(tmp_path / "in.mp4", audio=None)
    with OverlayVideo(tmp_path / "out.mp4", fps=10, audio_from=source) as sink:
        sink.write(tracked(0))
    assert heard(tmp_path / "out.mp4") is None


def test_sound_that_vanishes_does_not_cost_the_picture(tmp_path, caplog):
    source = make_video(tmp_path / "in.mp4")
    with OverlayVideo(tmp_path / "out.mp4", fps=10, audio_from=source) as sink:
        sink.write(tracked(0))
        source.unlink()
    assert numbers(decoded(tmp_path / "out.mp4")[0]) == [0]
    assert "cannot be read any more" in caplog.text


def test_damaged_sound_does_not_cost_the_picture(tmp_path):
    source = make_video(tmp_path / "in.mkv", audio="pcm_s16le")
    data = bytearray(source.read_bytes())
    data[len(data) // 2 :] = bytes(len(data) - len(data) // 2)
    source.write_bytes(data)
    with OverlayVideo(tmp_path / "out.mp4", fps=10, audio_from=source) as sink:
        for index in range(20):
            sink.write(tracked(index))
    assert numbers(decoded(tmp_path / "out.mp4")[0]) == list(range(20))
    assert 0 < heard(tmp_path / "out.mp4")[3] < 2


def test_sound_that_the_file_refuses_does_not_cost_the_picture(tmp_path, monkeypatch, caplog):
    source = make_video(tmp_path / "in.avi", audio="adpcm_ms")
    monkeypatch.setattr(soundtrack, "_COPIED", {"adpcm_ms"})
    with OverlayVideo(tmp_path / "out.mp4", fps=10, audio_from=source) as sink:
        sink.write(tracked(0))
    assert numbers(decoded(tmp_path / "out.mp4")[0]) == [0]
    assert heard(tmp_path / "out.mp4") is None
    assert "stays silent" in caplog.text


def test_impossible_wishes(tmp_path):
    video = make_video(tmp_path / "in.mp4", seconds=0.2)
    (tmp_path / "text.mp4").write_text("no video")
    before = names(tmp_path)
    for words, target, options in (
        ("end the name .*out.avi in .mp4", "out.avi", {}),
        ("alpha is 2", "out.mp4", {"alpha": 2}),
        ("fps is 0", "out.mp4", {"fps": 0}),
        ("fps is nan", "out.mp4", {"fps": float("nan")}),
        (
            "cannot take the sound of .*none.mp4: No such file",
            "out.mp4",
            {"audio_from": tmp_path / "none.mp4"},
        ),
        (
            "cannot take the sound of .*text.mp4: Invalid data",
            "out.mp4",
            {"audio_from": tmp_path / "text.mp4"},
        ),
        ("is the video that is read", "in.mp4", {"audio_from": video}),
    ):
        with pytest.raises(InputError, match=words):
            OverlayVideo(tmp_path / target, **{"fps": 10, **options})
    assert names(tmp_path) == before


def test_impossible_places(tmp_path):
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "old.mp4").write_bytes(b"old")
    (tmp_path / "cut.partial.mp4").write_bytes(b"of a killed run")
    for words, target in (
        ("its folder does not exist", "missing/out.mp4"),
        ("it is a folder", "folder.mp4"),
        ("old.mp4 exists already", "old.mp4"),
        ("cut.partial.mp4 exists already", "cut.mp4"),
    ):
        with pytest.raises(OutputError, match=words) as caught:
            OverlayVideo(tmp_path / target, fps=10, overwrite=False)
        assert "\n" not in str(caught.value)
    assert names(tmp_path) == ["cut.partial.mp4", "folder.mp4", "old.mp4"]
    assert (tmp_path / "old.mp4").read_bytes() == b"old"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc, where even root cannot write")
def test_no_permission():
    with pytest.raises(OutputError, match="cannot write /proc/out.mp4"):
        OverlayVideo("/proc/out.mp4", fps=10)


def test_the_old_video_stays_until_the_new_one_is_whole(tmp_path):
    path = tmp_path / "out.mp4"
    path.write_bytes(b"old")
    with OverlayVideo(path, fps=10) as sink:
        sink.write(tracked(0))
        assert path.read_bytes() == b"old"
    assert numbers(decoded(path)[0]) == [0]


def test_odd_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a:b.mp4", "größe %d.MP4", "-x.mp4", "a.b.mp4"):
        with OverlayVideo(name, fps=10) as sink:
            sink.write(tracked(0))
        assert numbers(decoded(tmp_path / name)[0]) == [0]
    assert len(names(tmp_path)) == 4


def test_frames_that_do_not_fit(tmp_path):
    with OverlayVideo(tmp_path / "out.mp4", fps=10) as sink:
        sink.write(tracked(5))
        with pytest.raises(InputError, match=r"frame 4 came after frame 5.* write a log"):
            sink.write(tracked(4))
        with pytest.raises(InputError, match="frame 5 came after frame 5"):
            sink.write(tracked(5))
        with pytest.raises(InputError, match="frame 6 is 20 x 10, but .* began with 64 x 48"):
            sink.write(tracked(6, {}, size=(10, 20)))
        with pytest.raises(InputError, match="frame 6 carries no picture"):
            sink.write(tracked(6, image=False))
        sink.write(tracked(6))
    assert numbers(decoded(tmp_path / "out.mp4")[0]) == [5, 6]
    sink.close()
    sink.abandon()
    with pytest.raises(StateError, match="closed already"):
        sink.write(tracked(7))
    assert names(tmp_path) == ["out.mp4"]


def test_nothing_written(tmp_path, caplog):
    with OverlayVideo(tmp_path / "a.mp4", fps=10):
        pass
    assert "no frame was written" in caplog.text
    with pytest.raises(KeyError), OverlayVideo(tmp_path / "b.mp4", fps=10):
        raise KeyError
    assert names(tmp_path) == []


def test_an_error_keeps_every_frame_so_far(tmp_path):
    with pytest.raises(ZeroDivisionError), OverlayVideo(tmp_path / "out.mp4", fps=10) as sink:
        for index in range(7):
            sink.write(tracked(index))
        raise ZeroDivisionError
    assert names(tmp_path) == ["out.partial.mp4"]
    pictures, times = decoded(tmp_path / "out.partial.mp4")
    assert numbers(pictures) == list(range(7))
    assert times == pytest.approx([index / 10 for index in range(7)])


def noisy(index):
    frame = tracked(index, {}, size=(96, 128))
    frame.image[:-4] = np.random.default_rng(index).integers(0, 255, (92, 128, 3), np.uint8)
    return frame


def test_full_disk_while_writing(tmp_path, caplog):
    with (
        pytest.raises(OutputError, match="out.partial.mp4: ") as caught,
        file_size_limit(200_000),
        OverlayVideo(tmp_path / "out.mp4", fps=10) as sink,
    ):
        for index in range(200):
            sink.write(noisy(index))
    assert caught.value.errno in (errno.EFBIG, errno.ENOSPC)
    assert names(tmp_path) == ["out.partial.mp4"]
    pictures, _ = decoded(tmp_path / "out.partial.mp4")
    assert len(pictures) >= 5
    assert "what was finished before is in it" in caplog.text


def test_full_disk_while_finishing(tmp_path, monkeypatch):
    def no_room(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    sink = OverlayVideo(tmp_path / "out.mp4", fps=10)
    for index in range(30):
        sink.write(tracked(index))
    monkeypatch.setattr(os, "fsync", no_room)
    words = r"out.mp4: the disk is full.*; the video without sound is in .*out.partial.mp4"
    with pytest.raises(OutputError, match=words) as caught:
        sink.close()
    assert caught.value.errno == errno.ENOSPC
    assert names(tmp_path) == ["out.partial.mp4"]
    assert numbers(decoded(tmp_path / "out.partial.mp4")[0]) == [*range(28), 0, 1]


def test_a_build_without_the_encoder(tmp_path, monkeypatch):
    lacking = dataclasses.replace(encode.H264, codec="libnone")
    monkeypatch.setattr(overlay, "H264", lacking)
    with pytest.raises(MissingExtraError, match="lacks the encoder libnone"):
        OverlayVideo(tmp_path / "out.mp4", fps=10)
    assert names(tmp_path) == []


def test_without_av(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingExtraError, match=r'pip install "maskwright\[video\]"'):
        OverlayVideo(tmp_path / "out.mp4", fps=10)


def test_written_frames_are_let_go(tmp_path):
    with OverlayVideo(tmp_path / "out.mp4", fps=10) as sink:
        alive = []
        for index in range(30):
            frame = tracked(index)
            alive.append(weakref.ref(frame))
            sink.write(frame)
        del frame
        assert not any(reference() for reference in alive)
