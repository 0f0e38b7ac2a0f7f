"""Augmentation: a labelled scene as it might also have been photographed, at the network's square size.

A draw goes in this order: a window of the picture (zoomed in or out, a little stretched, mirrored), objects
of another scene pasted in, then colours, blur, noise and JPEG marks. Everything is a pure function of its
arguments and a numpy generator. Masks stay flat layers throughout (see :mod:`.io.datasets.protocol`), so
hundreds of objects cost no more than one.

Windows are in shares of the picture: (0, 0, 1, 1) is the whole, which the network sees stretched to a square.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from maskwright.errors import InputError
from maskwright.io.datasets.protocol import Clip, Layers, Scene, areas_of, window_of
from maskwright.train.look import Look, developed, mean_grey
from maskwright.types import BoolArray, ByteArray, FloatArray

Another: TypeAlias = Callable[[np.random.Generator], Scene]
"""Draws a scene to paste from; called only where something is pasted."""

Colour: TypeAlias = tuple[int, int, int]
"""RGB, 0..255."""

TRIES = 4
"""Windows that are drawn until one shows an object; after that the whole picture is shown."""
MAX_GROWTH = 2.0
"""Times that a pasted object is enlarged at most, in pixels."""
DONOR_SHARE = 0.004
"""Share of its own picture that an object covers at least to be pasted elsewhere."""

CUT_SHARE = 0.15
"""Share of the sides of its box along which an object to be pasted may be cut off by its picture's edge."""


@dataclass(frozen=True)
class AugmentConfig:
    """How strongly scenes are changed. All shares are probabilities, 0..1; 0 switches a change off."""

    flip: float = 0.5
    """Share of pictures that are mirrored left to right."""
    whole: float = 0.25
    """Share of pictures that are shown whole, neither zoomed nor stretched, as in use."""
    scale_min: float = 0.6
    """Smallest zoom, 0.1..1: below 1 the picture gets a plain border that belongs to no object."""
    scale_max: float = 2.0
    """Largest zoom, 1..10: 2 shows half the width and half the height. Drawn evenly by logarithm."""
    aspect: float = 0.15
    """Most that a window is stretched along one side against the other, 0..0.5 (0.15: by 15 percent)."""
    colour: float = 0.8
    """Share of pictures whose brightness, contrast, saturation and hue are changed."""
    brightness: float = 0.3
    """Most that brightness changes, 0..1 of itself."""
    contrast: float = 0.3
    """Most that contrast changes, 0..1 of itself."""
    saturation: float = 0.4
    """Most that saturation changes, 0..1 of itself."""
    hue: float = 0.04
    """Most that hues turn, as a share of the full circle, 0..0.5."""
    grey: float = 0.05
    """Share of pictures, among those whose colours are changed, that lose all colour."""
    blur: float = 0.15
    """Share of pictures that are blurred."""
    blur_max: float = 0.004
    """Largest standard deviation of the blur, as a share of the side, 0..0.05 (0.004: 2 pixels of 512)."""
    noise: float = 0.1
    """Share of pictures that get sensor noise."""
    noise_max: float = 0.04
    """Largest standard deviation of the noise, as a share of white, 0..0.5."""
    jpeg: float = 0.15
    """Share of pictures that are stored as JPEG once more."""
    jpeg_min: int = 30
    """Lowest JPEG quality, 5..95."""
    paste: float = 0.3
    """Share of pictures that get objects of another scene, where there is one."""
    paste_objects: int = 3
    """Most objects that are pasted into one picture, 1 or more."""
    paste_min: float = 0.01
    """Smallest box of a pasted object, as a share of the frame."""
    paste_max: float = 0.2
    """Largest box of a pasted object, as a share of the frame, up to 1."""
    edge: float = 1.0
    """Most that the outlines of pasted objects are softened, in pixels (standard deviation), 0..5."""
    min_visible: float = 0.3
    """Objects of which less than this share is left by the crop and by what hides them are dropped, 0..1."""
    min_area: float = 0.0004
    """Objects that cover less than this share of the frame are dropped, 0..1 (0.0004: 105 pixels of 512²)."""

    def __post_init__(self) -> None:
        """InputError for a value outside its range."""
        for name, (low, high) in _RANGES.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise InputError(f"augment setting {name} must lie in {low:g}..{high:g}, not {value:g}")
        if self.paste_min > self.paste_max:
            raise InputError(f"augment setting paste_min is {self.paste_min:g}, above paste_max")

    @classmethod
    def off(cls) -> AugmentConfig:
        """Nothing is changed: pictures are only stretched to the square, and no object is dropped."""
        return cls(flip=0, whole=1, colour=0, blur=0, noise=0, jpeg=0, paste=0, min_visible=0, min_area=0)


_SHARES = ("flip", "whole", "colour", "brightness", "contrast", "saturation", "grey", "blur", "noise", "jpeg")
_RANGES: dict[str, tuple[float, float]] = {
    **dict.fromkeys((*_SHARES, "paste", "min_visible", "min_area"), (0.0, 1.0)),
    "scale_min": (0.1, 1),
    "scale_max": (1, 10),
    "aspect": (0, 0.5),
    "hue": (0, 0.5),
    "blur_max": (0, 0.05),
    "noise_max": (0, 0.5),
    "jpeg_min": (5, 95),
    "paste_objects": (1, 100),
    "paste_min": (1e-6, 1),
    "paste_max": (1e-6, 1),
    "edge": (0, 5),
}


class View(NamedTuple):
    """What part of a picture is shown."""

    x0: float
    """Left edge of the window, as a share of the picture's width; below 0 is a border."""
    y0: float
    x1: float
    """Right edge; above 1 is a border."""
    y1: float
    flip: bool
    """Whether the window is mirrored."""


def augment(
    scene: Scene, config: AugmentConfig, size: int, rng: np.random.Generator, another: Another | None = None
) -> Scene:
    """One random variant of a scene.

    Args:
        scene: Any size.
        config: What is changed, and how much.
        size: Side of the square result in pixels.
        rng: Every random choice; the same state gives the same result.
        another: Draws the scene that objects are pasted from; None: nothing is pasted.

    Returns:
        (size, size, 3) and the masks of the objects that can still be seen. Objects of ``scene`` keep their
        ids, pasted ones get new ones above all of them. Where nothing is pasted, at least one object is left
        if the whole of ``scene`` shows one of ``min_area``.
    """
    view, (layers,), kept = _choose_view([scene], config, size, rng)
    frame = _show(scene.picture, view, size, _mean_colour(scene.picture))
    board = _Board(frame, layers, list(scene.ids), _expected(scene, view, size).tolist(), kept.tolist())
    if another is not None and rng.random() < config.paste:
        _paste_some(board, another(rng), config, rng)
    pixels = developed(board.frame, _draw_look(config, size, rng), mean_grey(board.frame), rng)
    return _visible(board, pixels, config)


def augment_clip(clip: Clip, config: AugmentConfig, size: int, rng: np.random.Generator) -> Clip:
    """One random variant of a clip: every frame is seen through the same window and has the same look.

    Objects that no frame shows well enough are dropped; the others may leave the window and come back.
    Nothing is pasted. Arguments as for :func:`augment`.
    """
    view, layers, kept = _choose_view(clip.scenes, config, size, rng)
    look = _draw_look(config, size, rng)
    indices = np.flatnonzero(kept).tolist()
    grey, beside, scenes = 0.0, _mean_colour(clip.scenes[0].picture), []
    for number, (scene, flat) in enumerate(zip(clip.scenes, layers, strict=True)):
        frame = _show(scene.picture, view, size, beside)
        grey = grey if number else mean_grey(frame)
        pixels = developed(frame, look, grey, rng)
        scenes.append(Scene.from_layers(pixels, flat, scene.ids).select(indices))
    return Clip.from_scenes(scenes, clip.known)


def stretched(scene: Scene, size: int) -> Scene:
    """The whole scene at the network's square size, unchanged; tiny objects may lose their last pixel."""
    view = View(0, 0, 1, 1, False)
    pixels = np.array(_show(scene.picture, view, size, (0, 0, 0)))
    return Scene.from_layers(pixels, _show_layers(scene.layers, view, size), scene.ids)


# --- the window


def _draw_view(config: AugmentConfig, rng: np.random.Generator) -> View:
    flip = bool(rng.random() < config.flip)
    if rng.random() < config.whole:
        return View(0, 0, 1, 1, flip)
    zoom = math.exp(rng.uniform(math.log(config.scale_min), math.log(config.scale_max)))
    stretch = math.sqrt(1 + config.aspect) ** rng.uniform(-1, 1)
    w, h = stretch / zoom, 1 / (stretch * zoom)
    x0, y0 = float(rng.uniform(0, 1)) * (1 - w), float(rng.uniform(0, 1)) * (1 - h)
    return View(x0, y0, x0 + w, y0 + h, flip)


def _choose_view(
    scenes: Sequence[Scene], config: AugmentConfig, size: int, rng: np.random.Generator
) -> tuple[View, list[Layers], BoolArray]:
    """A window that shows an object, if any does; the layers seen through it, and which objects are kept."""
    view = _draw_view(config, rng)
    for attempt in range(TRIES + 1):
        layers = [_show_layers(scene.layers, view, size) for scene in scenes]
        kept = np.zeros(len(scenes[0]), np.bool_)
        for scene, flat in zip(scenes, layers, strict=True):
            areas = areas_of(flat, len(scene))
            expected = _expected(scene, view, size)
            kept |= (areas >= max(1, config.min_area * size * size)) & (
                areas >= config.min_visible * expected
            )
        if kept.any() or not len(kept) or attempt == TRIES:
            break
        view = _draw_view(config, rng) if attempt < TRIES - 1 else View(0, 0, 1, 1, view.flip)
    return view, layers, kept


def _expected(scene: Scene, view: View, size: int) -> FloatArray:
    """Pixels that each object would cover if the window's edges cut nothing off, (n,)."""
    h, w = scene.size
    growth = size * size / (h * w * (view.x1 - view.x0) * (view.y1 - view.y0))
    return (scene.areas * growth).astype(np.float32)


def _lookup(low: float, high: float, length: int, size: int) -> tuple[slice, npt.NDArray[np.int64]]:
    """Which of ``size`` places along one axis lie in the picture, and which of its pixels each one shows."""
    places = np.floor((low + (np.arange(size) + 0.5) / size * (high - low)) * length).astype(np.int64)
    inside = np.flatnonzero((places >= 0) & (places < length))
    if not len(inside):  # a window beside the picture, which is never drawn
        return slice(0, 0), inside
    part = slice(int(inside[0]), int(inside[-1]) + 1)
    return part, places[part]


def _show_layers(layers: Layers, view: View, size: int) -> Layers:
    """Layers (L, h, w) through a window, (L, size, size), by nearest neighbour."""
    part_y, rows = _lookup(view.y0, view.y1, layers.shape[1], size)
    part_x, columns = _lookup(view.x0, view.x1, layers.shape[2], size)
    shown = np.zeros((len(layers), size, size), np.uint16)
    for layer, target in zip(layers, shown, strict=True):
        target[part_y, part_x] = layer[rows][:, columns]
    return np.ascontiguousarray(shown[:, :, ::-1]) if view.flip else shown


def _show(picture: ByteArray, view: View, size: int, beside: Colour) -> Image.Image:
    """A picture through a window; what lies beside it is of one colour."""
    h, w = picture.shape[:2]
    part_y, _ = _lookup(view.y0, view.y1, h, size)
    part_x, _ = _lookup(view.x0, view.x1, w, size)
    box = (
        _edge(view.x0, view.x1, w, part_x.start / size),
        _edge(view.y0, view.y1, h, part_y.start / size),
        _edge(view.x0, view.x1, w, part_x.stop / size),
        _edge(view.y0, view.y1, h, part_y.stop / size),
    )
    whole = Image.fromarray(picture)
    shape = (part_x.stop - part_x.start, part_y.stop - part_y.start)
    shown = whole.resize(shape, Image.Resampling.BILINEAR, box=box, reducing_gap=2.0)
    if shape != (size, size):
        border = Image.new("RGB", (size, size), beside)
        border.paste(shown, (part_x.start, part_y.start))
        shown = border
    return shown.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if view.flip else shown


def _mean_colour(picture: ByteArray) -> Colour:
    small = Image.fromarray(picture).resize((1, 1), Image.Resampling.BOX, reducing_gap=1.0)
    red, green, blue = small.tobytes()
    return red, green, blue


def _edge(low: float, high: float, length: int, place: float) -> float:
    """Where a place of the frame, as a share of its side, lies in the picture, along one axis."""
    return min(max((low + place * (high - low)) * length, 0.0), float(length))


# --- objects of another scene


class _Board(NamedTuple):
    """A scene under work; changed in place."""

    frame: Image.Image
    layers: Layers
    ids: list[int]
    expected: list[float]
    """Pixels of each object if nothing hid or cut it."""
    kept: list[bool]
    """False for objects that are dropped already; their pixels are still in the layers."""


class _Cutting(NamedTuple):
    """An object cut out of its picture, at the size it is pasted in."""

    colour: Image.Image
    alpha: Image.Image
    solid: BoolArray


def _paste_some(board: _Board, donor: Scene, config: AugmentConfig, rng: np.random.Generator) -> None:
    h, w = donor.size
    fit = np.flatnonzero(donor.areas >= DONOR_SHARE * h * w)
    wanted = int(rng.integers(1, config.paste_objects + 1))
    for index in rng.permutation(fit).tolist():
        mask = donor.mask(index)
        if wanted and not _cut_off(mask):
            _paste(board, _cut(donor.picture, mask, config, board.frame.width, rng), rng)
            wanted -= 1


def _cut_off(mask: BoolArray) -> bool:
    """Whether the picture's edge makes much of an object's outline; pasted elsewhere, that shows."""
    rows, columns = window_of(mask)
    around = 2 * (rows.stop - rows.start + columns.stop - columns.start)
    at_edge = sum(int(line.sum()) for line in (mask[0], mask[-1], mask[:, 0], mask[:, -1]))
    return bool(at_edge > CUT_SHARE * around)


def _cut(
    picture: ByteArray, mask: BoolArray, config: AugmentConfig, size: int, rng: np.random.Generator
) -> _Cutting:
    """One object with soft edges, scaled to a box of the drawn share of the frame."""
    rows, columns = window_of(mask)
    window = (_wider(rows, mask.shape[0]), _wider(columns, mask.shape[1]))
    h, w = (part.stop - part.start for part in window)
    # pixels of the frame per pixel of the picture, if that were shown whole
    across, down = size / mask.shape[1], size / mask.shape[0]
    share = math.exp(rng.uniform(math.log(config.paste_min), math.log(config.paste_max)))
    zoom = math.sqrt(share * size * size / (h * down * w * across))
    zoom = min(zoom, MAX_GROWTH / max(across, down))
    shape = (max(1, round(w * across * zoom)), max(1, round(h * down * zoom)))
    colour = Image.fromarray(np.ascontiguousarray(picture[window]))
    alpha = Image.fromarray(mask[window].astype(np.uint8) * np.uint8(255))
    if rng.random() < config.flip:
        colour = colour.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        alpha = alpha.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    colour = colour.resize(shape, Image.Resampling.BILINEAR, reducing_gap=2.0)
    alpha = alpha.resize(shape, Image.Resampling.BILINEAR)
    if config.edge:
        alpha = alpha.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.2, 1)) * config.edge))
    # a little inwards, or the rim of the old surroundings would give every pasted object away
    alpha = alpha.point([min(max(round((value - 102) * 2), 0), 255) for value in range(256)])
    return _Cutting(colour, alpha, np.asarray(alpha) > 127)


def _wider(part: slice, length: int) -> slice:
    return slice(max(part.start - 2, 0), min(part.stop + 2, length))


def _paste(board: _Board, cutting: _Cutting, rng: np.random.Generator) -> None:
    """Put an object anywhere; it hides what is below and may stick out of the frame."""
    h, w = cutting.solid.shape
    size = board.frame.width
    x, y = (int(rng.uniform(0, size)) - side // 2 for side in (w, h))
    board.frame.paste(cutting.colour, (x, y), cutting.alpha)
    rows, columns = slice(max(y, 0), min(y + h, size)), slice(max(x, 0), min(x + w, size))
    solid = cutting.solid[rows.start - y : rows.stop - y, columns.start - x : columns.stop - x]
    for layer in board.layers:
        layer[rows, columns][solid] = 0
    board.layers[0][rows, columns][solid] = len(board.ids) + 1
    board.ids.append(max(board.ids, default=0) + 1)
    board.expected.append(float(cutting.solid.sum()))
    board.kept.append(True)


def _visible(board: _Board, pixels: ByteArray, config: AugmentConfig) -> Scene:
    """The finished scene, of what is left of the objects."""
    areas = areas_of(board.layers, len(board.ids))
    kept = (areas >= max(1, config.min_area * board.layers[0].size)) & np.array(board.kept, np.bool_)
    kept &= areas >= config.min_visible * np.array(board.expected)
    scene = Scene.from_layers(pixels, board.layers, board.ids)
    return scene.select(np.flatnonzero(kept).tolist())


def _draw_look(config: AugmentConfig, size: int, rng: np.random.Generator) -> Look:
    look = Look()
    if rng.random() < config.colour:
        brightness, contrast, saturation = (
            1 + float(rng.uniform(-most, most))
            for most in (config.brightness, config.contrast, config.saturation)
        )
        turn = float(rng.uniform(-config.hue, config.hue)) * 2 * math.pi
        saturation = 0.0 if rng.random() < config.grey else saturation
        look = Look(brightness, contrast, saturation, turn)
    if rng.random() < config.blur:
        look = look._replace(blur=float(rng.uniform(0.1, 1)) * config.blur_max * size)
    if rng.random() < config.noise:
        look = look._replace(noise=float(rng.uniform(0.1, 1)) * config.noise_max * 255)
    if rng.random() < config.jpeg:
        look = look._replace(quality=int(rng.integers(config.jpeg_min, 96)))
    return look
