"""Masks <-> polygons with holes.

Coordinates are continuous pixels: pixel ``i`` covers ``i`` to ``i + 1``, x to the right and y down, so a mask
of the whole picture is the rectangle from (0, 0) to (w, h). Tracing follows the edges of pixels exactly, and
pixels that touch only at a corner are not connected: every polygon is valid, and drawing it again (a pixel is
set if its middle is inside) gives the same mask. Only ``tolerance`` gives that up, and never more of it than
:data:`LEAST_IOU` leaves.

Many tools draw polygons otherwise: they round or cut off coordinates, take them for the middles of pixels,
and set the pixels that the line itself goes through (``cv2.fillPoly``, Pillow). Polygons along the edges of
pixels come out too large there, by a column at the right and a row at the bottom. For their formats
``inclusive`` outlines run through the middles of the outermost pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from maskwright.errors import InputError, MissingExtraError
from maskwright.interop.annotations import DEFAULT_LABEL, Annotation
from maskwright.interop.bridges import Ring, linked
from maskwright.pixels import rle
from maskwright.types import BoolArray, Size

if TYPE_CHECKING:
    from shapely import MultiPolygon, Polygon

LEAST_IOU = 0.985
"""IoU with its mask that a simplified polygon keeps; where the tolerance would cost more, it is reduced.
Tools that draw polygons a little differently then still get 0.98, or very nearly."""
_NEXT = 0.7
"""What the tolerance is multiplied by."""
_INSET, _SHIFT, _REACH = 0.45, 0.4, 0.2
"""Pixels, of inclusive outlines: how far they are inside, how far back, and what belongs to a line."""
_SMALLEST_TOLERANCE = 0.2
"""Pixels; below it, simplifying changes nothing and the exact outline is taken."""


def trace(annotation: Annotation, tolerance: float = 0.0, *, inclusive: bool = False) -> MultiPolygon:
    """The outline of a mask: a polygon for each of its parts, with its holes; the largest part first.

    Args:
        annotation: The object.
        tolerance: How far in pixels a line may leave the edge; 0 follows the pixels.
        inclusive: For tools that set the pixels on the line, too.
    """
    x0, y0, _, _ = annotation.box
    window = annotation.window()
    exact = _traced(window)
    while tolerance >= _SMALLEST_TOLERANCE and not exact.is_empty:
        simple = _ordered(exact.simplify(tolerance, preserve_topology=True))
        kept = _inset(simple) if inclusive else simple
        if _iou(draw([kept], (window.shape[0], window.shape[1]), inclusive=inclusive), window) >= LEAST_IOU:
            return _shifted(kept, x0, y0)
        tolerance *= _NEXT
    return _shifted(_inset(exact) if inclusive else exact, x0, y0)


def draw(shapes: Sequence[Any], size: Size, *, inclusive: bool = False) -> BoolArray:
    """The mask (h, w) of polygons: pixels whose middle is inside any of them.

    Args:
        shapes: Polygons of shapely, in pixels.
        size: Height and width of the mask.
        inclusive: Coordinates are middles of pixels, and the line belongs to the polygon.
    """
    grown = [_outset(shape) for shape in shapes] if inclusive else shapes
    solid = [shape for shape in grown if not shape.is_empty]
    if not solid:
        return np.zeros(size, np.bool_)
    drawn: BoolArray = rasterio_features().rasterize(solid, out_shape=size, dtype="uint8") > 0
    return drawn


def annotated(
    shapes: Sequence[Any],
    size: Size,
    number: int,
    label: str = DEFAULT_LABEL,
    score: float | None = None,
    *,
    inclusive: bool = False,
) -> Annotation:
    """An object whose mask is what polygons cover, as :func:`draw` says."""
    code = rle.encode(draw(shapes, size, inclusive=inclusive)[None])[0]
    return Annotation(number, code, label, score)


def rectangle(x0: float, y0: float, x1: float, y1: float) -> Ring:
    """The ring of a box."""
    return np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], np.float64)


def rings(polygon: Polygon) -> list[Ring]:
    """The outer ring and those of the holes."""
    lines = (polygon.exterior, *polygon.interiors)
    return [np.asarray(line.coords, np.float64)[:-1] for line in lines]


def from_rings(outlines: Sequence[Ring]) -> MultiPolygon:
    """What several rings enclose, a place that two of them enclose not (the even-odd rule); always valid.

    Args:
        outlines: Rings of three corners and more; others enclose nothing.
    """
    shapely = shapely_package()
    result = shapely.MultiPolygon()
    for ring in outlines:
        if len(ring) >= 3:
            result = result.symmetric_difference(shapely.make_valid(shapely.Polygon(ring)))
    return _ordered(result)


def bridged(polygon: Polygon) -> Ring:
    """A polygon with its holes as one line, for formats without holes: cut open along bridges of no width.

    Going there and back along a bridge encloses nothing, so by either rule of filling the area is the same.
    Tools that also paint the line itself paint the bridges, which are as short as corners allow.
    """
    return linked(rings(polygon))


def joined(outline: MultiPolygon) -> Ring:
    """All parts of an object as one line, like :func:`bridged`; bridges between parts cross the background.

    Args:
        outline: Not empty.
    """
    return linked([line for part in outline.geoms for line in rings(part)])


def shapely_package() -> Any:
    """The package shapely.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import shapely
    except ImportError as error:
        raise MissingExtraError("polygons need shapely: pip install 'maskwright[export]'") from error
    return shapely


def rasterio_features() -> Any:
    """The module rasterio.features.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import rasterio.features
    except ImportError as error:
        raise MissingExtraError(
            "tracing masks and drawing polygons needs rasterio: pip install 'maskwright[export]'"
        ) from error
    return rasterio.features


def check_ring(values: Any, what: str) -> Ring:
    """Corners (n, 2) from a list of pairs.

    Raises:
        InputError: they are no pairs of finite numbers.
    """
    try:
        ring = np.asarray(values, np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{what}: the corners are no pairs of numbers: {error}") from error
    if ring.ndim != 2 or ring.shape[1] != 2 or not np.isfinite(ring).all():
        raise InputError(f"{what}: the corners are no pairs of finite numbers")
    return ring


def _traced(window: BoolArray) -> MultiPolygon:
    shapely = shapely_package()
    samples = window.astype(np.uint8)
    found = rasterio_features().shapes(samples, mask=window, connectivity=4) if window.any() else ()
    polygons = [shapely.geometry.shape(outline) for outline, _ in found]
    return _ordered(shapely.MultiPolygon(polygons))


def _ordered(geometry: Any) -> MultiPolygon:
    """The polygons of any geometry as one, largest first; lines and points, which cover nothing, go."""
    shapely = shapely_package()
    single = shapely.get_parts(shapely.get_parts([geometry]))  # twice: a collection may hold collections
    parts = [part for part in single if part.geom_type == "Polygon" and part.area]
    parts.sort(key=lambda part: -part.area)
    return shapely.MultiPolygon(parts)


def _shifted(geometry: MultiPolygon, x: float, y: float) -> MultiPolygon:
    from shapely.affinity import translate

    moved: MultiPolygon = translate(geometry, x, y)
    return moved


def _inset(geometry: MultiPolygon) -> MultiPolygon:
    """Polygons along the edges of pixels -> through the middles of the outermost pixels, which are inside.

    Left and upper edges end up just above a whole number and so do right and lower ones, those of the last
    pixel: rounding and cutting off give the same. Nothing is lost: a pixel is wider than what is taken off.
    """
    return _shifted(_ordered(geometry.buffer(-_INSET, join_style="mitre")), -_SHIFT, -_SHIFT)


def _outset(geometry: Any) -> Any:
    """Polygons through the middles of pixels -> such that have those middles well inside."""
    from shapely.affinity import translate

    return translate(geometry, 0.5, 0.5).buffer(_REACH, join_style="mitre")


def _iou(a: BoolArray, b: BoolArray) -> float:
    union = np.count_nonzero(a | b)
    return float(np.count_nonzero(a & b) / union) if union else 1.0
