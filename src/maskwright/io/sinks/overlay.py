"""The video with the objects drawn on it."""

from __future__ import annotations

import os

from maskwright.errors import InputError
from maskwright.frames import TrackedFrame
from maskwright.io.sinks.encode import H264, VideoFile, import_av
from maskwright.io.sinks.labels import draw_labels
from maskwright.io.sinks.protocol import Sink, picture_of
from maskwright.io.sinks.soundtrack import check_sound
from maskwright.pixels.draw import overlay
from maskwright.pixels.palette import colour


class OverlayVideo(Sink):
    """An MP4 (H.264) of the frames with every object tinted, outlined and numbered.

    Each object keeps the colour of its number, ``palette.colour(id)``. The video begins with the first frame
    written; frames keep their own times, so that an uneven rate stays uneven, and gaps hold the last picture.
    Sides are those of the frames; an odd one is repeated to the next even one, because players show H.264 in
    4:2:0 only. Until :meth:`close` the frames are in ``NAME.partial.mp4``, which is readable even after
    ``kill -9`` (up to about the last second) and stays there when something fails.

    Args:
        path: Ends in ``.mp4``; its folder must exist.
        fps: Average rate, for frames that carry no time; 30 if None.
        audio_from: The video whose sound to add, usually the source: a path or an address. Cut to the time of
            the frames; copied where MP4 can hold it, else encoded to AAC. Without sound in it there is none.
        alpha: Strength of the tint, 0..1.
        labels: Draw the number of each object.
        show_scores: Add the predicted IoU to the number.
        overwrite: Replace an existing file.

    Raises:
        InputError: another ending, an impossible rate or alpha, or sound that cannot be read.
        OutputError: the folder is missing or cannot be written into, or a file is in the way.
        MissingExtraError: PyAV is not installed, or its build lacks libx264.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        fps: float | None,
        audio_from: str | os.PathLike[str] | None = None,
        alpha: float = 0.5,
        labels: bool = True,
        show_scores: bool = False,
        overwrite: bool = True,
    ) -> None:
        if os.path.splitext(path)[1].lower() != ".mp4":  # noqa: PTH122, a path may be str
            raise InputError(f"the overlay video is an MP4; end the name {os.fspath(path)} in .mp4")
        if not 0 <= alpha <= 1:
            raise InputError(f"alpha is {alpha}; it must be in 0..1")
        import_av()
        self._audio_from = check_sound(audio_from, path) if audio_from is not None else None
        self._video = VideoFile(path, H264, fps=fps, overwrite=overwrite)
        self._alpha = alpha
        self._labels = labels or show_scores
        self._scores = show_scores

    def write(self, frame: TrackedFrame) -> None:
        """Draw and encode one frame; its number must be greater than that of the frame before."""
        shades = [colour(number) for number in frame.ids]
        drawn = overlay(picture_of(frame), frame.bitmaps, alpha=self._alpha, colours=shades)
        if self._labels:
            draw_labels(drawn, frame, scores=self._scores)
        self._video.write(drawn, frame.index, frame.time)

    def close(self) -> None:
        """Finish the file: add the sound and put it under its name. Without any frame no file appears."""
        self._video.finish(self._audio_from)

    def abandon(self) -> None:
        """Stop; the frames so far are in ``NAME.partial.mp4``."""
        self._video.abandon()
