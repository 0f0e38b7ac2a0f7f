"""What objects are called: ``--label ID:NAME``, ``--label NAME`` for all others, and files of such lines."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from maskwright.errors import InputError

FORM = "ID:NAME, such as 1:dog"


def parsed(texts: Iterable[str], where: str) -> dict[int, str]:
    """Names by number, in the order in which they were given.

    Args:
        texts: ``ID:NAME``; the name may hold anything, colons too, but space around it does not count.
        where: Where they are from, for messages.

    Raises:
        InputError: no such text, a blank name, one that is no valid text, or an object with two names.
    """
    return _distinct((_pair(text, where) for text in texts), where)


def common(texts: Iterable[str], where: str) -> str:
    """The name of all objects that have none of their own; empty where nobody says.

    Args:
        texts: ``NAME`` each, all the same.
        where: Where they are from, for messages.

    Raises:
        InputError: different names, a blank one, a bare number, or one that is no valid text.
    """
    names = list(dict.fromkeys(text.strip() for text in texts))
    if not names:
        return ""
    if len(names) > 1:
        raise InputError(f"{where}: all other objects are called {names[0]!r} and {names[1]!r}; choose one")
    (name,) = names
    if not name or name.isdecimal():
        raise InputError(f"{where}: {name!r} is no name; write {FORM}, or NAME for all others")
    return _encodable(name, "all other objects", where)


def read(path: Path) -> dict[int, str]:
    """Names from a file: a line for each, without blank ones and those that begin with ``#``; or JSON.

    Raises:
        InputError: it cannot be read, or a line is as :func:`parsed` refuses it.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"cannot read the names in {path}: {error.strerror or error}") from error
    except UnicodeError as error:
        raise InputError(f"{path} is no text in UTF-8; save it as such") from error
    if path.suffix.lower() == ".json":
        return _distinct(_json(text, path), str(path))
    lines = (line.strip() for line in text.splitlines())
    return parsed((line for line in lines if line and not line.startswith("#")), str(path))


def _json(text: str, path: Path) -> list[tuple[int, str]]:
    try:
        pairs = json.loads(text, object_pairs_hook=list)  # a list, to see a number that stands there twice
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is no JSON: {error}") from error
    sound = isinstance(pairs, list) and all(
        isinstance(pair, tuple) and isinstance(pair[1], str) for pair in pairs
    )
    if not sound:
        raise InputError(f'{path} has no names by number; write {{"1": "dog", "2": "cat"}}')
    return [_checked(number, name, str(path)) for number, name in pairs]


def _pair(text: str, where: str) -> tuple[int, str]:
    number, colon, name = text.partition(":")
    if not colon:
        raise InputError(f"{where}: {text!r} cannot be read; write {FORM}")
    return _checked(number, name, where)


def _checked(number: str, name: str, where: str) -> tuple[int, str]:
    number, name = number.strip(), name.strip()
    if not (number.isascii() and number.isdecimal() and int(number) > 0):
        raise InputError(f"{where}: {number!r} is no object's number, which are 1, 2, 3 ...; write {FORM}")
    if not name:
        raise InputError(f"{where}: object {number} has no name; write {FORM}")
    return int(number), _encodable(name, f"object {number}", where)


def _encodable(name: str, whose: str, where: str) -> str:
    try:
        name.encode("utf-8")
    except UnicodeError as error:
        raise InputError(f"{where}: the name of {whose} is no valid text: {name!r}") from error
    return name


def _distinct(pairs: Iterable[tuple[int, str]], where: str) -> dict[int, str]:
    names: dict[int, str] = {}
    for number, name in pairs:
        if names.setdefault(number, name) != name:
            raise InputError(
                f"{where}: object {number} is called {names[number]!r} and {name!r}; give it one name"
            )
    return names
