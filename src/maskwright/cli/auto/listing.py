"""Which pictures a folder or pattern stands for, and what their results are called."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import NamedTuple

from maskwright.errors import InputError, SourceError

_WILD = re.compile(r"[*?\[]")


class Picture(NamedTuple):
    """A file that is to be searched."""

    path: Path
    key: str
    """What it is called in the log: its path inside the folder, with slashes."""


def is_many(source: Path) -> bool:
    """Whether this names several pictures: a folder, or a pattern where there is no such file."""
    return source.is_dir() or (not source.exists() and bool(_WILD.search(str(source))))


def identity(source: Path) -> str:
    """The folder or pattern as an absolute path, which tells it from others of the same name."""
    return os.path.realpath(source)


def name_of(source: Path) -> str:
    """What a folder is called, or the one that a pattern looks into."""
    return _root(source).resolve().name or "pictures"


def pictures_of(source: Path) -> list[Picture]:
    """All pictures of a folder, without those of folders in it, or of a pattern, in natural order.

    Raises:
        SourceError: it cannot be read, or there are none.
    """
    from maskwright.io.sources.stills import is_picture, natural_order

    root = _root(source)
    found = sorted((path for path in _files(source) if is_picture(path)), key=natural_order)
    if not found:
        what = "has no pictures" if source.is_dir() else "matches no picture"
        raise SourceError(f"{source} {what}; give a folder, or a pattern in quotes, such as 'photos/*.jpg'")
    return [Picture(path, Path(os.path.relpath(path, root)).as_posix()) for path in found]


def apart_from(out: Path, pictures: Sequence[Picture], *, ours: bool) -> list[Picture]:
    """The pictures without those in the folder of the results, which a pattern may match.

    Args:
        out: The folder of the results.
        pictures: All that were found.
        ours: Whether there are results of an earlier run in it.

    Raises:
        InputError: it has pictures that are no results, which these might replace.
    """
    real = Path(os.path.realpath(out))
    apart = [picture for picture in pictures if Path(os.path.realpath(picture.path.parent)) != real]
    if not apart or (len(apart) < len(pictures) and not ours):
        raise InputError(f"{out} is the folder of the pictures; give another one for the results, with -o")
    return apart


def names_of(pictures: Sequence[Picture], kept: Mapping[str, str]) -> dict[str, str]:
    """What the results of each picture are called, by its key: no two alike, in upper or lower case.

    It is the file's name without its ending where no other picture has the same, else with it.

    Args:
        pictures: All of them.
        kept: Names that an earlier run gave, by key.
    """
    stems = Counter(picture.path.stem.casefold() for picture in pictures)
    names = dict(kept)
    taken = {name.casefold() for name in kept.values()}
    for picture in pictures:
        if picture.key in names:
            continue
        alone = stems[picture.path.stem.casefold()] == 1
        name = next(
            name
            for name in _candidates(picture)
            if name.casefold() not in taken and (alone or name != picture.path.stem)
        )
        names[picture.key] = name
        taken.add(name.casefold())
    return names


def _candidates(picture: Picture) -> Iterator[str]:
    yield picture.path.stem
    yield picture.path.name
    for number in count(2):
        yield f"{picture.path.name}-{number}"


def _files(source: Path) -> list[Path]:
    import glob

    if not source.is_dir():
        return [Path(name) for name in glob.glob(str(source), recursive=True)]  # noqa: PTH207  # may be absolute
    try:
        return list(source.iterdir())
    except OSError as error:
        raise SourceError(f"cannot read the folder {source}: {error.strerror or error}") from error


def _root(source: Path) -> Path:
    """The folder, or the part of a pattern before the first wild card."""
    if source.is_dir():
        return source
    wild = next(place for place, part in enumerate(source.parts) if _WILD.search(part))
    return Path(*source.parts[:wild])
