"""``maskwright track``: follow objects through a video into files, and go on where an earlier run ended.

The log is what counts: a frame is done when its line is there, and every other result can be made again from
the log and the video. Cheap checks come first: prompts, names and frames are judged before a model is loaded.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maskwright.cli.export.request import Exports
from maskwright.cli.pace import Wanted
from maskwright.cli.progress import Watch
from maskwright.cli.track.discovery import LARGEST_ID, Discovering
from maskwright.cli.track.outputs import Outputs
from maskwright.cli.track.prompts import parse, placed
from maskwright.cli.track.results import Results
from maskwright.cli.track.run import Run
from maskwright.cli.track.span import Direction, place
from maskwright.errors import InputError

if TYPE_CHECKING:
    from maskwright.discover.options import Discover
    from maskwright.io.sources import Corrupt, Source
    from maskwright.mask_model import MaskModel
    from maskwright.track.options import TrackOptions


@dataclass(frozen=True)
class Request:
    """What was asked for on the command line, as it was typed."""

    video: str
    objects: list[str]
    out: Path | None
    masks: Path | None
    cutout: Path | None
    log: Path | None
    resume: bool
    overwrite: bool
    exports: Exports
    backward: bool
    both: bool
    start: int | None
    end: int | None
    stride: int
    model: str | None
    device: str | None
    dtype: str | None
    image_size: int | None
    target_fps: float | None
    corrupt: str
    no_overlap: bool
    fill: float
    as_json: bool
    discover: bool
    discovering: Discovering
    runtime: str | None = None
    encode_ahead: int = 1
    decoder: str = "pyav"

    @property
    def direction(self) -> Direction:
        """``forward`` unless another one was asked for."""
        return "both" if self.both else "backward" if self.backward else "forward"

    def check(self) -> None:
        """What can be said without looking at any file.

        Raises:
            InputError: options that exclude each other, or an impossible number.
        """
        if self.backward and self.both:
            raise InputError("--backward and --both exclude each other; --both goes forward, then backward")
        if self.resume and self.overwrite:
            raise InputError("--resume continues a run and --overwrite starts over; give one of them")
        if self.corrupt not in ("skip", "stop"):
            raise InputError(f"--corrupt is {self.corrupt!r}; write skip or stop")
        if self.decoder not in ("pyav", "torchcodec"):
            raise InputError(f"--decoder is {self.decoder!r}; write pyav or torchcodec")
        if not 0 <= self.fill < float("inf"):
            raise InputError(f"--fill is {self.fill:g}; it counts cells: 0 (off) or more")
        if self.encode_ahead < 1:
            raise InputError(f"--encode-ahead is {self.encode_ahead}; it counts frames: 1 (off) or more")
        self.discovering.check(wanted=self.discover)
        if self.discover and self.both and not self.objects:
            raise InputError("--both goes both ways from a prompt; add --object, or leave --both out")

    def discovery(self, model: str = "") -> Discover | None:
        """How to discover objects with a model of this name, or None."""
        if not self.discover:
            return None
        bytes_only = self.masks is not None or "indexed" in self.exports.paths
        return self.discovering.settings(model, max_id=LARGEST_ID if bytes_only else None)

    def open(self) -> Source:
        """The video."""
        from maskwright.io.sources import open_source

        corrupt: Corrupt = "stop" if self.corrupt == "stop" else "skip"
        if self.decoder == "pyav":
            return open_source(self.video, corrupt=corrupt)
        return open_source(self.video, corrupt=corrupt, decoder="torchcodec", device=self._decoding_device)

    @property
    def _decoding_device(self) -> str:
        """The GPU that the model will be on, if it will be on one."""
        from maskwright.runtime.select import choose, runs_graphs

        place = choose(self.device).device
        return str(place) if place.type == "cuda" and not runs_graphs(self.runtime) else "cpu"

    def again(self, source: Source) -> str | None:
        """The video as it can be read a second time; None for what is live or an address."""
        return None if source.live or "://" in self.video else self.video

    def options(self) -> TrackOptions:
        """How to track; nothing is kept to be prompted later, so that snapshots stay small."""
        from maskwright.track.options import TrackOptions

        return TrackOptions(
            max_hole_area=self.fill,
            non_overlapping=self.no_overlap,
            rewind=0,
            encode_ahead=self.encode_ahead,
        )


def track_video(request: Request) -> bool:
    """Track, write everything, and print a summary.

    Returns:
        False if Ctrl-C ended it early.

    Raises:
        MaskwrightError: wrong input, an unusable model, or results that cannot be written; what was finished
            by then stays readable.
    """
    request.check()
    asked = parse(request.objects, needed=not request.discover)
    discovery = request.discovery()
    if discovery is not None:
        discovery.check_prompted({one.object_id for one in asked})
    else:
        request.exports.check_objects({one.object_id for one in asked})
    watch = Watch()
    with watch.warnings(), request.open() as source:
        if source.live and request.resume:
            raise InputError(f"{source.name} is live: what it showed since is gone; start anew")
        outputs = Outputs.of(
            request.video, request.out, request.masks, request.cutout, request.log, request.exports.paths
        )
        resume = outputs.check(source, resume=request.resume, overwrite=request.overwrite)
        exports = replace(request.exports, overwrite=request.overwrite or resume)
        _check_exports(exports, outputs, request.again(source), source.name)
        span, frames = place(
            asked,
            source,
            request.direction,
            start=request.start,
            end=request.end,
            step=request.stride,
            discovers=request.discover,
        )
        prompts = placed(frames, source, latest_first=request.backward)
        with Results(outputs, source, span) as results:
            if not resume:
                results.open(prompts)
            num_objects = len({one.object_id for one in asked})
            model = _load(request, source, num_objects, watch, outputs.log if resume else None)
            run = Run(
                request.open,
                source,
                span,
                prompts,
                request.options(),
                results,
                model,
                watch,
                discover=request.discovery(model.name),
                exports=exports,
                again=request.again(source),
            )
            with watch.interrupts():
                report = run.whole(resume=resume)
    _show(report, as_json=request.as_json)
    if not report["finished"]:
        watch.say(_advice(report, request, live=source.live))
    return bool(report["finished"])


def _check_exports(exports: Exports, outputs: Outputs, again: str | None, name: str) -> None:
    """What can be said of other formats before tracking.

    Raises:
        MaskwrightError: one of them cannot be written, or the source cannot be read again for it.
    """
    exports.check_many()
    exports.check(own=[*outputs.kept.values(), outputs.log], read=None if again is None else Path(again))
    if exports and exports.wanting_pixels and again is None:
        raise InputError(
            f"{exports.wanting_pixels} reads the video a second time, and {name} cannot be; "
            "--cutout writes while it comes"
        )


def _load(request: Request, source: Source, num_objects: int, watch: Watch, log: Path | None) -> MaskModel:
    """The model; a run that goes on from a log has the one that it began with."""
    wanted = Wanted(
        request.model, request.device, request.dtype, request.image_size, request.runtime, request.target_fps
    )
    before = wanted.load_as_before(log) if log is not None and request.target_fps is not None else None
    objects = max(1, num_objects)
    return before or wanted.load(watch.say, task="video", objects=objects, size=source.size)


def _show(report: dict[str, Any], *, as_json: bool) -> None:
    from maskwright.cli.terminal import print_json
    from maskwright.cli.track.summary import show

    if as_json:
        print_json(report)
    else:
        show(report)


def _advice(report: dict[str, Any], request: Request, *, live: bool) -> str:
    done = report["frames"]["done"]
    if live:
        return f"stopped after {done} frames"
    instead = " instead of --overwrite" if request.overwrite else ""
    return f"interrupted after {done} frames; the same command with --resume{instead} goes on from there"
