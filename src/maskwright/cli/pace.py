"""Loading a model for a command: as it was named, or what keeps up with ``--target-fps``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maskwright.errors import InputError

if TYPE_CHECKING:
    from maskwright.budget.options import Task
    from maskwright.mask_model import MaskModel
    from maskwright.types import Size

DEFAULT = "nano"


def check_photo(target_fps: float | None, others: Sequence[str]) -> None:
    """Refuse a target beside options whose time is not measured.

    Raises:
        InputError: there is one.
    """
    if target_fps is not None and others:
        raise InputError(
            f"--target-fps measures a photograph and a click, not {others[0]}; leave one of them out"
        )


@dataclass(frozen=True)
class Wanted:
    """What was said about the model on the command line."""

    model: str | None
    device: str | None
    dtype: str | None
    image_size: int | None
    runtime: str | None = None
    target_fps: float | None = None

    @property
    def name(self) -> str:
        """What is loaded if nothing is measured."""
        return self.model or DEFAULT

    def load(
        self,
        say: Callable[[str], object] = lambda _: None,
        *,
        task: Task = "video",
        objects: int = 1,
        size: Size | None = None,
    ) -> MaskModel:
        """Load it; with a target, say what was chosen.

        Args:
            say: Takes a line for people.
            task: What has to be kept up with.
            objects: How many are followed together.
            size: Height and width of the pictures, if they are known.

        Raises:
            MaskwrightError: an unusable model, or options that make no sense.
        """
        from maskwright.facade import load
        from maskwright.runtime.cpu.pages import keep_pages

        keep_pages()
        if self.target_fps is None:
            return load(self.name, **self._options)
        from maskwright.budget.options import Budget

        budget = Budget(self.target_fps, task=task, objects=objects, size=size or Budget.size)
        model = load(self.model, **self._options, target_fps=budget)
        if model.choice is not None and model.choice.reached:  # else a warning has said it
            say(f"chosen: {model.choice.reason}")
        return model

    @property
    def _options(self) -> dict[str, Any]:
        return {
            "device": self.device,
            "dtype": self.dtype,
            "image_size": self.image_size,
            "runtime": self.runtime,
        }

    def load_as_before(self, log: Path) -> MaskModel | None:
        """What an earlier run of the same job has chosen, or None if its log does not say.

        Raises:
            MaskwrightError: an unusable model.
        """
        from maskwright.config import PRESETS
        from maskwright.facade import load
        from maskwright.io.sinks.records import BrokenRecord, parse_header
        from maskwright.runtime.select import EAGER

        try:
            with log.open("rb") as file:
                header = parse_header(file.readline())
            side, dtype = header.job["image_size"], header.job["dtype"]
            runtime = header.job.get("runtime", EAGER)
        except (OSError, BrokenRecord, KeyError):
            return None
        known = PRESETS.get(header.model)
        if known is not None and known.for_video.image_size == side:
            side = self.image_size  # its own, which may be another one for pictures
        options = self._options | {"dtype": dtype, "image_size": side, "runtime": runtime}
        return load(self.model or header.model, **options)
