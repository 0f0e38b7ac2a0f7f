"""Videos as pictures: of each, the first frame whose masks are known."""

from __future__ import annotations

from collections.abc import Sequence

from maskwright.errors import InputError
from maskwright.io.datasets.protocol import Pictures, Scene, Videos


class FirstFrames:
    """A data set of videos as ``Pictures``; every video counts as a source of its own."""

    def __init__(self, videos: Videos) -> None:
        self._videos = videos

    @property
    def names(self) -> Sequence[str]:
        return self._videos.names

    @property
    def sources(self) -> Sequence[str]:
        return self._videos.names

    def __len__(self) -> int:
        return len(self._videos)

    def read(self, index: int) -> Scene:
        """See ``Pictures``.

        Raises:
            ImageError: the frame or its masks cannot be read.
            InputError: no frame of the video has masks.
        """
        annotated = self._videos.annotated(index)
        if not annotated:
            raise InputError(f"{self.names[index]} has no frame whose masks are known")
        return self._videos.read(index, annotated[:1]).scenes[0]


def as_pictures(data: Pictures | Videos) -> Pictures:
    """The data set itself, or the first frames of its videos."""
    return FirstFrames(data) if isinstance(data, Videos) else data
