"""What both widgets have in common: a desk, and the wire between it and the page.

Downwards go traits: what is on the desk, the picture as JPEG, masks as small PNG. Upwards come messages, each
with a number that its reply bears. Nothing here waits for the page, so a widget works the same where there is
none.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anywidget  # noqa: TID253  # this module is imported when a widget is asked for
import traitlets  # noqa: TID253

from maskwright.errors import InputError, MaskwrightError
from maskwright.widget import pictures
from maskwright.widget.desk import Desk, sheet_of
from maskwright.widget.sheet import Sheet

_HERE = Path(__file__).parent
_log = logging.getLogger(__name__)


class DeskWidget(anywidget.AnyWidget):
    """What both have in common; ``_desk`` holds everything that matters."""

    _esm = _HERE / "widget.js"
    _css = _HERE / "widget.css"

    _state = traitlets.Dict().tag(sync=True)
    _picture = traitlets.Dict().tag(sync=True)
    _masks = traitlets.Dict().tag(sync=True)
    frame = traitlets.Int(0).tag(sync=True)
    opacity = traitlets.Float(0.5, min=0.0, max=1.0).tag(sync=True)
    hover = traitlets.Bool(True).tag(sync=True)
    patience = traitlets.Float(20.0, min=0.1).tag(sync=True)
    prompts = traitlets.Dict()
    objects = traitlets.Tuple()
    masks = traitlets.Any()

    def __init__(self, desk: Desk, **traits: Any) -> None:
        self._desk = desk
        self._publishing = True
        super().__init__(**traits)
        self._publishing = False
        self.on_msg(self._asked)
        self._publish()

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the objects that something points at, in the order of their masks."""
        return tuple(one.name for one in self._desk.sheet.prompted)

    def undo(self) -> None:
        """Take back the last change of objects or prompts."""
        self._desk.answer({"kind": "undo"})
        self._publish()

    def redo(self) -> None:
        """Bring back what was undone."""
        self._desk.answer({"kind": "redo"})
        self._publish()

    def close(self) -> None:
        """Take the widget off the page, end what runs and release files."""
        if "_desk" in vars(self):
            self._desk.close()
        super().close()

    def __repr__(self) -> str:
        (h, w), names = self._desk.subject.size, ", ".join(one.name for one in self._desk.sheet.objects)
        return f"{type(self).__name__}({h} x {w}, {names or 'nothing pointed at yet'})"

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        """The widget, and for who cannot show it the picture with its masks."""
        bundle = super()._repr_mimebundle_(**kwargs)
        if bundle is not None:
            bundle[0]["image/png"] = pictures.png(self._desk.overview())
        return bundle

    def _asked(self, _widget: object, content: Any, _buffers: object) -> None:
        """One message of the page: do it, show what changed, and reply in any case."""
        if not isinstance(content, Mapping):
            return
        reply = {"reply": content.get("request"), "view": content.get("view")}
        buffers: list[bytes] = []
        try:
            answer = self._desk.answer(content)
            if content.get("kind") not in ("preview", "window"):
                self._publish()
            reply, buffers = {**answer.content, **reply}, list(answer.buffers)
        except MaskwrightError as error:
            reply["error"] = str(error)
        except Exception as error:
            _log.exception("a request of the widget's page failed")
            reply["error"] = f"{type(error).__name__}: {error}"
        self.send(reply, buffers)

    def _publish(self) -> None:
        """Bring all traits up to date; what has not changed is not sent."""
        desk, sheet = self._desk, self._desk.sheet
        self._publishing = True
        try:
            with self.hold_sync():
                self.frame = desk.frame
                if self._picture.get("frame") != desk.frame:
                    self._picture = {
                        "frame": desk.frame,
                        "data": pictures.jpeg(desk.subject.image(desk.frame)),
                    }
                self._masks = {"frame": desk.frame, "items": self._items()}
                self._state = desk.state()
            prompts = self._prompts_of(sheet)
            self._publish_masks(self.prompts != prompts or self.masks is None)
            self.prompts, self.objects = prompts, sheet.objects
        finally:
            self._publishing = False

    def _publish_masks(self, changed: bool) -> None:
        if changed:
            self.masks = self._desk.subject.masks(self._desk.sheet)

    def _items(self) -> list[dict[str, Any]]:
        return [
            {
                "object": one.object,
                "score": round(one.score, 3),
                "area": one.area,
                "box": list(one.stencil.box),
                "data": one.stencil.png,
            }
            for one in self._desk.shown()
        ]

    def _prompts_of(self, sheet: Sheet) -> dict[str, Any]:
        return {one.name: dict(one.prompts) for one in sheet.prompted}

    def _sheet_of(self, prompts: Any) -> Sheet:
        """The sheet with other prompts; objects that nothing points at stay."""
        now = self._desk.sheet
        kept = tuple(one.name for one in now.objects if not one.prompts)
        sheet = sheet_of(prompts, earlier=now)
        for name in kept:
            sheet = sheet if name in prompts else sheet.added(name)
        return sheet

    @traitlets.validate("prompts")
    def _checked_prompts(self, proposal: Any) -> dict[str, Any]:
        if self._publishing:
            value: dict[str, Any] = proposal["value"]
            return value
        sheet = self._sheet_of(proposal["value"])
        sheet.check_inside(self._desk.subject.size, self._desk.subject.num_frames)
        return self._prompts_of(sheet)

    @traitlets.observe("prompts")
    def _prompts_set(self, change: Any) -> None:
        if not self._publishing:
            self._desk.change(self._sheet_of(change["new"]))
            self.masks = None
            self._publish()

    @traitlets.validate("frame")
    def _checked_frame(self, proposal: Any) -> int:
        last = self._desk.subject.num_frames - 1
        return int(min(max(proposal["value"], 0), last))

    @traitlets.observe("frame")
    def _frame_set(self, change: Any) -> None:
        if self._publishing:
            return
        try:
            self._desk.show(change["new"])
        except InputError as error:  # stay where we are, and say so on the page
            self.send({"error": str(error)})
        self._publish()
