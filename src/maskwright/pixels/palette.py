"""Colours for objects: distinct, cheerful, and readable on photographs."""

from __future__ import annotations

from typing import TypeAlias

Colour: TypeAlias = tuple[int, int, int]
"""Red, green, blue, 0..255."""

# Spread in OKLCH: neighbours in the list differ strongly in hue and, for colour-blind readers, in lightness.
_BASE: tuple[Colour, ...] = (
    (29, 142, 245),  # azure
    (245, 129, 15),  # tangerine
    (32, 197, 84),  # green
    (232, 23, 155),  # magenta
    (242, 197, 14),  # gold
    (134, 62, 243),  # violet
    (26, 209, 209),  # turquoise
    (234, 31, 47),  # red
    (165, 230, 44),  # lime
    (250, 137, 165),  # rose
    (46, 62, 199),  # indigo
    (150, 87, 25),  # brown
)
_TONES = (0.0, 0.45, -0.35)
"""Each further dozen is lighter, then darker."""


def colour(index: int) -> Colour:
    """The colour of object ``index``: 36 different ones, then they begin again."""
    round_number, place = divmod(index, len(_BASE))
    return toned(_BASE[place], _TONES[round_number % len(_TONES)])


def toned(base: Colour, amount: float) -> Colour:
    """``base`` mixed with white (amount 0..1) or black (amount -1..0)."""
    goal = 255 if amount > 0 else 0
    red, green, blue = (round(channel + (goal - channel) * abs(amount)) for channel in base)
    return red, green, blue
