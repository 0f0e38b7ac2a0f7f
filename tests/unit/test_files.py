"""Writing files whole or not at all."""

from __future__ import annotations

import errno
import os
import stat
import sys
from pathlib import Path

import pytest

from maskwright.errors import MaskwrightError, OutputError
from maskwright.io import files
from maskwright.io.files import atomic_write, writable_folder, write_bytes, write_text


class FullDisk:
    """Stands in for an open file whose disk has room for ten more bytes."""

    room = 10

    def __init__(self, file):
        self.file = file

    def __getattr__(self, name):
        return getattr(self.file, name)

    def __enter__(self):
        return self

    def __exit__(self, *details):
        self.file.close()

    def write(self, data):
        self.file.write(data[: self.room])
        if len(data) > self.room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.room -= len(data)


def fill_disk(monkeypatch):
    real_open = Path.open
    monkeypatch.setattr(Path, "open", lambda path, mode: FullDisk(real_open(path, mode)))


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_content_arrives_and_nothing_else_stays(tmp_path):
    path = tmp_path / "a.bin"
    with atomic_write(path) as file:
        file.write(b"one ")
        assert not path.exists()
        assert Path(file.name).parent == tmp_path
        file.write(b"two")
    assert path.read_bytes() == b"one two"
    assert names(tmp_path) == ["a.bin"]
    assert write_text(path, "drei, vier, fünf") == path
    assert path.read_text(encoding="utf-8") == "drei, vier, fünf"


def write_half(path, failure):
    with atomic_write(path) as file:
        file.write(b"new")
        raise failure


@pytest.mark.parametrize("failure", [KeyboardInterrupt, ZeroDivisionError])
def test_an_error_inside_leaves_the_old_file(tmp_path, failure):
    path = write_bytes(tmp_path / "a.bin", b"old")
    with pytest.raises(failure):
        write_half(path, failure)
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["a.bin"]


@pytest.mark.parametrize("old", [None, b"old"])
def test_full_disk(tmp_path, monkeypatch, old):
    path = tmp_path / "a.bin"
    if old is not None:
        write_bytes(path, old)
    fill_disk(monkeypatch)
    with pytest.raises(OutputError, match=r"cannot write .*a\.bin: the disk is full") as caught:
        write_bytes(path, b"x" * 1000)
    monkeypatch.undo()
    assert caught.value.errno == errno.ENOSPC
    assert names(tmp_path) == ([] if old is None else ["a.bin"])
    assert old is None or path.read_bytes() == old


def test_disk_that_is_full_only_when_flushed(tmp_path, monkeypatch):
    def no_room(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files.os, "fsync", no_room)
    with pytest.raises(OutputError, match="the disk is full"):
        write_bytes(tmp_path / "a.bin", b"data")
    assert names(tmp_path) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, a device without room")
def test_the_real_error_of_a_full_device(tmp_path, monkeypatch):
    real_open = Path.open
    monkeypatch.setattr(Path, "open", lambda path, mode: real_open(Path("/dev/full"), "wb"))
    with pytest.raises(OutputError, match="the disk is full"):
        write_bytes(tmp_path / "a.bin", b"data")
    assert names(tmp_path) == []


def test_no_overwriting(tmp_path):
    path = write_bytes(tmp_path / "a.bin", b"old")
    with pytest.raises(OutputError, match="exists already"):
        write_bytes(path, b"new", overwrite=False)
    assert path.read_bytes() == b"old"
    assert write_bytes(tmp_path / "b.bin", b"new", overwrite=False).read_bytes() == b"new"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("missing/a.bin", "its folder does not exist; create it first"),
        ("file/a.bin", "is a file, not a folder"),
        ("folder", "it is a folder; give the name of a file"),
        ("x" * 300, "the name is too long"),
        ("nul\0byte", "null"),
    ],
)
def test_impossible_names(tmp_path, name, words):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match=words) as caught:
        write_bytes(tmp_path / name, b"data")
    assert isinstance(caught.value, OSError)
    assert isinstance(caught.value, MaskwrightError)
    assert "\n" not in str(caught.value)
    assert names(tmp_path) == ["file", "folder"]


def test_names_almost_too_long_still_work(tmp_path):
    assert write_bytes(tmp_path / ("ü" * 120), b"data").read_bytes() == b"data"


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX devices")
def test_a_device_is_never_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in ("/dev/null", tmp_path / "pipe"):
        with pytest.raises(OutputError, match="not a regular file"):
            write_bytes(path, b"data")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)  # noqa: PTH116


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX links and permissions")
def test_links_are_followed_and_the_umask_counts(tmp_path):
    real, link = tmp_path / "real.bin", tmp_path / "link.bin"
    link.symlink_to(real)
    write_bytes(link, b"data")
    assert link.is_symlink()
    assert real.read_bytes() == b"data"
    before = os.umask(0o027)
    try:
        assert stat.S_IMODE(write_bytes(tmp_path / "masked", b"").stat().st_mode) == 0o640
    finally:
        os.umask(before)


def test_writable_folder_makes_it(tmp_path):
    folder = writable_folder(str(tmp_path / "a" / "b"))
    assert folder == tmp_path / "a" / "b"
    assert names(folder) == []
    assert writable_folder(folder) == folder


def test_folder_that_is_a_file(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match="it is a file, not a folder"):
        writable_folder(tmp_path / "file")
    with pytest.raises(OutputError, match="is a file, not a folder"):
        writable_folder(tmp_path / "file" / "inside")


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (errno.EACCES, "permission denied"),
        (errno.EROFS, "read-only"),
        (errno.ENOSPC, "the disk is full"),
        (errno.EIO, os.strerror(errno.EIO)),
    ],
)
def test_folder_that_cannot_be_written_into(tmp_path, monkeypatch, code, words):
    def refuse(*_args, **_kwargs):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(OutputError, match=words):
        writable_folder(tmp_path)
    with pytest.raises(OutputError, match=words):
        write_bytes(tmp_path / "a.bin", b"data")
    assert names(tmp_path) == []


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc, where even root cannot write")
def test_a_really_unwritable_folder():
    with pytest.raises(OutputError, match="cannot write into the folder /proc"):
        writable_folder("/proc/maskwright")


def test_a_writer_by_name_does_not_change_the_permissions(tmp_path: Path) -> None:
    plain, written = tmp_path / "plain", tmp_path / "written"
    plain.touch()
    with atomic_write(written) as file:
        other = tmp_path / "other"
        other.write_bytes(b"content")
        other.chmod(0o600)
        other.replace(file.name)
    assert written.read_bytes() == b"content"
    assert written.stat().st_mode == plain.stat().st_mode
