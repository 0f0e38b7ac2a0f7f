"""Every error that maskwright raises on purpose.

::

    MaskwrightError
    ├── InputError (ValueError)         something the caller passed in
    │   ├── ImageError                  missing, empty, truncated, gigantic or malformed picture
    │   ├── PromptError                 points, boxes, labels or mask prompts that make no sense
    │   └── SourceError                 a video or stream that cannot be opened or read
    ├── WeightsError                    anything about model files
    │   ├── UnknownModelError           a name that is in no catalogue and no file
    │   ├── CheckpointError             a file that is not what it should be
    │   └── DownloadError               a file that could not be fetched
    ├── OutputError (OSError)           a result that could not be written
    ├── StateError (RuntimeError)       a call that needs another call before it
    ├── NotAvailableError (NotImplementedError)  a name of the official package that is not offered yet
    └── MissingExtraError (ImportError) an optional package that is not installed

Messages are one line and say what to do. The command line turns each of them into exit code 2.
"""

from __future__ import annotations


class MaskwrightError(Exception):
    """Base class: ``except MaskwrightError`` catches everything raised on purpose."""


class InputError(MaskwrightError, ValueError):
    """Something passed in is unusable; the message names it and says what is expected."""


class ImageError(InputError):
    """A picture is missing, empty, truncated, too large, or an array of the wrong kind."""


class PromptError(InputError):
    """A point, box, label or mask prompt is invalid or lies outside the picture."""


class SourceError(InputError):
    """A video, folder of frames, camera or stream cannot be opened or read; the message names it."""


class WeightsError(MaskwrightError):
    """Something about a model file went wrong."""


class UnknownModelError(WeightsError):
    """The name is neither in the catalogue nor a file."""


class CheckpointError(WeightsError):
    """A model file is unreadable, partial or of another model."""


class DownloadError(WeightsError):
    """A model file could not be fetched; the message says which file to put where."""


class OutputError(MaskwrightError, OSError):
    """A result could not be written; nothing was left under the final name."""


class StateError(MaskwrightError, RuntimeError):
    """A call came too early; the message names the call that has to come before it."""


class NotAvailableError(MaskwrightError, NotImplementedError):
    """A name or option of the official package that this version does not offer."""


class MissingExtraError(MaskwrightError, ImportError):
    """An optional package is missing; the message names the extra that installs it."""
