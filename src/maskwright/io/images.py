"""Reading pictures from anywhere into one format, and writing them, with errors that say what to do."""

from __future__ import annotations

import io
import logging
import os
import threading
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from maskwright.errors import ImageError, InputError, OutputError
from maskwright.io.files import write_bytes
from maskwright.pixels.rgb import to_rgb
from maskwright.types import BoolArray, ByteArray, ImageArray

MAX_PIXELS = 400_000_000
"""Largest picture that is decoded (1.2 GB of RGB); a small file can claim to be larger than any memory."""
MAX_PIXELS_VARIABLE = "MASKWRIGHT_MAX_PIXELS"
"""Environment variable that overrides :data:`MAX_PIXELS`."""

_WRITERS: dict[str, dict[str, Any]] = {
    ".png": {"format": "PNG", "compress_level": 4},
    ".jpg": {"format": "JPEG", "quality": 93, "subsampling": 0},
    ".jpeg": {"format": "JPEG", "quality": 93, "subsampling": 0},
    ".webp": {"format": "WEBP", "quality": 93},
}
"""Endings that :func:`write_image` knows. Without chroma subsampling, which would blur coloured outlines."""
_NOT_PICTURES = frozenset({"EPS", "WMF"})
"""Formats that Pillow can only show by running another program on the file."""
ORIENTATION = 0x0112
"""Number of the EXIF tag that says how a picture lies."""
_CHECK_OFF = threading.Lock()
_log = logging.getLogger(__name__)


class ReadableFile(Protocol):
    """A file opened for reading bytes."""

    def read(self) -> bytes:
        """Everything from here on."""


class ArrayLike(Protocol):
    """Whatever numpy can turn into an array, such as a torch tensor on the CPU."""

    def __array__(self) -> npt.NDArray[Any]:
        """The array."""


ImageSource: TypeAlias = (
    str | os.PathLike[str] | bytes | bytearray | memoryview | ReadableFile | Image.Image | ArrayLike
)
"""Path, content of an image file, open file, PIL picture or array."""


def read_image(source: ImageSource, *, copy: bool = True) -> ImageArray:
    """Read a picture as RGB.

    Files and PIL pictures are turned upright by their EXIF orientation. Alpha is dropped, palettes and CMYK
    are converted, of an animation the first frame is taken; 16-bit grey keeps its depth.

    Args:
        source: A path, the bytes of an image file, a file open for reading bytes, a PIL picture, or an array
            (h, w), (h, w, 1), (h, w, 3) or (h, w, 4): uint8, uint16, or float in 0..1.
        copy: Without it, an array that fits as it is is returned itself, or a part of it.

    Returns:
        (h, w, 3) uint8, or float32 in 0..1 for 16-bit and float sources; with ``copy`` never memory of the
        caller's.

    Raises:
        ImageError: missing, empty, truncated, larger than ``MASKWRIGHT_MAX_PIXELS``, not a picture, or an
            array of another kind; the message says which.
    """
    if isinstance(source, (str, os.PathLike)):
        return _from_path(Path(source))
    if isinstance(source, (bytes, bytearray, memoryview)):
        return _from_bytes(bytes(source), "the data")
    if isinstance(source, Image.Image):
        return _from_pil(source, "the PIL picture")
    if hasattr(source, "__array__"):
        return _from_array(source, copy=copy)
    if hasattr(source, "read"):
        return _from_file(source)
    raise ImageError(
        f"cannot read a {type(source).__name__} as a picture; pass a path, bytes, an open file, "
        "a PIL picture or an array"
    )


def check_ending(path: str | os.PathLike[str]) -> Path:
    """The path, once it is sure that :func:`write_image` can write a picture of that name.

    Raises:
        InputError: another ending than those of PNG, JPEG and WebP.
    """
    path = Path(path)
    if path.suffix.lower() not in _WRITERS:
        raise InputError(f"cannot tell the picture format of {path}; end its name in {', '.join(_WRITERS)}")
    return path


def write_image(
    path: str | os.PathLike[str], image: ByteArray | BoolArray, *, overwrite: bool = True
) -> Path:
    """Write a picture, whole or not at all; the ending of the name chooses the format.

    Args:
        path: Ends in ``.png``, ``.jpg``, ``.jpeg`` or ``.webp``.
        image: (h, w, 3) uint8 RGB, (h, w, 4) RGBA, (h, w) grey, or a bitmap (h, w) bool, as 0 and 255.
        overwrite: Replace an existing file.

    Raises:
        InputError: an ending that stands for no format here.
        OutputError: it could not be written; nothing was left under that name.
    """
    path = check_ending(path)
    samples = image.astype(np.uint8) * np.uint8(255) if image.dtype == np.bool_ else image
    encoded = io.BytesIO()
    Image.fromarray(samples).save(encoded, **_WRITERS[path.suffix.lower()])
    return write_bytes(path, encoded.getvalue(), overwrite=overwrite)


def write_masks(paths: Sequence[Path], bitmaps: Iterable[BoolArray], *, overwrite: bool = True) -> None:
    """Write a picture for each bitmap (h, w), each whole or not at all.

    Raises:
        OutputError: a file exists already and ``overwrite`` is off: then nothing is written; or as
            :func:`write_image`.
    """
    existing = [path for path in paths if not overwrite and path.exists()]
    if existing:
        raise OutputError(f"{existing[0]} exists already; allow overwriting or choose another folder")
    for path, bitmap in zip(paths, bitmaps, strict=True):
        write_image(path, bitmap, overwrite=overwrite)


def orientation_of(path: Path) -> int:
    """EXIF orientation of a picture file, 1 to 8; 1 (upright) where there is none or it makes no sense."""
    try:
        with warnings.catch_warnings(), _unlimited():
            warnings.simplefilter("ignore")
            with Image.open(path) as picture:
                found = picture.getexif().get(ORIENTATION, 1)
    except Exception as error:  # a format that Pillow does not know, or a broken EXIF block
        _log.debug("EXIF orientation ignored: %s", error)
        return 1
    return found if found in range(1, 9) else 1


def _from_path(path: Path) -> ImageArray:
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        advice = "; download it first" if "://" in str(path) or str(path).startswith("http") else ""
        raise ImageError(f"no such picture: {path}{advice or '; check the path'}") from error
    except IsADirectoryError as error:
        raise ImageError(f"{path} is a folder; give the name of one picture in it") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        folder = path.is_dir() if isinstance(error, PermissionError) else False
        what = "it is a folder; give the name of one picture in it" if folder else reason
        raise ImageError(f"cannot read {path}: {what}") from error
    return _from_bytes(data, str(path))


def _from_file(source: ReadableFile) -> ImageArray:
    name = str(getattr(source, "name", "the open file"))
    try:
        data = source.read()
    except (OSError, ValueError) as error:
        raise ImageError(f"cannot read {name}: {error}") from error
    if not isinstance(data, bytes):
        raise ImageError(f"{name} is open for text; open it for bytes, with mode 'rb'")
    return _from_bytes(data, name)


def _from_bytes(data: bytes, name: str) -> ImageArray:
    if not data:
        raise ImageError(f"{name} is empty (0 bytes); it may not have been saved or copied completely")
    try:
        with _unlimited():
            picture = Image.open(io.BytesIO(data))
    except UnidentifiedImageError as error:
        raise ImageError(
            f"{name} is not a picture in a format that can be read; convert it to PNG or JPEG"
        ) from error
    except Exception as error:  # decoders raise whatever they stumble over
        raise ImageError(f"{name} is damaged: {_reason(error)}; save or copy it again") from error
    with picture:
        return _from_pil(picture, name)


def _from_pil(picture: Image.Image, name: str) -> ImageArray:
    if picture.format in _NOT_PICTURES:
        raise ImageError(f"{name} is a {picture.format} drawing, not a picture; convert it to PNG first")
    _check_size(picture.size, name)
    try:
        picture.load()
    except Exception as error:  # decoders raise whatever they stumble over
        raise ImageError(f"{name} is damaged or truncated: {_reason(error)}; copy it again") from error
    return to_rgb(_pixels(_upright(picture), name))


def _check_size(size_wh: tuple[int, int], name: str) -> None:
    limit = _max_pixels()
    w, h = size_wh
    if w * h > limit:
        raise ImageError(
            f"{name} has {w} x {h} pixels, more than the limit of {limit:,}; cut it into tiles "
            f"(--tiles on the command line, MaskModel.tiled), or if it is to be read whole, "
            f"set the environment variable {MAX_PIXELS_VARIABLE}={w * h} or more"
        )
    if w * h == 0:
        raise ImageError(f"{name} has {w} x {h} pixels; a picture has at least one")


def _max_pixels() -> int:
    text = os.environ.get(MAX_PIXELS_VARIABLE, "").replace("_", "").strip()
    if not text:
        return MAX_PIXELS
    if not text.isdecimal() or int(text) == 0:
        raise ImageError(f"{MAX_PIXELS_VARIABLE}={text} is no number of pixels; set e.g. {MAX_PIXELS}")
    return int(text)


@contextmanager
def _unlimited() -> Iterator[None]:
    """Without Pillow's own size check, which cannot be set per call; ours follows before decoding."""
    with _CHECK_OFF:
        before = Image.MAX_IMAGE_PIXELS
        Image.MAX_IMAGE_PIXELS = None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = before


def _upright(picture: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(picture)
    except Exception as error:  # a camera's broken EXIF block must not make its picture unreadable
        _log.debug("EXIF orientation ignored: %s", error)
        return picture


def _pixels(picture: Image.Image, name: str) -> npt.NDArray[Any]:
    """The samples as an array that :func:`to_rgb` takes, in memory of its own."""
    mode = picture.mode
    if mode.startswith("I;16"):
        return np.array(picture).astype(np.uint16)
    if mode == "I":
        return _deep_grey(np.array(picture), name)
    if mode == "F":
        return np.array(picture)
    if mode in ("P", "PA"):  # by way of RGBA, or Pillow warns of transparent palette entries
        picture = picture.convert("RGBA")
    try:
        return np.array(picture if mode in ("L", "RGB") else picture.convert("RGB"))
    except ValueError as error:
        raise ImageError(f"{name} has the colour mode {mode}; convert it to RGB first") from error


def _deep_grey(samples: npt.NDArray[np.int32], name: str) -> npt.NDArray[np.uint16]:
    """32-bit grey, which in practice holds 16-bit samples."""
    low, high = int(samples.min()), int(samples.max())
    if low < 0 or high > 65535:
        raise ImageError(
            f"{name} holds 32-bit samples from {low} to {high}; rescale them to 16 bits or to floats in 0..1"
        )
    return samples.astype(np.uint16)


def _from_array(source: Any, *, copy: bool) -> ImageArray:
    try:
        array: npt.NDArray[Any] = np.asarray(source)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ImageError(
            f"cannot turn the {type(source).__name__} into an array ({_reason(error)}); "
            "for a tensor pass image.detach().cpu().numpy()"
        ) from error
    rgb = to_rgb(array)
    return rgb.copy() if copy and np.may_share_memory(rgb, array) else rgb


def _reason(error: BaseException) -> str:
    """An exception's text on one line, without a full stop."""
    text = " ".join(str(error).split()).rstrip(".")
    return text or type(error).__name__
