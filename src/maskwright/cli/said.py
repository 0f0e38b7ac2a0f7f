"""Options of a command line that were said, among those that need not be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from maskwright.errors import InputError


class Said:
    """A frozen dataclass of options, named as they are on the command line; None is what was not said."""

    @property
    def given(self) -> dict[str, Any]:
        """Those that were said."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]
        return {name: value for name, value in values.items() if value is not None}

    def as_options(self) -> list[str]:
        """Those that were said, as they are written on the command line."""
        return [f"--{name.replace('_', '-')}" for name in self.given]


def check_needed(flag: str, said: Sequence[str], *, there: bool) -> None:
    """Refuse options that say nothing without another one.

    Args:
        flag: The option that they need.
        said: Of them, those that were given.
        there: Whether the flag was given.

    Raises:
        InputError: there are some, and it was not.
    """
    if said and not there:
        raise InputError(f"{said[0]} is for {flag}; add {flag}, or leave {said[0]} out")
