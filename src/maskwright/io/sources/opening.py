"""Which kind of source something is."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

from PIL import Image

from maskwright.errors import InputError, SourceError
from maskwright.io.sources.animation import AnimationSource, is_animation
from maskwright.io.sources.arrays import IteratorSource, array_source
from maskwright.io.sources.camera import TIMEOUT, camera_source, stream_source
from maskwright.io.sources.decoding import hide_password, open_container
from maskwright.io.sources.protocol import Corrupt, DecoderName, Source, check_corrupt
from maskwright.io.sources.spill import SPILL_LIMIT
from maskwright.io.sources.stills import StillsSource, folder_source, is_picture, natural_order
from maskwright.io.sources.video import VideoSource

if TYPE_CHECKING:
    import torch

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
"""What an address starts with; two characters at least, or it is a Windows drive."""
_MAY_BE_FILES = ("http://", "https://", "ftp://", "sftp://", "smb://")
_WILD = re.compile(r"[*?\[]")


def open_source(
    source: Any,
    *,
    corrupt: Corrupt = "skip",
    timeout: float = TIMEOUT,
    spill_limit: int = SPILL_LIMIT,
    decoder: DecoderName = "pyav",
    device: str | torch.device = "cpu",
) -> Source:
    """A source of frames from whatever the caller has.

    Args:
        source: One of

            - a video file, a picture, or an animated GIF, PNG, WebP or multi-page TIFF: a path;
            - a folder of pictures, or a pattern such as ``"frames/*.jpg"``, in natural order;
            - an address: ``rtsp://``, ``rtmp://``, ``http(s)://``, ``udp://`` ...; a finished video at an
              address is read like a file, everything else is live;
            - a camera: its number, or ``"camera:0"``, ``"camera:NAME"``;
            - an array (t, h, w, 3), or a list of paths, arrays or PIL pictures;
            - a generator or other iterable of arrays or Frames, forwards only;
            - a Source, which is returned as it is.
        corrupt: What to do about a damaged frame: ``"skip"`` leaves it out, warns once and counts it;
            ``"stop"`` raises an error that names it.
        timeout: Seconds that a camera or server may take to answer.
        spill_limit: Bytes that going backwards may put into a temporary file.
        decoder: ``"pyav"``, or ``"torchcodec"``, which reads video files only.
        device: Where torchcodec decodes and frames stay: ``"cpu"``, or ``"cuda"`` for a GPU's video engine.

    Raises:
        SourceError: it is missing, empty, no video, or does not answer.
        ImageError: a picture cannot be read.
        InputError: it is none of these, or no video file where torchcodec is asked for.
        MissingExtraError: PyAV or torchcodec is needed and not installed.
    """
    check_corrupt(corrupt)
    if decoder == "torchcodec":
        from maskwright.io.sources.torchcodec import TorchcodecSource

        return TorchcodecSource(_video_file(source), device=device, corrupt=corrupt)
    if decoder != "pyav":
        raise InputError(f"decoder={decoder!r} is not known; pass 'pyav' or 'torchcodec'")
    if isinstance(source, Source):
        return source
    if isinstance(source, bool) or source is None:
        raise _unknown(source)
    if isinstance(source, int):
        return camera_source(str(source), timeout=timeout, corrupt=corrupt)
    if isinstance(source, (str, os.PathLike)):
        return _named(os.fspath(source), corrupt, timeout, spill_limit)
    if isinstance(source, Image.Image):
        return StillsSource("picture", [source], corrupt=corrupt)
    if hasattr(source, "shape") and hasattr(source, "__getitem__"):
        return array_source(source, corrupt=corrupt)
    if isinstance(source, (bytes, bytearray, memoryview, dict, set, frozenset)):
        raise _unknown(source)
    if isinstance(source, Sequence) or (hasattr(source, "__len__") and hasattr(source, "__getitem__")):
        return _listed(source, corrupt)
    if isinstance(source, Iterable):
        return IteratorSource(source)
    raise _unknown(source)


def _named(name: Any, corrupt: Corrupt, timeout: float, spill_limit: int) -> Source:
    """A path, pattern, address or camera."""
    if not isinstance(name, str):
        raise _unknown(name)
    if name.startswith("camera:"):
        device = name.removeprefix("camera:").strip()
        if not device:
            raise InputError('"camera:" lacks the number of the camera; the first one is "camera:0"')
        return camera_source(device, timeout=timeout, corrupt=corrupt)
    name = _without_file_scheme(name)
    if _SCHEME.match(name):
        if name.lower().startswith(_MAY_BE_FILES) and _is_finished(name, timeout):
            return VideoSource(name, corrupt=corrupt, timeout=timeout, spill_limit=spill_limit)
        return stream_source(name, timeout=timeout, corrupt=corrupt)
    path = Path(name)
    try:
        exists = path.exists()
    except (OSError, ValueError) as error:
        raise SourceError(f"cannot read {name!r}: {getattr(error, 'strerror', None) or error}") from error
    if exists:
        return _file(path, corrupt, spill_limit)
    if _WILD.search(name):
        return _pattern(name, corrupt, spill_limit)
    raise SourceError(f"no such video: {name}; check the path")


def _file(path: Path, corrupt: Corrupt, spill_limit: int) -> Source:
    if path.is_dir():
        return folder_source(path, corrupt=corrupt)
    if not is_picture(path.with_name(path.name.lstrip(".") or path.name)) and not _by_content(path):
        return VideoSource(path, corrupt=corrupt, spill_limit=spill_limit)
    if is_animation(path):
        return AnimationSource(path, corrupt=corrupt, spill_limit=spill_limit)
    return StillsSource(path.name, [path], corrupt="stop")


def _video_file(source: Any) -> Path:
    """The path of what is a video file, or is missing and could be one."""
    if isinstance(source, (str, os.PathLike)) and isinstance(name := os.fspath(source), str):
        name = _without_file_scheme(name)
        path = Path(name)
        elsewhere = _SCHEME.match(name) or name.startswith("camera:")
        if not elsewhere and not path.is_dir() and not is_picture(path):
            return path
    kind = source if isinstance(source, (str, os.PathLike)) else f"a {type(source).__name__}"
    raise InputError(f"decoder='torchcodec' reads video files, and {kind} is none; use decoder='pyav'")


def _without_file_scheme(name: str) -> str:
    if not name.lower().startswith("file://"):
        return name
    path = urlsplit(name).path
    return url2pathname(unquote(path) if "%" in name else path)


def _pattern(pattern: str, corrupt: Corrupt, spill_limit: int) -> Source:
    found = [Path(name) for name in glob.glob(pattern, recursive=True)]  # noqa: PTH207  # may be absolute
    files = sorted((path for path in found if path.is_file()), key=natural_order)
    if not files:
        raise SourceError(f"no file matches {pattern}; check the pattern")
    if len(files) == 1:
        return _file(files[0], corrupt, spill_limit)
    pictures = [path for path in files if is_picture(path)]
    if not pictures:
        raise SourceError(
            f"{pattern} matches {len(files)} files that are no pictures; give one video at a time"
        )
    return StillsSource(pattern, pictures, corrupt=corrupt)


def _listed(items: Any, corrupt: Corrupt) -> Source:
    for item in items if isinstance(items, (list, tuple)) else ():
        if isinstance(item, (str, os.PathLike)) and not Path(item).is_file():
            raise SourceError(f"no such picture: {os.fspath(item)}; check the path")
    return StillsSource("list", items, corrupt=corrupt)


def _is_finished(address: str, timeout: float) -> bool:
    """Whether there is a whole video at the address, of known length, and no live stream."""
    with closing(open_container(address, hide_password(address), timeout=timeout)) as container:
        return bool(container.duration)


def _by_content(path: Path) -> bool:
    """Whether a file without a telling name is a picture."""
    if path.suffix:
        return False
    try:
        with Image.open(path):
            return True
    except Exception:  # decoders raise whatever they stumble over; FFmpeg's turn
        return False


def _unknown(source: object) -> InputError:
    return InputError(
        f"cannot take frames from a {type(source).__name__}; pass a path, an address, a folder, "
        "a camera number, an array (t, h, w, 3), a list of pictures or a generator"
    )
