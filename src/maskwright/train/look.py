"""How a camera might also have shown the same view: colours, blur, noise and the marks of JPEG."""

from __future__ import annotations

import io
import math
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageFilter

from maskwright.types import ByteArray, FloatArray


class Look(NamedTuple):
    """What is done to the colours. The neutral look is ``Look()``."""

    brightness: float = 1.0
    contrast: float = 1.0
    saturation: float = 1.0
    turn: float = 0.0
    """Of hues, in radians."""
    blur: float = 0.0
    """Standard deviation in pixels."""
    noise: float = 0.0
    """Standard deviation, 255 is white."""
    quality: int = 0
    """Of JPEG; 0 leaves it out."""


def developed(frame: Image.Image, look: Look, grey: float, rng: np.random.Generator) -> ByteArray:
    """Pixels (h, w, 3) of a frame with another look; ``grey`` is what contrast leaves unchanged."""
    if look[:4] != Look()[:4]:
        frame = frame.convert("RGB", _matrix(look, grey))
    if look.blur:
        # a lens out of focus draws discs rather than bells, and a Gaussian takes five times as long
        frame = frame.filter(ImageFilter.BoxBlur(look.blur * math.sqrt(3)))
    if look.noise:
        noisy = np.asarray(frame) + _grain((frame.height, frame.width, 3), look.noise, rng)
        frame = Image.fromarray(noisy.clip(0, 255).astype(np.uint8))
    if look.quality:
        stored = io.BytesIO()
        frame.save(stored, format="JPEG", quality=look.quality)
        frame = Image.open(stored)
    return np.array(frame)


def _grain(shape: tuple[int, ...], deviation: float, rng: np.random.Generator) -> FloatArray:
    """Noise of a triangular distribution: the sum of two bytes, ten times as quick to draw as a Gaussian."""
    count = math.prod(shape)
    drawn = np.frombuffer(rng.bytes(2 * count), np.int8).reshape(2, *shape)
    grain = np.add(drawn[0], drawn[1], dtype=np.int16)
    noise: FloatArray = grain * np.float32(deviation / math.sqrt((256**2 - 1) / 6))
    return noise


_TO_YIQ = np.array(((0.299, 0.587, 0.114), (0.596, -0.274, -0.322), (0.211, -0.523, 0.312)))
"""RGB to brightness and two axes of colour, in whose plane hues turn."""


def _matrix(look: Look, grey: float) -> tuple[float, ...]:
    """Brightness, contrast, saturation and hue as one affine map of RGB: 3 rows of 4."""
    cosine, sine = math.cos(look.turn) * look.saturation, math.sin(look.turn) * look.saturation
    turned = np.array(((1, 0, 0), (0, cosine, -sine), (0, sine, cosine)))
    linear = np.linalg.inv(_TO_YIQ) @ turned @ _TO_YIQ * (look.contrast * look.brightness)
    offset = np.full((3, 1), look.brightness * (1 - look.contrast) * grey)
    return tuple(np.hstack((linear, offset)).ravel().tolist())


def mean_grey(frame: Image.Image) -> float:
    """Mean brightness, 0..255."""
    red, green, blue = frame.reduce(16).resize((1, 1), Image.Resampling.BOX).tobytes()
    return 0.299 * red + 0.587 * green + 0.114 * blue
