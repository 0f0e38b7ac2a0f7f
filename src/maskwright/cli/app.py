"""The commands and their options; each one's work is in a module of its own, imported when it runs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from maskwright.cli.auto.options import (
    Auto,
    CropLayers,
    MaxOverlap,
    MinScore,
    MinStability,
    Overwrite,
    PointsPerSide,
    Preset,
)
from maskwright.cli.evaluate import commands as evaluation
from maskwright.cli.export.options import with_exports
from maskwright.cli.export.request import NO_EXPORTS, Exports
from maskwright.cli.huge.options import Channels, Halo, Tiles, TileSize, ValueRange
from maskwright.cli.options import Device, Dtype, FreeModel, ImageSize, Runtime, TargetFps
from maskwright.cli.track import discovery
from maskwright.errors import MaskwrightError
from maskwright.runtime.threads import settle_threads

INTERRUPTED = 130
WRONG_INPUT = 2

# ClickException, the base of all errors of usage; which package it is from depends on Typer's version
_UsageError: type[Exception] = typer.BadParameter.__mro__[2]

app = typer.Typer(
    name="maskwright",
    help="Cut objects out of photographs and video with SAM 2: by click, by box, offline.",
    epilog="Try it: maskwright segment photo.jpg --point 320,240",
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


class _Stopped(Exception):
    """Ctrl-C ended a command that has finished its files and said so."""


def run(argv: Sequence[str] | None = None) -> int:
    """Run the app and turn errors into exit codes; see :func:`maskwright.cli.main`."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    settle_threads()
    try:
        code = app(args=arguments, prog_name="maskwright", standalone_mode=False)
    except MaskwrightError as error:
        return _complain(str(error))
    except _UsageError as error:
        reason = error.format_message().rstrip(".")  # type: ignore[attr-defined]
        return _complain(f"{reason}; see {_help_for(error)}")
    except _Stopped:
        return INTERRUPTED
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    if code == INTERRUPTED:
        _say("interrupted; nothing was left half-written")
    return code if isinstance(code, int) else 0


def _complain(message: str) -> int:
    _say(f"error: {' '.join(message.split())}")
    return WRONG_INPUT


def _say(line: str) -> None:
    from rich.console import Console

    Console(stderr=True).print(line, markup=False, emoji=False, highlight=False, soft_wrap=True)


def _help_for(error: Exception) -> str:
    context = getattr(error, "ctx", None)
    return f"{context.command_path if context else 'maskwright'} --help"


def _print_version(wanted: bool) -> None:
    if wanted:
        from maskwright import __version__

        typer.echo(f"maskwright {__version__}")
        raise typer.Exit


def _print_plan(wanted: bool) -> None:
    if wanted:
        from maskwright.train.accounting import plan_table

        typer.echo(plan_table())
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _common(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option("--version", "-V", callback=_print_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Options that stand before a command; without a command, the help."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command()
@with_exports
def segment(
    photo: Annotated[
        Path,
        typer.Argument(
            metavar="PHOTO",
            help="The picture: JPEG, PNG, WebP, TIFF ...; with --auto also a folder or 'pattern*.jpg'.",
            show_default=False,
        ),
    ],
    point: Annotated[
        list[str] | None,
        typer.Option(
            "--point",
            "-p",
            metavar="[ID:]X,Y[,0|1]",
            help="A click at pixel X,Y: on the object (1, the default) or beside it (0). Repeatable.",
        ),
    ] = None,
    box: Annotated[
        list[str] | None,
        typer.Option(
            "--box", "-b", metavar="[ID:]X0,Y0,X1,Y1", help="A rectangle around one object. Repeatable."
        ),
    ] = None,
    model: FreeModel = None,
    device: Device = None,
    dtype: Dtype = None,
    image_size: ImageSize = None,
    runtime: Runtime = None,
    target_fps: TargetFps = None,
    multimask: Annotated[
        bool, typer.Option("--multimask", help="Keep all three candidates per object.")
    ] = False,
    refine: Annotated[
        bool,
        typer.Option(
            "--refine",
            help="Draw each object again from its surroundings: for large photographs.",
        ),
    ] = False,
    clean: Annotated[
        float | None,
        typer.Option(
            metavar="CELLS",
            help="Fill holes and remove specks up to this many cells of the network's mask grid.",
            show_default="0; with --auto the preset's",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", metavar="DIR", help="Folder for the results.", show_default="PHOTO-masks"
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the results instead of a table.")] = False,
    auto: Auto = False,
    preset: Preset = None,
    points_per_side: PointsPerSide = None,
    min_score: MinScore = None,
    min_stability: MinStability = None,
    max_overlap: MaxOverlap = None,
    crop_layers: CropLayers = None,
    overwrite: Overwrite = False,
    exports: Exports = NO_EXPORTS,
    tiles: Tiles = False,
    tile_size: TileSize = None,
    halo: Halo = None,
    channels: Channels = None,
    value_range: ValueRange = None,
) -> None:
    """Cut objects out of a photograph, or find everything in it, or in a folder of them.

    Every --box is one object; clicks alone are one object together; clicks and one box are one object
    with both. For several objects with clicks, number them:
    --point 1:80,90 --point 2:300,120 --box 2:250,60,390,200.

    Writes a PNG mask per object, overlay.png and results.json (COCO run-length masks); --coco, --yolo and the
    like write what other tools read as well.

    With --auto and a folder, writes NAME.json, NAME.png and NAME-overlay.jpg for each
    picture; a run that was ended by whatever goes on when it is started again.
    """
    from maskwright.cli.auto.request import Request as Everything
    from maskwright.cli.auto.request import Settings, check_together, find_masks
    from maskwright.cli.huge.asked import segment_in_huge
    from maskwright.cli.huge.everything import find_in_huge
    from maskwright.cli.huge.request import Tiling, check_tiling
    from maskwright.cli.pace import DEFAULT, check_photo
    from maskwright.cli.segment import Request, segment_photo

    check_photo(target_fps, others=["--auto"] * auto + ["--tiles"] * tiles)
    tiling = Tiling(tile_size=tile_size, halo=halo, channels=channels, value_range=value_range)
    whole_only = ["--multimask"] * multimask + ["--refine"] * refine
    check_tiling(tiles=tiles, tiling=tiling, others=whole_only)
    settings = Settings(
        preset=preset,
        points_per_side=points_per_side,
        min_score=min_score,
        min_stability=min_stability,
        max_overlap=max_overlap,
        crop_layers=crop_layers,
        refine=(auto and refine) or None,
    )
    check_together(
        auto=auto,
        prompting=["--point"] * bool(point) + ["--box"] * bool(box) + ["--multimask"] * multimask,
        searching=settings.as_options() + ["--overwrite"] * (overwrite and not exports),
    )
    if auto:
        everything = Everything(
            source=photo,
            settings=settings,
            clean=clean,
            model=model or DEFAULT,
            device=device,
            dtype=dtype,
            image_size=image_size,
            runtime=runtime,
            out=out,
            overwrite=overwrite,
            as_json=as_json,
            exports=exports,
        )
        if not (find_in_huge(everything, tiling) if tiles else find_masks(everything)):
            raise _Stopped
        return
    request = Request(
        photo=photo,
        points=point or [],
        boxes=box or [],
        model=model or (DEFAULT if target_fps is None else None),
        device=device,
        dtype=dtype,
        image_size=image_size,
        runtime=runtime,
        multimask=multimask,
        refine=refine,
        clean=clean or 0,
        out=out,
        as_json=as_json,
        exports=exports,
        target_fps=target_fps,
    )
    if tiles:
        segment_in_huge(request, tiling)
    else:
        segment_photo(request)


@app.command()
@with_exports
def track(
    video: Annotated[
        str,
        typer.Argument(
            metavar="VIDEO",
            help="File, folder or 'pattern*.jpg' of pictures, address, or camera:0.",
            show_default=False,
        ),
    ],
    objects: Annotated[
        list[str] | None,
        typer.Option(
            "--object",
            metavar="ID:WHAT[@WHEN]",
            help="An object's number; point=X,Y[,0|1], box=X0,Y0,X1,Y1 or mask=FILE.png; and a frame's "
            "number or seconds, such as @12 or @3.5s, else the first frame. Repeatable; what has the same "
            "number adds up, later frames correct.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", metavar="FILE.mp4", help="The video with the objects drawn on it, and sound."
        ),
    ] = None,
    masks: Annotated[
        Path | None, typer.Option(metavar="DIR", help="An indexed PNG for each frame, as DAVIS has them.")
    ] = None,
    cutout: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH", help="The objects on nothing: FILE.webm, FILE.mov, or a folder of PNGs."
        ),
    ] = None,
    log: Annotated[
        Path | None, typer.Option(metavar="FILE.jsonl", help="Masks and scores, a line of JSON a frame.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where an earlier run of the same job was ended.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace results that exist.")] = False,
    exports: Exports = NO_EXPORTS,
    backward: Annotated[
        bool, typer.Option("--backward", help="From the latest prompt towards the start.")
    ] = False,
    both: Annotated[
        bool, typer.Option("--both", help="Forward from the earliest prompt, then backward.")
    ] = False,
    start: Annotated[
        int | None,
        typer.Option(
            metavar="FRAME", help="First frame of the part to track.", show_default="the earliest prompt's"
        ),
    ] = None,
    end: Annotated[
        int | None,
        typer.Option(metavar="FRAME", help="Frame to end before.", show_default="the end of the video"),
    ] = None,
    stride: Annotated[int, typer.Option(metavar="N", help="Track every N-th frame only.")] = 1,
    model: FreeModel = None,
    device: Device = None,
    dtype: Dtype = None,
    image_size: ImageSize = None,
    runtime: Runtime = None,
    target_fps: TargetFps = None,
    corrupt: Annotated[
        str, typer.Option(metavar="skip|stop", help="Leave damaged frames out with a warning, or stop there.")
    ] = "skip",
    decoder: Annotated[
        str,
        typer.Option(
            metavar="pyav|torchcodec",
            help="What decodes a video file; torchcodec does it on the model's GPU, if that is from NVIDIA.",
        ),
    ] = "pyav",
    no_overlap: Annotated[
        bool, typer.Option("--no-overlap", help="Give every pixel to one object at most.")
    ] = False,
    fill: Annotated[
        float,
        typer.Option(metavar="CELLS", help="Fill holes up to this many cells of the network's mask grid."),
    ] = 8,
    encode_ahead: Annotated[
        int, typer.Option(metavar="N", help="Encode so many frames of a file at a time, for large GPUs.")
    ] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
    discover: discovery.DiscoverFlag = False,
    every: discovery.Every = None,
    max_objects: discovery.MaxObjects = None,
    preset: discovery.Preset = None,
    min_score: discovery.MinScore = None,
    min_stability: discovery.MinStability = None,
    min_area: discovery.MinArea = None,
    max_area: discovery.MaxArea = None,
    forget_after: discovery.ForgetAfter = None,
) -> None:
    """Follow objects through a video: those that are asked for, those that are found, or both.

    maskwright track street.mp4 --object 1:point=320,240 --object 2:box=40,60,300,420@3.5s

    maskwright track street.mp4 --discover

    Without -o, --masks, --cutout, --log and other formats, writes VIDEO-tracked.mp4 and VIDEO-tracked.jsonl.
    --coco, --yolo and the like write other formats at the end, from the log. A run that was ended by whatever
    goes on with --resume, and gives what it would have given. Ctrl-C finishes the files.
    """
    from maskwright.cli.track.command import Request, track_video

    finished = track_video(
        Request(
            video=video,
            objects=objects or [],
            out=out,
            masks=masks,
            cutout=cutout,
            log=log,
            resume=resume,
            overwrite=overwrite,
            exports=exports,
            backward=backward,
            both=both,
            start=start,
            end=end,
            stride=stride,
            model=model,
            device=device,
            dtype=dtype,
            image_size=image_size,
            runtime=runtime,
            target_fps=target_fps,
            corrupt=corrupt,
            decoder=decoder,
            no_overlap=no_overlap,
            encode_ahead=encode_ahead,
            fill=fill,
            as_json=as_json,
            discover=discover,
            discovering=discovery.Discovering(
                every=every,
                max_objects=max_objects,
                preset=preset,
                min_score=min_score,
                min_stability=min_stability,
                min_area=min_area,
                max_area=max_area,
                forget_after=forget_after,
            ),
        )
    )
    if not finished:
        raise _Stopped


@app.command()
@with_exports
def export(
    results: Annotated[
        Path,
        typer.Argument(
            metavar="RESULT",
            help="A log of track (.jsonl), results.json of segment, or a folder that segment wrote.",
            show_default=False,
        ),
    ],
    exports: Exports,
    source: Annotated[
        str | None,
        typer.Option(
            metavar="VIDEO|FOLDER|PHOTO",
            help="What the result is about, for formats that need the pictures; frames of a folder "
            "then have its names.",
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace exports that exist.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Write finished results in the formats of other tools: COCO, YOLO, Pascal VOC, LabelMe, CVAT, SVG ...

    maskwright export street-tracked.jsonl --coco street.json --label 1:car --label 2:dog

    maskwright export photos-masks --yolo labels --tolerance 2

    Pictures go through one by one, and all formats are written at once. Ctrl-C leaves none of them.
    """
    from maskwright.cli.export.command import Request, export_results

    export_results(Request(results=results, source=source, exports=exports, as_json=as_json))


@app.command()
def models(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """List the models: name, parameters, size, and where the file is."""
    from maskwright.cli.models import list_models

    list_models(as_json=as_json)


@app.command()
def convert(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="IN", help="Official .pt, transformers or maskwright file.", show_default=False
        ),
    ],
    target: Annotated[
        Path,
        typer.Argument(metavar="OUT", help=".safetensors (ours) or .pt (official).", show_default=False),
    ],
    dtype: Annotated[
        str | None, typer.Option(help="Store as float32, bfloat16 or float16; float32 by default.")
    ] = None,
) -> None:
    """Convert a checkpoint: official, transformers and maskwright files in, maskwright and official out."""
    from maskwright.cli.convert import convert_file

    convert_file(source, target, dtype)


@app.command("export-model")
def export_model(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL", help="A name from `maskwright models`, or a model file.", show_default=False
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FOLDER", help="Where to.", show_default=False)],
    image_size: ImageSize = None,
    opset: Annotated[
        int | None,
        typer.Option(metavar="N", help="Version of ONNX operators, from 18 to 22.", show_default="20"),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an exported model that is there.")
    ] = False,
) -> None:
    """Write a model as ONNX graphs, one for each of its verbs, for OpenVINO and ONNX Runtime.

    maskwright export-model sam2.1-tiny -o tiny-onnx

    The folder is what every --model and maskwright.load take; it is written whole or not at all.
    """
    from maskwright.cli.export_model import write_model

    write_model(model, out, image_size=image_size, opset=opset, overwrite=overwrite)


@app.command()
def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Say what is installed here, what a model would run on and why, and whether files can be written."""
    from maskwright.cli.doctor import examine

    examine(as_json=as_json)


@app.command()
def bench(
    models: Annotated[
        str,
        typer.Option("--models", "-m", metavar="NAME,...", help="Names from `maskwright models`, or files."),
    ] = "nano",
    image: Annotated[
        Path | None, typer.Option(metavar="PHOTO", help="A photograph.", show_default="a drawn scene")
    ] = None,
    video: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE|FOLDER",
            help="A video, or a folder of pictures.",
            show_default="a view moving over the photograph",
        ),
    ] = None,
    objects: Annotated[
        str, typer.Option(metavar="N,...", help="How many objects to follow together, one run for each.")
    ] = "1,4,8",
    only: Annotated[
        str | None,
        typer.Option(metavar="PART,...", help="Some of image, video, automask, start.", show_default="all"),
    ] = None,
    grid: Annotated[
        int, typer.Option(metavar="N", help="Clicks along each side of the picture for automatic masks.")
    ] = 16,
    device: Device = None,
    dtype: Dtype = None,
    image_size: ImageSize = None,
    runtime: Runtime = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Threads of a processor.", show_default="as torch has them")
    ] = None,
    seconds: Annotated[
        float | None,
        typer.Option(
            metavar="BUDGET",
            help="About how long to measure each model; the fewest rounds are made in any case.",
            show_default="as long as good figures take",
        ),
    ] = None,
    random_weights: Annotated[
        bool,
        typer.Option(
            "--random-weights",
            help="Random weights for models that are not on this machine, instead of fetching them.",
        ),
    ] = False,
    alone: Annotated[
        bool, typer.Option("--alone", help="Leave out the official package and transformers.")
    ] = False,
    against_python: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH", help="Python of another environment, with the official package or transformers."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", metavar="DIR", help="Folder for the results.", show_default="maskwright-bench"
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace results that exist.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Measure how fast the models are on this machine, and how near their masks are to those of others.

    maskwright bench --models nano,sam2.1-tiny --random-weights

    Encoding a picture, a click, tracked frames, automatic masks, and the first mask of a fresh process:
    model-only, pipeline (decoded RGB to masks) and end-to-end (file to masks in a file). Writes bench.json,
    bench.md and bench.png after every piece of work; Ctrl-C keeps what was measured. Leave the machine alone
    meanwhile.
    """
    from maskwright.cli.bench import Request, bench_models

    finished = bench_models(
        Request(
            models=models,
            image=image,
            video=video,
            objects=objects,
            only=only,
            grid=grid,
            device=device,
            dtype=dtype,
            image_size=image_size,
            runtime=runtime,
            threads=threads,
            seconds=seconds,
            random_weights=random_weights,
            against=not alone,
            against_python=against_python,
            out=out,
            overwrite=overwrite,
            as_json=as_json,
        )
    )
    if not finished:
        raise _Stopped


@app.command()
def train(
    recipe: Annotated[
        str | None,
        typer.Argument(
            metavar="[RECIPE]",
            help="A TOML file or the name of a recipe that comes with the package.",
            show_default="finetune, or finetune-video where the data are videos",
        ),
    ] = None,
    *,
    data: Annotated[
        Path,
        typer.Option(
            help="Labelled pictures or videos: COCO JSON, DAVIS or YouTube-VOS folder, SA-V, label maps.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out", "-o", metavar="DIR", help="Folder of the run and its model.", show_default=False
        ),
    ],
    images: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where the pictures lie that a COCO file names.")
    ] = None,
    val: Annotated[
        Path | None,
        typer.Option(
            help="Held-out data; all of --data is learnt from then.", show_default="a part of --data"
        ),
    ] = None,
    init: Annotated[
        str | None,
        typer.Option(
            "--init",
            "--weights",
            metavar="NAME|FILE",
            help="Model to begin with; imagenet: nano with nothing but an ImageNet trunk.",
            show_default="the recipe's, else nano",
        ),
    ] = None,
    freeze: Annotated[
        str | None,
        typer.Option(
            metavar="early|trunk|encoder|none",
            help="What keeps its weights: the trunk up to stride 8, all of it, or trunk and neck.",
            show_default="the recipe's",
        ),
    ] = None,
    lora: Annotated[
        int | None,
        typer.Option(
            metavar="RANK", help="Train low-rank adapters in the trunk instead of the trunk; 8 is usual."
        ),
    ] = None,
    start: Annotated[
        Path | None,
        typer.Option(metavar="CKPT", help="Begin with the averaged weights of another run's latest.pt."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run in --out, to the same bits.")
    ] = False,
    sets: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="TABLE.FIELD=VALUE", help="Override a setting: loop.steps=100. Repeatable."
        ),
    ] = None,
    devices: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="GPUs, or processes on the CPU, that share the work.",
            show_default="the recipe's",
        ),
    ] = None,
    precision: Annotated[
        str | None,
        typer.Option(metavar="32-true|bf16-mixed|16-mixed", show_default="the recipe's"),
    ] = None,
    cache: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Folder of what is computed once and kept.", show_default="OUT/cache"
        ),
    ] = None,
    plain: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Photographs for the backgrounds of clips that are made."),
    ] = None,
    export_only: Annotated[
        bool,
        typer.Option("--export-only", help="Train nothing; write the model file of the run in --out."),
    ] = False,
    plan: Annotated[
        bool,
        typer.Option(
            "--plan", is_eager=True, callback=_print_plan, help="Print what fits a GPU of 16 GB, and stop."
        ),
    ] = False,
) -> None:
    """Fine-tune a model on your data, or train nano.

    maskwright train --data my_coco.json --images photos --init sam2.1-tiny --freeze encoder -o run

    Writes checkpoints, logs and, at the end, DIR/model.safetensors, which every --model and maskwright.load
    take. Ctrl-C saves a checkpoint; --resume goes on from it.
    """
    from maskwright.cli.train import Request, train_model

    finished = train_model(
        Request(
            recipe=recipe,
            data=data,
            out=out,
            images=images,
            val=val,
            init=init,
            freeze=freeze,
            lora=lora,
            start=start,
            resume=resume,
            sets=sets or [],
            devices=devices,
            precision=precision,
            cache=cache,
            plain=plain,
            export_only=export_only,
        )
    )
    if not finished:
        raise _Stopped


app.add_typer(evaluation.app)
