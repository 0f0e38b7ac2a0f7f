"""What was asked for in other formats, and whether it can be written."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from glob import escape
from pathlib import Path
from shutil import rmtree
from typing import TYPE_CHECKING

from maskwright.cli.export import labels as names
from maskwright.cli.staging import STAGE
from maskwright.errors import InputError, OutputError

if TYPE_CHECKING:
    from maskwright.interop.annotations import AnnotatedPicture
    from maskwright.interop.writing import Export

_DENSE = ("voc", "indexed", "png", "npz", "cutout", "pictures")
"""Formats that hold whole pictures in memory while they draw them."""
_PICTURES = ("indexed", "png", "cutout", "pictures")
"""Formats whose files would be among the pictures that are read, or replace them."""
_GROWING = ("coco", "coco-polygons", "cvat", "geojson")
"""Formats with many pictures in a file; the others have one."""


@dataclass(frozen=True)
class Exports:
    """What was asked for, as it was typed; false if nothing was."""

    paths: Mapping[str, Path] = field(default_factory=dict)
    """File or folder, by the name of the format."""
    flags: Mapping[str, str] = field(default_factory=dict)
    """The option of each, for messages."""
    labels: Mapping[int, str] = field(default_factory=dict)
    """What objects are, by number."""
    others: str = ""
    """What all objects are that have no name of their own; empty if nobody said."""
    named: frozenset[int] = frozenset()
    """Of these numbers, those that ``--label`` named one by one; a file may be meant for many results."""
    tolerance: float = 1.0
    overwrite: bool = False

    def __bool__(self) -> bool:
        return bool(self.paths)

    @property
    def places(self) -> dict[str, str]:
        """Where everything goes, by format."""
        return {format: str(path) for format, path in self.paths.items()}

    @classmethod
    def asked(
        cls,
        paths: Mapping[tuple[str, str], Sequence[Path]],
        *,
        label: Sequence[str],
        labels: Path | None,
        tolerance: float | None,
        overwrite: bool,
    ) -> Exports:
        """From the command line.

        Args:
            paths: By format and its option, all that were given.
            label: ``ID:NAME``, which count more than those of the file, and ``NAME``, for all others.
            labels: A file of such lines.
            tolerance: Of polygons in pixels.
            overwrite: Replace what exists.

        Raises:
            InputError: a format given twice, names that cannot be read, or no format for what belongs to it.
        """
        given = {format: found for (format, _), found in paths.items() if found}
        flags = {format: flag for format, flag in paths if format in given}
        twice = next((format for format, found in given.items() if len(found) > 1), None)
        if twice is not None:
            raise InputError(f"{flags[twice]} is given {len(given[twice])} times; one place takes them all")
        belongings = {"--label": label, "--labels": labels, "--tolerance": tolerance}
        lonely = [option for option, value in belongings.items() if value not in (None, [])]
        if lonely and not given:
            raise InputError(
                f"{lonely[0]} is for other formats; name one, such as --coco FILE.json, or leave it out"
            )
        single = names.parsed((text for text in label if ":" in text), "--label")
        others = names.common((text for text in label if ":" not in text), "--label")
        return cls(
            {format: found[0] for format, found in given.items()},
            flags,
            {**({} if labels is None else names.read(labels)), **single},
            others,
            frozenset(single),
            1.0 if tolerance is None else tolerance,
            overwrite,
        )

    def check(
        self, *, own: Iterable[Path] = (), read: Path | None = None, again: str = "--overwrite"
    ) -> None:
        """Everything that can be known before any work. Nothing is changed.

        Args:
            own: Files and folders that the command's own results are in.
            read: The picture, video, folder or pattern that is read.
            again: What replaces an export that exists.

        Raises:
            InputError: names that do not suit the formats, each other, or what is read.
            OutputError: something is in the way, or cannot be written.
            MissingExtraError: a format needs packages that are not installed.
        """
        taken = {path.resolve(): f"{path} is for the results themselves" for path in own}
        if read is not None and not read.is_dir():
            taken[read.resolve()] = f"{read} is what is read"
        for format, path in self.paths.items():
            real, flag = path.resolve(), self.flags[format]
            if real in taken:
                raise InputError(f"{flag}: {taken[real]}; choose another place")
            if format in _PICTURES and read is not None and real == _folder_of_pictures(read):
                raise InputError(f"{flag}: pictures are read from {path}; choose another folder")
            if format != "labelme":  # whose files lie beside the pictures
                taken[real] = f"{path} is for {flag} already"
            self.open(format, path, again=again).abandon()

    def check_many(self) -> None:
        """Refuse files of one picture where there are many.

        Raises:
            InputError: there is one.
        """
        from maskwright.interop.formats import is_file

        for format, path in self.paths.items():
            if format not in _GROWING and is_file(format, path):
                flag = self.flags[format]
                raise InputError(f"{flag} {path}: such a file is for one picture; name a folder for many")

    def check_objects(self, known: Collection[int]) -> None:
        """Refuse names for objects that there are not, and numbers that a format cannot hold.

        Args:
            known: Numbers of all objects.

        Raises:
            InputError: there is one.
        """
        from maskwright.io.sinks.indexed import check_ids

        if "indexed" in self.paths:
            check_ids(known)
        strange = next((number for number in sorted(self.named) if number not in known), None)
        if strange is not None:
            there = ", ".join(map(str, sorted(known)))
            raise InputError(
                f"--label {strange}:{self.labels[strange]}: there is no object {strange}, only {there}"
            )

    def check_huge(self) -> None:
        """Refuse what takes a picture as a whole.

        Raises:
            InputError: one of the formats does.
        """
        dense = next((format for format in self.paths if format in _DENSE), None)
        if dense is not None:
            raise InputError(
                f"{self.flags[dense]} draws the whole picture, and --tiles never holds it whole; numbers.tif "
                "has all objects, and run lengths and polygons (--coco, --geojson ...) go with --tiles"
            )

    def sweep(self) -> None:
        """Remove what a run that was killed left behind: what is hidden and never got its name."""
        for path in self.paths.values():
            for part in path.parent.glob(f".{escape(path.name)}.*.part"):
                with suppress(OSError):
                    part.unlink()
            for stage in path.glob(f"{STAGE}*"):
                rmtree(stage, ignore_errors=True)

    def renamed(self, picture: AnnotatedPicture) -> AnnotatedPicture:
        """A picture in which all objects have the names that were asked for."""
        from maskwright.interop.annotations import relabelled

        others = {item.id: self.others for item in picture.annotations} if self.others else {}
        return relabelled(picture, {**others, **self.labels})

    @property
    def wanting_pixels(self) -> str | None:
        """The option of a format that cannot do without the pictures themselves, if there is one."""
        from maskwright.interop.formats import FORMATS

        return next((self.flags[format] for format in self.paths if FORMATS[format].needs_pixels), None)

    def open(
        self, format: str, path: Path, *, again: str = "--overwrite", overwrite: bool | None = None
    ) -> Export:
        """Begin one of them.

        Args:
            format: Which.
            path: Where.
            again: What replaces an export that exists, for the message.
            overwrite: Replace what is there; as it was said if None.
        """
        from maskwright.interop.formats import open_export

        try:
            return open_export(
                format,
                path,
                labels=self.labels,
                tolerance=self.tolerance,
                overwrite=self.overwrite if overwrite is None else overwrite,
            )
        except OutputError as error:
            message = str(error).replace("allow overwriting", f"{again} replaces it,")
            failure = OutputError(f"{self.flags[format]}: {message}")
            failure.errno = error.errno
            raise failure from error
        except InputError as error:
            raise InputError(f"{self.flags[format]}: {error}") from error


def _folder_of_pictures(read: Path) -> Path | None:
    """The folder that pictures are read from; None for a video."""
    from maskwright.io.sources.stills import picture_endings

    if read.is_dir():
        return read.resolve()
    return read.parent.resolve() if read.suffix.lower() in picture_endings() else None


NO_EXPORTS = Exports()
"""Nothing was asked for."""
