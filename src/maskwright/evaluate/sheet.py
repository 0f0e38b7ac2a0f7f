"""A sheet of pictures to look at: what was asked for, and what one model, or two in turn, cut out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from maskwright.evaluate.questions import questions, tight_box
from maskwright.io.datasets.protocol import Scene
from maskwright.mask_model import MaskModel
from maskwright.pixels.clicks import centre
from maskwright.pixels.draw import overlay
from maskwright.pixels.metrics import iou
from maskwright.types import BoolArray, ByteArray, Points, PromptLike

_GAP, _HEAD, _TEXT = 6, 26, 15
"""Pixels between pictures, of the line above them, and of its letters."""
_INK, _PAPER = (30, 30, 30), (255, 255, 255)


@dataclass(frozen=True, eq=False)
class Exhibit:
    """One row of a sheet."""

    name: str
    picture: ByteArray
    """(h, w, 3) RGB."""
    prompt: PromptLike
    """What is to be cut out."""
    truth: BoolArray | None = None
    """(h, w): the true mask, if it is known."""

    @classmethod
    def largest(cls, name: str, scene: Scene, shown_by: str) -> Exhibit | None:
        """The largest object of a labelled picture by ``box`` or ``click``, if there is one to ask for."""
        if not questions(scene, limit=1):
            return None
        truth = scene.mask(int(np.argmax(scene.areas)))
        prompt = tight_box(truth) if shown_by == "box" else Points([centre(truth)])
        return cls(name, scene.picture, prompt, truth)


def draw_sheet(
    exhibits: Sequence[Exhibit], models: Mapping[str, MaskModel], *, width: int = 360
) -> Image.Image:
    """A row for each exhibit: the picture with its prompt, then the mask that each model picks.

    Args:
        exhibits: At least one.
        models: By the names to write above; with two, the first is meant as "before".
        width: Of each column in pixels.
    """
    rows = [_row(exhibit, models, width) for exhibit in exhibits]
    height = sum(max(cell.height for cell in row) + _GAP for row in rows) + _GAP
    sheet = Image.new("RGB", ((width + _GAP) * (len(models) + 1) + _GAP, height), _PAPER)
    top = _GAP
    for row in rows:
        for column, cell in enumerate(row):
            sheet.paste(cell, (_GAP + column * (width + _GAP), top))
        top += max(cell.height for cell in row) + _GAP
    return sheet


def _row(exhibit: Exhibit, models: Mapping[str, MaskModel], width: int) -> list[Image.Image]:
    nothing = np.zeros((0, *exhibit.picture.shape[:2]), np.bool_)
    asked = overlay(exhibit.picture, nothing, prompts=[exhibit.prompt])
    cells = [_cell(asked, exhibit.name, width)]
    for name, model in models.items():
        masks = model.embed(exhibit.picture).segment(exhibit.prompt)
        said = f"predicted IoU {masks.scores[0]:.2f}"
        if exhibit.truth is not None:
            said = f"IoU {float(iou(masks.bitmaps[0], exhibit.truth)):.2f}"
        cells.append(_cell(overlay(exhibit.picture, masks.bitmaps), f"{name}: {said}", width))
    return cells


def _cell(picture: ByteArray, caption: str, width: int) -> Image.Image:
    """A picture at a column's width under a line of text."""
    height = max(1, round(picture.shape[0] * width / picture.shape[1]))
    cell = Image.new("RGB", (width, _HEAD + height), _PAPER)
    cell.paste(Image.fromarray(picture).resize((width, height), Image.Resampling.LANCZOS), (0, _HEAD))
    ImageDraw.Draw(cell).text((0, 4), caption, fill=_INK, font=ImageFont.load_default(_TEXT))
    return cell
