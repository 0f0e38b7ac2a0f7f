"""The widgets that a notebook shows: :class:`PhotoWidget` and :class:`VideoWidget`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import traitlets  # noqa: TID253  # this module is imported when a widget is asked for

from maskwright import facade
from maskwright.errors import InputError
from maskwright.io.images import ImageSource
from maskwright.mask_model import MaskModel
from maskwright.masks import Masks
from maskwright.segmenter import Embedding
from maskwright.track.options import TrackOptions
from maskwright.track.tracker import Direction
from maskwright.types import Prompt, PromptLike
from maskwright.widget.desk import Desk, sheet_of
from maskwright.widget.film import Film
from maskwright.widget.photo import Photo
from maskwright.widget.sheet import Sheet
from maskwright.widget.trails import TrackedMasks
from maskwright.widget.wire import DeskWidget


class PhotoWidget(DeskWidget):
    """A photograph to click and to draw boxes on, with the mask under the pointer at every moment::

        widget = PhotoWidget("truck.jpg", names=["truck", "wheel"])
        widget                                  # shows itself
        widget.masks, widget.names              # in the next cell: what was pointed at

    Traits: ``prompts`` ({name: Prompt}, may be set), ``masks`` (:class:`Masks`, one row per name in
    ``names``), ``objects`` (:class:`LabelledObject` each), ``opacity`` (0..1), ``hover`` (masks under the
    pointer), ``patience`` (seconds after which the page says that the kernel does not answer). All of them
    may be observed.
    """

    def __init__(
        self,
        image: ImageSource | Embedding,
        model: MaskModel | str | None = None,
        *,
        prompts: Mapping[str, PromptLike] | None = None,
        names: Sequence[str] = (),
        refine: bool = False,
        **traits: Any,
    ) -> None:
        """Encode the picture, once.

        Args:
            image: What ``MaskModel.embed`` takes, or what it gave.
            model: A loaded model, or the name of one; the bundled nano by default.
            prompts: What to begin with, by name.
            names: Objects to begin with; others can be added on the page.
            refine: Draw masks again at full size, as in ``Embedding.segment``.
            traits: Initial values of ``opacity``, ``hover`` and ``patience``, and ipywidgets' ``layout``.

        Raises:
            ImageError: it cannot be read as a picture.
            UnknownModelError: there is no such model.
            PromptError: a prompt is malformed or outside the picture.
        """
        sheet = sheet_of(prompts, names)
        super().__init__(Desk(self._photo(image, model, refine), sheet), **traits)

    def __getitem__(self, name: str) -> Masks:
        """The mask of one object by its name, as :class:`Masks` of one.

        Raises:
            InputError: nothing of this name was pointed at.
        """
        if name not in self.names:
            raise InputError(f"nothing called {name!r} was pointed at; there are: {list(self.names)}")
        masks: Masks = self.masks[self.names.index(name)]
        return masks

    @staticmethod
    def _photo(image: ImageSource | Embedding, model: MaskModel | str | None, refine: bool) -> Photo:
        if isinstance(image, Embedding):
            return Photo(image, refine=refine)
        return Photo(_loaded(model).embed(image), refine=refine)

    def _prompts_of(self, sheet: Sheet) -> dict[str, Prompt]:
        return {one.name: one.prompts[0] for one in sheet.prompted}


class VideoWidget(DeskWidget):
    """A film to scrub through: point at objects in any frame, follow them, correct, follow again::

        widget = VideoWidget("street.mp4")
        widget                                  # shows itself
        widget.masks[12].bitmaps                # in the next cell: TrackedFrame by frame

    Traits: ``prompts`` ({name: {frame: Prompt}}, may be set), ``masks`` (:class:`TrackedMasks`), ``frame``
    (the one that is shown, may be set), and those of :class:`PhotoWidget`.
    """

    retrack = traitlets.Bool(True).tag(sync=True)

    def __init__(
        self,
        source: Any,
        model: MaskModel | str | None = None,
        *,
        prompts: Mapping[str, PromptLike | Mapping[int, PromptLike]] | None = None,
        names: Sequence[str] = (),
        direction: Direction = "forward",
        options: TrackOptions | None = None,
        **traits: Any,
    ) -> None:
        """Open the film and show its first frame.

        Args:
            source: A video file, a folder or pattern of pictures, an array or a list; see ``open_source``.
            model: A loaded model, or the name of one; the bundled nano by default.
            prompts: What to begin with, by name: in the first frame, or ``{frame: prompt}``.
            names: Objects to begin with; others can be added on the page.
            direction: ``"forward"``, or ``"both"`` to follow backward from the first prompt as well.
            options: How to track.
            traits: Initial values of ``opacity``, ``hover``, ``patience`` and ``retrack`` (a correction
                starts the next search by itself), and ipywidgets' ``layout``.

        Raises:
            SourceError: the film cannot be opened.
            InputError: it cannot be read in any order (a camera, a generator), or the model is for pictures.
            UnknownModelError: there is no such model.
            PromptError: a prompt is malformed or outside its frame.
        """
        sheet = sheet_of(prompts, names)
        self._film = Film(source, _loaded(model), direction=direction, options=options)
        super().__init__(Desk(self._film, sheet, followed=self._followed), **traits)

    def track(self) -> TrackedMasks:
        """Follow all objects now, and return when it is done; needs no page.

        Raises:
            StateError: nothing was pointed at yet.
            InputError: what goes wrong in the film.
        """
        try:
            self._desk.follow(wait=True)
        finally:
            self._publish()
            found = self.masks = self._film.masks(self._desk.sheet)
        return found

    def stop(self) -> None:
        """End a search that runs in the background; what it found stays."""
        self._desk.stop()
        self._publish()

    def object_ids(self) -> dict[str, int]:
        """The numbers of the objects in ``masks``, by name."""
        return {one.name: one.id for one in self._desk.sheet.objects}

    def _followed(self) -> None:
        """A search has ended, on its own thread: only what Python sees is set, the page asks by itself."""
        self.masks = self._film.masks(self._desk.sheet)

    @traitlets.observe("retrack")
    def _retrack_set(self, change: Any) -> None:
        self._desk.retrack = bool(change["new"])


def _loaded(model: MaskModel | str | None) -> MaskModel:
    if isinstance(model, MaskModel):
        return model
    return facade.load() if model is None else facade.load(model)
