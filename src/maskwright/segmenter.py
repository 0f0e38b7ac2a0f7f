"""Embed a picture once, prompt it many times.

Shapes: N objects, (h, w) the picture, m = ``config.mask_size``.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from maskwright import coords
from maskwright.errors import InputError, PromptError
from maskwright.masks import Masks
from maskwright.model.candidates import best_of_three, take
from maskwright.model.mask_decoder import ImageFeatures
from maskwright.pixels.preprocess import preprocess
from maskwright.pixels.rgb import to_uint8
from maskwright.refine import RefineSettings, draw_again
from maskwright.runtime.batching import ObjectPrompt, decode_chunks, full_size_chunks, object_prompt
from maskwright.runtime.kernels.masks import fetched
from maskwright.runtime.protocol import Runtime
from maskwright.runtime.stored import Kind, read_stored, write_stored
from maskwright.types import BoolArray, ByteArray, ImageArray, Prompt, PromptLike, Size

LOGIT_LIMIT = 32.0
"""Low-resolution logits are returned within this range, as the official predictor does."""
_FILE = Kind(
    "maskwright-embedding-1",
    "an embedding",
    "Embedding.save",
    "load it into that model, or embed the picture again",
)
_LEVELS = ("low", "mid", "high")


@dataclass(frozen=True, eq=False)
class Embedding:
    """A picture as the model sees it. Prompting it changes nothing, so any number of threads may do so."""

    features: ImageFeatures = field(repr=False)
    """What ``decode`` takes, one picture (B = 1), in the runtime's dtype and on its device."""
    size: Size
    """Height and width of the picture in pixels."""
    picture: ByteArray | None = field(repr=False)
    """(h, w, 3) RGB, for overlays; None if it was not kept."""
    runtime: Runtime = field(repr=False)
    """The model that made the features and answers the prompts."""

    def segment(
        self,
        *prompts: PromptLike,
        candidates: bool = False,
        refine: bool = False,
        max_hole_area: float = 0,
        max_speck_area: float = 0,
        threshold: float = 0.0,
    ) -> Masks:
        """Masks for prompts: every positional argument is one object.

        Several prompts for one object go together as a sum or a tuple, in any order:
        ``Box(...) + Points(...)``.

        Args:
            prompts: :class:`Points`, :class:`Box`, :class:`MaskPrompt`, or several of them, per object.
            candidates: Return all three candidate masks of every object instead of the best by predicted IoU.
            refine: Draw each object again from its surroundings in the picture at full size: sharper outlines
                and better small objects on large pictures, for one more encoding per object. Objects that
                fill their picture, and small pictures, stay as they are.
            max_hole_area: Fill holes up to this many cells of the low-resolution mask, (m, m) per picture.
            max_speck_area: Remove separate specks up to this many cells.
            threshold: Mask logit above which a pixel belongs to the object.

        Returns:
            :class:`Masks`: bitmaps (N, h, w), scores (N,), logits (N, m, m); with ``candidates`` (N, 3, ...).

        Raises:
            PromptError: no prompt, or one that is malformed or outside the picture; nothing was computed.
            InputError: an option outside its range, or ``refine`` with ``candidates`` or without a picture.
        """
        checked = self._checked(prompts)
        check_cleaning(max_hole_area, max_speck_area, threshold)
        picture = self._picture_to_refine(candidates) if refine else None
        objects = [self._object(one) for one in checked]
        logits, scores, object_scores = self._decode(objects, candidates=candidates)
        masks = Masks(
            bitmaps=self._drawn(logits, max_hole_area, max_speck_area, threshold),
            scores=scores.cpu().numpy(),
            logits=logits.clamp(-LOGIT_LIMIT, LOGIT_LIMIT).cpu().numpy(),
            object_scores=object_scores.cpu().numpy(),
            image=self.picture,
        )
        if picture is not None:
            draw_again(
                masks,
                checked,
                picture,
                partial(embed, self.runtime),
                max_hole_area=max_hole_area,
                max_speck_area=max_speck_area,
                threshold=threshold,
                settings=RefineSettings.suiting(self.runtime.config),
            )
        return masks

    def answer(self, prompt: PromptLike) -> tuple[Tensor, float]:
        """The best mask for one prompt as the network draws it: what :meth:`segment` cleans and stretches.

        Returns:
            Low-resolution logits (m, m), and the predicted IoU.

        Raises:
            PromptError: it is malformed or outside the picture.
        """
        objects = [self._object(one) for one in self._checked([prompt])]
        logits, scores, _ = self._decode(objects, candidates=False)
        return logits[0], float(scores[0])

    def save(self, path: str | os.PathLike[str], *, picture: bool = True) -> Path:
        """Write a safetensors file, whole or not at all, which ``MaskModel.load_embedding`` reads.

        Args:
            path: Final name; an existing file is replaced.
            picture: Keep the picture as well, which overlays need (3 bytes per pixel).

        Raises:
            OutputError: the file could not be written.
        """
        tensors = dict(zip(_LEVELS, self.features.levels, strict=True))
        if picture and self.picture is not None:
            tensors["picture"] = torch.from_numpy(np.array(self.picture))
        notes = {"height": str(self.size[0]), "width": str(self.size[1])}
        return write_stored(path, _FILE, self.runtime, tensors, notes)

    @classmethod
    def load(cls, path: str | os.PathLike[str], runtime: Runtime) -> Embedding:
        """Read what :meth:`save` wrote, for the same model on any device.

        Raises:
            InputError: no such file, another kind of file, or an embedding of another model or input size.
        """
        tensors, notes = read_stored(path, _FILE, runtime)
        features = ImageFeatures(*(tensors[name].to(runtime.device) for name in _LEVELS))
        picture = tensors["picture"].numpy() if "picture" in tensors else None
        return cls(features, (int(notes["height"]), int(notes["width"])), picture, runtime)

    def _checked(self, prompts: Sequence[PromptLike]) -> list[Prompt]:
        """One prompt per object, each checked against the picture."""
        checked = objects_of(prompts)
        for one in checked:
            one.check_inside(self.size)
            one.check_mask(self.runtime.config.mask_size)
        return checked

    def _picture_to_refine(self, candidates: bool) -> ByteArray:
        if candidates:
            raise InputError(
                "refine draws one mask per object again: leave out either candidates=True or refine=True"
            )
        if self.picture is None:
            raise InputError(
                "refine needs the picture, which this embedding does not hold: embed the picture again, "
                "or keep it when saving, with picture=True"
            )
        return self.picture

    def _object(self, prompt: Prompt) -> ObjectPrompt:
        side = self.runtime.config.image_size
        points, box, mask = prompt.points, prompt.box, prompt.mask
        return object_prompt(
            None if points is None else coords.picture_to_model(points.coords, self.size, side),
            None if points is None else points.labels,
            None if box is None else coords.picture_to_model(box.corners, self.size, side),
            None if mask is None else mask.logits,
        )

    def _drawn(
        self, logits: Tensor, max_hole_area: float, max_speck_area: float, threshold: float
    ) -> BoolArray:
        """Bitmaps (..., h, w) of low-resolution logits (..., m, m)."""
        bitmaps = np.empty((*logits.shape[:-2], *self.size), np.bool_)
        flat = bitmaps.reshape(-1, *self.size)
        chunks = full_size_chunks(
            logits.flatten(0, -3),
            self.size,
            max_hole_area=max_hole_area,
            max_speck_area=max_speck_area,
            threshold=threshold,
        )
        for part, full_NHW in chunks:
            flat[part] = fetched(full_NHW > threshold)
        return bitmaps

    def _decode(self, objects: Sequence[ObjectPrompt], *, candidates: bool) -> tuple[Tensor, Tensor, Tensor]:
        """Logits (N, m, m), predicted IoU (N,), object scores (N,); with candidates (N, 3, m, m), (N, 3)."""
        logits, scores, object_scores = [], [], []
        for decoded in decode_chunks(self.runtime, self.features, objects):
            if candidates:
                logits.append(decoded.logits_BPMHW[0, :, 1:])
                scores.append(decoded.iou_BPM[0, :, 1:])
            else:
                best_BP = best_of_three(decoded.iou_BPM)
                logits.append(take(decoded.logits_BPMHW, best_BP)[0])
                scores.append(take(decoded.iou_BPM, best_BP)[0])
            object_scores.append(decoded.object_score_BP[0])
        return torch.cat(logits), torch.cat(scores), torch.cat(object_scores)


def embed(runtime: Runtime, pictures: Sequence[ImageArray]) -> list[Embedding]:
    """Encode pictures, of any sizes, as one batch: (h, w, 3) RGB each, uint8 or float32 in 0..1."""
    config = runtime.config
    pixels_B3HW = torch.stack(
        [preprocess(one, config.image_size, config.pixel_mean, config.pixel_std) for one in pictures]
    )
    batch = runtime.without_memory(runtime.encode_image(pixels_B3HW))
    return [
        Embedding(_picture_of(batch, row), (one.shape[0], one.shape[1]), to_uint8(one), runtime)
        for row, one in enumerate(pictures)
    ]


def _picture_of(batch: ImageFeatures, row: int) -> ImageFeatures:
    """One picture's features; copied out of a real batch, so that it does not keep the others alive."""
    if len(batch.low_BCHW) == 1:
        return batch
    return ImageFeatures(*(level[row : row + 1].clone() for level in batch.levels))


def objects_of(prompts: Sequence[PromptLike]) -> list[Prompt]:
    """One prompt per object, of at least one.

    Raises:
        PromptError: there is none, or one is malformed.
    """
    if not prompts:
        raise PromptError(
            "no prompt: give segment one per object, Points([(x, y)]), Box(x0, y0, x1, y1) or both"
        )
    return [Prompt.of(one) for one in prompts]


def check_cleaning(max_hole_area: float, max_speck_area: float, threshold: float) -> None:
    """Make sure that these are in their ranges.

    Raises:
        InputError: one is not.
    """
    for name, area in (("max_hole_area", max_hole_area), ("max_speck_area", max_speck_area)):
        if not 0 <= area < float("inf"):
            raise InputError(f"{name} is {area}; it counts cells of the low-resolution mask: 0 (off) or more")
    if not np.isfinite(threshold):
        raise InputError(f"threshold is {threshold}; it must be a finite mask logit, 0.0 by default")
