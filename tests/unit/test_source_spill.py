"""Frames on disk: in and out unchanged, within the limit, and nothing left behind."""

from __future__ import annotations

import errno

import numpy as np
import pytest

from maskwright.errors import OutputError
from maskwright.frames import Frame
from maskwright.io.sources.spill import SpillCache, reversed_frames


def frame(number, size=(4, 6)):
    image = np.random.default_rng(number).integers(0, 255, (*size, 3), dtype=np.uint8)
    return Frame(number, image, number / 10)


def test_last_in_first_out_unchanged_and_sizes_may_differ(tmp_path):
    frames = [frame(1), frame(2, (8, 3)), frame(3)]
    with SpillCache(10_000, folder=tmp_path) as cache:
        for each in frames:
            cache.push(each)
        assert cache.pop().index == 3
        cache.push(frames[2])
        for each in reversed(frames):
            back = cache.pop()
            assert (back.index, back.time) == (each.index, each.time)
            assert np.array_equal(back.image, each.image)
        assert len(cache) == 0


def test_an_image_that_is_a_view_is_written_as_it_looks(tmp_path):
    turned = Frame(0, frame(0).image[:, ::-1])
    with SpillCache(folder=tmp_path) as cache:
        cache.push(turned)
        assert np.array_equal(cache.pop().image, turned.image)


def test_the_limit_is_kept_and_named(tmp_path):
    with SpillCache(2 * 72, folder=tmp_path) as cache:
        cache.push(frame(0))
        cache.push(frame(1))
        with pytest.raises(OutputError, match="limit.*raise spill_limit"):
            cache.push(frame(2))
        assert cache.pop().index == 1  # what is in can still be read, and makes room
        cache.push(frame(2))


def test_a_full_disk_is_said_in_one_line(tmp_path, monkeypatch):
    with SpillCache(folder=tmp_path) as cache:

        class Full:
            def seek(self, offset):
                return offset

            def write(self, data):
                raise OSError(errno.ENOSPC, "No space left on device")

            def close(self):
                pass

        real, cache._file = cache._file, Full()
        with pytest.raises(OutputError, match="disk is full") as caught:
            cache.push(frame(0))
        assert caught.value.errno == errno.ENOSPC
        real.close()


def test_a_file_that_may_not_grow_is_an_output_error(tmp_path):
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with SpillCache(folder=tmp_path) as cache:
        cache.push(frame(0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
        try:
            with pytest.raises(OutputError, match="temporary frames"):
                cache.push(frame(1))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_folder_that_is_missing_is_an_output_error(tmp_path):
    with pytest.raises(OutputError, match="folder does not exist"):
        SpillCache(folder=tmp_path / "missing")


@pytest.mark.parametrize("hold", [0, 72 * 3, 10_000])
def test_reversing_in_memory_or_on_disk_is_the_same(tmp_path, monkeypatch, hold):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    frames = [frame(number) for number in range(7)]
    back = list(reversed_frames(iter(frames), hold=hold))
    assert [each.index for each in back] == list(range(6, -1, -1))
    assert all(np.array_equal(each.image, frames[each.index].image) for each in back)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("end", ["error", "early"])
def test_nothing_is_left_after_an_error_or_an_early_stop(tmp_path, monkeypatch, end):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    closed = []
    close = SpillCache.close
    monkeypatch.setattr(SpillCache, "close", lambda self: (closed.append(True), close(self)))

    def frames():
        for number in range(5):
            if end == "error" and number == 4:
                raise ValueError("cannot read")
            yield frame(number)

    back = reversed_frames(frames(), hold=100)
    if end == "error":
        with pytest.raises(ValueError, match="cannot read"):
            next(back)
    else:
        assert next(back).index == 4
        back.close()
    assert closed == [True]
    assert not list(tmp_path.iterdir())
