"""What all readers of other tools' files share."""

from __future__ import annotations

from maskwright.interop.annotations import DEFAULT_LABEL


def label_of(given: str | None) -> str:
    """The name of an object as a file has it; the default where there is none, or a blank one."""
    return given if given and given.strip() else DEFAULT_LABEL


def score_of(given: float | str | None) -> float | None:
    """The score of an object as a file has it, if it does; ValueError if it is no number."""
    return None if given is None else float(given)


def reason_of(error: Exception) -> str:
    """Why something could not be read, for a message; of a KeyError, what is missing."""
    return f"it lacks {error}" if isinstance(error, KeyError) else str(error)
