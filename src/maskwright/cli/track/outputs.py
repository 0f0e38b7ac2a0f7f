"""Which files ``maskwright track`` writes, whether they are in the way, and the sinks that write them."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from maskwright.errors import InputError, OutputError

if TYPE_CHECKING:
    from maskwright.io.sinks import Sink
    from maskwright.io.sources import Source

_VIDEO_CUTOUTS = (".webm", ".mov")


@dataclass(frozen=True)
class Outputs:
    """The names of all results; None for what was not asked for."""

    video: Path | None
    masks: Path | None
    cutout: Path | None
    log: Path
    """Is written in any case: the run resumes from it, and backward runs make their video from it."""
    keep_log: bool
    """Whether the log was asked for; otherwise it goes when everything is finished."""

    @classmethod
    def of(
        cls,
        source: str,
        video: Path | None,
        masks: Path | None,
        cutout: Path | None,
        log: Path | None,
        exports: Mapping[str, Path],
    ) -> Outputs:
        """What was asked for; if nothing was, an overlay video and a log named after the source.

        Args:
            source: The video.
            video: With the objects drawn on it.
            masks: Folder of indexed PNGs.
            cutout: Folder or video.
            log: The log, if it is to be kept.
            exports: Other formats, which are written from the log at the end.
        """
        asked = [path for path in (video, masks, cutout, *exports.values()) if path is not None]
        if not asked and log is None:
            name = stem(source)
            return cls(Path(f"{name}-tracked.mp4"), None, None, Path(f"{name}-tracked.jsonl"), True)
        if log is not None:
            return cls(video, masks, cutout, log, True)
        return cls(video, masks, cutout, asked[0].with_name(f"{asked[0].name}.tracking.jsonl"), False)

    @property
    def snapshot(self) -> Path:
        """Where the state of an unfinished run is kept."""
        return self.log.with_name(f"{self.log.name}.session")

    @property
    def kept(self) -> dict[str, Path]:
        """What will be there in the end, by kind."""
        named = {"video": self.video, "masks": self.masks, "cutout": self.cutout}
        found = {kind: path for kind, path in named.items() if path is not None}
        return found | ({"log": self.log} if self.keep_log else {})

    def check(self, source: Source, *, resume: bool, overwrite: bool) -> bool:
        """Everything about the files that can be known beforehand. Nothing is changed.

        Returns:
            Whether there is an earlier run to continue.

        Raises:
            InputError: names that do not fit together or to what they are for.
            OutputError: something is in the way, or cannot be written.
        """
        self._check_names(source)
        resuming = resume and self.log.is_file()
        if not resuming and not overwrite:
            for path in self._in_the_way():
                if resume:
                    raise OutputError(
                        f"{path} exists, but not the log {self.log} to resume from; "
                        "--overwrite starts over, or choose another name"
                    )
                raise OutputError(
                    f"{path} exists already; --overwrite replaces it, --resume continues an unfinished run, "
                    "or choose another name"
                )
        self._check_places()
        return resuming

    def _check_names(self, source: Source) -> None:
        if self.video is not None and self.video.suffix.lower() != ".mp4":
            raise InputError(f"the overlay video is an MP4; end the name {self.video} in .mp4")
        origin = getattr(source, "path", None)
        seen: set[Path] = set()
        for path in self.kept.values():
            real = path.resolve()
            if origin is not None and Path(origin).exists() and real == Path(origin).resolve():
                raise InputError(f"{path} is the video that is read; choose another name for the result")
            if real in seen:
                raise InputError(f"{path} is to hold two results; give each a name of its own")
            seen.add(real)

    def _in_the_way(self) -> Iterable[Path]:
        for path in (self.video, self.cutout if self._cutout_is_video else None, self.log):
            if path is not None and path.is_file():
                yield path
        for video in (self.video, self.cutout if self._cutout_is_video else None):
            if video is not None and partial_of(video).exists():
                yield partial_of(video)
        for folder in (self.masks, None if self._cutout_is_video else self.cutout):
            found = None if folder is None else first_picture(folder)
            if found is not None:
                yield found

    def _check_places(self) -> None:
        from maskwright.io.files import checked_target, writable_folder

        files = [self.video, self.cutout if self._cutout_is_video else None, self.log, self.snapshot]
        for path in files:
            if path is None:
                continue
            checked_target(path, overwrite=True)
            if not path.parent.is_dir():
                raise OutputError(f"cannot write {path}: its folder does not exist; create it first")
            writable_folder(path.parent)
        for folder in (self.masks, None if self._cutout_is_video else self.cutout):
            if folder is not None:
                existing = next(place for place in (folder, *folder.absolute().parents) if place.exists())
                writable_folder(existing)

    @property
    def _cutout_is_video(self) -> bool:
        return self.cutout is not None and self.cutout.suffix.lower() in _VIDEO_CUTOUTS

    def sweep(self) -> None:
        """Remove what writers that were killed left behind: hidden files that never got their names."""
        files = [*self.kept.values(), self.log, self.snapshot]
        found = [part for path in files for part in path.parent.glob(f".{path.name}.*.part")]
        folders = (self.masks, None if self._cutout_is_video else self.cutout)
        found += [part for folder in folders if folder for part in folder.glob(".*.png.*.part")]
        for part in found:
            with contextlib.suppress(OSError):
                part.unlink()

    def pictures(self, ids: Iterable[int], wanted: Iterable[str]) -> list[Sink]:
        """Sinks that take frames in any order: a file for each frame."""
        from maskwright.io.sinks import CutOuts, IndexedPngs

        sinks: list[Sink] = []
        if self.masks is not None and "masks" in wanted:
            sinks.append(IndexedPngs(self.masks, ids=ids))
        if self.cutout is not None and not self._cutout_is_video and "cutout" in wanted:
            sinks.append(CutOuts(self.cutout))
        return sinks

    def videos(self, source: Source, wanted: Iterable[str]) -> list[Sink]:
        """Sinks that take frames in ascending order only, but for the log."""
        from maskwright.io.sinks import CutOuts, OverlayVideo
        from maskwright.io.sources.torchcodec import TorchcodecSource
        from maskwright.io.sources.video import VideoSource

        sinks: list[Sink] = []
        if self.video is not None and "video" in wanted:
            sound = source.path if isinstance(source, (VideoSource, TorchcodecSource)) else None
            sinks.append(OverlayVideo(self.video, fps=source.fps, audio_from=sound))
        if self.cutout is not None and self._cutout_is_video and "cutout" in wanted:
            sinks.append(CutOuts(self.cutout, fps=source.fps))
        return sinks

    def unfinished(self, numbers: Iterable[int]) -> list[str]:
        """Of a run whose log is complete, the results that are missing or were not finished."""
        from maskwright.io.sinks.numbered import frame_name

        missing = []
        for kind, path in self.kept.items():
            if kind == "video" or (kind == "cutout" and self._cutout_is_video):
                whole = path.is_file() and not partial_of(path).exists()
            elif kind == "log":
                whole = True
            else:
                whole = all((path / frame_name(number)).is_file() for number in numbers)
            if not whole:
                missing.append(kind)
        return missing


def stem(source: str) -> str:
    """A file name's beginning for what comes from a source: of a file, folder, pattern, address or camera."""
    if source.startswith("camera:"):
        return "-".join(["camera", *re.findall(r"\w+", source.removeprefix("camera:"))])
    address = re.match(r"[A-Za-z][A-Za-z0-9+.-]+://([^?#]*)", source)
    name = (address[1] if address else source).rstrip("/\\")
    while name and (not name.strip("./\\") or re.search(r"[*?\[]", Path(name).name)):
        name = "" if Path(name).parent == Path(name) else str(Path(name).parent)
        if name == ".":
            break
    if address:
        return re.sub(r"[^\w.-]+", "-", Path(name).stem) or "stream"
    path = Path(name or ".")
    if path.resolve().is_dir():
        return path.resolve().name or "frames"
    return path.stem


def partial_of(video: Path) -> Path:
    """Where the frames of an unfinished video are."""
    return video.with_name(f"{video.stem}.partial{video.suffix}")


def first_picture(folder: Path) -> Path | None:
    """A picture of a frame in a folder of results, if it has any."""
    if not folder.is_dir():
        return None
    return next((path for path in folder.glob("*.png") if path.stem.isdecimal()), None)
