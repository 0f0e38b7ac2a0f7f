"""SVG: a drawing for each picture, a path for each object, holes cut out.

The drawing is as large as the picture in pixels, so it lies on it exactly. A path has the class ``mask``, and
its number, label and score as ``data-`` attributes; pointing at it in a browser shows its label.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING
from xml.etree.ElementTree import Element

from maskwright.interop.annotations import AnnotatedPicture, Annotation
from maskwright.interop.markup import markup, node
from maskwright.interop.polygons import rings, trace
from maskwright.pixels.palette import colour

if TYPE_CHECKING:
    from shapely import MultiPolygon

ENDING = ".svg"


def pages(picture: AnnotatedPicture, tolerance: float) -> Iterator[tuple[str, bytes]]:
    """The drawing of a picture."""
    h, w = picture.size
    head = {"xmlns": "http://www.w3.org/2000/svg", "width": w, "height": h, "viewBox": f"0 0 {w} {h}"}
    large_first = sorted(picture.annotations, key=lambda item: -item.area)
    paths = [_path(item, trace(item, tolerance)) for item in large_first]
    text = markup(node("svg", head, [node("title", None, picture.name), *paths]))
    yield ENDING, text.encode("utf-8")


def _path(annotation: Annotation, outline: MultiPolygon) -> Element:
    shade = "#{:02x}{:02x}{:02x}".format(*colour(annotation.id - 1))
    attributes = {
        "class": "mask",
        "id": f"object-{annotation.id}",
        "data-id": annotation.id,
        "data-label": annotation.label,
        **({} if annotation.score is None else {"data-score": annotation.score}),
        "fill": shade,
        "fill-opacity": "0.5",
        "fill-rule": "evenodd",
        "stroke": shade,
        "d": " ".join(_line(line.astype(int).tolist()) for part in outline.geoms for line in rings(part)),
    }
    return node("path", attributes, [node("title", None, annotation.label)])


def _line(corners: list[list[int]]) -> str:
    """One closed line: ``M3 4L9 4L9 8Z``."""
    return "M" + "L".join(f"{x} {y}" for x, y in corners) + "Z"
