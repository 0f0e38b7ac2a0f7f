"""The frame rates that were published for the official models, to stand beside what is measured here."""

from __future__ import annotations

from typing import NamedTuple


class Claim(NamedTuple):
    """Frames per second on an A100 with one object.

    Frames were decoded, resized and on the GPU as float32 before, and masks stayed there: what is called
    model-only here.
    """

    eager: float
    """As first published, nothing compiled."""
    compiled: float
    """As published last, everything compiled."""


CLAIMS: dict[str, Claim] = {
    "tiny": Claim(47.2, 91.2),
    "small": Claim(43.3, 84.8),
    "base+": Claim(34.8, 64.1),
    "large": Claim(24.2, 39.5),
}
"""The first column was published for SAM 2, the second for SAM 2.1; by size."""


def claim_of(model: str) -> Claim | None:
    """What was published for a catalogue name, if anything."""
    series, _, size = model.partition("-")
    return CLAIMS.get(size) if series in ("sam2", "sam2.1") else None
