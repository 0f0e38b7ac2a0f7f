"""A run of ``maskwright track`` once everything is checked: tracking, resuming, finishing."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maskwright.cli.export.request import NO_EXPORTS, Exports
from maskwright.cli.export.write import write_finished
from maskwright.cli.progress import Stage, Watch
from maskwright.cli.track.discovery import as_json as discovery_as_json
from maskwright.cli.track.log import LogIndex, replay
from maskwright.cli.track.outputs import partial_of
from maskwright.cli.track.prompts import Placed, as_json
from maskwright.cli.track.results import Results
from maskwright.cli.track.snapshots import Snapshots
from maskwright.cli.track.span import Span
from maskwright.cli.track.summary import summarise
from maskwright.errors import MaskwrightError, OutputError

if TYPE_CHECKING:
    from maskwright.automask.search import SearchStep
    from maskwright.discover.options import Discover
    from maskwright.frames import TrackedFrame
    from maskwright.io.sinks import FrameLog, LogHeader, Sink
    from maskwright.io.sources import Source
    from maskwright.mask_model import MaskModel
    from maskwright.track.options import TrackOptions
    from maskwright.track.session import Session


class Run:
    """Follows the objects through the frames of a span and writes the results.

    The log decides what is done. A run that resumes makes all other results again from it and the video,
    which is cheap, and tracks the rest from the last snapshot; what lies between the snapshot and the end of
    the log is tracked once more, to bring the memory up to date, and not written again.
    """

    def __init__(
        self,
        open_again: Callable[[], Source],
        source: Source,
        span: Span,
        prompts: Placed,
        options: TrackOptions,
        results: Results,
        model: MaskModel,
        watch: Watch,
        *,
        discover: Discover | None = None,
        exports: Exports = NO_EXPORTS,
        again: str | None = None,
    ) -> None:
        self._open_again = open_again
        self._source, self._span, self._prompts, self._options = source, span, prompts, options
        self._results, self._model, self._watch = results, model, watch
        self._discover = discover
        self._exports, self._again = exports, again
        self._exported = not exports
        self._outputs = results.outputs
        self._snapshots = Snapshots(self._outputs.snapshot, enabled=not source.live)
        self._tracked = 0
        self._rate: float | None = None
        self._dropped = 0

    def whole(self, *, resume: bool) -> dict[str, Any]:
        """Do all that is left to do.

        Returns:
            What was found and written, in plain values. ``finished`` is False after Ctrl-C; what was done by
            then is complete and readable.

        Raises:
            MaskwrightError: the video, the objects or the disk; the message says where the frames are that
                were finished.
        """
        session = self._model.session(
            self._options
        )  # refused by models for pictures, before a file is touched
        log = self._results.open_log(self._header(), resume=resume)
        try:
            try:
                finished = self._phases(session, log, resume=resume)
            except KeyboardInterrupt:
                finished = False
            finally:
                self._results.abandon()
            report = self._report(finished=finished)
        except MaskwrightError as error:
            if self._tracked or log.done:
                raise type(error)(f"{error}; {self._rescued()}") from error
            self._results.discard()
            self._snapshots.remove()
            raise
        if self._is_over(finished=finished):
            self._snapshots.remove()
            if not self._outputs.keep_log:
                self._outputs.log.unlink(missing_ok=True)
        return report

    def _phases(self, session: Session, log: FrameLog, *, resume: bool) -> bool:
        complete = False
        if resume:
            self._outputs.sweep()
            self._exports.sweep()
            complete = log.last is not None and self._span.is_complete(log.last, self._source)
            self._reopen(complete=complete)
            if not self._replayed("writing again", self._results.direct, self._source):
                return False
            if not complete:
                session = self._snapshots.load(self._model, self._options, log.done) or session
                self._say_where(session, log)
        try:
            finished = complete or self._track(session, log)
        except OutputError:
            raise
        except MaskwrightError:
            if (self._tracked or log.done) and self._finish() and self._source.live:
                self._export()  # what came before is good, and nothing will come after
            raise
        if not self._finish():
            return False
        if finished or self._source.live:
            self._export()
        return finished

    def _reopen(self, *, complete: bool) -> None:
        """Open the results that have to be made (again)."""
        log = self._outputs.log
        if not complete:
            self._results.open(self._prompts)
            return
        missing = self._outputs.unfinished(LogIndex(log).numbers)
        self._results.open(self._prompts, missing)
        rest = f"; writing what is missing: {', '.join(missing)}" if missing else ", and nothing is missing"
        self._watch.say(f"{log} is complete: nothing is left to track{rest}")

    def _track(self, session: Session, log: FrameLog) -> bool:
        """Track and write what is not in the log yet; False if Ctrl-C ended it."""
        source, span = self._source, self._span
        searching = _Searching()
        tracking = self._model.track(
            source,
            self._prompts,
            discover=None if self._discover is None else replace(self._discover, progress=searching),
            direction=span.way,
            start=span.first,
            stop=span.stop,
            step=span.step,
            session=session,
        )
        total = span.total(source)
        with closing(tracking), self._watch.stage("tracking", total, len(log.done)) as stage:
            searching.stage = stage
            try:
                for frame in tracking:
                    self._take(frame, log, stage, tracking.dropped)
                    if self._watch.stopping:
                        self._snapshots.save(session)
                        return False
                    self._snapshots.after_frame(session)
                    if span.is_last(frame.index, backward=session.runs_backward):
                        break
            except MaskwrightError as error:
                if not isinstance(error, OutputError):
                    self._snapshots.save(session)
                raise
            finally:
                self._rate = stage.rate if self._tracked else None
                self._dropped = tracking.dropped
        return True

    def _take(self, frame: TrackedFrame, log: FrameLog, stage: Stage, dropped: int) -> None:
        if frame.index in log.done:
            stage.part = 0.0
            stage.show(f"catching up, frame {frame.index}")
            return
        self._results.write(frame)
        self._tracked += 1
        lost = int((~frame.visible).sum())
        notes = [
            "" if self._discover is None else f"objects: {len(frame)}",
            f"lost: {lost} of {len(frame)}" if lost else "",
            f"dropped: {dropped}" if dropped else "",
        ]
        stage.advance(", ".join(note for note in notes if note))

    def _finish(self) -> bool:
        """Complete all files; False if Ctrl-C left the videos of a backward run out."""
        self._results.finish_direct()
        later = self._results.later
        if later.sinks:
            self._watch.stopping = False
            with self._open_again() as source:
                if not self._replayed("writing the video", later, source):
                    return False
            later.close()
        return True

    def _export(self) -> None:
        """Write other formats from the log, which is complete, so that an interrupted run has the same."""
        from maskwright.interop.finished import read_finished

        if self._exports:
            self._watch.stopping = False
            write_finished(self._exports, read_finished(self._outputs.log, self._again), self._watch)
            self._exported = True

    def _is_over(self, *, finished: bool) -> bool:
        """Whether everything is written and nothing can go on."""
        return self._exported and (finished or self._source.live)

    def _replayed(self, what: str, sink: Sink, source: Source) -> bool:
        """Write the frames of the log to a sink once more; False if Ctrl-C ended it."""
        index = LogIndex(self._outputs.log)
        if not len(index) or not getattr(sink, "sinks", True):
            return True
        with self._watch.stage(what, len(index)) as stage:

            def going_on(number: int) -> bool:
                stage.advance()
                return not self._watch.stopping

            return replay(index, source, self._span.step, sink, going_on)

    def _header(self) -> LogHeader:
        """What makes two runs the same job: video, model, prompts and everything that changes masks."""
        from maskwright.io.sinks import LogHeader
        from maskwright.io.sources.torchcodec import TorchcodecSource
        from maskwright.runtime.select import EAGER

        model, source, span = self._model, self._source, self._span
        job = {
            "bytes": _num_bytes(source),
            "prompts": as_json(self._prompts),
            "direction": span.direction,
            "first": span.first,
            "start": span.start,
            "end": span.end,
            "stride": span.step,
            "image_size": model.config.for_video.image_size,
            "dtype": model.dtype_name,
            "fill": self._options.max_hole_area,
            "no_overlap": self._options.non_overlapping,
        }
        if self._options.encode_ahead > 1:
            job["encode_ahead"] = self._options.encode_ahead
        if model.runtime_name != EAGER:
            job["runtime"] = model.runtime_name
        if isinstance(source, TorchcodecSource):
            job["decoder"] = f"torchcodec on {source.device.type}"
        if self._discover is not None:
            job["discover"] = discovery_as_json(self._discover, model.name)
        return LogHeader(source.name, source.size, source.fps, model.name, model.runtime.fingerprint(), job)

    def _say_where(self, session: Session, log: FrameLog) -> None:
        after = f"frame {session.addressable[-1]}" if session.addressable else "the beginning"
        self._watch.say(
            f"{len(log.done)} frames are in {self._outputs.log} already; tracking goes on from {after}"
        )

    def _rescued(self) -> str:
        """Where the finished frames are, after an error."""
        files = " and ".join(self._files(finished=False).values())
        advice = "" if self._source.live else "; --resume goes on from there"
        return f"{len(LogIndex(self._outputs.log))} frames are finished, in {files}{advice}"

    def _files(self, *, finished: bool) -> dict[str, str]:
        """Where the results are: of a video that is not finished, the part that there is."""
        files = {}
        over = self._is_over(finished=finished)
        unkept = {} if over else {"log": self._outputs.log}
        for kind, path in (self._outputs.kept | unkept).items():
            partial = partial_of(path)
            place = partial if partial.is_file() else path
            if place.exists():
                files[kind] = str(place)
        return files | (self._exports.places if over else {})

    def _report(self, *, finished: bool) -> dict[str, Any]:
        source, span, index = self._source, self._span, LogIndex(self._outputs.log)
        objects = summarise(index, first=span.first, direction=span.way)
        return {
            "source": {"name": source.name, "size": source.size, "fps": source.fps},
            "model": self._model.name,
            "direction": span.direction,
            "finished": finished,
            "frames": {
                "done": len(index),
                "lowest": index.numbers[0] if len(index) else None,
                "highest": index.numbers[-1] if len(index) else None,
                "tracked_now": self._tracked,
                "skipped": self._skipped(index, finished=finished),
                "dropped": self._dropped,
            },
            "frames_per_second": None if self._rate is None else round(self._rate, 2),
            "objects": [one.as_json() for one in objects],
            "outputs": self._files(finished=finished),
        }

    def _skipped(self, index: LogIndex, *, finished: bool) -> int:
        """Damaged frames that are not in the log: of the whole span at its end, else up to the last ones."""
        source, span = self._source, self._span
        if source.live or not len(index):
            return source.num_skipped
        total = span.total(source)
        if finished and source.exact_length and total is not None:
            return total - len(index)
        return len(range(index.numbers[0], index.numbers[-1] + 1, span.step)) - len(index)


class _Searching:
    """Shows how far the search for new objects in a frame is."""

    def __init__(self) -> None:
        self.stage: Stage | None = None

    def __call__(self, step: SearchStep) -> None:
        if self.stage is not None:
            self.stage.part = step.done / step.total
            self.stage.show("searching")


def _num_bytes(source: Source) -> int | None:
    """Size of the file that the source is, if it is one: another video of the same name is another job."""
    path = Path(getattr(source, "path", ""))
    return path.stat().st_size if path.is_file() else None
