"""What `make demo` runs, without the network: the bundled model cuts objects out of three photographs, finds
what there is in one of them by itself, and follows an object through a short video, which is made on the spot
by moving over a photograph.

The photographs come with scikit-image (pip install "maskwright[demo]").
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
from PIL import Image

import maskwright as mw
from maskwright.io.sinks import OverlayVideo

OUTPUT = Path("demo-output")

SCENES = {
    "astronaut": {
        "astronaut, by click": mw.Points([(225, 100)]),
        "helmet, by box": mw.Box(275, 345, 512, 512),
    },
    "coffee": {
        "cup, by box": mw.Box(168, 10, 410, 310),
    },
    "chelsea": {
        "cat, by click": mw.Points([(190, 150)]),
    },
}
"""Photograph -> what to cut out -> how it is pointed at, in pixels."""

TIDY = 60
"""Holes and specks up to this many cells of the network's mask grid are mended."""

EVERYTHING = "coffee"
"""The photograph in which everything is looked for."""

FILM = "coffee"
"""The photograph that the video is made of."""
CUP = mw.Box(168, 10, 410, 310)
"""The object in it that is followed."""
NUM_FRAMES, SIZE = 40, (480, 360)
FIRST, LAST = (0.0, 5.0, 500.0), (140.0, 0.0, 430.0)
"""What the camera sees at the beginning and at the end: left, top and width in pixels of the photograph."""
SHEET = (3, 2)
"""Frames across and down of the contact sheet."""


def photograph(name: str) -> Path:
    """The file of a photograph inside scikit-image."""
    try:
        import skimage
    except ImportError:
        sys.exit('the demo needs scikit-image for its photographs: pip install "maskwright[demo]"')
    folder = Path(skimage.__file__).parent / "data"
    return next(folder.glob(f"{name}.*"))


def find_everything(model: mw.MaskModel, path: Path) -> None:
    """Look for every object of a photograph, without pointing at any, and draw what is found."""
    started = time.perf_counter()
    found = model.automask(photograph(EVERYTHING), "fast", max_hole_area=TIDY, max_speck_area=TIDY)
    seconds = time.perf_counter() - started
    found.save_overlay(path)
    print(f"\n{EVERYTHING}, everything: {len(found)} parts found in {seconds:.1f} s, without a prompt")


def camera(number: int) -> tuple[float, float, float]:
    """What the camera sees in a frame: it starts and stops gently."""
    way = number / (NUM_FRAMES - 1)
    way = way * way * (3 - 2 * way)
    left, top, width = (a + way * (b - a) for a, b in zip(FIRST, LAST, strict=True))
    return left, top, width


def views(photo: Image.Image) -> Iterator[Image.Image]:
    """The frames of the film."""
    for number in range(NUM_FRAMES):
        left, top, width = camera(number)
        part = (left, top, left + width, top + width * SIZE[1] / SIZE[0])
        yield photo.resize(SIZE, Image.Resampling.BICUBIC, box=part)


def make_film(path: Path) -> None:
    """A pan and a slight zoom over the photograph, as a video file."""
    with av.open(str(path), "w") as film:
        stream = film.add_stream("libx264", rate=20, options={"crf": "18"})
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        with Image.open(photograph(FILM)) as photo:
            for view in views(photo.convert("RGB")):
                film.mux(stream.encode(av.VideoFrame.from_image(view)))
        film.mux(stream.encode(None))


def cup_in_film() -> mw.Box:
    """The box around the cup in the first frame, in pixels of the film."""
    left, top, width = camera(0)
    scale = SIZE[0] / width
    x0, x1 = ((x - left) * scale for x in (CUP.x0, CUP.x1))
    y0, y1 = ((y - top) * scale for y in (CUP.y0, CUP.y1))
    return mw.Box(x0, y0, x1, y1)


def contact_sheet(film: Path, path: Path) -> None:
    """Some frames of a video side by side, to look at without a player."""
    across, down = SHEET
    wanted = np.linspace(0, NUM_FRAMES - 1, across * down).round().astype(int).tolist()
    width, height = SIZE[0] * 2 // 3, SIZE[1] * 2 // 3
    sheet = Image.new("RGB", (width * across, height * down))
    with av.open(str(film)) as container:
        shown = (frame for number, frame in enumerate(container.decode(video=0)) if number in wanted)
        for place, frame in enumerate(shown):
            row, column = divmod(place, across)
            sheet.paste(frame.to_image().resize((width, height)), (column * width, row * height))
    sheet.save(path)


def follow(model: mw.MaskModel) -> None:
    """Make the film, follow the cup through it, and write the result as a video and a contact sheet."""
    film, tracked = OUTPUT / "film.mp4", OUTPUT / "film-tracked.mp4"
    make_film(film)
    started = time.perf_counter()
    scores, seen = [], 0
    with model.track(film, {1: cup_in_film()}) as tracking, OverlayVideo(tracked, fps=20) as result:
        for frame in tracking:
            result.write(frame)
            scores.append(frame[1].score)
            seen += frame[1].visible
    seconds = time.perf_counter() - started
    contact_sheet(tracked, OUTPUT / "film-tracked.png")
    rate = len(scores) / seconds
    print(f"\nfilm: {SIZE[0]} x {SIZE[1]} pixels, {len(scores)} frames tracked at {rate:.1f} a second")
    print(f"  {'cup, by box in frame 0':26} seen in {seen} of them, mean predicted IoU {np.mean(scores):.2f}")


def main() -> None:
    started = time.perf_counter()
    model = mw.load()
    print(f"{model!r} loaded in {time.perf_counter() - started:.1f} s")
    OUTPUT.mkdir(exist_ok=True)
    for name, wanted in SCENES.items():
        started = time.perf_counter()
        image = model.embed(photograph(name))
        masks = image.segment(*wanted.values(), max_hole_area=TIDY, max_speck_area=TIDY)
        seconds = time.perf_counter() - started
        masks.save(OUTPUT / name)
        masks.save_overlay(OUTPUT / f"{name}.png", prompts=list(wanted.values()))
        print(
            f"\n{name}: {image.size[1]} x {image.size[0]} pixels, embedded and segmented in {seconds:.1f} s"
        )
        for label, score, area in zip(wanted, masks.scores, masks.areas, strict=True):
            print(f"  {label:26} predicted IoU {score:.2f}, {area:6d} pixels")
    everything = OUTPUT / f"{EVERYTHING}-everything.png"
    find_everything(model, everything)
    follow(model)
    print(f"\nNow look at the pictures in {OUTPUT.resolve()}:")
    for name in SCENES:
        print(f"  {OUTPUT / name}.png   and one mask per object in {OUTPUT / name}/")
    print(f"  {everything}   with all that was found without a prompt")
    print(f"  {OUTPUT / 'film-tracked.mp4'}   and six of its frames in {OUTPUT / 'film-tracked.png'}")


if __name__ == "__main__":
    main()
