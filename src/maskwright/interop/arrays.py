"""NumPy: an ``.npz`` file for each picture.

``masks`` (N, h, w) bool, ``ids`` (N,) int64, ``labels`` (N,) text, ``scores`` (N,) float32 with NaN where
there is none, ``boxes`` (N, 4) int64 xyxy with x1, y1 exclusive, ``areas`` (N,) int64, ``name``, ``size``
(h, w), and of a frame ``frame`` and ``time_s``. Nothing in it is pickled.
"""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from maskwright.errors import InputError
from maskwright.interop.annotations import AnnotatedPicture, Annotation
from maskwright.pixels import rle

ENDING = ".npz"


def pages(picture: AnnotatedPicture) -> Iterator[tuple[str, bytes]]:
    """The file of a picture. Masks are packed one at a time."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, values in _small(picture).items():
            with archive.open(_entry(name), "w") as member:
                np.lib.format.write_array(member, values, allow_pickle=False)
        _write_masks(archive, picture)
    yield ENDING, packed.getvalue()


def _small(picture: AnnotatedPicture) -> dict[str, npt.NDArray[Any]]:
    """Everything but the masks."""
    items = picture.annotations
    arrays: dict[str, npt.NDArray[Any]] = {
        "ids": np.array([item.id for item in items], np.int64),
        "labels": np.array([item.label for item in items], np.str_),
        "scores": np.array([np.nan if item.score is None else item.score for item in items], np.float32),
        "boxes": np.array([item.box for item in items], np.int64).reshape(-1, 4),
        "areas": np.array([item.area for item in items], np.int64),
        "name": np.array(picture.name),
        "size": np.array(picture.size, np.int64),
    }
    if picture.frame is not None:
        arrays["frame"] = np.array(picture.frame)
    if picture.time_s is not None:
        arrays["time_s"] = np.array(picture.time_s)
    return arrays


def _write_masks(archive: zipfile.ZipFile, picture: AnnotatedPicture) -> None:
    shape = (len(picture.annotations), *picture.size)
    head = {"descr": np.lib.format.dtype_to_descr(np.dtype(np.bool_)), "fortran_order": False, "shape": shape}
    with archive.open(_entry("masks"), "w", force_zip64=True) as member:
        np.lib.format.write_array_header_1_0(member, head)
        for item in picture.annotations:
            member.write(np.ascontiguousarray(item.bitmap()).data)


def _entry(name: str) -> zipfile.ZipInfo:
    """A compressed part of the archive, without the time of writing: the same masks give the same file."""
    entry = zipfile.ZipInfo(f"{name}.npy")
    entry.compress_type = zipfile.ZIP_DEFLATED
    return entry


def read_npz(path: str | os.PathLike[str]) -> AnnotatedPicture:
    """Read the file of one picture.

    Raises:
        InputError: it cannot be read, or lacks an array.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            codes = rle.encode(np.asarray(arrays["masks"], np.bool_))
            columns = (arrays[name].tolist() for name in ("ids", "labels", "scores"))
            found = [
                Annotation(number, code, label, None if score != score else float(f"{score:.6g}"))
                for code, number, label, score in zip(codes, *columns, strict=True)
            ]
            h, w = arrays["size"].tolist()
            frame = int(arrays["frame"]) if "frame" in arrays else None
            time = float(arrays["time_s"]) if "time_s" in arrays else None
            return AnnotatedPicture(str(arrays["name"]), (h, w), tuple(found), frame, time)
    except OSError as error:
        raise InputError(f"cannot read {os.fspath(path)}: {error.strerror or error}") from error
    except (KeyError, ValueError, zipfile.BadZipFile) as error:
        raise InputError(f"{os.fspath(path)} is no file of masks: {error}") from error
