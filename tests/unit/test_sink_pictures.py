"""Indexed PNGs, transparent cut-outs, and several sinks as one."""

from __future__ import annotations

import sys
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from maskwright.errors import InputError, OutputError, StateError
from maskwright.io.datasets.labelled import read_labels
from maskwright.io.sinks import CutOuts, IndexedPngs, Sink, Sinks
from maskwright.io.sinks.indexed import davis_palette
from tracked import SIZE, scene, square, tracked

BIG, SMALL, APART = square(4, 4, 30), square(10, 10, 12), square(40, 20, 20)


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def with_alpha(path: Path) -> tuple[list[np.ndarray], list[float]]:
    """RGBA pictures and times of a video; VP9 by the one decoder that knows its alpha."""
    pictures, times = [], []
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        vp9 = stream.codec_context.name == "vp9"
        context = av.CodecContext.create("libvpx-vp9", "r") if vp9 else stream.codec_context
        for packet in container.demux(stream):
            for frame in context.decode(packet):
                pictures.append(frame.to_ndarray(format="rgba"))
                times.append(float(frame.pts * stream.time_base))
    return pictures, times


def test_indexed_pngs(tmp_path):
    with IndexedPngs(tmp_path / "new" / "masks") as sink:
        sink.write(tracked(12, {2: SMALL, 9: BIG, 255: APART}))
        sink.write(tracked(3, {2: np.zeros(SIZE, bool)}, image=False))
        sink.write(tracked(123456, {}))
    folder = tmp_path / "new" / "masks"
    assert names(folder) == ["00003.png", "00012.png", "123456.png"]
    labels = read_labels(folder / "00012.png")
    expected = np.zeros(SIZE, int)
    expected[BIG], expected[SMALL], expected[APART] = 9, 2, 255
    np.testing.assert_array_equal(labels, expected)
    assert not read_labels(folder / "00003.png").any()
    with Image.open(folder / "00012.png") as picture:
        assert picture.mode == "P"
        assert picture.getpalette() == davis_palette().ravel().tolist()
    with pytest.raises(StateError):
        sink.write(tracked(4))


def test_the_smaller_object_is_on_top_in_any_order(tmp_path):
    twin = BIG.copy()
    sink = IndexedPngs(tmp_path)
    sink.write(tracked(0, {1: BIG, 2: SMALL}))
    sink.write(tracked(1, {2: SMALL, 1: BIG}))
    sink.write(tracked(2, {5: BIG, 4: twin}))
    labels = [read_labels(tmp_path / f"0000{index}.png") for index in range(3)]
    np.testing.assert_array_equal(labels[0], labels[1])
    assert labels[0][12, 12] == 2
    assert labels[2][12, 12] == 4


def test_the_palette_is_that_of_davis(shared):
    path = next((shared / "data/vos_dev/Annotations").rglob("*.png"))
    with Image.open(path) as picture:
        theirs = np.array(picture.getpalette()).reshape(-1, 3)
    np.testing.assert_array_equal(davis_palette()[: len(theirs)], theirs)


def test_numbers_that_do_not_fit(tmp_path):
    for number in (0, -1, 256):
        with pytest.raises(InputError, match=rf"object {number} does not fit .* 1 to 255"):
            IndexedPngs(tmp_path / "new", ids=[1, number])
        with pytest.raises(InputError, match=f"object {number} does not fit"):
            IndexedPngs(tmp_path).write(tracked(0, {number: BIG}))
    assert names(tmp_path) == []
    assert not (tmp_path / "new").exists()


def test_earlier_pictures(tmp_path):
    IndexedPngs(tmp_path).write(tracked(0, {1: BIG}))
    (tmp_path / "notes.png").write_bytes(b"")
    for kind in (IndexedPngs, CutOuts):
        with pytest.raises(OutputError, match="00000.png exists already"):
            kind(tmp_path, overwrite=False)
    IndexedPngs(tmp_path).write(tracked(0, {2: BIG}))
    assert read_labels(tmp_path / "00000.png").max() == 2
    (tmp_path / "00000.png").unlink()
    sink = IndexedPngs(tmp_path, overwrite=False)
    sink.write(tracked(0))
    with pytest.raises(OutputError, match="00000.png exists already"):
        sink.write(tracked(0))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc, where even root cannot write")
@pytest.mark.parametrize("kind", [IndexedPngs, CutOuts])
def test_folders_that_cannot_be_written_into(tmp_path, kind):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match="it is a file, not a folder"):
        kind(tmp_path / "file")
    with pytest.raises(OutputError, match="cannot write into the folder"):
        kind("/proc/maskwright")


def test_cut_outs_as_pictures(tmp_path):
    with CutOuts(tmp_path) as sink:
        sink.write(tracked(7, {1: BIG, 2: APART}))
        sink.write(tracked(2, {}))
    assert names(tmp_path) == ["00002.png", "00007.png"]
    cut = np.asarray(Image.open(tmp_path / "00007.png"))
    seen = BIG | APART
    np.testing.assert_array_equal(cut[..., 3], np.where(seen, 255, 0))
    np.testing.assert_array_equal(cut[seen][:, :3], scene(7)[seen])
    assert not cut[~seen].any()  # nothing of the background is in the file
    assert not np.asarray(Image.open(tmp_path / "00002.png")).any()
    with pytest.raises(StateError):
        sink.write(tracked(8))


def test_cut_outs_of_each_object_as_pictures(tmp_path):
    with CutOuts(tmp_path, per_object=True) as sink:
        sink.write(tracked(0, {1: BIG}))
        sink.write(tracked(1, {1: BIG, 8: APART}))
        sink.write(tracked(2, {8: APART}))
    expected = ["1/00000.png", "1/00001.png", "1/00002.png", "8/00001.png", "8/00002.png"]
    assert names(tmp_path) == expected
    assert not np.asarray(Image.open(tmp_path / "1/00002.png")).any()
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "8/00001.png"))[..., 3] > 0, APART)


@pytest.mark.parametrize("ending", [".webm", ".mov"])
@pytest.mark.parametrize("size", [(48, 64), (33, 47)])
def test_alpha_survives_in_a_video(tmp_path, ending, size):
    seen = square(8, 8, 20, size)
    path = tmp_path / f"out{ending}"
    stamps = [0.0, 0.1, 0.3, 0.4]
    with CutOuts(path, fps=10) as sink:
        for index, stamp in enumerate(stamps):
            sink.write(tracked(index, {1: seen}, size=size, time=stamp))
        assert names(tmp_path) == [f"out.partial{ending}"]
    assert names(tmp_path) == [path.name]
    pictures, times = with_alpha(path)
    assert times == pytest.approx(stamps, abs=1e-3)
    assert pictures[0].shape == (*size, 4)
    for index, picture in enumerate(pictures):
        np.testing.assert_array_equal(picture[..., 3] > 127, seen)
        assert picture[..., 3][~seen].max() <= 16
        assert picture[..., 3][seen].min() >= 239
        difference = picture[10:26, 10:26, :3].astype(int) - scene(index, size)[10:26, 10:26]
        assert np.abs(difference).max() <= 6


@pytest.mark.parametrize("ending", [".webm", ".mov"])
def test_a_video_for_each_object(tmp_path, ending):
    with CutOuts(tmp_path / f"out{ending}", fps=10, per_object=True) as sink:
        for index in range(6):
            objects = {4: BIG} if index < 3 else {11: APART} if index > 4 else {4: BIG, 11: APART}
            sink.write(tracked(index, objects))
    assert names(tmp_path) == [f"out-11{ending}", f"out-4{ending}"]
    pictures, times = with_alpha(tmp_path / f"out-4{ending}")
    assert times == pytest.approx([index / 10 for index in range(6)], abs=1e-3)
    assert [bool((picture[..., 3] > 127).any()) for picture in pictures] == [True] * 5 + [False]
    pictures, times = with_alpha(tmp_path / f"out-11{ending}")
    assert times == pytest.approx([0, 0.3, 0.4, 0.5], abs=1e-3)  # the first, transparent one is held
    assert [bool((picture[..., 3] > 127).any()) for picture in pictures] == [False, True, True, True]


@pytest.mark.parametrize("ending", [".webm", ".mov"])
def test_an_unfinished_cut_out_is_readable(tmp_path, ending):
    with pytest.raises(KeyError), CutOuts(tmp_path / f"out{ending}", fps=10) as sink:
        for index in range(5):
            sink.write(tracked(index))
        raise KeyError
    assert names(tmp_path) == [f"out.partial{ending}"]
    assert len(with_alpha(tmp_path / f"out.partial{ending}")[0]) == 5


def test_impossible_cut_outs(tmp_path):
    for name in ("out.mp4", "out.GIF", "out.png"):
        with pytest.raises(InputError, match="end the name in .webm or .mov, or name a folder"):
            CutOuts(tmp_path / name)
    (tmp_path / "out-1.mov").write_bytes(b"old")
    sink = CutOuts(tmp_path / "out.mov", fps=10, per_object=True, overwrite=False)
    with pytest.raises(OutputError, match="out-1.mov exists already"):
        sink.write(tracked(0))
    sink.abandon()
    with pytest.raises(OutputError, match="its folder does not exist"):
        CutOuts(tmp_path / "missing" / "out.webm", fps=10)
    with pytest.raises(OutputError, match="its folder does not exist"):
        CutOuts(tmp_path / "missing" / "out.webm", fps=10, per_object=True)
    with pytest.raises(InputError, match="fps is -1"):
        CutOuts(tmp_path / "out.webm", fps=-1, per_object=True)
    with CutOuts(tmp_path / "a.webm", fps=10) as sink, pytest.raises(InputError, match="carries no picture"):
        sink.write(tracked(0, image=False))
    assert names(tmp_path) == ["out-1.mov"]


class Recorder(Sink):
    """Remembers what it was asked to do, and fails at one thing."""

    def __init__(self, fails: str = "") -> None:
        self.calls: list[str] = []
        self.fails = fails

    def _call(self, name: str) -> None:
        self.calls.append(name)
        if name == self.fails:
            raise OutputError(f"no {name}")

    def write(self, frame):
        self._call("write")

    def close(self):
        self._call("close")

    def abandon(self):
        self._call("abandon")


def test_several_sinks():
    sinks = [Recorder(), Recorder()]
    with Sinks(*sinks) as both:
        both.write(tracked(0))
        both.write(tracked(1))
    assert [sink.calls for sink in sinks] == [["write", "write", "close"]] * 2


def test_all_are_closed_even_if_some_fail(caplog):
    sinks = [Recorder(), Recorder("close"), Recorder("close"), Recorder()]
    both = Sinks(*sinks)
    with pytest.raises(OutputError, match="no close"), both:
        both.write(tracked(0))
    assert [sink.calls for sink in sinks] == [["write", "close"]] * 4
    assert caplog.text.count("no close") == 1  # the second one, which is not raised


def test_what_one_fails_to_write_does_not_reach_the_next():
    sinks = [Recorder(), Recorder("write"), Recorder()]
    with pytest.raises(OutputError, match="no write"), Sinks(*sinks) as both:
        both.write(tracked(0))
    assert [sink.calls for sink in sinks] == [["write", "abandon"], ["write", "abandon"], ["abandon"]]
