"""Categories: the distinct names of objects, numbered in the order of first mention."""

from __future__ import annotations

from collections.abc import Iterable


class Categories:
    """Gives every name a number.

    Args:
        names: Those that are known beforehand.
        first: The lowest number.
    """

    def __init__(self, names: Iterable[str] = (), *, first: int = 0) -> None:
        self._first = first
        self._numbers: dict[str, int] = {}
        for name in names:
            self.number(name)

    def number(self, name: str) -> int:
        """The number of a name, a new one if it was never mentioned."""
        return self._numbers.setdefault(name, self._first + len(self._numbers))

    @property
    def names(self) -> list[str]:
        """All names, by number."""
        return list(self._numbers)
