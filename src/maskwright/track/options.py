"""How a session tracks: everything that can be chosen, in one frozen value."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from maskwright.errors import InputError
from maskwright.track.policy import OfficialPolicy, Policy

MEMORY_DTYPES = {"bfloat16": torch.bfloat16, "float32": torch.float32}


@dataclass(frozen=True)
class TrackOptions:
    """Defaults are those of the official predictor."""

    max_prompts: int = 32
    """Prompted frames that each object keeps for good. Beyond it the one farthest away is forgotten, but
    never the first (ADR 9)."""
    memory_dtype: str = "bfloat16"
    """How memories are stored: ``bfloat16`` as in the official predictor, or ``float32``, twice the size."""
    max_hole_area: float = 8
    """Fill holes up to this many cells of the low-resolution mask; 0 leaves them."""
    max_speck_area: float = 0
    """Remove separate specks up to this many cells."""
    non_overlapping: bool = False
    """Give each pixel to one object, the one with the highest logit."""
    rewind: int = 6
    """Frames before the current one that can still be prompted; each costs its picture."""
    encode_ahead: int = 1
    """Frames of a file that are encoded in one call, each holding its features (17 MB at 1024 px) meanwhile;
    for large GPUs. Results are the same but for rounding, so a resumed run is not the same bit for bit."""
    num_frames: int | None = None
    """Length of the video where the pointers' time scale should follow it, as in the official predictor: it
    matters below 16 frames (ADR 10). None treats every video as long."""
    policy: Policy = field(default_factory=OfficialPolicy)
    """What to remember and which mask to trust."""

    def __post_init__(self) -> None:
        for name, least in (("max_prompts", 1), ("rewind", 0), ("encode_ahead", 1), ("num_frames", 1)):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int) or value < least):
                raise InputError(f"{name} is {value!r}; it must be a whole number from {least} on")
        if self.memory_dtype not in MEMORY_DTYPES:
            raise InputError(f"memory_dtype is {self.memory_dtype!r}; choose one of {tuple(MEMORY_DTYPES)}")
        for name in ("max_hole_area", "max_speck_area"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise InputError(f"{name} is {getattr(self, name)}; it counts cells: 0 (off) or more")

    @property
    def torch_dtype(self) -> torch.dtype:
        """How memories are stored."""
        return MEMORY_DTYPES[self.memory_dtype]

    def pointer_span(self, num_pointers: int) -> int:
        """Age of the oldest pointer that counts."""
        # DEVIATES: ADR 10. The official predictor takes min(frames of the video, 16) - 1; a stream has no
        # number of frames, and a file should give the same masks as the same frames from a stream.
        length = num_pointers if self.num_frames is None else min(self.num_frames, num_pointers)
        return max(length - 1, 1)
