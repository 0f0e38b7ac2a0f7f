"""``maskwright eval``: its commands and their options; the work is in modules of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from maskwright.cli.options import Device, Dtype, ImageSize, Model

app = typer.Typer(
    name="eval",
    help="Measure a model on labelled pictures or videos: nano, the official checkpoints, your own.",
    no_args_is_help=True,
)

Root = Annotated[
    Path,
    typer.Argument(
        metavar="ROOT", help="The data set: a folder, or a COCO file (.json).", show_default=False
    ),
]
Split = Annotated[
    str | None,
    typer.Option(
        metavar="train|val|all", help="Which part.", show_default="val where the data set has parts, else all"
    ),
]
Images = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Where the pictures lie that a COCO file names.")
]
Threads = Annotated[int | None, typer.Option(min=1, help="Threads of a processor to use.")]
Csv = Annotated[Path | None, typer.Option("--csv", metavar="FILE", help="Write a line per object.")]
Json = Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write the means and how it ran.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace files that exist.")]


@app.command()
def davis(
    root: Root,
    model: Model = "nano",
    follow: Annotated[
        str,
        typer.Option(
            metavar="memory|last-mask|still",
            help="By the model's memory, or what that has to beat: the last mask as prompt of the next "
            "frame, or the first mask for every frame.",
        ),
    ] = "memory",
    first_prompt: Annotated[
        str, typer.Option(metavar="mask|box|click", help="How each object is shown in its first frame.")
    ] = "mask",
    sequences: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="At most so many sequences, evenly spread.")
    ] = None,
    full: Annotated[
        bool, typer.Option("--full", help="Count the last frame too, as for YouTube-VOS and SA-V.")
    ] = False,
    split: Split = None,
    device: Device = None,
    dtype: Dtype = None,
    image_size: ImageSize = None,
    threads: Threads = None,
    csv: Csv = None,
    json: Json = None,
    overwrite: Overwrite = False,
) -> None:
    """Follow objects through labelled videos: J (regions), F (outlines) and J&F as DAVIS 2017 defines them.

    ROOT is a folder in the layout of DAVIS or YouTube-VOS (JPEGImages/ and Annotations/) or of SA-V. The
    objects of a sequence are followed together, each from the first frame that shows it.
    """
    from maskwright.cli.evaluate.davis import DavisRequest, evaluate_davis
    from maskwright.cli.evaluate.run import Common

    common = Common(root, split, sequences, model, device, dtype, image_size, threads, csv, json, overwrite)
    evaluate_davis(DavisRequest(common, follow, first_prompt, full=full))


@app.command()
def clicks(
    root: Root,
    model: Model = "nano",
    num_clicks: Annotated[
        int, typer.Option("--clicks", min=1, metavar="N", help="Clicks per object, each where most is wrong.")
    ] = 5,
    pictures: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="At most so many pictures, evenly spread.")
    ] = None,
    max_objects: Annotated[int, typer.Option(min=1, metavar="N", help="Objects per picture.")] = 8,
    images: Images = None,
    split: Split = None,
    device: Device = None,
    dtype: Dtype = None,
    image_size: ImageSize = None,
    threads: Threads = None,
    csv: Csv = None,
    json: Json = None,
    overwrite: Overwrite = False,
) -> None:
    """Cut labelled objects out of pictures: mean IoU by box, by one click, and by clicks that correct.

    ROOT is a folder of pictures with label maps, a COCO file, or labelled videos, whose first frames are
    taken.
    """
    from maskwright.cli.evaluate.clicks import ClicksRequest, evaluate_clicks
    from maskwright.cli.evaluate.run import Common

    common = Common(
        root, split, pictures, model, device, dtype, image_size, threads, csv, json, overwrite, images
    )
    evaluate_clicks(ClicksRequest(common, num_clicks, max_objects))


@app.command()
def show(
    what: Annotated[
        list[str],
        typer.Argument(
            metavar="ROOT | PHOTO@X,Y | PHOTO@X0,Y0,X1,Y1...",
            help="A data set, or photographs with a click or a box each.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="FILE", help="The sheet: .png, .jpg or .webp.")
    ] = Path("sheet.png"),
    model: Model = "nano",
    against: Annotated[
        str | None, typer.Option(metavar="NAME|FILE", help="A second model, shown beside the first.")
    ] = None,
    first_prompt: Annotated[
        str, typer.Option(metavar="box|click", help="How objects of a data set are asked for.")
    ] = "box",
    pictures: Annotated[
        int, typer.Option(min=1, metavar="N", help="Pictures of a data set, evenly spread.")
    ] = 6,
    width: Annotated[int, typer.Option(min=64, help="Of each picture on the sheet in pixels.")] = 360,
    images: Images = None,
    split: Split = None,
    device: Device = None,
    dtype: Dtype = None,
    image_size: ImageSize = None,
    threads: Threads = None,
    overwrite: Overwrite = False,
) -> None:
    """Draw a sheet to look at: what was asked for, what the model cut out, and what another one does."""
    from maskwright.cli.evaluate.show import ShowRequest, show_sheet

    show_sheet(
        ShowRequest(
            what=what,
            out=out,
            models=[model, *([] if against is None else [against])],
            first_prompt=first_prompt,
            pictures=pictures,
            width=width,
            images=images,
            split=split,
            device=device,
            dtype=dtype,
            image_size=image_size,
            threads=threads,
            overwrite=overwrite,
        )
    )
