"""One file over plain HTTPS: resumed where it stopped, retried when the connection drops.

The bytes gather in a ``.part`` file. Beside it, ``.part.json`` remembers the address and the server's
validator (ETag or Last-Modified), so that a later try continues only if the file is still the same one.
What the bytes are is not judged here: the caller checks the sum and gives the file its final name.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from maskwright.errors import DownloadError

if TYPE_CHECKING:
    import httpx

log = logging.getLogger(__name__)

TRIES = 5
"""Failures in a row, each without a mebibyte of progress, after which a download is given up."""
TRIES_UNREACHED = 2
"""The same while the server has not answered once: most likely there is no network at all."""
FIRST_PAUSE = 0.5
"""Seconds before the second try; doubles with each further one."""
MEBIBYTE = 1 << 20
WORTH_RETRYING = frozenset({408, 425, 429, 500, 502, 503, 504})

Report = Callable[[int, int | None], None]
"""Called with the bytes that are there and the bytes of the whole file."""


class _Interrupted(Exception):
    """A failure that may pass: the message says what happened."""


class _Reply(NamedTuple):
    """What a server's answer means for the ``.part`` file."""

    start: int
    """Where the body belongs."""
    total: int | None
    """Bytes of the whole file, where the server says."""


def download(address: str, part: Path, *, size: int | None, label: str) -> None:
    """Bring the whole file at ``address`` into ``part``, continuing what is already there.

    ``size``: bytes that the file must have, where known; another size is refused before the transfer.

    Raises:
        DownloadError: what went wrong, without the address. ``part`` stays where it can be resumed.
    """
    import httpx

    failures = 0
    reached = False
    with _progress(label) as report, _client() as client:
        while True:
            before = _length(part)
            try:
                return _transfer(client, address, part, size, report)
            except (_Interrupted, httpx.TransportError) as error:
                reached = reached or not isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)
                failures = 1 if _length(part) - before >= MEBIBYTE else failures + 1
                reason = f"{error}" or type(error).__name__
                hopeless = isinstance(error, httpx.UnsupportedProtocol)
                if hopeless or failures >= (TRIES if reached else TRIES_UNREACHED):
                    raise DownloadError(reason) from error
                log.info("%s: %s; trying again", label, reason)
                time.sleep(FIRST_PAUSE * 2 ** (failures - 1))
            except httpx.InvalidURL as error:
                raise DownloadError(f"not an address: {error}") from error
            except OSError as error:
                raise _disk_error(error, part) from error


def discard(part: Path) -> None:
    """Remove a ``.part`` file and what was remembered of it."""
    for path in (part, _memory(part)):
        path.unlink(missing_ok=True)


def answers(address: str) -> bool:
    """Whether a server says, within seconds, that it has the file at ``address`` or knows who has."""
    import httpx

    try:
        with _client() as client:
            reply = client.head(address, timeout=httpx.Timeout(10, connect=4), follow_redirects=False)
            return reply.status_code < 400
    except (httpx.HTTPError, httpx.InvalidURL):
        return False


def _client() -> httpx.Client:
    import httpx

    timeout = httpx.Timeout(30, connect=10)
    return httpx.Client(follow_redirects=True, timeout=timeout, headers={"Accept-Encoding": "identity"})


def _transfer(client: httpx.Client, address: str, part: Path, size: int | None, report: Report) -> None:
    """One request. Returns when ``part`` is whole."""
    start, validator = _resumable(part, address)
    headers = {"Range": f"bytes={start}-", "If-Range": validator} if start else {}
    with client.stream("GET", address, headers=headers) as response:
        if response.status_code == 416 and _content_range(response) == (None, start):
            return
        reply = _judge(response, start, size, part)
        if not reply.start:
            _remember(part, address, response)
        _demand_space(part, reply)
        done = _write(response, part, reply, report)
    if reply.total is not None and done != reply.total:
        raise _Interrupted(f"the connection ended after {done:,} of {reply.total:,} bytes")


def _judge(response: httpx.Response, start: int, size: int | None, part: Path) -> _Reply:
    """What to do with an answer; anything but a usable one becomes an error."""
    status = response.status_code
    if status == 416:
        discard(part)
        raise _Interrupted("the server cannot continue the partial file")
    if status in WORTH_RETRYING:
        raise _Interrupted(f"the server answered {status} {response.reason_phrase}")
    if status not in (200, 206):
        raise DownloadError(f"the server answered {status} {response.reason_phrase}")
    if status == 206:
        first, total = _content_range(response)
        if first != start:
            discard(part)
            raise _Interrupted("the server continued at the wrong place")
        reply = _Reply(start, total)
    else:
        length = response.headers.get("Content-Length", "")
        reply = _Reply(0, int(length) if length.isdigit() else None)
    if "text/html" in response.headers.get("Content-Type", ""):
        raise DownloadError("the server answered with a web page instead of the file")
    if size is not None and reply.total is not None and reply.total != size:
        discard(part)
        raise DownloadError(f"the server offers a file of {reply.total:,} bytes instead of {size:,}")
    return reply


def _content_range(response: httpx.Response) -> tuple[int | None, int | None]:
    """First byte and total of ``bytes 5-9/10`` or ``bytes */10``; None for what is not given."""
    unit, _, rest = response.headers.get("Content-Range", "").partition(" ")
    span, _, total = rest.partition("/")
    first = span.partition("-")[0]
    if unit != "bytes":
        return None, None
    return (int(first) if first.isdigit() else None, int(total) if total.isdigit() else None)


def _write(response: httpx.Response, part: Path, reply: _Reply, report: Report) -> int:
    """Append the body to ``part`` (or begin it anew); returns the bytes there."""
    done = reply.start
    with part.open("ab" if done else "wb", buffering=MEBIBYTE) as file:
        report(done, reply.total)
        for chunk in response.iter_raw():
            file.write(chunk)
            done += len(chunk)
            report(done, reply.total)
    return done


def _resumable(part: Path, address: str) -> tuple[int, str]:
    """Bytes of ``part`` that a server can be asked to continue, and the validator that it needs."""
    length = _length(part)
    try:
        memory = json.loads(_memory(part).read_text("utf-8"))
        if length and memory["address"] == address:
            return length, str(memory["validator"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return 0, ""


def _remember(part: Path, address: str, response: httpx.Response) -> None:
    """Keep what a continuation needs; a weak ETag is no proof of equal bytes, so then the date serves."""
    etag = response.headers.get("ETag", "")
    validator = etag if etag.startswith('"') else response.headers.get("Last-Modified", "")
    part.unlink(missing_ok=True)
    if validator:
        _memory(part).write_text(json.dumps({"address": address, "validator": validator}), "utf-8")
    else:
        _memory(part).unlink(missing_ok=True)


def _memory(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _length(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _demand_space(part: Path, reply: _Reply) -> None:
    needed = (reply.total or 0) - reply.start
    free = shutil.disk_usage(part.parent).free
    if needed > free:
        raise DownloadError(
            f"{needed:,} bytes are needed and {free:,} are free in {part.parent}: make room, "
            "or set MASKWRIGHT_CACHE to a folder on another disk"
        )


def _disk_error(error: OSError, part: Path) -> DownloadError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DownloadError(
            f"the disk of {part.parent} is full: free some space and run again (the download continues), "
            "or set MASKWRIGHT_CACHE to a folder on another disk"
        )
    return DownloadError(f"cannot write {part}: {error.strerror or error}")


@contextlib.contextmanager
def _progress(label: str) -> Iterator[Report]:
    """A bar on stderr when that is a terminal; silence otherwise."""
    if not sys.stderr.isatty():
        yield lambda done, total: None
        return
    from rich import progress
    from rich.console import Console

    columns = (
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.DownloadColumn(),
        progress.TransferSpeedColumn(),
        progress.TimeRemainingColumn(),
    )
    with progress.Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(label, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
