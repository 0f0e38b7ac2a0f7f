"""What all evaluations share: opening data and model, files for the results, a word on the run."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maskwright.errors import InputError, OutputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from maskwright.io.datasets.protocol import Pictures, Videos
    from maskwright.mask_model import MaskModel


@dataclass(frozen=True)
class Common:
    """What was asked for on the command line, as it was typed, of all that measures."""

    root: Path
    split: str | None
    most: int | None
    """Pictures or sequences at most."""
    model: str
    device: str | None
    dtype: str | None
    image_size: int | None
    threads: int | None
    csv: Path | None
    json: Path | None
    overwrite: bool
    images: Path | None = None

    @property
    def data(self) -> str:
        """Name of the data set, and its part in brackets."""
        part, name = part_of(self.root, self.split), self.root.resolve().name
        return name if part == "all" else f"{name} ({part})"

    def check_files(self) -> None:
        """Make sure that results can be written, before hours of work.

        Raises:
            OutputError: a file exists, or its folder cannot be written into.
        """
        files = [path for path in (self.csv, self.json) if path is not None]
        for path in files:
            check_file(path, overwrite=self.overwrite)
        if len({path.resolve() for path in files}) < len(files):
            raise OutputError(f"--csv and --json are both {files[0]}; give two names")

    def open(self) -> Pictures | Videos:
        """The data set; see ``open_data``."""
        return open_data(self.root, self.split, self.images)

    def chosen(self, available: int) -> Sequence[int]:
        """Which of the pictures or videos."""
        from maskwright.io.datasets.choosing import spread

        return range(available) if self.most is None else spread(available, self.most)

    def load(self) -> MaskModel:
        """The model, with as many threads as were asked for."""
        return load_model(self.model, self.device, self.dtype, self.image_size, self.threads)

    def about(self, model: MaskModel) -> dict[str, Any]:
        """What a reader of the results needs to know about the run."""
        import torch

        from maskwright import __version__

        return {
            "model": self.model,
            "network": model.name,
            "image_size": model.config.image_size,
            "video_size": model.config.for_video.image_size,
            "device": str(model.device),
            "dtype": model.dtype_name,
            "data": self.root.resolve().name,
            "split": part_of(self.root, self.split),
            "maskwright": __version__,
            "torch": torch.__version__,
            "python": platform.python_version(),
        }

    def write(self, csv: str, json: str) -> None:
        """Write the files that were asked for, each whole or not at all, and say so."""
        from maskwright.cli.terminal import print_line
        from maskwright.io.files import write_text

        for name, path, text in (("csv", self.csv, csv), ("json", self.json, json)):
            if path is not None:
                write_text(path, text, overwrite=self.overwrite)
                print_line(f"{name}: {path}")


def check_file(path: Path, *, overwrite: bool) -> None:
    """OutputError if ``path`` cannot be written; its folder is made if it is missing."""
    from maskwright.io.files import checked_target, writable_folder

    checked_target(path, overwrite=overwrite)
    writable_folder(path.parent)


def check_choice(option: str, value: str, known: Sequence[str]) -> None:
    """InputError unless ``value`` is one of the known ones."""
    if value not in known:
        raise InputError(f"{option} is {value!r}; write {', '.join(known[:-1])} or {known[-1]}")


def open_data(root: Path, split: str | None, images: Path | None = None) -> Pictures | Videos:
    """A data set, or the part of it that ``part_of`` names.

    Raises:
        InputError: there is no data set in a known layout, or it has no such part.
    """
    from maskwright.io.datasets.opening import open_dataset

    part = part_of(root, split)
    return open_dataset(root, split="" if part == "all" else part, images=images)


def part_of(root: Path, split: str | None) -> str:
    """The part that was asked for; by default ``val`` if the data set has parts, else ``all``."""
    return split or ("val" if has_parts(root) else "all")


def has_parts(root: Path) -> bool:
    """Whether the data set itself says what its ``val`` part is: by a list, a column, or a file's name."""
    if (root / "ImageSets" / "2017" / "val.txt").is_file() or any((root / "annotations").glob("*val*.json")):
        return True
    return (root / "sources.tsv").is_file() and (root / "labels").is_dir()


def load_model(
    name: str, device: str | None, dtype: str | None, image_size: int | None, threads: int | None
) -> MaskModel:
    """A model, after setting torch's threads."""
    import torch

    from maskwright.cli.pace import Wanted

    if threads is not None:
        torch.set_num_threads(threads)
    return Wanted(name, device, dtype, image_size).load()
