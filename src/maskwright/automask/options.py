"""What automatic masks are made with: everything that can be chosen, in one frozen value."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from maskwright.errors import InputError


@dataclass(frozen=True, kw_only=True)
class AutomaskOptions:
    """Defaults are those of the official ``SAM2AutomaticMaskGenerator``, whose names are given in brackets.

    Raises:
        InputError: a value outside its range, or settings that contradict each other.
    """

    points_per_side: int | None = 32
    """Clicks along each side of the picture, so 32 means 1024 clicks; None with ``point_grids``."""
    point_grids: Sequence[npt.ArrayLike] | None = None
    """Instead of that: the clicks themselves, one list of ``(x, y)`` in 0..1 for the picture and for each
    layer of crops."""
    points_per_batch: int = 64
    """Clicks that are decoded together, at most: ``memory_mib`` may allow fewer, and CPUs take few, which is
    quicker there. Changes the speed only."""
    min_score: float = 0.8
    """Leave out masks with a predicted IoU of this or less; 0 keeps all (``pred_iou_thresh``)."""
    min_stability: float = 0.95
    """Leave out masks less stable than this; 0 keeps all (``stability_score_thresh``). Stability is the IoU
    of the masks at ``threshold`` plus and minus ``stability_offset``: how firm the outline is."""
    stability_offset: float = 1.0
    """In mask logits, 0 or more; larger is stricter (``stability_score_offset``)."""
    threshold: float = 0.0
    """Mask logit above which a pixel belongs to a mask (``mask_threshold``)."""
    max_overlap: float = 0.7
    """IoU of boxes above which two masks count as one, and the one with the lower score goes; 1 or more keeps
    all (``box_nms_thresh``)."""
    crop_layers: int = 0
    """Search crops of the picture as well, for small objects: layer 1 are 2 x 2 crops, layer 2 are 4 x 4 ...
    Each crop is encoded like a picture of its own (``crop_n_layers``)."""
    max_crop_overlap: float = 0.7
    """The same as ``max_overlap`` for masks of different crops; those of the smaller crop stay
    (``crop_nms_thresh``)."""
    crop_overlap: float = 512 / 1500
    """How far crops of layer 1 reach into each other, as a share of the picture's shorter side; 0 to 1, and
    less in proportion in the layers after it (``crop_overlap_ratio``)."""
    crop_points_divisor: int = 1
    """Layer n has ``points_per_side`` divided by this to the power of n
    (``crop_n_points_downscale_factor``)."""
    max_hole_area: float = 0
    """Fill holes up to this many cells of the low-resolution mask (``min_mask_region_area`` sets both)."""
    max_speck_area: float = 0
    """Remove separate specks up to this many cells."""
    second_look: bool = False
    """Give every mask back to the model once, as a prompt beside its click: better outlines for about four
    times the work of decoding (``use_m2m``)."""
    refine: bool = False
    """At the end, draw every mask again from its surroundings in the picture at full size: sharper outlines
    on large pictures, for one more encoding per mask that this enlarges."""
    candidates: bool = True
    """Three masks per click: part, object, whole. False: the single one (``multimask_output``)."""
    memory_mib: int = 512
    """What decoding and filtering may take above the model and the picture, in MiB. Less is slower on a GPU;
    the masks stay the same."""

    def __post_init__(self) -> None:
        if (self.points_per_side is None) == (self.point_grids is None):
            raise InputError("give either points_per_side or point_grids, and None for the other")
        for name, least in _WHOLE.items():
            if name != "points_per_side" or self.points_per_side is not None:
                check_whole(name, getattr(self, name), least)
        for name, (low, high) in _RANGES.items():
            check_range(name, getattr(self, name), low, high)
        if self.min_score == 1:
            raise InputError("min_score is 1, which no mask exceeds; predicted IoUs are below 1: lower it")
        self._check_grids()

    @classmethod
    def preset(cls, name: str = "balanced", *, model: str = "", **changes: Any) -> AutomaskOptions:
        """One of :data:`PRESETS`, with some fields changed.

        Args:
            name: ``"fast"``, ``"balanced"`` or ``"dense"``.
            model: Name of the model (``MaskModel.name``) whose scores and logits the filters should suit.
            changes: Fields and their values.

        Raises:
            InputError: no preset or no field has that name, or whatever the class raises.
        """
        if name not in PRESETS:
            raise InputError(f"there is no preset {name!r}; choose one of {', '.join(PRESETS)}")
        known = [field.name for field in fields(cls)]
        for strange in changes.keys() - set(known):
            raise InputError(f"there is no option {strange!r}; the options are {', '.join(known)}")
        if changes.get("point_grids") is not None:
            changes = {"points_per_side": None} | changes
        return replace(PRESETS[name], **_SUITED.get(model, {}) | changes)

    @classmethod
    def of(
        cls, options: AutomaskOptions | None, preset: str, model: str, changes: Mapping[str, Any]
    ) -> AutomaskOptions:
        """The options that were given, or else a preset with changes.

        Raises:
            InputError: both were given, or whatever :meth:`preset` raises.
        """
        if options is None:
            return cls.preset(preset, model=model, **changes)
        if changes or preset != "balanced":
            raise InputError("give either options, or a preset and changes to it, not both")
        return options

    def points_in_layer(self, layer: int) -> int:
        """Clicks along each side of a crop in a layer; 0 is the picture itself."""
        assert self.points_per_side is not None
        return int(self.points_per_side / self.crop_points_divisor**layer)

    def _check_grids(self) -> None:
        if self.point_grids is None:
            if self.points_in_layer(self.crop_layers) < 1:
                raise InputError(
                    f"points_per_side={self.points_per_side} divided by crop_points_divisor="
                    f"{self.crop_points_divisor} leaves no points in layer {self.crop_layers} of the crops; "
                    "use fewer crop_layers or a smaller divisor"
                )
            return
        if len(self.point_grids) <= self.crop_layers:
            raise InputError(
                f"{len(self.point_grids)} point_grids for {self.crop_layers} crop_layers; "
                f"give {self.crop_layers + 1}: one for the picture and one for each layer"
            )
        grids = [np.asarray(grid, dtype=np.float64) for grid in self.point_grids]
        for layer, points in enumerate(grids):
            if points.ndim != 2 or points.shape[1] != 2 or not len(points):
                raise InputError(
                    f"point_grids[{layer}] has shape {points.shape}; expected (n, 2): (x, y) pairs"
                )
            if not ((points >= 0) & (points <= 1)).all():
                raise InputError(
                    f"point_grids[{layer}] leaves 0..1; points are shares of width and height, not pixels"
                )
        # Plain numbers: options can be compared, and nobody can change them from outside.
        object.__setattr__(self, "point_grids", tuple(tuple(map(tuple, one.tolist())) for one in grids))


_WHOLE = {
    "points_per_side": 1,
    "points_per_batch": 1,
    "crop_layers": 0,
    "crop_points_divisor": 1,
    "memory_mib": 32,
}
"""Whole numbers, and the least that each may be."""
_RANGES = {
    "min_score": (-math.inf, 1.0),
    "min_stability": (-math.inf, 1.0),
    "stability_offset": (0.0, math.inf),
    "threshold": (-math.inf, math.inf),
    "max_overlap": (0.0, math.inf),
    "max_crop_overlap": (0.0, math.inf),
    "crop_overlap": (0.0, 1.0),
    "max_hole_area": (0.0, math.inf),
    "max_speck_area": (0.0, math.inf),
}
"""Finite numbers, and where they have to lie."""


def check_whole(name: str, value: object, least: int) -> None:
    """InputError unless an option's value is a whole number from ``least`` on."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise InputError(f"{name} is {value!r}; it must be a whole number from {least} on")


def check_range(name: str, value: Any, low: float, high: float) -> None:
    """InputError unless an option's value is a finite number from ``low`` to ``high``."""
    try:
        fits = math.isfinite(value) and low <= value <= high
    except TypeError:
        fits = False
    if not fits:
        span = f" from {low:g}" * math.isfinite(low) + f" to {high:g}" * math.isfinite(high)
        raise InputError(f"{name} is {value!r}; it must be a number{span or ', and finite'}")


PRESETS: dict[str, AutomaskOptions] = {
    "fast": AutomaskOptions(points_per_side=16),
    "balanced": AutomaskOptions(),
    "dense": AutomaskOptions(
        min_score=0.7,
        min_stability=0.92,
        stability_offset=0.7,
        crop_layers=1,
        crop_points_divisor=2,
        max_hole_area=25,
        max_speck_area=25,
        second_look=True,
    ),
}
"""``fast``: a quarter of the clicks, for large objects. ``balanced``: the official defaults. ``dense``: also
crops, for small objects, a second look at every mask, and milder filters; about eight times as long."""

_SUITED: dict[str, dict[str, Any]] = {
    "nano": {"min_score": 0.5, "min_stability": 0.8, "stability_offset": 0.25}
}
"""What models other than the official ones need: nano is less sure of itself, and its logits are smaller."""
