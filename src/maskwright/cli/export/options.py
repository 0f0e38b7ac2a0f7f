"""The options that write other formats, the same for every command that has them.

A command says :func:`with_exports` and takes one argument ``exports``; the options come from the table below.
They are named by the formats of :mod:`maskwright.interop.formats`, whose module is not imported for a help
text. ``--cutouts`` is in the plural as ``track --cutout`` is something else: all objects together.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial, wraps
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

from maskwright.cli.export.request import Exports

_option = partial(typer.Option, rich_help_panel="Other formats")


class Offered(NamedTuple):
    """A format on the command line."""

    format: str
    """Its name in the library."""
    metavar: str
    help: str
    name: str = ""
    """Of the option, where that is another one."""

    @property
    def flag(self) -> str:
        """The option as it is written."""
        return f"--{self.name or self.format}"

    @property
    def parameter(self) -> str:
        """The option as an argument of a function."""
        return (self.name or self.format).replace("-", "_")


OFFERED = (
    Offered("coco", "FILE.json", "COCO: every mask exactly, as run lengths."),
    Offered("coco-polygons", "FILE.json", "COCO with polygons; run lengths where an object has holes."),
    Offered("yolo", "DIR", "YOLO segmentation: labels/NAME.txt and data.yaml."),
    Offered("voc", "DIR", "Pascal VOC: XML with boxes, and PNGs of classes and of objects."),
    Offered("labelme", "DIR|FILE.json", "LabelMe: polygons, a file for each picture."),
    Offered("cvat", "FILE.xml", "CVAT 1.1: for images, or of a video with a track for each object."),
    Offered("geojson", "FILE.geojson|DIR", "GeoJSON: polygons with holes, in pixels."),
    Offered("svg", "DIR|FILE.svg", "A drawing of the outlines for each picture."),
    Offered("indexed", "DIR|FILE.png", "A palette PNG for each picture, of the objects' numbers, 1 to 255."),
    Offered("png", "DIR", "A PNG for each object, white on black."),
    Offered("npz", "DIR|FILE.npz", "NumPy: masks, boxes, scores and labels, a file for each picture."),
    Offered("cutout", "DIR|FILE.png", "A transparent PNG for each object; in a file, of all.", "cutouts"),
    Offered("pictures", "DIR", "The pictures or frames themselves, by the names that the others use."),
)
"""All formats, in the order of the help text."""

_Labels = Annotated[
    list[str] | None,
    _option(
        "--label",
        metavar="[ID:]NAME",
        help="What an object is, such as 1:dog, or what all others are; else 'object'. Repeatable.",
    ),
]
_LabelFile = Annotated[
    Path | None,
    _option("--labels", metavar="FILE", help='Such names, ID:NAME in each line, or JSON: {"1": "dog"}.'),
]
_Tolerance = Annotated[
    float | None,
    _option(
        metavar="PIXELS",
        help="How far a polygon may leave the edge of a mask; 0 follows every pixel.",
        show_default="1",
    ),
]


def with_exports(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options above, in place of its parameter ``exports``.

    Args:
        command: Takes ``exports`` and ``overwrite``, which says whether exports may be replaced.
    """
    signature = inspect.signature(command, eval_str=True)
    added = _parameters()

    @wraps(command)
    def wrapped(**values: Any) -> None:
        said = {parameter.name: values.pop(parameter.name) for parameter in added}
        command(**values, exports=_exports(said, overwrite=values["overwrite"]))

    parameters: list[inspect.Parameter] = []
    for parameter in signature.parameters.values():
        parameters += added if parameter.name == "exports" else [parameter]
    keyword_only = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in parameters]
    vars(wrapped)["__signature__"] = signature.replace(parameters=keyword_only)
    wrapped.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return wrapped


def _parameters() -> list[inspect.Parameter]:
    parameter = partial(inspect.Parameter, kind=inspect.Parameter.KEYWORD_ONLY, default=None)
    offered = [
        parameter(
            one.parameter,
            annotation=Annotated[
                list[Path] | None, _option(one.flag, metavar=one.metavar, help=one.help, show_default=False)
            ],
        )
        for one in OFFERED
    ]
    return [
        *offered,
        parameter("label", annotation=_Labels),
        parameter("labels", annotation=_LabelFile),
        parameter("tolerance", annotation=_Tolerance),
    ]


def _exports(said: dict[str, Any], *, overwrite: bool) -> Exports:
    return Exports.asked(
        {(one.format, one.flag): said[one.parameter] or [] for one in OFFERED},
        label=said["label"] or [],
        labels=said["labels"],
        tolerance=said["tolerance"],
        overwrite=overwrite,
    )
