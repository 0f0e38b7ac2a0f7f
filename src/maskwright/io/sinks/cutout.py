"""The objects alone, on a transparent background."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np

from maskwright.errors import InputError
from maskwright.frames import TrackedFrame
from maskwright.io.files import output_error, writable_folder
from maskwright.io.images import write_image
from maskwright.io.sinks.encode import PRORES_4444, VP9_ALPHA, Encoding, VideoFile, check_encoder
from maskwright.io.sinks.numbered import check_no_frames, frame_name
from maskwright.io.sinks.protocol import Sink, call_all, check_open, picture_of
from maskwright.io.sinks.timeline import Timeline
from maskwright.types import BoolArray, ByteArray

_VIDEOS = {".webm": VP9_ALPHA, ".mov": PRORES_4444}
_OPAQUE = frozenset({".mp4", ".m4v", ".mkv", ".avi", ".gif", ".png", ".jpg", ".jpeg", ".webp"})
_RIM = 3
"""Pixels around an object that keep their colour in a video, where neighbours share colour."""


class CutOuts(Sink):
    """What the objects cover, on a transparent background (straight alpha, 0 or 255).

    The ending of ``target`` chooses: ``.webm`` is VP9 with alpha, for web pages; ``.mov`` is ProRes 4444,
    for editing; anything else is a folder of RGBA pictures ``00000.png``, named by frame number. Videos
    follow the times of the frames, and are in ``NAME.partial.webm`` until :meth:`close`, as with
    :class:`maskwright.io.sinks.OverlayVideo`; pictures are written whole, one by one, in any order.

    With ``per_object`` every object has a file ``NAME-ID.webm`` or a folder ``target/ID``. All videos begin
    at the same time: that of an object which appears later, with a transparent picture held until then. An
    encoder runs for each object, so many objects want much memory.

    Args:
        target: File or folder.
        fps: Average rate, for frames that carry no time; 30 if None.
        per_object: One result for each object; otherwise one for all together.
        overwrite: Replace existing files.

    Raises:
        InputError: an ending of a format without transparency, or an impossible rate.
        OutputError: it cannot be written, or a file is in the way.
        MissingExtraError: PyAV is not installed, or its build lacks the encoder.
    """

    def __init__(
        self,
        target: str | os.PathLike[str],
        *,
        fps: float | None = None,
        per_object: bool = False,
        overwrite: bool = True,
    ) -> None:
        self._target = Path(target)
        ending = self._target.suffix.lower()
        if ending in _OPAQUE:
            raise InputError(
                f"cut-outs do not go into a file such as {self._target}; "
                "end the name in .webm or .mov, or name a folder for PNG pictures"
            )
        self._fps = fps
        self._per_object = per_object
        self._overwrite = overwrite
        self._encoding = _VIDEOS.get(ending)
        self._outputs: dict[int | None, VideoFile | _Folder] = {}
        self._first: tuple[int, float | None] | None = None
        self._closed = False
        self._check()
        if not per_object:
            self._outputs[None] = self._new(self._target)

    def write(self, frame: TrackedFrame) -> None:
        """Write one frame; in a video its number must be greater than that of the frame before."""
        check_open(self._closed, self._target)
        picture = picture_of(frame)
        wanted: dict[int | None, BoolArray] = {None: np.asarray(frame.bitmaps.any(axis=0))}
        if self._per_object:
            nothing = np.zeros(frame.size, np.bool_)
            wanted = {**dict.fromkeys(self._outputs, nothing), **{item.id: item.bitmap for item in frame}}
        for number, bitmap in wanted.items():
            if number not in self._outputs:
                self._outputs[number] = self._begun(number, picture, frame)
            cut = cut_out(picture, bitmap, 0 if self._encoding is None else _RIM)
            self._outputs[number].write(cut, frame.index, frame.time)
        if self._first is None:
            self._first = frame.index, frame.time

    def close(self) -> None:
        """Finish every file, even if one fails; the first error is raised."""
        if not self._closed:
            self._closed = True
            call_all([output.finish for output in self._outputs.values()])

    def abandon(self) -> None:
        """Stop; the frames so far are in the partial files, or are the pictures in the folder."""
        self._closed = True
        call_all([output.abandon for output in self._outputs.values()])

    def _check(self) -> None:
        """What can be known to fail before the first frame."""
        Timeline(self._fps)
        if self._encoding is None:
            writable_folder(self._target)
            return
        check_encoder(self._encoding)
        if not self._target.parent.is_dir():
            raise output_error(self._target, FileNotFoundError(errno.ENOENT, ""))

    def _begun(self, number: int | None, picture: ByteArray, frame: TrackedFrame) -> VideoFile | _Folder:
        """The output of an object that is new in this frame, reaching back to the first frame of all."""
        target, ending = self._target, self._target.suffix
        if self._encoding is None:
            return self._new(target / str(number))
        output = self._new(target.with_name(f"{target.name.removesuffix(ending)}-{number}{ending}"))
        if self._first is not None and self._first[0] < frame.index:
            output.write(np.zeros((*picture.shape[:2], 4), np.uint8), *self._first)
        return output

    def _new(self, target: Path) -> VideoFile | _Folder:
        encoding: Encoding | None = self._encoding
        if encoding is None:
            return _Folder(target, overwrite=self._overwrite)
        return VideoFile(target, encoding, fps=self._fps, overwrite=self._overwrite)


class _Folder:
    """A picture file for each frame."""

    def __init__(self, folder: Path, *, overwrite: bool) -> None:
        self._folder = writable_folder(folder)
        self._overwrite = overwrite
        if not overwrite:
            check_no_frames(folder)

    def write(self, picture: ByteArray, index: int, time: float | None) -> None:
        write_image(self._folder / frame_name(index), picture, overwrite=self._overwrite)

    def finish(self) -> None:
        """Every picture is complete already."""

    def abandon(self) -> None:
        """Every picture is complete already."""


def cut_out(picture: ByteArray, bitmap: BoolArray, rim: int = 0) -> ByteArray:
    """(h, w, 4) RGBA: the picture on the object, and nothing elsewhere but invisible colour in a rim."""
    from scipy import ndimage

    h, w = bitmap.shape
    cut = np.zeros((h, w, 4), np.uint8)
    kept = ndimage.binary_dilation(bitmap, iterations=rim) if rim and bitmap.any() else bitmap
    cut[kept, :3] = picture[kept]
    cut[bitmap, 3] = 255
    return cut
