"""The files of a run while they are being written."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from maskwright.cli.track.outputs import Outputs

if TYPE_CHECKING:
    from maskwright.cli.track.prompts import Placed
    from maskwright.cli.track.span import Span
    from maskwright.frames import TrackedFrame
    from maskwright.io.sinks import FrameLog, LogHeader
    from maskwright.io.sources import Source


class Results:
    """Opens, writes and closes them. Leaving the ``with`` block stops what is not finished, as it is.

    Frames go at once to whatever takes them in the order of tracking (``direct``). Videos, which want
    ascending frames, are written afterwards (``later``) if tracking goes backward.
    """

    def __init__(self, outputs: Outputs, source: Source, span: Span) -> None:
        from maskwright.io.sinks import Sinks

        self.outputs = outputs
        self.log: FrameLog | None = None
        self.direct = Sinks()
        self.later = Sinks()
        self._source = source
        self._forward = span.way == "forward"
        folders = [folder for folder in (outputs.masks, outputs.cutout) if folder is not None]
        self._new_folders = [folder for folder in folders if not folder.exists()]

    def open(self, prompts: Placed, wanted: Sequence[str] | None = None) -> None:
        """Open everything but the log, or only what is ``wanted``.

        Raises:
            MaskwrightError: an ending, an object's number or an encoder that will not do, or a place that
                cannot be written into.
        """
        from maskwright.io.sinks import Sinks

        kinds = tuple(self.outputs.kept) if wanted is None else wanted
        self.direct = Sinks(*self.outputs.pictures(prompts, kinds))
        videos = Sinks(*self.outputs.videos(self._source, kinds))
        if self._forward:
            self.direct = Sinks(*self.direct.sinks, *videos.sinks)
        else:
            self.later = videos

    def open_log(self, header: LogHeader, *, resume: bool) -> FrameLog:
        """Start the log anew, or open the one there is.

        Raises:
            InputError: it belongs to another job, or is damaged.
            OutputError: it cannot be written.
        """
        from maskwright.io.sinks import FrameLog

        path = self.outputs.log
        self.log = FrameLog.resume(path, header) if resume else FrameLog(path, header, overwrite=True)
        return self.log

    def write(self, frame: TrackedFrame) -> None:
        """A frame into all files that take it now; the log last, so that what it holds is everywhere."""
        assert self.log is not None
        self.direct.write(frame)
        self.log.write(frame)

    def finish_direct(self) -> None:
        """Complete what was written while tracking."""
        self.direct.close()
        if self.log is not None:
            self.log.close()

    def discard(self) -> None:
        """Remove everything, as after an error before the first frame."""
        self.abandon()
        with contextlib.suppress(OSError):
            self.outputs.log.unlink()

    def __enter__(self) -> Results:
        return self

    def __exit__(self, *error: object) -> None:
        self.abandon()

    def abandon(self) -> None:
        """Stop whatever is not finished; it stays readable as far as it is."""
        self.direct.abandon()
        self.later.abandon()
        if self.log is not None:
            self.log.abandon()
        for folder in self._new_folders:
            with contextlib.suppress(OSError):
                folder.rmdir()  # goes only if nothing came into it
