"""Objects in photographs and films, pointed at in a notebook: :class:`PhotoWidget`, :class:`VideoWidget`.

What a user has said lives in ``sheet`` (objects and their prompts, with undo), what the model answers in
``photo`` and ``film``; ``desk`` has both and answers requests; ``wire`` and ``front`` carry that to the page
(``widget.js``, ``widget.css``) and back. Only these two know of notebooks: they need the extra ``notebook``
and are imported when a widget is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from maskwright.errors import MissingExtraError

if TYPE_CHECKING:
    from maskwright.widget.front import PhotoWidget, VideoWidget

__all__ = ["PhotoWidget", "VideoWidget"]


def __getattr__(name: str) -> Any:
    """Load a widget when it is first asked for (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from maskwright.widget import front
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "maskwright":
            raise
        raise MissingExtraError(
            f'widgets need {error.name}, which is not installed: pip install "maskwright[notebook]"'
        ) from error
    return getattr(front, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
