"""Video files through torchcodec: the frames, numbers and errors are those of PyAV.

The tests run with a double of torchcodec's decoder, and once more with torchcodec where that can be loaded.
"""

from __future__ import annotations

import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import torchcodec_double as double
from clips import make_clip, make_sound, spoil
from maskwright.config import PRESETS
from maskwright.errors import InputError, MissingExtraError, SourceError, StateError
from maskwright.facade import MaskModel
from maskwright.frames import DevicePicture, Frame
from maskwright.io.sources import Source, open_source
from maskwright.io.sources.torchcodec import TorchcodecSource
from maskwright.io.sources.video import VideoSource
from maskwright.pixels.preprocess import preprocess
from maskwright.runtime.fake import Fake
from maskwright.track.ahead import ReadyFrame, made_ready, pixels_of
from maskwright.types import Box
from torchcodec_double import install

PIXELS = 64 * 48 * 3


@pytest.fixture
def doubled(monkeypatch: pytest.MonkeyPatch) -> type[double.VideoDecoder]:
    return install(monkeypatch)


@pytest.fixture(params=["double", "torchcodec"])
def either(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The double, or torchcodec itself."""
    if request.param == "double":
        install(monkeypatch)
    else:
        try:
            import torchcodec.decoders  # noqa: F401
        except (ImportError, OSError, RuntimeError) as error:
            pytest.skip(f"torchcodec cannot be loaded: {type(error).__name__}")
    return str(request.param)


def same(found: list[Frame], expected: list[Frame]) -> None:
    assert [frame.index for frame in found] == [frame.index for frame in expected]
    for one, other in zip(found, expected, strict=True):
        assert one.time == other.time
        assert one.image.dtype == np.uint8
        assert one.size == other.size
        # both convert colours with swscale, each with a version of its own
        assert np.abs(one.image.astype(int) - other.image).mean() < 2


@pytest.mark.usefixtures("either")
@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("b-frames.mp4", {}),
        ("uneven.mp4", {"times": [number * 40 + (number % 5) * 7 for number in range(60)]}),
        ("turned.mp4", {"rotation": 90}),
        ("upside-down.mp4", {"rotation": 180}),
        ("sound.mkv", {"sound": True}),
    ],
)
def test_every_way_of_reading_gives_the_frames_of_pyav(
    tmp_path: Path, name: str, how: dict[str, Any]
) -> None:
    path = make_clip(tmp_path / name, **how)
    with VideoSource(path) as plain, open_source(path, decoder="torchcodec") as source:
        expected = list(plain.frames())
        assert isinstance(source, Source)
        assert (source.size, source.fps, source.name) == (plain.size, plain.fps, plain.name)
        assert (source.num_frames, source.exact_length, source.live) == (60, True, False)
        same(list(source.frames()), expected)
        same(list(source.frames(33, 50, 4)), expected[33:50:4])
        same(list(source.backward(59, 4, 3)), expected[59:3:-3])
        assert list(source.frames(60)) == []
        with pytest.raises(InputError, match="no frame 60"):
            source.backward(60)
        with pytest.raises(InputError, match="start=-1"):
            source.frames(-1)
        assert (source.count(), source.num_skipped) == (60, 0)


@pytest.mark.parametrize("packet", [27, 29, 59])
def test_a_damaged_frame_is_left_out_as_with_pyav(
    tmp_path: Path,
    packet: int,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    either: str,
) -> None:
    path = make_clip(tmp_path / "clip.mp4")
    number = spoil(path, packet=packet)
    if either == "double":
        install(monkeypatch, failing={number - 2, number + 1})
    with VideoSource(path) as plain:
        expected = list(plain.frames())
        assert number not in [frame.index for frame in expected]
    caplog.clear()
    with TorchcodecSource(path) as source:
        assert [one.index for one in source.frames()] == [one.index for one in expected]
        assert source.num_skipped == 60 - len(expected)
        for start in (number - 1, number, min(number + 1, 59), 12):
            assert [one.index for one in source.frames(start)] == [
                one.index for one in expected if one.index >= start
            ]
        assert [one.index for one in source.backward(59)] == [one.index for one in reversed(expected)]
        assert source.num_skipped == 60 - len(expected)
    assert [record.message for record in caplog.records] == [
        f"clip.mp4: frame {number} is damaged and left out; more are only counted"
    ]
    seen = []
    with (
        TorchcodecSource(path, corrupt="stop") as source,
        pytest.raises(SourceError, match=f"frame {number} is damaged"),
    ):
        for frame in source.frames():
            seen.append(frame.index)
    assert seen == list(range(number))


@pytest.mark.usefixtures("either")
@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("missing", "no such video"),
        ("empty", "empty"),
        ("text", "damaged, incomplete or not a video"),
        ("sound", "sound but no video"),
        ("mirror", "torchcodec cannot read clip.mp4: .* mirror; use decoder='pyav'"),
    ],
)
def test_what_is_no_video_is_refused_as_by_pyav(tmp_path: Path, content: str, complaint: str) -> None:
    path = tmp_path / "clip.mp4"
    if content == "empty":
        path.touch()
    elif content == "text":
        path.write_text("no video\n" * 50)
    elif content == "sound":
        make_sound(path)
    elif content == "mirror":
        make_clip(path, 2, rotation=90, hflip=True)
    with pytest.raises(SourceError, match=complaint) as caught:
        open_source(path, decoder="torchcodec")
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("either")
@pytest.mark.parametrize("name", ["bare.h264", "old.avi"])
def test_files_without_timestamps_are_left_to_pyav(tmp_path: Path, name: str) -> None:
    codec = "mpeg4" if name.endswith("avi") else "libx264"
    path = make_clip(tmp_path / name, 8, codec=codec, options={"bf": "0"})
    with pytest.raises(SourceError, match=f"torchcodec cannot read {name}: .*use decoder='pyav'"):
        TorchcodecSource(path)


@pytest.mark.usefixtures("either")
def test_a_file_that_is_cut_off_is_told_as_by_pyav(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = make_clip(tmp_path / "cut.mkv")
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    with TorchcodecSource(path) as source:
        found = list(source.frames())
        assert 30 <= len(found) <= source.num_frames < 45
        list(source.frames())
    message = f"cut.mkv is cut off: it ends after {source.num_frames} of about 60 frames"
    assert [record.message for record in caplog.records if "cut off" in record.message] == [message]
    with (
        TorchcodecSource(path, corrupt="stop") as source,
        pytest.raises(SourceError, match=r"cut off|damaged"),
    ):
        list(source.frames())


def test_a_decoder_that_starts_elsewhere_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, first=12)
    with pytest.raises(SourceError, match="frame 0 does not come out where it is; use decoder='pyav'"):
        TorchcodecSource(make_clip(tmp_path / "clip.mp4"))


def test_backwards_memory_is_bounded(tmp_path: Path, doubled: type[double.VideoDecoder]) -> None:
    with TorchcodecSource(make_clip(tmp_path / "clip.mp4"), hold=5 * PIXELS) as source:
        frames = source.backward(59)
        assert next(frames).index == 59
        decoder: Any = source._decoder
        assert decoder.asked[-5:] == [55, 56, 57, 58, 59]
        assert [one.index for one in frames] == list(range(58, -1, -1))


def test_closing_ends_passes_and_may_be_repeated(tmp_path: Path, doubled: type[double.VideoDecoder]) -> None:
    source = TorchcodecSource(make_clip(tmp_path / "clip.mp4", 8))
    frames = source.frames()
    assert next(frames).index == 0
    source.close()
    source.close()
    with pytest.raises(StateError, match="was closed"):
        next(frames)
    with pytest.raises(StateError, match="was closed"):
        source.frames()


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        (0, "a int"),
        (np.zeros((2, 8, 8, 3), np.uint8), "a ndarray"),
        ("camera:0", "camera:0"),
        ("rtsp://somewhere/live", "rtsp://somewhere/live"),
        ("folder", "folder"),
        ("one.png", "one.png"),
    ],
)
def test_only_video_files_are_for_torchcodec(
    source: Any, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    Path("one.png").touch()
    with pytest.raises(InputError, match=f"reads video files, and {kind} is none"):
        open_source(source, decoder="torchcodec")


def test_unknown_decoders_and_devices_are_named(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "clip.mp4", 2)
    with pytest.raises(InputError, match="'ffmpeg' is not known"):
        open_source(path, decoder="ffmpeg")  # type: ignore[arg-type]
    for device in ("mps", "gpu"):
        with pytest.raises(InputError, match=f"{device}.*'cpu' or 'cuda'"):
            open_source(path, decoder="torchcodec", device=device)


def test_without_torchcodec_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_clip(tmp_path / "clip.mp4", 2)
    monkeypatch.setitem(sys.modules, "torchcodec.decoders", None)
    monkeypatch.setitem(sys.modules, "torchcodec", None)
    with pytest.raises(MissingExtraError, match=r"pip install \"maskwright\[torchcodec\]\""):
        open_source(path, decoder="torchcodec")


def test_a_torchcodec_without_ffmpeg_says_what_it_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_clip(tmp_path / "clip.mp4", 2)

    def unloadable(self: Any, source: str, **options: Any) -> None:
        raise RuntimeError("Could not load libtorchcodec. Likely causes:\n  1. FFmpeg is not installed")

    install(monkeypatch, __init__=unloadable)
    with pytest.raises(MissingExtraError, match="needs FFmpeg's shared libraries") as caught:
        open_source(path, decoder="torchcodec")
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_that_is_said(tmp_path: Path, doubled: type[double.VideoDecoder]) -> None:
    with pytest.raises(InputError, match="no NVIDIA GPU .* device='cpu'"):
        open_source(make_clip(tmp_path / "clip.mp4", 2), decoder="torchcodec", device="cuda")


def on_gpu(path: Path, **behaviour: Any) -> TorchcodecSource:
    """A source that takes the double's frames, which are on the host, for those of a GPU."""
    made = type("VideoDecoder", (double.VideoDecoder,), behaviour)
    return TorchcodecSource(path, device="cuda", opener=lambda name, _: made(name, dimension_order="NHWC"))


def test_frames_of_a_gpu_stay_there_until_somebody_looks(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "clip.mp4", 4)
    with on_gpu(path) as source, VideoSource(path) as plain:
        for frame, expected in zip(source.frames(), plain.frames(), strict=True):
            assert isinstance(frame.picture, DevicePicture)
            assert frame.size == expected.size
            assert frame.picture._fetched is None
            assert np.array_equal(frame.image, expected.image)
            assert frame.image is frame.image
            again = pickle.loads(pickle.dumps(frame))
            assert isinstance(again.picture, np.ndarray)
            assert np.array_equal(again.image, expected.image)


def test_frames_of_a_gpu_are_stretched_there_to_the_same_numbers(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "clip.mp4", 1)
    config = PRESETS["sam2.1-tiny"]
    with on_gpu(path) as source:
        frame = next(source.frames())
    gpu, host = torch.device("cuda"), torch.device("cpu")
    assert made_ready(frame, config, gpu) is frame
    there = pixels_of(frame, config, gpu)
    assert isinstance(frame.picture, DevicePicture)
    assert frame.picture._fetched is None
    expected = preprocess(frame.image, config.image_size, config.pixel_mean, config.pixel_std)
    assert torch.equal(there, expected)
    assert torch.equal(pixels_of(frame, config, host), expected)
    ready = made_ready(frame, config, host)
    assert isinstance(ready, ReadyFrame)
    assert torch.equal(ready.pixels_3HW, expected)


def test_a_decoder_that_falls_back_to_the_processor_is_told_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = make_clip(tmp_path / "clip.mp4", 2)
    on_gpu(path, cpu_fallback="Video not supported").close()
    assert [record.message for record in caplog.records] == [
        "clip.mp4: decoded on the processor, not on the GPU: Video not supported"
    ]


def test_a_gpu_that_fails_is_no_damaged_frame(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "clip.mp4", 8)
    with on_gpu(path, failing={5}, error="CUDA out of memory. Tried to allocate 20 MiB") as source:
        frames = source.frames()
        assert [next(frames).index for _ in range(5)] == list(range(5))
        with pytest.raises(SourceError, match="cannot be decoded on cuda: CUDA out of memory"):
            next(frames)
        assert source.num_skipped == 0


@pytest.mark.usefixtures("one_thread")
def test_tracking_takes_frames_of_either_decoder(tmp_path: Path, doubled: type[double.VideoDecoder]) -> None:
    path = make_clip(tmp_path / "clip.mp4", 6)
    model = MaskModel(Fake())
    asked: Any = {1: {2: Box(10, 10, 40, 30)}}
    expected = list(model.track(path, asked, direction="both"))
    found = list(model.track(path, asked, direction="both", decoder="torchcodec"))
    assert doubled.made["device"] == "cpu"
    assert [one.index for one in found] == [one.index for one in expected] == [2, 3, 4, 5, 1, 0]
    for one, other in zip(found, expected, strict=True):
        assert np.array_equal(one.bitmaps, other.bitmaps)
        assert one.image is not None
        assert np.array_equal(one.image, other.image)


def test_a_tracked_frame_fetches_its_picture_when_it_is_asked_for(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "clip.mp4", 2)
    with on_gpu(path) as source, MaskModel(Fake()).session() as session:
        frame = next(source.frames())
        picture = frame.picture
        assert isinstance(picture, DevicePicture)
        tracked = session.push(frame)
        assert picture._fetched is None, "nothing was asked about it yet"
        assert tracked.image is picture.fetched()
