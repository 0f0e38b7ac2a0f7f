"""Nests of tuples with tensors in them, as the verbs take and return them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor


def mapped(change: Callable[[Tensor], Tensor], value: Any) -> Any:
    """The same nest of tuples with every tensor changed; what is no tensor stays."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, tuple):
        parts = [mapped(change, part) for part in value]
        return type(value)(*parts) if hasattr(value, "_fields") else tuple(parts)
    return value


def tensors(value: Any) -> Iterator[Tensor]:
    """Every tensor of a nest of tuples, in order."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, tuple):
        for part in value:
            yield from tensors(part)
