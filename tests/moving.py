"""Small labelled videos and pictures in memory, for the tests of training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from maskwright.io.datasets.protocol import Clip, Scene


def moving_squares(
    num_frames: int, side: int = 128, *, seed: int = 0, hidden: Sequence[int] = ()
) -> tuple[np.ndarray, np.ndarray]:
    """Frames (T, side, side, 3) and masks (T, 2, side, side): two bright squares that move over noise.

    The second one is not there in the frames ``hidden``.
    """
    rng = np.random.default_rng(seed)
    frames = rng.integers(0, 90, (num_frames, side, side, 3), dtype=np.uint8)
    masks = np.zeros((num_frames, 2, side, side), np.bool_)
    for number in range(num_frames):
        far = side // 16 * number
        for which, (row, column) in enumerate(((side // 8, far), (side // 2, side // 2 - far // 2))):
            if which == 0 or number not in hidden:
                window = np.s_[row : row + side // 3, column : column + side // 4]
                masks[number, which][window] = True
                frames[number][window] = (230, 60, 40) if which == 0 else (40, 200, 220)
    return frames, masks


@dataclass
class MovingVideos:
    """``Videos`` of moving squares, all frames of which are annotated."""

    lengths: Sequence[int] = (6,)
    side: int = 128
    hidden: Sequence[int] = ()
    reads: list[tuple[int, tuple[int, ...]]] = field(default_factory=list)
    """What has been asked for: video and frames."""

    @property
    def names(self) -> Sequence[str]:
        return [f"video {index}" for index in range(len(self.lengths))]

    def __len__(self) -> int:
        return len(self.lengths)

    def num_frames(self, index: int) -> int:
        return self.lengths[index]

    def annotated(self, index: int) -> Sequence[int]:
        return range(self.lengths[index])

    def read(self, index: int, frames: Sequence[int]) -> Clip:
        self.reads.append((index, tuple(frames)))
        pictures, masks = moving_squares(self.lengths[index], self.side, seed=index, hidden=self.hidden)
        chosen = list(frames)
        return Clip(list(pictures[chosen]), masks[chosen], (1, 2))


@dataclass
class StillSquares:
    """``Pictures``: first frames of such videos."""

    num: int = 2
    side: int = 128

    @property
    def names(self) -> Sequence[str]:
        return [f"still {index}" for index in range(self.num)]

    @property
    def sources(self) -> Sequence[str]:
        return ["squares"] * self.num

    def __len__(self) -> int:
        return self.num

    def read(self, index: int) -> Scene:
        pictures, masks = moving_squares(1, self.side, seed=index)
        return Scene(pictures[0], masks[0], (1, 2))
