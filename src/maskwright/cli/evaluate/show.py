"""``maskwright eval show``: a sheet of pictures with what one or two models cut out of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from maskwright.cli.evaluate.run import check_choice, check_file, load_model, open_data
from maskwright.errors import InputError, PromptError

if TYPE_CHECKING:
    from PIL.Image import Image

    from maskwright.evaluate.sheet import Exhibit

_FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}


@dataclass(frozen=True)
class ShowRequest:
    """What was asked for on the command line, as it was typed."""

    what: list[str]
    out: Path
    models: list[str]
    first_prompt: str
    pictures: int
    width: int
    images: Path | None
    split: str | None
    device: str | None
    dtype: str | None
    image_size: int | None
    threads: int | None
    overwrite: bool


def show_sheet(request: ShowRequest) -> None:
    """Draw the sheet and write it, whole or not at all.

    Raises:
        MaskwrightError: wrong input, an unusable model, or a sheet that cannot be written.
    """
    from maskwright.cli.terminal import print_line
    from maskwright.evaluate.sheet import draw_sheet

    check_choice("--first-prompt", request.first_prompt, ("box", "click"))
    if request.out.suffix.lower() not in _FORMATS:
        raise InputError(f"--out is {request.out}; give a name that ends in {', '.join(_FORMATS)}")
    exhibits = [one for text in request.what for one in _exhibits(text, request)]
    if not exhibits:
        raise InputError("there is no object to ask for in these pictures")
    check_file(request.out, overwrite=request.overwrite)
    options = (request.device, request.dtype, request.image_size, request.threads)
    short = [Path(name).name for name in request.models]
    names = short if len(set(short)) == len(short) else request.models
    models = {name: load_model(model, *options) for name, model in zip(names, request.models, strict=True)}
    _write(draw_sheet(exhibits, models, width=request.width), request)
    print_line(f"sheet: {request.out}")


def _exhibits(text: str, request: ShowRequest) -> Iterator[Exhibit]:
    """What one argument stands for: a photograph with its prompt, or pictures of a data set."""
    from maskwright.evaluate.first_frames import as_pictures
    from maskwright.evaluate.sheet import Exhibit
    from maskwright.io.datasets.choosing import spread

    path = Path(text)
    if not (path.is_dir() or path.suffix == ".json"):
        yield _photograph(text)
        return
    pictures = as_pictures(open_data(path, request.split, request.images))
    for number in spread(len(pictures), request.pictures):
        exhibit = Exhibit.largest(pictures.names[number], pictures.read(number), request.first_prompt)
        if exhibit is not None:
            yield exhibit


def _photograph(text: str) -> Exhibit:
    from maskwright.evaluate.sheet import Exhibit
    from maskwright.io.images import read_image
    from maskwright.pixels.rgb import to_uint8
    from maskwright.types import Box, Points, Prompt

    name, _, numbers = text.rpartition("@")
    try:
        values = [float(number) for number in numbers.split(",")]
    except ValueError:
        values = []
    if not name or len(values) not in (2, 4):
        raise PromptError(
            f"{text!r} is neither a data set nor a photograph with a prompt; "
            "write photo.jpg@X,Y for a click or photo.jpg@X0,Y0,X1,Y1 for a box"
        )
    picture = to_uint8(read_image(name))
    prompt = Prompt.of(Points([values]) if len(values) == 2 else Box(*values))
    prompt.check_inside((picture.shape[0], picture.shape[1]))
    return Exhibit(Path(name).stem, picture, prompt)


def _write(sheet: Image, request: ShowRequest) -> None:
    from maskwright.io.files import atomic_write

    with atomic_write(request.out, overwrite=request.overwrite) as file:
        sheet.save(file, _FORMATS[request.out.suffix.lower()])
