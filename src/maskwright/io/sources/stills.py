"""Folders, globs and lists of pictures, and arrays that hold a whole video: one picture is one frame.

Memory: one frame.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from PIL import Image

from maskwright.errors import ImageError, SourceError
from maskwright.frames import Frame
from maskwright.io.images import ImageSource, read_image
from maskwright.io.sources.protocol import (
    Closing,
    Corrupt,
    check_backward,
    check_corrupt,
    check_open,
    check_range,
    no_such_frame,
)
from maskwright.pixels.rgb import to_uint8
from maskwright.types import ByteArray, Size

_NO_PICTURES = frozenset({"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "PDF", "WMF"})
"""Formats that Pillow knows the endings of but cannot decode by itself."""
_log = logging.getLogger(__name__)


class StillsSource(Closing):
    """Pictures in the order of a sequence; each is read when its turn comes.

    A picture file that cannot be read is left out and counted, or stops the reading (``corrupt``); an item
    that is no file is the caller's own and its error is always raised.
    """

    live = False
    exact_length = True
    fps: float | None = None

    def __init__(
        self,
        name: str,
        items: Sequence[Any],
        *,
        corrupt: Corrupt = "skip",
        close: Callable[[], None] | None = None,
    ) -> None:
        """Read the first picture, to know the size.

        Args:
            name: For messages.
            items: Paths, arrays, or whatever :func:`read_image` takes; also Frames. Only its length and
                single items are asked for.
            corrupt: What to do about files that cannot be read.
            close: Called once when the source is closed.

        Raises:
            SourceError: there are none.
            ImageError: an item that is no file is no picture, or with ``corrupt="stop"`` the first file.
        """
        check_corrupt(corrupt)
        if not len(items):
            raise SourceError(f"{name} has no frames; give at least one picture")
        self.name = name
        self.num_frames = len(items)
        self._items, self._corrupt, self._close = items, corrupt, close
        self._closed = False
        self._skipped: set[int] = set()
        first = self._read(0)
        self.size: Size | None = first.size if first else None

    @property
    def num_skipped(self) -> int:
        """Files left out so far because they could not be read."""
        return len(self._skipped)

    def frames(self, start: int = 0, stop: int | None = None, step: int = 1) -> Iterator[Frame]:
        """See :class:`Source`."""
        check_range(start, stop, step)
        check_open(self.name, self._closed)
        end = self.num_frames if stop is None else min(stop, self.num_frames)
        return self._walk(range(start, end, step))

    def backward(self, start: int, stop: int = 0, step: int = 1) -> Iterator[Frame]:
        """See :class:`Source`."""
        check_backward(start, stop, step)
        check_open(self.name, self._closed)
        if start >= self.num_frames:
            raise no_such_frame(self.name, start, self.num_frames)
        return self._walk(range(start, stop - 1, -step))

    def count(self) -> int:
        """The number of pictures."""
        return self.num_frames

    def close(self) -> None:
        """Release what the pictures come from; may be called more than once."""
        if not self._closed:
            self._closed = True
            if self._close is not None:
                self._close()

    def _walk(self, numbers: range) -> Iterator[Frame]:
        size = self.size
        for number in numbers:
            check_open(self.name, self._closed)
            frame = self._read(number)
            if frame is None:
                continue
            if size is not None and frame.size != size:
                _log.warning(
                    "%s: frame %d is %d x %d pixels, unlike the %d x %d before it",
                    *(self.name, number, *reversed(frame.size), *reversed(size)),
                )
            size = frame.size
            yield frame

    def _read(self, number: int) -> Frame | None:
        item = self._items[number]
        if isinstance(item, Frame):
            return Frame(number, item.image, item.time)
        try:
            return Frame(number, read_frame(item))
        except ImageError as error:
            if not isinstance(item, (str, Path)):
                raise type(error)(f"{self.name}: frame {number}: {error}") from error
            if self._corrupt == "stop":
                raise ImageError(f"{self.name}: frame {number} is damaged: {error}") from error
            if not self._skipped:
                _log.warning("frame %d is left out, more are only counted: %s", number, error)
            self._skipped.add(number)
            return None


def read_frame(item: ImageSource) -> ByteArray:
    """A picture as (h, w, 3) uint8, deeper ones rounded to 8 bits."""
    return to_uint8(read_image(item))


def folder_source(folder: Path, *, corrupt: Corrupt = "skip") -> StillsSource:
    """The pictures of a folder in natural order; other files and hidden ones are passed over.

    Raises:
        SourceError: it cannot be read, or there is no picture in it.
    """
    try:
        found = [path for path in folder.iterdir() if is_picture(path)]
    except OSError as error:
        raise SourceError(f"cannot read the folder {folder}: {error.strerror or error}") from error
    if not found:
        raise SourceError(f"the folder {folder} has no pictures; give one with files such as 00000.jpg")
    return StillsSource(folder.name or str(folder), sorted(found, key=natural_order), corrupt=corrupt)


def is_picture(path: Path) -> bool:
    """Whether the name is that of a picture, by its ending, and not hidden."""
    return not path.name.startswith(".") and path.suffix.lower() in picture_endings() and path.is_file()


@cache
def picture_endings() -> frozenset[str]:
    """The endings, with dot and in lower case, of the picture formats that :func:`read_image` decodes."""
    Image.init()
    known = Image.registered_extensions().items()
    return frozenset(end.lower() for end, kind in known if kind in Image.OPEN and kind not in _NO_PICTURES)


def natural_order(path: Path) -> tuple[list[tuple[int, int, str]], str]:
    """Sort key that puts ``frame2`` before ``frame10``."""
    parts = re.split(r"([0-9]+)", str(path).casefold())
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in parts if part], str(path)
