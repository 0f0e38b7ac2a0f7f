"""What a user has pointed at: objects with names, colours and prompts, as values that never change.

Every change makes a new :class:`Sheet`; :class:`History` keeps them, which is all that undo and redo take.
A photograph is a film of one frame, number 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from maskwright.errors import InputError, PromptError
from maskwright.pixels.palette import Colour, colour
from maskwright.types import Box, Points, Prompt, PromptLike, Size

ByFrame: TypeAlias = Mapping[int, Prompt]
"""Prompts of one object by number of the frame."""
LONGEST_NAME = 80
"""Characters of a name."""


@dataclass(frozen=True)
class LabelledObject:
    """One object that the user has named, with everything said about it."""

    id: int
    """From 1; never given twice in a sheet."""
    name: str
    """Different from that of every other object."""
    prompts: ByFrame = field(default_factory=dict)

    @property
    def colour(self) -> Colour:
        """Red, green, blue: it belongs to the number, so that it stays when others are deleted."""
        return colour(self.id - 1)

    def with_prompt(self, frame: int, prompt: Prompt | None) -> LabelledObject:
        """The object with another prompt in one frame, or with none there."""
        prompts = {number: one for number, one in self.prompts.items() if number != frame}
        if prompt is not None:
            prompts[frame] = prompt
        return replace(self, prompts=dict(sorted(prompts.items())))

    def with_click(self, frame: int, x: float, y: float, label: int) -> LabelledObject:
        """The object with one click more.

        Raises:
            PromptError: a click beside an object that nothing points at yet.
        """
        before = self.prompts.get(frame)
        if label == 0 and not self.prompts:
            raise PromptError(
                f"click on {self.name} first, or draw a box around it; clicks beside it then take away"
            )
        click = Points([(x, y)], labels=[label])
        return self.with_prompt(frame, Prompt.of(click) if before is None else before + click)

    def with_box(self, frame: int, box: Box) -> LabelledObject:
        """The object with this box, instead of another in the same frame."""
        before = self.prompts.get(frame)
        return self.with_prompt(frame, Prompt(box=box) if before is None else replace(before, box=box))


@dataclass(frozen=True)
class Sheet:
    """All objects, and which of them clicks and boxes go to."""

    objects: tuple[LabelledObject, ...] = ()
    selected: int | None = None
    """Number of an object, or None: then the next click begins a new one."""
    next_id: int = 1

    @classmethod
    def of(cls, prompts: Mapping[str, Mapping[int, PromptLike]], earlier: Sheet | None = None) -> Sheet:
        """Objects by name with prompts by frame; names that ``earlier`` knows keep their number and colour.

        Raises:
            InputError: a name that is none.
            PromptError: a prompt that is none.
        """
        known = {one.name: one.id for one in earlier.objects} if earlier else {}
        next_id, objects = earlier.next_id if earlier else 1, []
        for name, by_frame in prompts.items():
            checked = {int(f): Prompt.of(p) for f, p in sorted(by_frame.items())}
            number = known.get(name, next_id)
            next_id = max(next_id, number + 1)
            objects.append(LabelledObject(number, checked_name(name), checked))
        selected = earlier.selected if earlier else None
        if selected not in [one.id for one in objects]:
            selected = objects[-1].id if objects else None
        return cls(tuple(objects), selected, next_id)

    def __getitem__(self, number: int) -> LabelledObject:
        """An object by its number.

        Raises:
            InputError: there is none.
        """
        for one in self.objects:
            if one.id == number:
                return one
        raise InputError(f"there is no object {number} (any more)")

    @property
    def prompted(self) -> tuple[LabelledObject, ...]:
        """The objects that something points at."""
        return tuple(one for one in self.objects if one.prompts)

    def check_inside(self, size: Size, num_frames: int | None = None) -> None:
        """Make sure that everything lies in pictures of this size, and in frames that there are.

        Raises:
            PromptError: something does not; the message names the object.
        """
        for one in self.objects:
            for frame, prompt in one.prompts.items():
                if frame < 0 or (num_frames is not None and frame >= num_frames):
                    raise PromptError(f"{one.name}: there is no frame {frame}")
                try:
                    prompt.check_inside(size)
                except PromptError as error:
                    raise PromptError(f"{one.name}: {error}") from error

    def added(self, name: str | None = None) -> Sheet:
        """With a new object, which is selected.

        Raises:
            InputError: the name is empty, too long or taken.
        """
        given = self._unused() if name is None else checked_name(name)
        self._check_free(given)
        new = LabelledObject(self.next_id, given)
        return Sheet((*self.objects, new), new.id, self.next_id + 1)

    def removed(self, number: int) -> Sheet:
        """Without an object; if it was selected, its neighbour is then."""
        place = self.objects.index(self[number])
        left = (*self.objects[:place], *self.objects[place + 1 :])
        neighbour = left[min(place, len(left) - 1)].id if left else None
        return replace(self, objects=left, selected=neighbour if number == self.selected else self.selected)

    def renamed(self, number: int, name: str) -> Sheet:
        """With another name for an object.

        Raises:
            InputError: the name is empty, too long or taken.
        """
        if checked_name(name) == self[number].name:
            return self
        self._check_free(checked_name(name))
        return self.changed(number, lambda one: replace(one, name=checked_name(name)))

    def selecting(self, number: int | None) -> Sheet:
        """With another object selected."""
        return replace(self, selected=None if number is None else self[number].id)

    def changed(self, number: int, change: Callable[[LabelledObject], LabelledObject]) -> Sheet:
        """With one object replaced by what ``change`` makes of it."""
        self[number]
        return replace(self, objects=tuple(change(one) if one.id == number else one for one in self.objects))

    def ready(self) -> Sheet:
        """With an object selected: a new one if there is none."""
        return self if self.selected is not None else self.added()

    def _unused(self) -> str:
        """A name that says nothing but the number."""
        taken = {one.name for one in self.objects}
        return next(name for n in range(self.next_id, 1 << 62) if (name := f"object {n}") not in taken)

    def _check_free(self, name: str) -> None:
        if name in [one.name for one in self.objects]:
            raise InputError(f"there is an object {name!r} already; choose another name")


class History:
    """Sheets in the order in which they were made, and the one that counts now."""

    def __init__(self, start: Sheet, *, limit: int = 200) -> None:
        self._sheets, self._place, self._limit = [start], 0, limit

    @property
    def now(self) -> Sheet:
        """The sheet that counts."""
        return self._sheets[self._place]

    @property
    def can_undo(self) -> bool:
        """Whether there is a sheet before this one."""
        return self._place > 0

    @property
    def can_redo(self) -> bool:
        """Whether something was undone that can come back."""
        return self._place + 1 < len(self._sheets)

    def push(self, sheet: Sheet) -> None:
        """Go on to a new sheet; what was undone is forgotten. Choosing an object is no step of its own."""
        if sheet == self.now:
            return
        if replace(sheet, selected=self.now.selected) == self.now:
            self._sheets[self._place] = sheet
            return
        kept = self._sheets[: self._place + 1][-self._limit + 1 :]
        self._sheets, self._place = [*kept, sheet], len(kept)

    def undo(self) -> Sheet:
        """Go back one step, where there is one."""
        self._place = max(0, self._place - 1)
        return self.now

    def redo(self) -> Sheet:
        """Go forward again, where something was undone."""
        self._place = min(len(self._sheets) - 1, self._place + 1)
        return self.now


def checked_name(name: object) -> str:
    """A name without blanks around it.

    Raises:
        InputError: it is empty, too long, or no text.
    """
    if not isinstance(name, str) or not name.strip():
        raise InputError(f"{name!r} is no name for an object; give some text")
    if len(name.strip()) > LONGEST_NAME:
        raise InputError(f"the name {name.strip()[:20]!r}... is longer than {LONGEST_NAME} characters")
    return name.strip()
