"""Video files: every way of reading gives the same frames under the same numbers, whatever is wrong."""

from __future__ import annotations

import gc
import logging
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from clips import H264, make_clip, make_sound, picture, spoil
from maskwright.errors import InputError, MissingExtraError, OutputError, SourceError, StateError
from maskwright.io.sources import Source, open_source
from maskwright.io.sources import video as video_module
from maskwright.io.sources.decoding import Converter, Decoder, hide_password
from maskwright.io.sources.video import VideoSource

UNEVEN = [number * 40 + (number % 5) * 7 for number in range(60)]
CLIPS = {
    "b-frames.mp4": {},
    "uneven.mp4": {"times": UNEVEN},
    "edit-list.mp4": {"shift": -200, "muxing": {"avoid_negative_ts": "disabled", "use_editlist": "1"}},
    "late-start.ts": {"shift": 90_000},
    "open-gop.mkv": {
        "options": {"x264-params": "open-gop=1:bframes=3:keyint=12:scenecut=0", "preset": "veryfast"}
    },
    "vp8.webm": {"codec": "libvpx", "options": {"cpu-used": "16", "deadline": "realtime", "b": "50k"}},
    "old.avi": {
        "codec": "mpeg4",
        "options": {"bf": "2"},
        "time_base": Fraction(1, 25),
        "times": range(60),
    },
    "bare.h264": {},
    "sound.mp4": {"sound": True},
    "sound.mkv": {"sound": True},
}


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Makes each of CLIPS once."""
    folder = tmp_path_factory.mktemp("clips")
    made = {}

    def make(name):
        if name not in made:
            made[name] = make_clip(folder / name, **CLIPS[name])
        return made[name]

    return make


def same(found, expected):
    assert [frame.index for frame in found] == [frame.index for frame in expected]
    for one, other in zip(found, expected, strict=True):
        assert one.time == other.time
        assert np.array_equal(one.image, other.image)


@pytest.mark.parametrize("name", CLIPS)
def test_every_way_of_reading_gives_the_same_frames(clips, name):
    with open_source(clips(name)) as source:
        ahead = list(source.frames())
        length = len(ahead)
        assert [frame.index for frame in ahead] == list(range(length))
        assert length == (55 if name == "edit-list.mp4" else 60)
        assert (source.num_frames, source.exact_length) == (length, True)
        for start in (33, 36, 47, length - 1):
            same(list(source.frames(start, start + 5, 2)), ahead[start : start + 5 : 2])
        same(list(source.frames(3, 9)), ahead[3:9])
        same(list(source.backward(length - 1, 4, 3)), ahead[length - 1 : 3 : -3])
        assert list(source.frames(length)) == []
        assert source.count() == length
        assert source.num_skipped == 0


def test_frames_show_what_was_written_in_order(clips):
    with open_source(clips("b-frames.mp4")) as source:
        grey = [frame.image[2:14, 2:14].mean() for frame in source.frames()]
    assert np.abs(np.array(grey) - np.arange(60) * 4).max() < 6


def test_times_are_those_of_the_file_from_the_first_frame_on(clips):
    with open_source(clips("uneven.mp4")) as source:
        assert [frame.time for frame in source.frames()] == pytest.approx(
            [t / 1000 for t in UNEVEN], abs=1e-3
        )
    with open_source(clips("late-start.ts")) as source:
        assert next(source.frames()).time == 0


@pytest.mark.parametrize("name", ["b-frames.mp4", "open-gop.mkv", "late-start.ts"])
def test_a_start_in_the_middle_is_sought_not_decoded_up_to(clips, name, monkeypatch):
    fed = []
    decode = Decoder._decode

    def counting(self, packet, numbers):
        fed.append(packet)
        return decode(self, packet, numbers)

    with open_source(clips(name)) as source:
        monkeypatch.setattr(Decoder, "_decode", counting)
        assert next(source.frames(50)).index == 50
    assert len(fed) < 30


def test_backwards_memory_is_bounded_and_the_rest_goes_to_disk(tmp_path, monkeypatch):
    path = make_clip(tmp_path / "one-key.mp4", gop=1000)
    spilled = []
    push = video_module.reversed_frames.__globals__["SpillCache"].push
    monkeypatch.setattr(
        "maskwright.io.sources.spill.SpillCache.push",
        lambda self, frame: (spilled.append(frame.index), push(self, frame))[1],
    )
    frame = 64 * 48 * 3
    with VideoSource(path, hold=10 * frame) as source:
        ahead = list(source.frames())
        same(list(source.backward(59)), ahead[::-1])
        assert spilled == list(range(60))
        same(list(source.backward(8)), ahead[8::-1])
        assert len(spilled) == 60  # nine frames fit into memory
    limited = VideoSource(path, hold=10 * frame, spill_limit=20 * frame)
    with limited as source, pytest.raises(OutputError, match="spill_limit"):
        next(source.backward(59))


def test_key_frames_close_together_need_no_disk(clips, monkeypatch):
    monkeypatch.setattr("maskwright.io.sources.spill.SpillCache.__init__", None)
    with VideoSource(clips("b-frames.mp4"), hold=12 * 64 * 48 * 3) as source:
        assert [frame.index for frame in source.backward(59)] == list(range(59, -1, -1))


def test_a_sample_clip_with_sound_is_sought_exactly(shared):
    with open_source(shared / "data/samples/01_dog.mp4") as source:
        assert (source.size, source.num_frames) == ((720, 1280), 289)
        ahead = (one for one in source._pass(0, 252) if one.number == 251)  # its key frames are 0 and 250
        same([next(source.frames(251))], list(source._converted(ahead, 0, 1)))
        assert source.count() == 289


@pytest.mark.parametrize(
    ("rotation", "hflip", "turn"),
    [
        (90, False, lambda image: np.rot90(image)),
        (180, False, lambda image: np.rot90(image, 2)),
        (-90, False, lambda image: np.rot90(image, -1)),
        (0, True, lambda image: image[:, ::-1]),
    ],
)
def test_frames_come_upright(tmp_path, rotation, hflip, turn):
    plain = make_clip(tmp_path / "plain.mp4", 2)
    turned = make_clip(tmp_path / "turned.mp4", 2, rotation=rotation, hflip=hflip)
    with open_source(plain) as source, open_source(turned) as other:
        expected = turn(next(source.frames()).image)
        found = next(other.frames()).image
        assert other.size == expected.shape[:2]
        assert np.array_equal(found, expected)
        assert found.flags.c_contiguous


@pytest.mark.parametrize(
    ("pixels", "codec"), [("yuv420p10le", "libx264"), ("yuv444p", "ffv1"), ("gray", "ffv1")]
)
def test_odd_pixel_formats_become_eight_bit_rgb(tmp_path, pixels, codec):
    options = {"crf": "4", "preset": "veryfast"} if codec == "libx264" else {}
    path = make_clip(tmp_path / "odd.mkv", 3, codec=codec, pixels=pixels, options=options)
    with open_source(path) as source:
        image = next(source.frames()).image
    assert (image.dtype, image.shape) == (np.uint8, (48, 64, 3))
    expected = picture(0).astype(int)
    grey = np.repeat((expected @ [0.299, 0.587, 0.114])[..., None], 3, axis=2)
    assert abs(image.mean() - (grey if pixels == "gray" else expected).mean()) < 4


@pytest.mark.parametrize("pixels", ["yuv420p", "yuv420p10le"])
@pytest.mark.parametrize(
    ("range_", "luma", "expected"), [(1, 16, 0), (1, 126, 128), (1, 235, 255), (2, 0, 0), (2, 255, 255)]
)
def test_colour_range_is_respected(pixels, range_, luma, expected):
    frame = av.VideoFrame(32, 16, pixels)
    for place, plane in enumerate(frame.planes):
        level = luma if place == 0 else 128
        samples = np.full(plane.buffer_size, level, np.uint8)
        deep = np.full(plane.buffer_size // 2, level * 4, np.uint16)
        plane.update((deep if "10" in pixels else samples).tobytes())
    frame.color_range, frame.colorspace = range_, 1
    assert Converter("test").rgb(frame)[4, 4].tolist() == pytest.approx([expected] * 3, abs=1)


def test_a_change_of_size_in_mid_stream_is_passed_on(tmp_path):
    one = make_clip(tmp_path / "one.h264", 5)
    two = make_clip(tmp_path / "two.h264", 5, size_wh=(32, 32))
    one.write_bytes(one.read_bytes() + two.read_bytes())
    with open_source(one) as source:
        sizes = [frame.size for frame in source.frames()]
        assert sizes == [(48, 64)] * 5 + [(32, 32)] * 5
        assert [frame.size for frame in source.backward(9)] == sizes[::-1]


@pytest.mark.parametrize("shift", [0, 100_000])
def test_joined_recordings_are_counted_through(tmp_path, shift):
    one = make_clip(tmp_path / "one.ts", 40, shift=shift)
    one.write_bytes(one.read_bytes() + make_clip(tmp_path / "two.ts", 40).read_bytes())
    with open_source(one) as source:
        ahead = list(source.frames())
        assert [frame.index for frame in ahead] == list(range(80))
        same(list(source.frames(50, 60)), ahead[50:60])
        same(list(source.backward(60, 35)), ahead[60:34:-1])
        assert source.num_skipped == 0


@pytest.mark.parametrize(
    ("packet", "missing"), [(27, 1), (29, 1), (59, 1), (0, 12)], ids=["b-frame", "p-frame", "last", "first"]
)
def test_a_damaged_frame_is_left_out_and_the_others_keep_their_numbers(tmp_path, caplog, packet, missing):
    path = make_clip(tmp_path / "clip.mp4")
    with open_source(path) as source:
        intact = {frame.index: frame for frame in source.frames()}
    number = spoil(path, packet=packet)
    with open_source(path) as source:
        found = {frame.index: frame for frame in source.frames()}
        assert set(intact) - set(found) == set(range(number, number + missing))
        assert source.num_skipped == missing
        assert [frame.index for frame in source.backward(59)] == sorted(found, reverse=True)
        assert source.num_skipped == missing
        assert source.count() == 60
        key = -(-(number + 1) // 12) * 12  # from the next key frame on all is as it was
        for index in range(key, 60):
            assert np.array_equal(found[index].image, intact[index].image)
            assert found[index].time == intact[index].time
    assert [record.message for record in caplog.records] == [
        f"clip.mp4: frame {number} is damaged and left out; more are only counted"
    ]


def test_a_damaged_key_frame_shifts_no_number(tmp_path):
    path = make_clip(tmp_path / "clip.mp4")
    with open_source(path) as source:
        intact = {frame.index: frame.image for frame in source.frames()}
    assert spoil(path, packet=24) == 24
    with open_source(path) as source:
        found = list(source.frames())
        numbers = [frame.index for frame in found]
        assert numbers == sorted(set(numbers))
        assert source.num_skipped == 60 - len(found)
        assert {*range(22), *range(36, 60)} <= set(numbers)
        for frame in found:
            if frame.index < 22 or frame.index >= 36:
                assert np.array_equal(frame.image, intact[frame.index])


def test_stopping_at_a_damaged_frame_names_it_after_all_before_it(tmp_path):
    path = make_clip(tmp_path / "clip.mp4")
    number = spoil(path, packet=29)
    found = []
    with (
        open_source(path, corrupt="stop") as source,
        pytest.raises(SourceError, match=f"frame {number} is damaged"),
    ):
        for frame in source.frames():
            found.append(frame.index)
    assert found == list(range(number))


def test_without_timestamps_every_packet_that_fails_counts_as_a_frame(tmp_path):
    path = make_clip(tmp_path / "clip.h264", options={**H264, "bf": "0"})
    data = bytearray(path.read_bytes())
    places = [at for at in range(len(data)) if data[at : at + 4] == b"\0\0\0\1" and data[at + 4] & 31 == 1]
    data[places[20] + 5 : places[21]] = b"\xff" * (places[21] - places[20] - 5)
    path.write_bytes(data)
    with open_source(path) as source:
        numbers = [frame.index for frame in source.frames()]
    assert numbers == sorted(set(numbers))
    assert len(numbers) in (59, 60)
    assert numbers[-1] == 59


@pytest.mark.parametrize("name", ["cut.mp4", "cut.mkv"])
def test_a_truncated_file_gives_what_is_there_and_a_warning(tmp_path, caplog, name):
    path = make_clip(tmp_path / name, muxing={"movflags": "faststart"} if name.endswith("mp4") else None)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 6 // 10])
    with open_source(path) as source:
        assert source.num_frames == 60
        assert not source.exact_length
        found = [frame.index for frame in source.frames()]
        assert found[:30] == list(range(30))  # after that a frame may lack one that lies behind the cut
        assert 30 <= len(found) < 45
        assert source.exact_length
        assert source.num_frames - len(found) == source.num_skipped <= 1
        list(source.frames())
    assert [r.message for r in caplog.records if "cut off" in r.message] == [
        f"{name} is cut off: it ends after {source.num_frames} of about 60 frames"
    ]
    with open_source(path, corrupt="stop") as source, pytest.raises(SourceError, match=r"damaged|cut off"):
        list(source.frames())


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("missing", "no such video"),
        ("empty", "empty"),
        ("text", "damaged, incomplete or not a video"),
        ("unfinished", "damaged, incomplete or not a video"),
        ("sound", "sound but no video"),
        ("no packets", "no video|no frames"),
        ("all nonsense", "no frame of it can be decoded"),
    ],
)
def test_what_is_no_video_is_refused(tmp_path, content, complaint):
    path = tmp_path / "clip.mp4"
    if content == "empty":
        path.touch()
    elif content == "text":
        path.write_text("no video\n" * 50)
    elif content == "sound":
        make_sound(path)
    elif content == "no packets":
        make_clip(path, 0)
    elif content != "missing":
        make_clip(path, 8)
        if content == "unfinished":
            path.write_bytes(path.read_bytes()[:2000])
        else:
            for packet in range(8):
                spoil(path, packet=packet)
    with pytest.raises(SourceError, match=complaint) as caught:
        open_source(path)
    assert "\n" not in str(caught.value)
    assert "clip.mp4" in str(caught.value)


def test_text_that_ffmpeg_would_draw_is_no_video(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("hello\n" * 50)
    with pytest.raises(SourceError, match="not a video"):
        open_source(path)


def test_a_name_that_looks_like_an_address_or_has_a_percent_is_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("pipe:1.mp4", "clip%03d.mp4", "mit Umlaut ä.mp4"):
        make_clip(tmp_path / name, 3)
        with open_source(name) as source:
            assert (source.name, len(list(source.frames()))) == (name, 3)
    with open_source((tmp_path / "mit Umlaut ä.mp4").as_uri()) as source:
        assert source.name == "mit Umlaut ä.mp4"


def test_ranges_are_checked_before_reading(clips):
    with open_source(clips("b-frames.mp4")) as source:
        for wrong in ({"start": -1}, {"stop": -2}, {"step": 0}, {"start": 1.5}):
            with pytest.raises(InputError, match=next(iter(wrong))):
                source.frames(**wrong)
        with pytest.raises(InputError, match="swap"):
            source.backward(3, 5)
        with pytest.raises(InputError, match="no frame 60; the last one is 59"):
            next(source.backward(60))
    with pytest.raises(InputError, match="'skip' or 'stop'"):
        open_source(clips("b-frames.mp4"), corrupt="ignore")


def test_no_frame_outlives_its_turn(clips):
    gc.collect()
    gc.disable()
    try:
        with open_source(clips("b-frames.mp4")) as source:
            for number, _ in enumerate(source.frames()):
                if number == 5:
                    before = sum(type(each) is av.VideoFrame for each in gc.get_objects())
            after = sum(type(each) is av.VideoFrame for each in gc.get_objects())
    finally:
        gc.enable()
    assert after <= before


def test_two_passes_at_once_do_not_disturb_each_other(clips):
    with open_source(clips("b-frames.mp4")) as source:
        numbers = [(a.index, b.index) for a, b in zip(source.frames(), source.backward(59), strict=True)]
    assert numbers == [(n, 59 - n) for n in range(60)]


def test_closing_ends_passes_and_may_be_repeated(clips):
    source = open_source(clips("b-frames.mp4"))
    assert isinstance(source, Source)
    assert open_source(source) is source
    running = source.frames()
    next(running)
    source.close()
    source.close()
    with pytest.raises(StateError, match="was closed"):
        list(running)
    with pytest.raises(StateError, match="open it again"):
        source.frames()
    assert not source._decoders


def test_no_file_stays_open(clips):
    folder = Path("/proc/self/fd")
    if not folder.is_dir():
        pytest.skip("open files are listed in /proc only on Linux")
    before = len(list(folder.iterdir()))
    with open_source(clips("b-frames.mp4")) as source:
        for _ in range(3):
            next(source.frames(40))
            next(source.backward(40))
    assert len(list(folder.iterdir())) == before


def test_without_pyav_the_extra_is_named(clips, monkeypatch):
    path = clips("b-frames.mp4")
    monkeypatch.setitem(__import__("sys").modules, "av", None)
    with pytest.raises(MissingExtraError, match=r"maskwright\[video\]"):
        open_source(path)


def test_passwords_stay_out_of_messages():
    assert hide_password("rtsp://me:secret@host:554/a@b") == "rtsp://host:554/a@b"


def test_a_healthy_clip_says_nothing(clips, caplog):
    with caplog.at_level(logging.INFO), open_source(clips("edit-list.mp4")) as source:
        list(source.frames())
        list(source.backward(54))
    assert not caplog.records
