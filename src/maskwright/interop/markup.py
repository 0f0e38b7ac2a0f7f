"""XML that every parser takes, whatever names it is given."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.etree.ElementTree import Element, ParseError, indent, parse, tostring

from maskwright.errors import InputError

_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 cannot hold at all."""


def node(
    tag: str, attributes: Mapping[str, object] | None = None, content: str | Sequence[Element] = ""
) -> Element:
    """An element with attributes, and with text or other elements in it."""
    made = Element(tag, {key: clean(str(value)) for key, value in (attributes or {}).items()})
    if isinstance(content, str):
        made.text = clean(content)
    else:
        made.extend(content)
    return made


def clean(text: str) -> str:
    """The text with a replacement character for each that XML cannot hold."""
    return _FORBIDDEN.sub("\ufffd", text)


def markup(element: Element, *, level: int = 0) -> str:
    """The element as text, indented, with a new line at the end."""
    indent(element, " ", level)
    return " " * level + tostring(element, encoding="unicode").rstrip() + "\n"


def root_of(path: Path) -> Element:
    """The outermost element of a file.

    Raises:
        InputError: it cannot be read, or is no XML.
    """
    try:
        root = parse(path).getroot()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}; check the path") from error
    except (ParseError, ValueError, LookupError) as error:
        raise InputError(f"{path} is no XML: {error}") from error
    return root


def text_of(element: Element, path: str) -> str:
    """The text of an element inside this one; InputError if it is missing."""
    found = element.find(path)
    if found is None or found.text is None:
        raise InputError(f"<{element.tag}> lacks <{path}>")
    return found.text


def attribute(element: Element, name: str) -> str:
    """An attribute; InputError if it is missing."""
    value = element.get(name)
    if value is None:
        raise InputError(f"<{element.tag}> lacks {name}=")
    return value
