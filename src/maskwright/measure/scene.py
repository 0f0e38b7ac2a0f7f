"""What is looked at: a photograph, and a film as a file or a folder of pictures."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image

from maskwright.errors import SourceError
from maskwright.frames import Frame
from maskwright.io.images import read_image
from maskwright.io.sources import open_source, prefetch
from maskwright.measure.shots import Click, Corners
from maskwright.pixels.rgb import to_uint8
from maskwright.types import ByteArray, Size

LENGTH = 60
"""Frames of a film that is made."""
SHARES = ((0.5, 0.5), (0.3, 0.4), (0.7, 0.6), (0.25, 0.75), (0.8, 0.2))
"""Where the clicks are, as shares of width and height."""
_CENTRES = ((0.3, 0.4), (0.7, 0.6), (0.5, 0.5), (0.2, 0.7), (0.8, 0.3), (0.4, 0.8), (0.6, 0.2), (0.5, 0.7))
_SIDES = (0.2, 0.3, 0.4, 0.25, 0.2, 0.3, 0.25, 0.35)
_READ_AHEAD = 4
"""As in ``MaskModel.track``."""
_QUALITY = 95


@dataclass(frozen=True)
class Scene:
    """The files that everyone is given."""

    photo: Path
    photo_size: Size
    photo_title: str
    film: Path
    """A video file or a folder of JPEG files."""
    film_size: Size
    film_title: str

    @property
    def clicks(self) -> list[Click]:
        h, w = self.photo_size
        return [(round(x * w), round(y * h)) for x, y in SHARES]

    def boxes(self, number: int) -> list[Corners]:
        """A box for each object, of several sizes, all over the frame."""
        h, w = self.film_size
        return [_box(row, w, h) for row in range(number)]

    def frames(self) -> Generator[Frame, None, None]:
        """The film, over and over, read ahead on a thread as ``MaskModel.track`` reads it."""
        while True:
            with open_source(str(self.film)) as source, prefetch(source.frames(), _READ_AHEAD) as frames:
                yield from frames


def prepared(image: Path | None, video: Path | None, folder: Path, *, side: int | None) -> Scene:
    """Make what is missing and measure what is there.

    Args:
        image: The photograph, or None to draw one.
        video: The film, or None to move over the photograph.
        folder: Where new files may go.
        side: Write the frames as JPEG files of this side, square, so that nobody has to resize them; None
            leaves a video as it is.

    Raises:
        ImageError: the photograph cannot be read.
        SourceError: the film cannot be read, or has no frames.
    """
    photo = image or _drawn(folder / "scene.jpg")
    picture = to_uint8(read_image(photo))
    title = photo.name if image else "a drawn scene"
    size: Size = (picture.shape[0], picture.shape[1])
    film_size: Size
    if video is None or side is not None:
        pictures = _moving(picture) if video is None else _of_video(video)
        film, film_size = _written(pictures, folder / "film", side)
    else:
        first = next(_of_video(video))
        film, film_size = video, (first.shape[0], first.shape[1])
    film_title = video.name if video else f"a view moving over {title}"
    if side is not None:
        film_title += f", its frames stored at {side} x {side}"
    return Scene(photo, size, title, film, film_size, film_title)


def _box(row: int, w: int, h: int) -> Corners:
    (x, y), side = _CENTRES[row % len(_CENTRES)], _SIDES[row % len(_SIDES)]
    side *= 0.97 ** (row // len(_CENTRES))
    x0, y0, x1, y1 = ((x - side / 2) * w, (y - side / 2) * h, (x + side / 2) * w, (y + side / 2) * h)
    return round(x0, 1), round(y0, 1), round(x1, 1), round(y1, 1)


def _drawn(path: Path) -> Path:
    """A scene of 1280 x 720: shapes of many sizes on a ground with structure, some noise over all."""
    rng = np.random.default_rng(0)
    ground = rng.integers(60, 150, (9, 16, 3)).astype(np.uint8)
    picture = Image.fromarray(ground).resize((1280, 720), Image.Resampling.BICUBIC)
    canvas = np.asarray(picture).astype(np.float32)
    rows, columns = np.mgrid[:720, :1280]
    for (x, y), side in zip(_CENTRES, _SIDES, strict=True):
        disc = ((columns - x * 1280) / 1.3) ** 2 + (rows - y * 720) ** 2 < (side * 270) ** 2
        canvas[disc] = rng.integers(20, 235, 3) + 0.1 * (columns[disc] % 23)[:, None]
    canvas += rng.normal(0, 6, canvas.shape)
    Image.fromarray(canvas.clip(0, 255).astype(np.uint8)).save(path, quality=_QUALITY)
    return path


def _moving(picture: ByteArray) -> Iterator[ByteArray]:
    """A window over four fifths of the picture, which goes to the right and down, and back."""
    h, w = picture.shape[:2]
    high, wide = max(1, h * 4 // 5), max(1, w * 4 // 5)
    half = LENGTH // 2
    for number in range(LENGTH):
        share = min(number, LENGTH - number) / half
        y, x = round((h - high) * share), round((w - wide) * share)
        yield picture[y : y + high, x : x + wide]


def _of_video(video: Path) -> Iterator[ByteArray]:
    """The first frames, at least one."""
    number = 0
    with open_source(str(video)) as source:
        for frame in islice(source.frames(), LENGTH):
            number += 1
            yield frame.image
    if not number:
        raise SourceError(f"{video} has no frames")


def _written(pictures: Iterator[ByteArray], folder: Path, side: int | None) -> tuple[Path, Size]:
    """JPEG files; a film that is short goes there and back."""
    folder.mkdir()
    frames = [Image.fromarray(picture) for picture in pictures] if side is None else _square(pictures, side)
    there_and_back = frames + frames[-2:0:-1]
    for number in range(LENGTH):
        path = folder / f"{number:05d}.jpg"
        there_and_back[number % len(there_and_back)].save(path, quality=_QUALITY)
    return folder, (frames[0].height, frames[0].width)


def _square(pictures: Iterator[ByteArray], side: int) -> list[Image.Image]:
    sized = (Image.fromarray(picture) for picture in pictures)
    return [picture.resize((side, side), Image.Resampling.BICUBIC) for picture in sized]
