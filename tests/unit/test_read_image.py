"""Pictures from everywhere, and what is said about everything that is none."""

from __future__ import annotations

import contextlib
import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from maskwright.errors import ImageError, InputError
from maskwright.io import images
from maskwright.io.images import read_image, write_image
from maskwright.mask_model import MaskModel
from maskwright.runtime.fake import Fake

MARKED = np.zeros((4, 6, 3), np.uint8)
"""Higher than wide turned; a red corner at the top left, blue at the top right."""
MARKED[0, 0] = (255, 0, 0)
MARKED[0, 5] = (0, 0, 255)


def encoded(picture: Image.Image, kind: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def png_claiming(width: int, height: int) -> bytes:
    """The first bytes of a PNG that says it is that large."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 100))


def test_every_kind_of_source_gives_the_same_picture(tmp_path, picture):
    path = tmp_path / "scene.png"
    Image.fromarray(picture).save(path)
    data = path.read_bytes()
    with path.open("rb") as file, Image.open(path) as opened:
        sources = [
            path,
            str(path),
            data,
            bytearray(data),
            memoryview(data),
            io.BytesIO(data),
            file,
            opened,
            picture,
            torch.from_numpy(picture.copy()),
        ]
        for source in sources:
            image = read_image(source)
            assert image.dtype == np.uint8
            assert np.array_equal(image, picture)


def test_the_result_is_never_the_memory_of_the_caller(picture):
    frame = picture.copy()
    for source in (frame, frame[..., :3], torch.from_numpy(frame), frame.astype(np.float32) / 255):
        image = read_image(source)
        assert not np.shares_memory(image, np.asarray(source))
        assert image.flags.writeable


def test_unless_no_copy_is_asked_for(picture):
    assert np.shares_memory(read_image(picture, copy=False), picture)
    rgba = np.dstack((picture, picture[..., :1]))
    assert np.shares_memory(read_image(rgba, copy=False), rgba)
    np.testing.assert_array_equal(read_image(rgba, copy=False), picture)
    searched = MaskModel(Fake()).automask(picture, points_per_side=2).image
    assert np.shares_memory(searched, picture)


def upright_versions():
    """A picture stored in each of the eight EXIF orientations, so that turned upright all are MARKED."""
    turns = {
        1: MARKED,
        2: MARKED[:, ::-1],
        3: MARKED[::-1, ::-1],
        4: MARKED[::-1],
        5: MARKED.transpose(1, 0, 2),
        6: np.rot90(MARKED, 1),
        7: MARKED[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(MARKED, -1),
    }
    return turns.items()


@pytest.mark.parametrize(("orientation", "stored"), upright_versions())
def test_exif_orientation(orientation, stored):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(Image.fromarray(np.ascontiguousarray(stored)), exif=exif)
    assert np.array_equal(read_image(data), MARKED)
    assert np.array_equal(read_image(Image.open(io.BytesIO(data))), MARKED)


def test_broken_exif_does_not_hide_the_picture(picture):
    data = encoded(Image.fromarray(picture), exif=b"Exif\0\0II*\0\xff\xff\xff\xffrubbish")
    assert np.array_equal(read_image(data), picture)


def grey_ramp(dtype):
    return np.linspace(0, np.iinfo(dtype).max, 48).astype(dtype).reshape(6, 8)


def test_sixteen_bit_png_keeps_its_depth():
    samples = grey_ramp(np.uint16)
    for kind in ("PNG", "TIFF"):
        image = read_image(encoded(Image.fromarray(samples), kind))
        assert image.dtype == np.float32
        assert image.shape == (6, 8, 3)
        assert np.allclose(image[..., 1], samples / 65535, atol=1e-7)


def test_big_endian_tiff():
    samples = grey_ramp(np.uint16)
    picture = Image.frombytes("I;16B", (8, 6), samples.astype(">u2").tobytes())
    assert np.allclose(read_image(encoded(picture, "TIFF"))[..., 0], samples / 65535, atol=1e-7)


def test_deeper_grey():
    samples = grey_ramp(np.uint16).astype(np.int32)
    assert np.allclose(read_image(Image.fromarray(samples))[..., 2], samples / 65535, atol=1e-7)
    with pytest.raises(ImageError, match="32-bit samples from 0 to 70000"):
        read_image(Image.fromarray(np.array([[0, 70000]], np.int32)))
    unit = np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4)
    assert np.array_equal(read_image(encoded(Image.fromarray(unit), "TIFF"))[..., 0], unit)
    with pytest.raises(ImageError, match=r"spans 0\.\.100"):
        read_image(Image.fromarray(unit * 100))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV"])
def test_modes(mode):
    colours = np.array([[[255, 255, 255], [0, 0, 0]], [[0, 0, 0], [255, 255, 255]]], np.uint8)
    picture = Image.fromarray(colours)
    picture = picture.convert("LA").convert(mode) if mode == "PA" else picture.convert(mode)
    image = read_image(picture)
    assert image.shape == (2, 2, 3)
    assert image.dtype == np.uint8
    assert np.abs(image.astype(int) - colours).max() <= 1


def test_a_mode_without_rgb():
    with pytest.raises(ImageError, match="colour mode La; convert it to RGB"):
        read_image(Image.new("La", (3, 3)))


def test_alpha_is_dropped_not_composited():
    rgba = np.full((2, 2, 4), (200, 100, 50, 0), np.uint8)
    for source in (rgba, Image.fromarray(rgba), encoded(Image.fromarray(rgba))):
        assert (read_image(source) == (200, 100, 50)).all()


def test_transparent_palette_without_a_warning():
    palette = Image.fromarray(MARKED).quantize(4)
    data = encoded(palette, transparency=bytes([0, 128, 255, 255]))
    assert np.array_equal(read_image(data), np.array(palette.convert("RGB")))


def test_first_frame_of_an_animation():
    frames = [Image.new("RGB", (5, 4), shade) for shade in ("red", "blue")]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert (read_image(data) == (255, 0, 0)).all()


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "BMP", "TIFF", "PPM"])
def test_common_formats(kind, picture):
    image = read_image(encoded(Image.fromarray(picture), kind))
    assert np.abs(image.astype(int) - picture).mean() < 4


# --- bad input -------------------------------------------------------------------------------------------


def test_paths_that_lead_nowhere(tmp_path):
    (tmp_path / "empty.png").touch()
    for name, words in (
        ("missing.png", r"no such picture: .*missing\.png; check the path"),
        ("", "is a folder; give the name of one picture"),
        ("empty.png", r"empty\.png is empty \(0 bytes\)"),
        ("nul\0byte", "cannot read"),
        ("empty.png/inside", "cannot read"),
    ):
        with pytest.raises(ImageError, match=words):
            read_image(tmp_path / name)
    with pytest.raises(ImageError, match="download it first"):
        read_image("https://example.org/truck.jpg")


def test_unreadable_file(tmp_path, monkeypatch):
    def refuse(_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(ImageError, match=r"cannot read .*a\.png: Permission denied"):
        read_image(tmp_path / "a.png")


@pytest.mark.parametrize("data", [b"hello, world", b"\0" * 500, b"%PDF-1.7 ...", b"<svg></svg>"])
def test_not_a_picture(data):
    with pytest.raises(ImageError, match="the data is not a picture"):
        read_image(data)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF"])
def test_truncated_files(kind):
    noise = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    data = encoded(Image.fromarray(noise), kind)
    for share in (0.2, 0.5, 0.9):
        with pytest.raises(ImageError, match=r"truncated|damaged|not a picture") as caught:
            read_image(data[: int(len(data) * share)])
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF"])
@pytest.mark.filterwarnings("ignore")  # Pillow warns of some damage before it gives up
def test_damaged_files_give_a_picture_or_an_image_error(kind, picture):
    rng = np.random.default_rng(0)
    data = np.frombuffer(encoded(Image.fromarray(picture), kind), np.uint8)
    for _ in range(40):
        damaged = data.copy()
        damaged[rng.integers(0, min(len(data), 400), 6)] = rng.integers(0, 256, 6)
        with contextlib.suppress(ImageError):
            assert read_image(damaged.tobytes()).shape[2] == 3


def test_decompression_bomb():
    with pytest.raises(ImageError, match=r"60000 x 50000 pixels, more than the limit of 400,000,000"):
        read_image(png_claiming(60000, 50000))


def test_the_limit_can_be_moved(monkeypatch, picture):
    data = encoded(Image.fromarray(picture))
    monkeypatch.setenv(images.MAX_PIXELS_VARIABLE, "12287")
    with pytest.raises(ImageError, match="MASKWRIGHT_MAX_PIXELS=12288 or more"):
        read_image(data)
    with pytest.raises(ImageError, match="more than the limit"):
        read_image(Image.fromarray(picture))
    monkeypatch.setenv(images.MAX_PIXELS_VARIABLE, "12_288")
    assert np.array_equal(read_image(data), picture)


@pytest.mark.parametrize("value", ["many", "0", "-5", "1e9"])
def test_a_limit_that_is_no_number(monkeypatch, picture, value):
    monkeypatch.setenv(images.MAX_PIXELS_VARIABLE, value)
    with pytest.raises(ImageError, match="is no number of pixels"):
        read_image(Image.fromarray(picture))


def test_large_pictures_below_the_limit_open_without_a_warning(monkeypatch, picture):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    assert np.array_equal(read_image(encoded(Image.fromarray(picture))), picture)
    assert Image.MAX_IMAGE_PIXELS == 1000


def test_drawings_are_not_run():
    postscript = encoded(Image.new("RGB", (9, 9)), "EPS")
    with pytest.raises(ImageError, match="EPS drawing"):
        read_image(postscript)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (None, "cannot read a NoneType as a picture"),
        (5, "cannot read a int"),
        ([[1, 2]], "cannot read a list"),
        (b"", "the data is empty"),
        (io.StringIO("text"), "open for text; open it for bytes"),
        (np.zeros((0, 5, 3), np.uint8), "empty"),
        (np.zeros((5, 5, 7), np.uint8), "no picture"),
        (np.zeros((5, 5), np.int64), "int64"),
        (np.full((5, 5), np.nan), "NaN"),
        (np.full((5, 5, 3), 128.0), "divide by 255"),
        (torch.zeros(3, 50, 50, dtype=torch.uint8), "channels first"),
        (torch.zeros(5, 5, requires_grad=True), r"image.detach\(\).cpu\(\).numpy\(\)"),
        (Image.new("RGB", (0, 5)), "0 x 5 pixels"),
    ],
)
def test_refused(source, words):
    with pytest.raises(ImageError, match=words):
        read_image(source)


def test_closed_file(tmp_path):
    file = (tmp_path / "a").open("wb")
    file.close()
    with pytest.raises(ImageError, match="cannot read"):
        read_image(file)


# --- writing ---------------------------------------------------------------------------------------------


def test_written_pictures_read_back(tmp_path, picture):
    assert np.array_equal(read_image(write_image(tmp_path / "a.png", picture)), picture)
    for name in ("a.jpg", "A.JPEG", "a.webp"):
        image = read_image(write_image(tmp_path / name, picture))
        assert np.abs(image.astype(int) - picture).mean() < 3


def test_a_bitmap_becomes_black_and_white(tmp_path):
    bitmap = np.eye(5, dtype=bool)
    path = write_image(str(tmp_path / "mask.png"), bitmap)
    with Image.open(path) as stored:
        assert stored.mode == "L"
        assert np.array_equal(np.array(stored), bitmap * np.uint8(255))


@pytest.mark.parametrize("name", ["a", "a.txt", ".png"])
def test_an_ending_without_a_format(tmp_path, name, picture):
    with pytest.raises(InputError, match=r"end its name in \.png, \.jpg"):
        write_image(tmp_path / name, picture)
    assert not list(tmp_path.iterdir())
