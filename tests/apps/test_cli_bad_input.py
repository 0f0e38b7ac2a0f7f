"""Bad input: one clear line on stderr, exit code 2, nothing left behind."""

from __future__ import annotations

import errno
import os
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.apps.conftest import Run

CLICK = ("--point", "36,44")


def complaint(run: Run, *arguments: object) -> str:
    """The one line on stderr of a run that must fail."""
    outcome = run(*arguments)
    assert outcome.code == 2
    assert outcome.out == ""
    (line,) = outcome.err.splitlines()
    assert line.startswith("error: ")
    return line


def results(folder: Path) -> list[str]:
    """Everything below ``folder`` but the test's own picture."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.name != "scene.png")


def bomb() -> bytes:
    """A PNG of 200,000 x 200,000 pixels in some hundred bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 200_000, 200_000, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def test_missing_photo(run: Run, tmp_path: Path) -> None:
    assert "nowhere.jpg" in complaint(run, "segment", "nowhere.jpg", *CLICK)
    assert results(tmp_path) == []


def test_folder_instead_of_photo(run: Run, tmp_path: Path) -> None:
    (tmp_path / "album").mkdir()
    assert "album" in complaint(run, "segment", "album", *CLICK)


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (lambda photo: b"", "empty"),
        (lambda photo: photo[: len(photo) // 2], "truncated"),
        (lambda photo: b"These are words, not pixels.\n" * 20, "picture"),
        (lambda photo: bomb(), "pixels"),
    ],
    ids=["empty", "truncated", "text", "bomb"],
)
def test_unreadable_photo(
    run: Run, photo: Path, tmp_path: Path, content: Callable[[bytes], bytes], word: str
) -> None:
    bad = tmp_path / "bad.png"
    bad.write_bytes(content(photo.read_bytes()))
    line = complaint(run, "segment", bad, *CLICK)
    assert "bad.png" in line
    assert word in line
    assert results(tmp_path) == ["bad.png"]


@pytest.mark.parametrize(
    ("prompts", "word"),
    [
        ((), "no prompt"),
        (("--point", "500,44"), "outside"),
        (("--point=-1,44"), "outside"),
        (("--box", "10,10,500,60"), "outside"),
        (("--box", "60,10,10,60"), "inverted"),
        (("--box", "10,10,10,60"), "no area"),
        (("--point", "nan,3"), "finite"),
        (("--box", "nan,3,4,5"), "finite"),
        (("--point", "3,4,2"), "label"),
        (("--point", "3,4,1,0"), "has 4 numbers"),
        (("--point", "here"), "cannot be read"),
        (("--box", "1,2,3"), "has 3 numbers, not 4"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_bad_prompt(run: Run, photo: Path, tmp_path: Path, prompts: Any, word: str) -> None:
    prompts = (prompts,) if isinstance(prompts, str) else prompts
    assert word in complaint(run, "segment", photo, *prompts)
    assert results(tmp_path) == []


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (("--model", "nanno"), "did you mean 'nano'?"),
        (("--model", "sam2.1_tinny"), "did you mean 'sam2.1-tiny'?"),
        (("--model", "missing.pt"), "missing.pt"),
        (("--model", "sam2.1-tiny"), "put it at"),
        (("--device", "abacus"), "abacus"),
        (("--dtype", "float12"), "float12"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_bad_model(run: Run, photo: Path, tmp_path: Path, options: Any, word: str) -> None:
    assert word in complaint(run, "segment", photo, *CLICK, *options)
    assert not (tmp_path / "scene-masks").exists()


@pytest.mark.usefixtures("nano_file")
def test_bad_image_size(run: Run, photo: Path, tmp_path: Path) -> None:
    assert "multiple of 32" in complaint(run, "segment", photo, *CLICK, "--image-size", "500")
    assert results(tmp_path) == []


@pytest.mark.usefixtures("fake_load")
def test_bad_clean(run: Run, photo: Path, tmp_path: Path) -> None:
    assert "-3" in complaint(run, "segment", photo, *CLICK, "--clean", "-3")
    assert results(tmp_path) == []


def test_photo_as_model(run: Run, photo: Path, tmp_path: Path) -> None:
    assert "scene.png" in complaint(run, "segment", photo, *CLICK, "--model", photo)
    assert results(tmp_path) == []


def test_unknown_option_and_command(run: Run) -> None:
    assert "maskwright segment --help" in complaint(run, "segment", "--pont", "1,2")
    assert "maskwright --help" in complaint(run, "segmant")
    assert "PHOTO" in complaint(run, "segment")


def test_output_folder_is_a_file(run: Run, photo: Path, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("in the way")
    assert "out" in complaint(run, "segment", photo, *CLICK, "-o", "out")
    assert (tmp_path / "out").read_text() == "in the way"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc is where even root cannot write")
def test_output_folder_is_not_writable(run: Run, photo: Path) -> None:
    assert "/proc/results" in complaint(run, "segment", photo, *CLICK, "-o", "/proc/results")


@pytest.mark.usefixtures("fake_load")
def test_disk_full_leaves_nothing(
    run: Run, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("os.fsync", full)
    assert "disk is full" in complaint(run, "segment", photo, *CLICK, "-o", "out")
    assert results(tmp_path) == []


@pytest.mark.usefixtures("fake_load")
def test_disk_full_keeps_earlier_results(
    run: Run, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("segment", photo, *CLICK, "-o", "out").code == 0
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    with monkeypatch.context() as patch:
        patch.setattr("json.dumps", lambda *_, **__: (_ for _ in ()).throw(OSError(errno.ENOSPC, "full")))
        assert "disk is full" in complaint(run, "segment", photo, "--point", "90,50", "-o", "out")
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before


@pytest.mark.skipif(sys.platform == "win32", reason="limits of file sizes are POSIX")
def test_a_write_that_really_fails_leaves_nothing(photo: Path, tmp_path: Path) -> None:
    script = """
import resource, sys
from maskwright import facade
from maskwright.cli import main
from maskwright.runtime.fake import Fake
facade.load = lambda name, **options: facade.MaskModel(Fake())
resource.setrlimit(resource.RLIMIT_FSIZE, (64, 64))
sys.exit(main(sys.argv[1:]))
"""
    arguments = ["segment", photo, *CLICK, "-o", "out"]
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 2, done.stderr
    (line,) = done.stderr.splitlines()
    assert "larger than the file system allows" in line
    assert results(tmp_path) == []


def test_interrupt_leaves_nothing(
    run: Run, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(name: str, **options: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("maskwright.facade.load", interrupted)
    outcome = run("segment", photo, *CLICK, "-o", "out")
    assert outcome.code == 130
    assert len(outcome.err.splitlines()) == 1
    assert results(tmp_path) == []


def test_a_defect_keeps_its_traceback(run: Run, photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str, **options: Any) -> None:
        raise RuntimeError("a defect")

    monkeypatch.setattr("maskwright.facade.load", broken)
    with pytest.raises(RuntimeError, match="a defect"):
        run("segment", photo, *CLICK, "-o", "out")


def test_convert_refuses_what_is_no_checkpoint(run: Run, photo: Path, tmp_path: Path) -> None:
    assert "scene.png" in complaint(run, "convert", photo, "out.safetensors")
    assert "nowhere.pt" in complaint(run, "convert", "nowhere.pt", "out.safetensors")
    for dtype in ("int8", "fast", "float99"):  # the same on every machine
        said = complaint(run, "convert", photo, "out.safetensors", "--dtype", dtype)
        assert f"weights cannot be stored as {dtype}; use float32, bfloat16 or float16" in said
    assert results(tmp_path) == []
