"""Folders, lists, arrays, generators and animations as videos."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from clips import make_clip
from maskwright.errors import ImageError, InputError, SourceError, StateError
from maskwright.frames import Frame
from maskwright.io.sources import Source, open_source
from maskwright.io.sources.animation import AnimationSource
from maskwright.io.sources.stills import picture_endings


def plain(grey, size=(6, 8)):
    return np.full((*size, 3), grey, np.uint8)


def greys(frames):
    return [int(frame.image[0, 0, 0]) for frame in frames]


@pytest.fixture
def folder(tmp_path):
    """Pictures of grey 1, 2, 10, whose names sort otherwise, among other things."""
    place = tmp_path / "frames"
    (place / "more").mkdir(parents=True)
    for number in (10, 2, 1):
        Image.fromarray(plain(number)).save(place / f"frame{number}.png")
    Image.fromarray(plain(99)).save(place / ".frame3.png")
    Image.fromarray(plain(98)).save(place / "more" / "frame4.png")
    (place / "notes.txt").write_text("no picture")
    return place


def test_a_folder_is_read_in_natural_order(folder):
    with open_source(folder) as source:
        assert isinstance(source, Source)
        assert (source.name, source.size, source.num_frames, source.fps) == ("frames", (6, 8), 3, None)
        assert source.exact_length
        assert not source.live
        frames = list(source.frames())
        assert greys(frames) == [1, 2, 10]
        assert [(frame.index, frame.time) for frame in frames] == [(0, None), (1, None), (2, None)]
        assert greys(source.frames(1)) == [2, 10]
        assert greys(source.frames(0, 3, 2)) == [1, 10]
        assert greys(source.backward(2)) == [10, 2, 1]
        assert greys(source.backward(2, 1)) == [10, 2]
        assert source.count() == 3
        with pytest.raises(InputError, match="no frame 3; the last one is 2"):
            source.backward(3)
    with pytest.raises(StateError, match="was closed"):
        source.frames()


def test_patterns_lists_and_single_pictures(folder):
    assert greys(open_source(f"{folder}/*.png").frames()) == [1, 2, 10]
    assert greys(open_source(str(folder / "frame[12].png")).frames()) == [1, 2]
    assert greys(open_source(f"{folder.parent}/**/frame*.png").frames()) == [1, 2, 10, 98]
    assert greys(open_source([folder / "frame10.png", str(folder / "frame1.png"), plain(5)]).frames()) == [
        10,
        1,
        5,
    ]
    single = open_source(folder / "frame2.png")
    assert (single.num_frames, greys(single.frames())) == (1, [2])
    assert greys(open_source(Image.fromarray(plain(7))).frames()) == [7]


def test_a_picture_without_an_ending_is_known_by_its_content(folder):
    (folder / "frame2.png").rename(folder / "picture")
    assert greys(open_source(folder / "picture").frames()) == [2]


def test_what_is_not_there_or_empty_is_said(tmp_path, folder):
    (tmp_path / "empty").mkdir()
    for source, complaint in (
        (tmp_path / "empty", "no pictures"),
        (tmp_path / "none", "no such video"),
        (f"{folder}/*.bmp", "no file matches"),
        (f"{folder}/*.t?t", "not a video"),
        ([], "no frames"),
        ([folder / "frame1.png", folder / "frame7.png"], "no such picture: .*frame7"),
        (np.zeros((0, 4, 4, 3), np.uint8), "no frames"),
    ):
        with pytest.raises(SourceError, match=complaint):
            open_source(source)


@pytest.mark.parametrize("source", [None, True, 1.5, b"bytes", {"a": 1}, {1}, object()])
def test_what_has_no_frames_is_refused(source):
    with pytest.raises(InputError, match="pass a path"):
        open_source(source)


def test_several_videos_are_not_one(tmp_path):
    for name in ("a.mp4", "b.mp4"):
        make_clip(tmp_path / name, 2)
    with pytest.raises(SourceError, match="one video at a time"):
        open_source(f"{tmp_path}/*.mp4")
    assert open_source(f"{tmp_path}/a*.mp4").name == "a.mp4"


def test_damaged_pictures_are_skipped_and_counted_or_named(folder, caplog):
    (folder / "frame2.png").write_bytes((folder / "frame2.png").read_bytes()[:45])
    source = open_source(folder)
    assert [frame.index for frame in source.frames()] == [0, 2]
    assert [frame.index for frame in source.backward(2)] == [2, 0]
    assert source.num_skipped == 1
    assert len(caplog.records) == 1
    assert "frame2.png" in caplog.text
    found = []
    with pytest.raises(ImageError, match="frame 1 is damaged.*frame2.png"):
        for frame in open_source(folder, corrupt="stop").frames():
            found.append(frame.index)
    assert found == [0]


def test_a_change_of_size_is_reported_when_it_comes(folder, caplog):
    Image.fromarray(plain(2, (3, 4))).save(folder / "frame2.png")
    frames = open_source(folder).frames()
    assert next(frames).size == (6, 8)
    assert not caplog.records
    assert next(frames).size == (3, 4)
    assert "frame 1 is 4 x 3 pixels, unlike the 8 x 6 before it" in caplog.text


def test_endings_are_those_of_decodable_pictures():
    assert {".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".jp2"} <= picture_endings()
    assert picture_endings().isdisjoint({".mp4", ".mpg", ".pdf", ".eps", ".txt"})


def test_arrays_of_every_kind_become_eight_bit_rgb():
    grey = np.arange(5, dtype=np.uint8)[:, None, None].repeat(4, 1).repeat(6, 2)
    colour = grey[..., None].repeat(3, 3)
    for array in (colour, grey, grey[..., None], torch.from_numpy(colour), grey.astype(np.uint16) * 257):
        source = open_source(array)
        assert (source.name, source.num_frames, source.size) == ("array", 5, (4, 6))
        frames = list(source.frames())
        assert greys(frames) == [0, 1, 2, 3, 4]
        assert all(frame.image.dtype == np.uint8 and frame.image.shape == (4, 6, 3) for frame in frames)
        assert greys(source.backward(4, 0, 2)) == [4, 2, 0]
    assert greys(open_source(colour / np.float32(255)).frames()) == [0, 1, 2, 3, 4]
    assert open_source(colour[2]).num_frames == 1
    frames = list(open_source(colour).frames())
    assert not np.shares_memory(frames[0].image, colour)


def test_a_memory_map_is_read_one_frame_at_a_time(tmp_path):
    stored = np.lib.format.open_memmap(tmp_path / "a.npy", "w+", np.uint8, (3, 4, 4, 3))
    stored[:] = np.arange(3)[:, None, None, None]
    assert greys(open_source(np.load(tmp_path / "a.npy", mmap_mode="r")).backward(2)) == [2, 1, 0]


def test_arrays_that_are_no_video_are_refused():
    with pytest.raises(InputError, match="no video; expected"):
        open_source(np.zeros((4, 4), np.uint8))
    with pytest.raises(ImageError, match="frame 0.*channels first"):
        open_source(np.zeros((2, 3, 8, 8), np.uint8))
    with pytest.raises(ImageError, match="frame 1"):
        list(open_source([plain(1), np.full((4, 4), np.nan)]).frames())


def test_a_generator_is_read_once_and_lazily():
    made = []

    def pictures():
        for number in range(6):
            made.append(number)
            yield plain(number)

    source = open_source(pictures())
    assert (source.name, source.num_frames, source.size, source.exact_length) == (
        "pictures",
        None,
        None,
        False,
    )
    assert source.count() is None
    frames = list(source.frames(1, 4, 2))
    assert [(frame.index, *greys([frame])) for frame in frames] == [(1, 1), (3, 3)]
    assert made == [0, 1, 2, 3]
    with pytest.raises(StateError, match="only once"):
        source.frames()
    with pytest.raises(InputError, match="backwards"):
        source.backward(3)


def test_closing_closes_the_generator():
    closed = []

    def pictures():
        try:
            while True:
                yield plain(1)
        finally:
            closed.append(True)

    with open_source(pictures()) as source:
        next(source.frames())
    assert closed == [True]


def test_an_iterable_that_can_start_anew_can_be_read_again():
    class Pictures:
        def __iter__(self):
            return iter([plain(3), plain(4)])

    source = open_source(Pictures())
    assert greys(source.frames()) == greys(source.frames()) == [3, 4]


def test_frames_keep_their_numbers_and_times():
    frames = [Frame(4, plain(1), 0.5), Frame(9, plain(2), 0.9), Frame(12, plain(3))]
    found = list(open_source(iter(frames)).frames(5))
    assert [(frame.index, frame.time) for frame in found] == [(9, 0.9), (12, None)]
    with pytest.raises(InputError, match="must ascend"):
        list(open_source(iter(frames[::-1])).frames())
    listed = list(open_source(frames).frames())
    assert [(frame.index, frame.time) for frame in listed] == [(0, 0.5), (1, 0.9), (2, None)]


def test_a_bad_item_of_a_generator_is_named():
    def pictures():
        yield plain(1)
        yield "nowhere.png"

    with pytest.raises(ImageError, match="pictures: frame 1: no such picture"):
        list(open_source(pictures()).frames())


def save_animation(path, count=5, **options):
    pictures = [Image.fromarray(plain(40 * number)) for number in range(count)]
    pictures[0].save(path, save_all=True, append_images=pictures[1:], **options)
    return path


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.gif", {"duration": [100, 40, 200, 50, 50]}),
        ("a.png", {"duration": [100, 40, 200, 50, 50]}),
        ("a.webp", {"duration": [100, 40, 200, 50, 50], "lossless": True}),
    ],
)
def test_animations_have_the_times_of_their_frames(tmp_path, name, options):
    source = open_source(save_animation(tmp_path / name, **options))
    assert isinstance(source, AnimationSource)
    assert (source.num_frames, source.size, source.exact_length) == (5, (6, 8), True)
    assert source.fps == pytest.approx(10)
    times = [0, 0.1, 0.14, 0.34, 0.39]
    frames = list(source.frames())
    assert greys(frames) == [0, 40, 80, 120, 160]
    assert [frame.time for frame in frames] == pytest.approx(times)
    later = list(source.frames(1, 5, 2))
    assert greys(later) == [40, 120]
    assert [frame.time for frame in later] == pytest.approx(times[1::2])
    back = list(source.backward(4, 1, 3))
    assert [frame.index for frame in back] == [4, 1]
    assert [frame.time for frame in back] == pytest.approx([0.39, 0.1])


def test_a_stand_in_picture_of_an_animated_png_is_no_frame(tmp_path):
    still = Image.fromarray(plain(250))
    others = [Image.fromarray(plain(grey)) for grey in (10, 20)]
    still.save(tmp_path / "a.png", save_all=True, append_images=others, default_image=True)
    source = open_source(tmp_path / "a.png")
    assert (source.num_frames, greys(source.frames()), greys(source.backward(1))) == (2, [10, 20], [20, 10])


def test_pages_of_a_tiff_are_frames_of_any_depth(tmp_path):
    pages = [Image.fromarray(np.full((5, 7), 257 * 30 * number, np.uint16)) for number in range(4)]
    pages[0].save(tmp_path / "stack.tif", save_all=True, append_images=pages[1:])
    source = open_source(tmp_path / "stack.tif")
    assert (source.num_frames, source.fps, source.size) == (4, None, (5, 7))
    frames = list(source.frames(1))
    assert greys(frames) == [30, 60, 90]
    assert all(frame.time is None and frame.image.dtype == np.uint8 for frame in frames)
    assert greys(source.backward(3)) == [90, 60, 30, 0]


def test_a_damaged_page_is_skipped_and_counted_or_named(tmp_path, caplog):
    noise = [np.random.default_rng(n).integers(0, 255, (16, 16, 3), dtype=np.uint8) for n in range(4)]
    pages = [Image.fromarray(each) for each in noise]
    path = tmp_path / "stack.tif"
    pages[0].save(path, save_all=True, append_images=pages[1:], compression="tiff_adobe_deflate")
    with Image.open(path) as stack:
        stack.seek(2)
        (place,), (size,) = stack.tag_v2[273], stack.tag_v2[279]
    data = bytearray(path.read_bytes())
    data[place : place + size] = b"\xff" * size
    path.write_bytes(data)
    source = open_source(path)
    found = list(source.frames())
    assert [frame.index for frame in found] == [0, 1, 3]
    assert all(np.array_equal(frame.image, noise[frame.index]) for frame in found)
    assert source.num_skipped == 1
    assert "stack.tif: frame 2 is damaged" in caplog.text
    with pytest.raises(ImageError, match=r"stack\.tif: frame 2 is damaged"):
        list(open_source(path, corrupt="stop").frames())


def test_a_truncated_gif_gives_what_is_readable(tmp_path):
    path = save_animation(tmp_path / "a.gif", duration=50)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 3 // 5])
    found = greys(open_source(path).frames())
    assert 2 <= len(found) < 5
    assert found == [0, 40, 80, 120][: len(found)]
