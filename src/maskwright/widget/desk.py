"""A widget without its page: a photograph or film, what was said about it, and the answer to each request."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image

from maskwright.errors import InputError, StateError
from maskwright.pixels.draw import overlay
from maskwright.types import ByteArray, Prompt, PromptLike
from maskwright.widget import requests
from maskwright.widget.answers import Shown
from maskwright.widget.background import Background
from maskwright.widget.film import Film, Step
from maskwright.widget.photo import Photo
from maskwright.widget.pictures import FALLBACK_SIDE, SHOWN_SIDE, shrunk, window
from maskwright.widget.sheet import History, LabelledObject, Sheet

PATIENCE = 30.0
"""Seconds that a running search has to come to the end of the frame it is in."""


@dataclass(frozen=True)
class Reply:
    """What a request gets back, besides what it changed."""

    content: Mapping[str, Any] = field(default_factory=dict)
    """As JSON."""
    buffers: tuple[bytes, ...] = ()
    """Pictures."""


class Desk:
    """The state behind one widget. Requests come one at a time; following goes on in the background."""

    def __init__(self, subject: Photo | Film, sheet: Sheet, *, followed: Callable[[], object] | None = None):
        """``followed`` is called, on the background thread, when a search ends in whatever way.

        Raises:
            PromptError: a prompt outside the picture.
        """
        sheet.check_inside(subject.size, subject.num_frames)
        self.subject, self.history, self.frame = subject, History(sheet), 0
        self.retrack = True
        """Whether a correction in a film that was searched starts the next search by itself."""
        self._run: Background[Step] | None = None
        self._followed = followed or (lambda: None)

    @property
    def sheet(self) -> Sheet:
        """What holds now."""
        return self.history.now

    @property
    def following(self) -> bool:
        """Whether objects are being followed in the background."""
        return self._run is not None and self._run.running

    def answer(self, request: requests.Request) -> Reply:
        """Do what the page asks for.

        Raises:
            InputError: it cannot be done; everything is as it was.
            StateError: a search does not come to its end.
        """
        special = self._specials().get(str(request.get("kind")))
        if special is not None:
            return special(request) or Reply()
        after = requests.changed(self.sheet, request, self.frame, self.subject.size)
        self.change(after)
        return Reply()

    def change(self, sheet: Sheet) -> None:
        """Go on to another sheet.

        Raises:
            InputError: something in it lies outside the picture; everything is as it was.
        """
        prompts = {one.id: one.prompts for one in self.sheet.prompted}
        again = {one.id: one.prompts for one in sheet.prompted} != prompts
        if again:
            self.stop()
            sheet.check_inside(self.subject.size, self.subject.num_frames)
            self.subject.shown(sheet, self.frame)  # fails before anything changed, or is kept for drawing
        self.history.push(sheet)
        if again:
            self._follow_on()

    def show(self, frame: int) -> None:
        """Go to another frame.

        Raises:
            InputError: there is none of that number.
            SourceError: the film cannot be read any more.
        """
        self.subject.image(frame)
        self.frame = frame

    def shown(self) -> list[Shown]:
        """The masks in the frame that is shown."""
        return self.subject.shown(self.sheet, self.frame)

    def follow(self, *, wait: bool = False) -> None:
        """Follow through the film whatever has new prompts; in the background, or until all is done.

        Raises:
            StateError: a photograph, or nothing to follow.
            InputError: what goes wrong in the film, if it is waited for.
        """
        film = self._film()
        if not self.sheet.prompted:
            raise StateError("nothing to follow yet: click on an object in one of the frames")
        if not self.following:
            self._run = Background(film.follow(self.sheet), self._followed)
        if wait and self._run is not None:
            self._run.wait()
            if self._run.error is not None:
                raise self._run.error

    def stop(self) -> None:
        """End a search after the frame it is in.

        Raises:
            StateError: it does not end.
        """
        if self._run is not None and self._run.running:
            self._run.cancel(PATIENCE)
            if self._run.running:
                raise StateError("still busy with a frame; try again in a moment")

    def state(self) -> dict[str, Any]:
        """What the page shows besides pictures, as JSON."""
        sheet = self.sheet
        return {
            "size": list(self.subject.size),
            "frames": self.subject.num_frames,
            "fps": self.subject.fps,
            "objects": [_described(one) for one in sheet.objects],
            "selected": sheet.selected,
            "can_undo": self.history.can_undo,
            "can_redo": self.history.can_redo,
            "film": self._film_state(self.subject) if isinstance(self.subject, Film) else None,
        }

    def overview(self) -> ByteArray:
        """The frame that is shown with its masks, small: (h, w, 3) for where no page is."""
        picture = shrunk(self.subject.image(self.frame), FALLBACK_SIDE)
        masks = self.shown()
        bitmaps = [_small(one, self.subject.size, picture.shape[:2]) for one in masks]
        colours = [self.sheet[one.object].colour for one in masks]
        return overlay(picture, np.stack(bitmaps), colours=colours) if bitmaps else picture

    def close(self) -> None:
        """End what runs and release files."""
        if self._run is not None:
            self._run.cancel(PATIENCE)
        self.subject.close()

    def _specials(self) -> dict[str, Callable[[requests.Request], Reply | None]]:
        """Requests that are more than a change of the sheet."""
        return {
            "preview": self._preview,
            "window": self._window,
            "show": lambda request: self.show(requests.whole(request, "frame")),
            "undo": lambda _: self._back(self.history.undo),
            "redo": lambda _: self._back(self.history.redo),
            "track": lambda _: self.follow(),
            "stop": lambda _: self.stop(),
            "status": self._status,
        }

    def _preview(self, request: requests.Request) -> Reply:
        if self.following:
            return Reply({"box": None})
        after = requests.clicked(self.sheet, request, self.frame)
        assert after.selected is not None
        found = self.subject.preview(after[after.selected], self.frame)
        content = {
            "box": found.stencil.box,
            "score": round(found.score, 3),
            "colour": after[after.selected].colour,
        }
        return Reply(content, (found.stencil.png,))

    def _window(self, request: requests.Request) -> Reply:
        x0, y0, x1, y1 = (requests.number(request, name) for name in ("x0", "y0", "x1", "y1"))
        side = min(max(requests.whole(request, "side"), 16), 2 * SHOWN_SIDE)
        data, box = window(self.subject.image(self.frame), (x0, y0, x1, y1), side)
        return Reply({"box": box, "frame": self.frame}, (data,))

    def _back(self, move: Callable[[], Sheet]) -> None:
        self.stop()
        move()
        self._follow_on()

    def _follow_on(self) -> None:
        """After a change: the next search, if there was one before."""
        film = self.subject
        if isinstance(film, Film) and self.retrack and self._run is not None and film.behind(self.sheet):
            self._run = Background(film.follow(self.sheet), self._followed)

    def _status(self, request: requests.Request) -> None:
        """The page looks in while a search runs; with ``follow`` it is shown the frame it has come to."""
        if request.get("follow") and self._run is not None and self._run.latest is not None:
            self.show(self._run.latest.frame)

    def _film(self) -> Film:
        if not isinstance(self.subject, Film):
            raise StateError("a photograph has no frames to follow objects through")
        return self.subject

    def _film_state(self, film: Film) -> dict[str, Any]:
        run = self._run
        step = None if run is None else run.latest
        return {
            "running": self.following,
            "started": run is not None,
            "done": step.done if step else 0,
            "total": step.total if step else 0,
            "error": str(run.error) if run is not None and run.error is not None else "",
            "behind": film.behind(self.sheet),
            "covered": _ranges(list(film.masks(self.sheet))),
        }


def sheet_of(
    prompts: Mapping[str, PromptLike | Mapping[int, PromptLike]] | None,
    names: Sequence[str] = (),
    earlier: Sheet | None = None,
) -> Sheet:
    """A sheet from what a caller passes: prompts by name, of the first frame or by frame, and further names.

    Raises:
        InputError: it is no mapping, or a name that is none or given twice.
        PromptError: a prompt that is none.
    """
    if prompts is not None and not isinstance(prompts, Mapping):
        raise InputError("prompts go by name: {'dog': Points([(500, 375)]), 'cat': Box(...)}")
    if isinstance(names, str):
        raise InputError(f"names is one text; pass a list: [{names!r}]")
    given = {name: one if isinstance(one, Mapping) else {0: one} for name, one in (prompts or {}).items()}
    sheet = Sheet.of(given, earlier)
    for name in names:
        sheet = sheet if name in given else sheet.added(name)
    return sheet.selecting(sheet.objects[0].id) if names else sheet


def _described(one: LabelledObject) -> dict[str, Any]:
    prompts = {str(frame): _as_json(prompt) for frame, prompt in one.prompts.items()}
    return {"id": one.id, "name": one.name, "colour": list(one.colour), "prompts": prompts}


def _as_json(prompt: Prompt) -> dict[str, Any]:
    points, box = prompt.points, prompt.box
    pairs = [] if points is None else zip(points.coords.tolist(), points.labels.tolist(), strict=True)
    return {
        "points": [[*xy, label] for xy, label in pairs],
        "box": None if box is None else [box.x0, box.y0, box.x1, box.y1],
    }


def _ranges(numbers: list[int]) -> list[list[int]]:
    """Ascending whole numbers as [first, last] of each run."""
    ranges: list[list[int]] = []
    for number in numbers:
        if ranges and ranges[-1][1] == number - 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    return ranges


def _small(one: Shown, size: tuple[int, int], shown_hw: tuple[int, ...]) -> np.ndarray:
    """A stencil as a bitmap of the size that is shown."""
    h, w = shown_hw
    canvas = Image.new("1", (w, h))
    if one.stencil.png:
        scale = partial(np.multiply, (w / size[1], h / size[0], w / size[1], h / size[0]))
        x0, y0, x1, y1 = (round(float(edge)) for edge in scale(one.stencil.box))
        with Image.open(BytesIO(one.stencil.png)) as part:
            canvas.paste(part.resize((max(1, x1 - x0), max(1, y1 - y0))), (x0, y0))
    return np.array(canvas)
